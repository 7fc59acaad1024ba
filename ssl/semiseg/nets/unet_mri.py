"""U-Net of paper 001 (Perone & Cohen-Adad 2018): 15 convolutions, BatchNorm after ReLU, dropout after every BatchNorm."""

import torch
import torch.nn.functional as F
from torch import nn

from semiseg.config import Net
from semiseg.nets.blocks import Head, State

WIDTHS = (1, 2, 4, 4)  # of the levels, in units of net.width


def unet_mri(net: Net, classes: int) -> dict[str, nn.Module]:
    """Blocks enc1..enc4, dec3..dec1, head, with 1, 2, 4, 4 | 4, 2, 1 times `net.width` channels; `net.depth` means nothing here.

    The paper has width 64, dropout 0.5 and one output behind a sigmoid (`net.outputs` "one"). Convolutions have a bias, as BatchNorm
    does not follow them at once. Upsampling aligns corners, as in the authors' medicaltorch (models.py). Any image of at least 8 x 8
    pixels works: a decoder level is padded to its skip's size when a pooling rounded down.
    """
    widths = [net.width * factor for factor in WIDTHS]
    blocks: dict[str, nn.Module] = {"enc1": Encode(3, widths[0], net.dropout, pool=False)}
    for level in range(1, len(widths)):
        blocks[f"enc{level + 1}"] = Encode(widths[level - 1], widths[level], net.dropout, pool=True)
    below = widths[-1]
    for level in range(len(widths) - 1, 0, -1):
        blocks[f"dec{level}"] = Decode(below, widths[level - 1], net.dropout)
        below = widths[level - 1]
    blocks["head"] = Head(below, classes, net.outputs, kernel=3)
    return blocks


def double_conv(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Twice 3x3 convolution, ReLU, BatchNorm, dropout of channels; keeps height and width."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [nn.Conv2d(source, channels_out, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.BatchNorm2d(channels_out), nn.Dropout2d(dropout)]
    return nn.Sequential(*layers)


class Encode(nn.Module):
    """(..., x) -> (..., x, convs(maxpool(x))); the first level drops its input image instead of keeping it as a skip."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, *, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.convs = double_conv(channels_in, channels_out, dropout)

    def forward(self, state: State) -> State:
        if not self.pool:
            return (self.convs(state[-1]),)
        return (*state, self.convs(F.max_pool2d(state[-1], 2)))


class Decode(nn.Module):
    """(..., skip, x) -> (..., convs([skip, up(x)])), both of `channels_out` and `channels_in` channels, with a bilinear up."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__()
        self.convs = double_conv(channels_in + channels_out, channels_out, dropout)

    def forward(self, state: State) -> State:
        *pending, skip, x = state
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        if x.shape[-2:] != skip.shape[-2:]:
            x = F.pad(x, (0, skip.shape[-1] - x.shape[-1], 0, skip.shape[-2] - x.shape[-2]), mode="replicate")
        return (*pending, self.convs(torch.cat([skip, x], 1)))
