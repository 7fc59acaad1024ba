"""U-Net (Ronneberger et al. 2015) in the shape of pets_mean_teacher: depth 3, width 64 there, smaller by default here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from semiseg.config import AS_BEFORE, Net
from semiseg.nets.limits import require_layers

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class UNet(Net):
    """Encoder of `depth` levels with max-pooling between them, decoder that takes up the features of each by transposed
    convolutions."""

    name: str = "unet"
    width: int = 8
    """Channels of the first level, doubled at every further one (pets_mean_teacher: 64)."""
    depth: int = 3
    """Levels, so depth - 1 poolings (pets_mean_teacher: 3)."""
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid (perone2018)."""
    dropout: float = 0.0
    """Share of channels dropped in training after each 3x3 convolution (perone2018: 0.5)."""
    init: Literal["default", "normal"] = field(default="default", metadata={AS_BEFORE: "default"})
    """Initial weights: torch's, or Gaussian ones of variance 2/N (pets_mean_teacher: "random Gaussian weights", without a deviation)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_layers(width=self.width, depth=self.depth, dropout=self.dropout)

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks enc1..encD, dec(D-1)..dec1, head: 2 D blocks in order, with widths doubling per level.

        BatchNorm follows every 3x3 convolution (pets_mean_teacher does not mention it; training from random weights needs it). Any
        image size of at least 2^(D-1) pixels works: a decoder level is padded to its skip's size when a pooling rounded down.
        """
        from semiseg.nets.blocks import Head, drawn
        from semiseg.nets.unet_layers import Decode, Encode, double_conv, doubled

        widths = [self.width * 2**level for level in range(self.depth)]
        blocks: dict[str, nn.Module] = {"enc1": Encode(double_conv(channels, widths[0], self.dropout), pool=False)}
        for level in range(1, self.depth):
            blocks[f"enc{level + 1}"] = Encode(double_conv(widths[level - 1], widths[level], self.dropout), pool=True)
        for level in range(self.depth - 1, 0, -1):
            below, width = widths[level], widths[level - 1]
            up = doubled(below, width)
            blocks[f"dec{level}"] = Decode(up, double_conv(2 * width, width, self.dropout))
        blocks["head"] = Head(widths[0], classes, self.outputs)
        return drawn(blocks, self.init)

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        return self.depth
