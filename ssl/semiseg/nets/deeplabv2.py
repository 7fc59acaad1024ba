"""DeepLabv2 (Chen et al. 2018, arXiv:1606.00915) on ResNet-101, as grubisic2021 and ke2020 train it: one scale, no CRF."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torchvision.models import ResNet, ResNet101_Weights, WeightsEnum
from torchvision.models.resnet import Bottleneck, resnet101

from semiseg.config import Net
from semiseg.nets.blocks import Features, Last
from semiseg.nets.resnet import ENCODER, Layer, encoder

DILATIONS = (6, 12, 18, 24)
CHANNELS = 2048  # after conv5x
HALF_PLANES = 256  # of 512 in f's conv5x
INITIAL_SD = 0.01


@dataclass(frozen=True, kw_only=True)
class DeepLabV2(Net):
    """ResNet-101 with dilations in place of strides, and ASPP; of the one width that was published."""

    name: str = "deeplabv2"
    aspp_branches: Literal[2, 4] = 4
    """Dilations 6, 12, 18, 24 are summed, or by a slip in many published codes only 6 and 12."""
    caffe_stride: bool = False
    """A bottleneck halves the resolution in its first 1x1 convolution (ke2020's code), not in its 3x3 one."""
    aux_width: Literal["full", "half"] = "full"
    """Channels of the auxiliary branch's own conv5x against f's (ke2020's code: half)."""
    aux_init: Literal["same", "normal"] = "same"
    """The branch's own convolutions start like f's, or from N(0, 0.01) (ke2020's code)."""
    aux_dummy: bool = False
    """The branch has one more output, of a class that never occurs (ke2020's code)."""

    BACKBONE = ENCODER

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks conv1, conv2x, conv3x, conv4x, conv5x, aspp; logits have an eighth of the image's resolution, rounded up.

        All 3x3 convolutions of conv4x have dilation 2 and those of conv5x dilation 4, in place of strides. `caffe_stride` strides
        in the first 1x1 convolution of a bottleneck and rounds the max-pooling's size up, which gives one row and column more
        unless a side is 8 n + 1 pixels.
        """
        resnet = resnet101()
        if self.caffe_stride:
            caffe_stride(resnet)
        dilate(resnet.layer3, 2)
        dilate(resnet.layer4, 4)
        return {**encoder(resnet, channels), "aspp": Aspp(CHANNELS, classes, self.aspp_branches)}

    def branch(
        self, classes: int, own: int, load: Callable[[dict[str, nn.Module]], None], channels: int = 3
    ) -> dict[str, nn.Module]:
        """The last `own` blocks for an auxiliary branch (ke2020, section 3.2): 1 is its ASPP, 2 adds conv5x, more go further back.

        With `aux_init` "same" they start like f's, with the weights that `load` gives where they fit; "normal" draws the weights of
        all convolutions from N(0, 0.01) and leaves each BatchNorm the identity. `aux_width` "half" halves the channels of conv5x
        when it is the first own block.
        """
        blocks = self.blocks(classes + self.aux_dummy, channels)
        if self.aux_init == "same":
            load(blocks)
        if self.aux_width == "half" and own == 2:
            blocks["conv5x"] = half_conv5x()
            blocks["aspp"] = Aspp(HALF_PLANES * Bottleneck.expansion, classes + self.aux_dummy, self.aspp_branches)
        blocks = dict(list(blocks.items())[-own:])
        if self.aux_init == "normal":
            for block in blocks.values():
                initialise(block)
        return blocks

    def pretrained(self) -> WeightsEnum:
        return ResNet101_Weights.IMAGENET1K_V1


def caffe_stride(resnet: ResNet) -> None:
    """Move the stride of conv3x from the 3x3 to the first 1x1 convolution, and round the max-pooling's size up, as in Caffe."""
    first = resnet.layer2[0]
    assert isinstance(first, Bottleneck)
    first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    resnet.maxpool.ceil_mode = True


def dilate(layer: nn.Module, dilation: int) -> None:
    """Give every 3x3 convolution of the layer the dilation, and every convolution stride 1."""
    for conv in layer.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)


def half_conv5x() -> Layer:
    """conv5x of half the width: three bottlenecks to 1024 channels, the first one with a projection, as ke2020's code has it."""
    channels = HALF_PLANES * Bottleneck.expansion
    project = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
    layer = nn.Sequential(*(Bottleneck(channels, HALF_PLANES, downsample=project if i == 0 else None) for i in range(3)))
    for conv in layer.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    dilate(layer, 4)
    return Layer(layer, "layer4", keep=False)


def initialise(module: nn.Module) -> None:
    """Weights of all convolutions from N(0, 0.01), their biases 0."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=INITIAL_SD)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)


class Aspp(Last):
    """(x,) -> (logits,): the sum of 3x3 convolutions to the classes, of dilations 6, 12, 18, 24 ("atrous spatial pyramid pooling").

    With 2 `branches` the sum ends after dilation 12, which is all that many published codes add up: they return inside the loop.
    """

    align_corners = True

    def __init__(self, channels: int, classes: int, branches: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, classes, 3, padding=d, dilation=d) for d in DILATIONS[:branches])
        initialise(self)

    def forward(self, features: Features) -> Features:
        first, *others = self.convs
        logits: Tensor = first(features[-1])
        for conv in others:
            logits = logits + conv(features[-1])
        return (logits,)
