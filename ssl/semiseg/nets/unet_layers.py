"""The layers of U-Nets."""

import torch
import torch.nn.functional as F
from torch import nn

from semiseg.nets.blocks import Features


def double_conv(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Twice 3x3 convolution, BatchNorm, ReLU and, where `dropout` is not 0, dropout of channels; keeps height and width."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [nn.Conv2d(source, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        layers += [nn.Dropout2d(dropout)] if dropout else []
    return nn.Sequential(*layers)


def doubled(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    """Transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2)


class Encode(nn.Module):
    """(..., x) -> (..., x, convs(maxpool(x))); the first level drops its input image instead of keeping it as a skip."""

    def __init__(self, convs: nn.Module, *, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.convs = convs

    def forward(self, features: Features) -> Features:
        if not self.pool:
            return (self.convs(features[-1]),)
        return (*features, self.convs(F.max_pool2d(features[-1], 2)))


class Decode(nn.Module):
    """(..., skip, x) -> (..., convs([skip, up(x)])) with a module `up` that doubles height and width."""

    def __init__(self, up: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.convs = convs

    def forward(self, features: Features) -> Features:
        *pending, skip, x = features
        x = self.up(x)
        if x.shape[-2:] != skip.shape[-2:]:
            x = F.pad(x, (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2]), mode="replicate")
        return (*pending, self.convs(torch.cat([skip, x], 1)))
