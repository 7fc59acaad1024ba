"""SwiftNet (Orsic et al. 2019, arXiv:1903.08469) on ResNet-18 at one scale, as grubisic2021 trains it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, WeightsEnum, resnet18

from semiseg.config import Net
from semiseg.nets.blocks import Features, Head, Last
from semiseg.nets.resnet import ENCODER, encoder
from semiseg.nets.wide_resnet import conv

CHANNELS = 128
SKIPS = {"up4x": 256, "up3x": 128, "up2x": 64}  # channels of conv4x, conv3x, conv2x
GRIDS = (8, 4, 2)  # rows of the pyramid's poolings
LEVEL_CHANNELS = CHANNELS // len(GRIDS)
SPP_MOMENTUM = 0.005


@dataclass(frozen=True, kw_only=True)
class SwiftNet(Net):
    """ResNet-18, spatial pyramid pooling and a decoder of three levels of 128 channels, of the one width that was published."""

    name: str = "swiftnet"
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid."""

    BACKBONE = ENCODER

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks conv1, conv2x, conv3x, conv4x, conv5x, spp, up4x, up3x, up2x, head; logits have a quarter of the image's
        resolution.

        Skips are the encoder's features after their ReLU: the authors' code means those before it, but its ReLU works in place.
        Weights of new convolutions are He et al.'s (2015, fan-out). Any image size works.
        """
        blocks = encoder(resnet18(), channels, skips=True)
        blocks["spp"] = PyramidPooling(512)
        for name, width in SKIPS.items():
            blocks[name] = Up(width)
        return {**blocks, "head": SwiftHead(classes, self.outputs)}

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        return len(ENCODER)

    def pretrained(self) -> WeightsEnum:
        return ResNet18_Weights.IMAGENET1K_V1


def norm_relu_conv(channels_in: int, channels_out: int, size: int, momentum: float = 0.1) -> nn.Sequential:
    """BatchNorm, ReLU, convolution without bias; keeps height and width."""
    norm = nn.BatchNorm2d(channels_in, momentum=momentum)
    return nn.Sequential(norm, nn.ReLU(inplace=True), conv(channels_in, channels_out, size))


def resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class PyramidPooling(nn.Module):
    """(..., x) -> (..., y) of CHANNELS: x beside its averages over 8, 4 and 2 rows of about square cells (section 3.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = norm_relu_conv(channels, CHANNELS, 1, SPP_MOMENTUM)
        self.levels = nn.ModuleList(norm_relu_conv(CHANNELS, LEVEL_CHANNELS, 1, SPP_MOMENTUM) for _ in GRIDS)
        self.last = norm_relu_conv(CHANNELS + len(GRIDS) * LEVEL_CHANNELS, CHANNELS, 1, SPP_MOMENTUM)

    def forward(self, features: Features) -> Features:
        *pending, x = features
        x = self.first(x)
        size = x.shape[-2:]
        found = [x]
        for rows, level in zip(GRIDS, self.levels, strict=True):
            cells = F.adaptive_avg_pool2d(x, (rows, max(1, round(rows * size[1] / size[0]))))
            found.append(resize(level(cells), size))
        return (*pending, self.last(torch.cat(found, 1)))


class Up(nn.Module):
    """(..., skip, x) -> (..., y) of CHANNELS: x resized to the skip, plus a 1x1 convolution of the skip, blended by a 3x3 one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lateral = norm_relu_conv(channels, CHANNELS, 1)
        self.blend = norm_relu_conv(CHANNELS, CHANNELS, 3)

    def forward(self, features: Features) -> Features:
        *pending, skip, x = features
        return (*pending, self.blend(resize(x, skip.shape[-2:]) + self.lateral(skip)))


class SwiftHead(Last):
    """(x,) -> (logits,): BatchNorm, ReLU, 1x1 convolution with bias."""

    def __init__(self, classes: int, outputs: Literal["classes", "one"]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.head = Head(CHANNELS, classes, outputs)
        nn.init.kaiming_normal_(self.head.conv.weight, mode="fan_out", nonlinearity="relu")
        assert self.head.conv.bias is not None
        nn.init.zeros_(self.head.conv.bias)

    def forward(self, features: Features) -> Features:
        return self.head((F.relu(self.norm(features[-1])),))
