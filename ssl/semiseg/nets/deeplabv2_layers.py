"""The layers of DeepLabv2."""

from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck

from semiseg.nets.blocks import Features, Last
from semiseg.nets.resnet import Layer

DILATIONS = (6, 12, 18, 24)


CHANNELS = 2048  # after conv5x


HALF_PLANES = 256  # of 512 in f's conv5x


HALF_CHANNELS = HALF_PLANES * Bottleneck.expansion


INITIAL_SD = 0.01


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
    channels = HALF_CHANNELS
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
