"""The layers of WideResNet."""

import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.nets.blocks import Features


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
