"""Wide residual network (Zagoruyko & Komodakis 2016, arXiv:1605.07146) for images of 32 x 32 pixels with one class each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg.config import Net
from semiseg.lazy import nn
from semiseg.nets.limits import require_layers

STEM = 16  # channels of the first convolution, whatever the width
GROUPS = 3


@dataclass(frozen=True, kw_only=True)
class WideResNet(Net):
    """WRN-d-k of table 1 with d = 6 depth + 4 and k = width / 16; grubisic2021 trains WRN-28-2: depth 4, width 32."""

    name: str = "wide_resnet"
    width: int = 8
    """Channels of the first group, doubled at every further one (grubisic2021 on CIFAR-10: 32)."""
    depth: int = 3
    """Residual blocks in a group (grubisic2021: 4)."""
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid."""
    dropout: float = 0.0
    """Share of values dropped in training between the two convolutions of a residual block (section 2.4)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_layers(width=self.width, depth=self.depth, dropout=self.dropout)

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks stem, group1, group2, group3, head.

        Groups have widths 1, 2 and 4 times `width` and 1, 1/2 and 1/4 of the image's resolution. The last BatchNorm and ReLU close
        group3; the head averages over the image, so its 1x1 convolution is the paper's linear layer. Initial weights of
        convolutions are He et al.'s (2015, fan-out), as in the authors' code.
        """
        from semiseg.nets.blocks import Head
        from semiseg.nets.wide_resnet_layers import On, Residual, conv

        widths = [self.width * 2**level for level in range(GROUPS)]
        blocks: dict[str, nn.Module] = {"stem": On(conv(channels, STEM, 3))}
        for level, (source, width) in enumerate(zip([STEM, *widths], widths, strict=False)):
            layers: list[nn.Module] = [Residual(source, width, self.dropout, stride=1 if level == 0 else 2)]
            layers += [Residual(width, width, self.dropout, stride=1) for _ in range(self.depth - 1)]
            if level == GROUPS - 1:
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            blocks[f"group{level + 1}"] = On(nn.Sequential(*layers))
        blocks["head"] = Head(widths[-1], classes, self.outputs, image_level=True)
        return blocks
