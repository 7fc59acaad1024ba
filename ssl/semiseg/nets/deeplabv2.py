"""DeepLabv2 (Chen et al. 2018, arXiv:1606.00915) on ResNet-101, as grubisic2021 and ke2020 train it: one scale, no CRF."""

from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck, resnet101

from semiseg.config import Net, require
from semiseg.nets.blocks import Last, State
from semiseg.nets.resnet import Layer, encoder
from semiseg.nets.weights import load_weights

DILATIONS = (6, 12, 18, 24)
CHANNELS = 2048  # after conv5x
HALF_PLANES = 256  # of 512 in f's conv5x
INITIAL_SD = 0.01


def deeplabv2(net: Net, classes: int) -> dict[str, nn.Module]:
    """Blocks conv1, conv2x, conv3x, conv4x, conv5x, aspp; logits have an eighth of the image's resolution, rounded up.

    All 3x3 convolutions of conv4x have dilation 2 and those of conv5x dilation 4, in place of strides. `net.caffe_stride` strides
    in the first 1x1 convolution of a bottleneck and rounds the max-pooling's size up, which gives one row and column more unless a
    side is 8 n + 1 pixels. `net.width` and `net.depth` have no meaning here. Raises SettingError for dropout or one output.
    """
    require(net.outputs == "classes", "net.outputs", net.outputs, "'classes' for deeplabv2")
    require(net.dropout == 0, "net.dropout", net.dropout, "0 for deeplabv2")
    resnet = resnet101()
    if net.caffe_stride:
        caffe_stride(resnet)
    dilate(resnet.layer3, 2)
    dilate(resnet.layer4, 4)
    return {**encoder(resnet), "aspp": Aspp(CHANNELS, classes, net.aspp_branches)}


def branch(net: Net, classes: int, own: int) -> dict[str, nn.Module]:
    """The last `own` blocks for an auxiliary branch (ke2020, section 3.2): 1 is its ASPP, 2 adds conv5x, more go further back.

    With `net.aux_init` "same" they start like f's, with the weights of `net.weights` where they fit; "normal" draws the weights of
    all convolutions from N(0, 0.01) and leaves each BatchNorm the identity. `net.aux_width` "half" halves the channels of conv5x
    when it is the first own block.
    """
    blocks = deeplabv2(net, classes + net.aux_dummy)
    if net.weights and net.aux_init == "same":
        load_weights(blocks, net)
    if net.aux_width == "half" and own == 2:
        blocks["conv5x"] = half_conv5x()
        blocks["aspp"] = Aspp(HALF_PLANES * Bottleneck.expansion, classes + net.aux_dummy, net.aspp_branches)
    blocks = dict(list(blocks.items())[-own:])
    if net.aux_init == "normal":
        for block in blocks.values():
            initialise(block)
    return blocks


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

    def forward(self, state: State) -> State:
        first, *others = self.convs
        logits: Tensor = first(state[-1])
        for conv in others:
            logits = logits + conv(state[-1])
        return (logits,)
