"""U-Net of perone2018 (Perone & Cohen-Adad 2018): 15 convolutions, BatchNorm after ReLU, dropout after every BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from semiseg.config import AS_BEFORE, Net
from semiseg.lazy import nn
from semiseg.nets.limits import require_layers

WIDTHS = (1, 2, 4, 4)  # of the levels, in units of the width


@dataclass(frozen=True, kw_only=True)
class UNetMRI(Net):
    """Four levels of 1, 2, 4, 4 | 4, 2, 1 times `width` channels; the paper has width 64, dropout 0.5 and one output."""

    name: str = "unet_mri"
    width: int = 8
    """Channels of the first level (perone2018: 64)."""
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid (perone2018)."""
    dropout: float = 0.0
    """Share of channels dropped in training after each BatchNorm (perone2018: 0.5)."""
    init: Literal["default", "normal"] = field(default="default", metadata={AS_BEFORE: "default"})
    """Initial weights: torch's, or Gaussian ones of variance 2/N (Ronneberger et al. 2015; perone2018 does not say)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_layers(width=self.width, dropout=self.dropout)

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks enc1..enc4, dec3..dec1, head.

        Convolutions have a bias, as BatchNorm does not follow them at once. Upsampling aligns corners, as in the authors'
        medicaltorch (models.py). Any image of at least 8 x 8 pixels works: a decoder level is padded to its skip's size when a
        pooling rounded down.
        """
        from semiseg.nets.blocks import Head, drawn
        from semiseg.nets.unet_layers import Decode, Encode

        widths = [self.width * factor for factor in WIDTHS]
        blocks: dict[str, nn.Module] = {"enc1": Encode(norm_last_convs(channels, widths[0], self.dropout), pool=False)}
        for level in range(1, len(widths)):
            blocks[f"enc{level + 1}"] = Encode(norm_last_convs(widths[level - 1], widths[level], self.dropout), pool=True)
        below = widths[-1]
        for level in range(len(widths) - 1, 0, -1):
            width = widths[level - 1]
            up = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True)
            blocks[f"dec{level}"] = Decode(up, norm_last_convs(below + width, width, self.dropout))
            below = width
        blocks["head"] = Head(below, classes, self.outputs, kernel=3)
        return drawn(blocks, self.init)

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        return len(WIDTHS)


def norm_last_convs(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Twice 3x3 convolution, ReLU, BatchNorm, dropout of channels; keeps height and width."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [nn.Conv2d(source, channels_out, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.BatchNorm2d(channels_out), nn.Dropout2d(dropout)]
    return nn.Sequential(*layers)
