"""Wide residual network (Zagoruyko & Komodakis 2016, arXiv:1605.07146) for images of 32 x 32 pixels with one class each."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.config import Net
from semiseg.nets.blocks import Features, Head, require_layers

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


def conv(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias that keeps the resolution, or halves it with stride 2."""
    made = nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


class On(nn.Module):
    """(x,) -> (layers(x),)."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, features: Features) -> Features:
        return (self.layers(features[-1]),)


class Residual(nn.Module):
    """x + f(x), f being twice BatchNorm, ReLU, 3x3 convolution: the pre-activation block "basic-wide" of figure 1.

    Where the channels or the resolution change, the shortcut is a 1x1 convolution of the activated x, as in the authors' code.
    """

    def __init__(self, channels_in: int, channels_out: int, dropout: float, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv(channels_in, channels_out, 3, stride)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(channels_out, channels_out, 3)
        same = channels_in == channels_out and stride == 1
        self.shortcut = None if same else conv(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        change = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(active)))))
        return change + (x if self.shortcut is None else self.shortcut(active))
