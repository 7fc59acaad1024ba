"""U-Net of perone2018 (Perone & Cohen-Adad 2018): 15 convolutions, BatchNorm after ReLU, dropout after every BatchNorm."""

from torch import nn

from semiseg.config import Net
from semiseg.nets.blocks import Head
from semiseg.nets.unet import Decode, Encode

WIDTHS = (1, 2, 4, 4)  # of the levels, in units of net.width


def unet_mri(net: Net, classes: int) -> dict[str, nn.Module]:
    """Blocks enc1..enc4, dec3..dec1, head, with 1, 2, 4, 4 | 4, 2, 1 times `net.width` channels; `net.depth` means nothing here.

    The paper has width 64, dropout 0.5 and one output behind a sigmoid (`net.outputs` "one"). Convolutions have a bias, as
    BatchNorm does not follow them at once. Upsampling aligns corners, as in the authors' medicaltorch (models.py). Any image of at
    least 8 x 8 pixels works: a decoder level is padded to its skip's size when a pooling rounded down.
    """
    widths = [net.width * factor for factor in WIDTHS]
    blocks: dict[str, nn.Module] = {"enc1": Encode(double_conv(3, widths[0], net.dropout), pool=False)}
    for level in range(1, len(widths)):
        blocks[f"enc{level + 1}"] = Encode(double_conv(widths[level - 1], widths[level], net.dropout), pool=True)
    below = widths[-1]
    for level in range(len(widths) - 1, 0, -1):
        width = widths[level - 1]
        up = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True)
        blocks[f"dec{level}"] = Decode(up, double_conv(below + width, width, net.dropout))
        below = width
    blocks["head"] = Head(below, classes, net.outputs, kernel=3)
    return blocks


def double_conv(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Twice 3x3 convolution, ReLU, BatchNorm, dropout of channels; keeps height and width."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [nn.Conv2d(source, channels_out, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.BatchNorm2d(channels_out), nn.Dropout2d(dropout)]
    return nn.Sequential(*layers)
