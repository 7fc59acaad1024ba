"""A backward pass of torch's that corrupts the heap on some CPUs, kept out of this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from semiseg.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor


SAFE_CHANNELS = 16
"""Input channels from which the pass is fine: as many float32 values as a register of AVX-512 has (of AVX2: 8)."""


@lru_cache(maxsize=1)
def guard_backward() -> torch.library.Library:
    """From here on, strided 1x1 convolutions of few channels pick every s-th pixel first in their backward pass on a CPU.

    Where oneDNN takes its kernels for AVX2 or AVX-512, the gradient of the weights of a 1x1 convolution with stride 2, in channels_last
    memory and of 2 to 7 or 2 to 15 input channels, is computed with writes beside its buffers (torch 2.15, oneDNN 3.13.3; docs/networks.md). What is
    guarded is torch's operator and not the layers, as F.conv2d, scripted code and layers in a user's own file reach it as well. A
    strided 1x1 convolution is the same as one of stride 1 on every s-th pixel, so gradients stay what they are.
    """
    kernel = torch.library.get_kernel("aten::convolution_backward", "CPU")

    def backward(keys: Any, grad: Tensor, image: Tensor, weight: Tensor, bias_sizes: Any, stride: Sequence[int], *rest: Any) -> Any:
        padding, _, transposed, *_, wanted = rest
        if transposed or not reaches_the_fault(weight, stride, padding):
            return kernel.call_boxed(keys, grad, image, weight, bias_sizes, stride, *rest)
        picked = (..., *(slice(None, None, step) for step in per_axis(weight, stride)))
        found, *others = kernel.call_boxed(keys, grad, image[picked], weight, bias_sizes, [1] * len(stride), *rest)
        whole = None
        if wanted[0]:
            whole = torch.zeros_like(image)
            whole[picked] = found
        return whole, *others

    library = torch.library.Library("aten", "IMPL")
    library.impl("convolution_backward", backward, "CPU", with_keyset=True)
    return library


def reaches_the_fault(weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether a convolution may be one whose backward pass is faulty, in whatever memory its input is.

    Its kernel is one pixel (weight (out,in,1,1), or of one or three axes), it strides along some axis, nothing is padded, and a
    group has fewer than SAFE_CHANNELS input channels.
    """
    pixel = weight.shape[2:].numel() == 1
    return pixel and max(stride) > 1 and not any(padding) and weight.shape[1] < SAFE_CHANNELS


def has_the_fault(network: nn.Module) -> bool:
    """Whether a layer of the network is such a convolution."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    return any(reaches_the_fault(one.weight, one.stride, () if isinstance(one.padding, str) else one.padding) for one in layers)


def per_axis(weight: Tensor, stride: Sequence[int]) -> Sequence[int]:
    """The stride of every axis, of which torch takes a single number for all."""
    return stride if len(stride) > 1 else [*stride] * (weight.ndim - 2)
