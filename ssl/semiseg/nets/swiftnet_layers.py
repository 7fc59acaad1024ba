"""The layers of SwiftNet."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.nets.blocks import Features, Head, Last
from semiseg.nets.wide_resnet_layers import conv

CHANNELS = 128


SKIPS = {"up4x": 256, "up3x": 128, "up2x": 64}  # channels of conv4x, conv3x, conv2x


GRIDS = (8, 4, 2)  # rows of the pyramid's poolings


LEVEL_CHANNELS = CHANNELS // len(GRIDS)


SPP_MOMENTUM = 0.005


def norm_relu_conv(channels_in: int, channels_out: int, size: int, momentum: float = 0.1) -> nn.Sequential:
    """BatchNorm, ReLU, convolution without bias; keeps height and width."""
    norm = nn.BatchNorm2d(channels_in, momentum=momentum)
    return nn.Sequential(norm, nn.ReLU(inplace=True), conv(channels_in, channels_out, size))


def resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def square_cells(x: Tensor, rows: int) -> Tensor:
    """Averages over `rows` rows of about square cells."""
    height, width = x.shape[-2:]
    if not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(x, (rows, max(1, round(rows * width / height))))
    # an exported graph takes images of any size: sides are tensors here, which adaptive pooling does not know
    columns = torch.as_tensor(rows * width / height).round().clamp(min=1).long()
    return cell_shares(torch.tensor(rows), height).to(x) @ x @ cell_shares(columns, width).to(x).T


def cell_shares(count: Any, length: Any) -> Tensor:
    """(count, length): how much each of `length` values counts in the averages of adaptive pooling to `count`."""
    cell, place = torch.arange(count)[:, None], torch.arange(length)
    inside = (place >= cell * length // count) & (place < ((cell + 1) * length + count - 1) // count)
    return inside.float() / inside.float().sum(1, keepdim=True)


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
            found.append(resize(level(square_cells(x, rows)), size))
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
