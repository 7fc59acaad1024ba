"""A network as named blocks in order, which is what the multi-task branch needs to share its first N - k."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from semiseg.config import require

Features = tuple[Tensor, ...]
"""What one block hands to the next: pending skip features, then the current feature map, each (N,C,h,w)."""


class BlockNet(nn.Module):
    """Standardises an image and runs it through named blocks, each a module from `Features` to `Features`.

    The last block is a `Last`. Its logits are resized to the image when smaller, unless the network is an image-level one. Input
    (N,C_in,H,W) in [0,1]; output (N,C,H,W) logits, or (N,C,1,1) of an image-level network. `mean` and `std` are those of the training
    images, per channel in [0,1], kept with the weights. `backbone` names the blocks whose learning rate and weight decay have
    factors of their own. The first `encoder` blocks make the features that a method may read, or drop a part of, on their way from
    `encode` to `decode`; None: all blocks but the last.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        blocks: Mapping[str, nn.Module],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        backbone: Sequence[str] = (),
        encoder: int | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.backbone = tuple(backbone)
        self.encoder = len(blocks) - 1 if encoder is None else encoder
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    @property
    def image_level(self) -> bool:
        """Whether the network says one class for a whole image."""
        return is_image_level(list(self.blocks.values()))

    def first(self, image: Tensor, count: int) -> Features:
        """Features after the first `count` blocks."""
        features: Features = ((image - self.mean) / self.std,)
        for block in list(self.blocks.values())[:count]:
            features = block(features)
        return features

    def rest(self, features: Features, count: int, size: torch.Size) -> Tensor:
        """Logits (N,C,*size), or (N,C,1,1) of an image-level network, from the features after the first `count` blocks."""
        return finish(list(self.blocks.values())[count:], features, size)

    def encode(self, image: Tensor) -> Features:
        """What the encoder hands to the decoder: the maps of the skips, if any, and last the one of the smallest resolution."""
        return self.first(image, self.encoder)

    def decode(self, features: Features, size: torch.Size) -> Tensor:
        """Logits (N,C,*size), or (N,C,1,1) of an image-level network, from what `encode` gave for images of height and width
        `size`."""
        return self.rest(features, self.encoder, size)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image), image.shape[-2:])


class Last(nn.Module):
    """Base of last blocks, (..., x) -> (logits,)."""

    image_level = False
    """Whether the logits (N,C,1,1) are of the whole image."""
    align_corners = False
    """How logits of a smaller map are resized to the image: as in torch's `interpolate`."""

    def fitted(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits (N,C,h,w) of another size than the image's (N,C,*size)."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)


class Head(Last):
    """(x,) -> (logits,) by a convolution, 1x1 unless told otherwise, after global average pooling in an image-level network.

    With `outputs` "one" the convolution has a single channel z and the logits of the two classes are [0, z], whose softmax is
    [1 - sigmoid(z), sigmoid(z)]: the sigmoid output of perone2018 behind the interface of all losses. Raises SettingError for one
    output of other than two classes.
    """

    def __init__(
        self, channels_in: int, classes: int, outputs: Literal["classes", "one"], *, image_level: bool = False, kernel: int = 1
    ) -> None:
        super().__init__()
        allowed = f"'classes' for {classes} classes, 'one' for 2 only"
        require(outputs == "classes" or classes == 2, "net.outputs", outputs, allowed)
        self.outputs = outputs
        self.image_level = image_level
        self.conv = nn.Conv2d(channels_in, classes if outputs == "classes" else 1, kernel, padding=kernel // 2)

    def forward(self, features: Features) -> Features:
        x = features[-1]
        logits = self.conv(x.mean((2, 3), keepdim=True) if self.image_level else x)
        return (logits if self.outputs == "classes" else torch.cat([torch.zeros_like(logits), logits], 1),)


def is_image_level(blocks: list[nn.Module]) -> bool:
    return isinstance(blocks[-1], Last) and blocks[-1].image_level


def finish(blocks: list[nn.Module], features: Features, size: torch.Size) -> Tensor:
    """Run the remaining blocks, the head among them, and bring the logits to `size` unless they are for the whole image."""
    for block in blocks:
        features = block(features)
    (logits,) = features
    last = blocks[-1]
    if logits.shape[-2:] != size and isinstance(last, Last) and not last.image_level:
        logits = last.fitted(logits, size)
    return logits


def drawn(blocks: dict[str, nn.Module], init: Literal["default", "normal"]) -> dict[str, nn.Module]:
    """The blocks of a U-Net with torch's initial weights, or with "normal" those of Ronneberger et al. 2015, section 3, to which
    pets_mean_teacher refers: N(0, 2/N), N the number of values that one output of a convolution is made of. Biases are then 0."""
    if init == "normal":
        for one in (module for block in blocks.values() for module in block.modules()):
            if isinstance(one, nn.Conv2d | nn.ConvTranspose2d):
                incoming = one.in_channels // one.groups * math.prod(one.kernel_size)
                # of a transposed one neighbouring outputs share the kernel
                incoming /= math.prod(one.stride) if isinstance(one, nn.ConvTranspose2d) else 1
                nn.init.normal_(one.weight, std=math.sqrt(2 / incoming))
                if one.bias is not None:
                    nn.init.zeros_(one.bias)
    return blocks


def set_momentum(module: nn.Module, momentum: float) -> None:
    """Give every layer of BatchNorm inside `module` this weight of a batch in its running statistics."""
    for one in module.modules():
        if isinstance(one, _BatchNorm):
            one.momentum = momentum


class Frozen:
    """Beside a class of BatchNorm: it stays in evaluation mode, and its factors are not trained."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)  # pyright: ignore[reportAttributeAccessIssue]


@cache
def frozen(kind: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """The class that is frozen and otherwise as `kind`, which may do more than normalise (timm's has the activation in it)."""
    return type(f"Frozen{kind.__name__}", (Frozen, kind), {})


def freeze_norm(module: nn.Module) -> None:
    """Make every BatchNorm2d inside `module` a frozen one with the same values."""
    for one in list(module.modules()):
        if isinstance(one, nn.BatchNorm2d) and not isinstance(one, Frozen):
            one.__class__ = frozen(type(one))
            one.requires_grad_(False).eval()
