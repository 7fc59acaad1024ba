"""Statistics of BatchNorm as they are after the last step, in place of moving averages that still hold earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semiseg.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The layers of BatchNorm that gather statistics."""
    from semiseg.nets.blocks import Frozen

    return [one for one in network.modules() if isinstance(one, nn.BatchNorm2d) and not isinstance(one, Frozen)]


@contextmanager
def recomputed(networks: Iterable[nn.Module], images: Iterable[Tensor], autocast: torch.autocast) -> Iterator[None]:
    """Inside, running means and variances are averages over the mini-batches `images` (N,C,H,W), all of one weight, by the networks
    as they are; afterwards those that were there are back.

    The rest of a network is in evaluation mode, so dropout is off as in scoring (`torch.optim.swa_utils.update_bn` has it on). With
    momentum m and n steps a moving average keeps (1 - m)^n of its initial values: 0.37 with SwiftNet's 0.005 after 200.
    """
    from semiseg.nets.multitask import MultiTask

    networks = list(networks)
    layers = [layer for network in networks for layer in norms(network)]
    modes = [(module, module.training) for network in networks for module in network.modules()]
    kept = [{name: value.clone() for name, value in layer.named_buffers(recurse=False)} for layer in layers]
    momenta = [layer.momentum for layer in layers]
    for network in networks:
        network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.training, layer.momentum = True, None  # None: averages of equal weights
    with torch.no_grad(), autocast:
        for image in images:
            for network in networks:
                (network.both if isinstance(network, MultiTask) else network)(image)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, mode in modes:
        module.training = mode
    try:
        yield
    finally:
        for layer, values in zip(layers, kept, strict=True):
            for name, value in values.items():
                getattr(layer, name).copy_(value)
