"""U-Net (Ronneberger et al. 2015) in the shape of pets_mean_teacher: depth 3, width 64 there, smaller by default here."""

import torch
import torch.nn.functional as F
from torch import nn

from semiseg.config import Net
from semiseg.nets.blocks import Head, State


def unet(net: Net, classes: int) -> dict[str, nn.Module]:
    """Blocks enc1..encD, dec(D-1)..dec1, head: 2 D blocks in order, with widths doubling per level.

    BatchNorm follows every 3x3 convolution (pets_mean_teacher does not mention it; training from random weights needs it). Any
    image size of at least 2^(D-1) pixels works: a decoder level is padded to its skip's size when a pooling rounded down. With
    `net.dropout` whole channels are dropped after each 3x3 convolution, its BatchNorm and ReLU (perone2018: 0.5).
    """
    widths = [net.width * 2**level for level in range(net.depth)]
    blocks: dict[str, nn.Module] = {"enc1": Encode(double_conv(3, widths[0], net.dropout), pool=False)}
    for level in range(1, net.depth):
        blocks[f"enc{level + 1}"] = Encode(double_conv(widths[level - 1], widths[level], net.dropout), pool=True)
    for level in range(net.depth - 1, 0, -1):
        below, width = widths[level], widths[level - 1]
        up = nn.ConvTranspose2d(below, width, 2, stride=2)
        blocks[f"dec{level}"] = Decode(up, double_conv(2 * width, width, net.dropout))
    blocks["head"] = Head(widths[0], classes, net.outputs)
    return blocks


def double_conv(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Twice 3x3 convolution, BatchNorm, ReLU and, where `dropout` is not 0, dropout of channels; keeps height and width."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [nn.Conv2d(source, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        layers += [nn.Dropout2d(dropout)] if dropout else []
    return nn.Sequential(*layers)


class Encode(nn.Module):
    """(..., x) -> (..., x, convs(maxpool(x))); the first level drops its input image instead of keeping it as a skip."""

    def __init__(self, convs: nn.Module, *, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.convs = convs

    def forward(self, state: State) -> State:
        if not self.pool:
            return (self.convs(state[-1]),)
        return (*state, self.convs(F.max_pool2d(state[-1], 2)))


class Decode(nn.Module):
    """(..., skip, x) -> (..., convs([skip, up(x)])) with a module `up` that doubles height and width."""

    def __init__(self, up: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.convs = convs

    def forward(self, state: State) -> State:
        *pending, skip, x = state
        x = self.up(x)
        if x.shape[-2:] != skip.shape[-2:]:
            x = F.pad(x, (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2]), mode="replicate")
        return (*pending, self.convs(torch.cat([skip, x], 1)))
