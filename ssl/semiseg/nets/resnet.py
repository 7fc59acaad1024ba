"""torchvision's ResNet (He et al. 2016, arXiv:1512.03385) as the first five blocks of a network, conv1 and conv2x to conv5x."""

from collections.abc import Mapping

from torch import nn
from torchvision.models import ResNet

from semiseg.nets.blocks import Features
from semiseg.nets.limits import ENCODER


def encoder(resnet: ResNet, channels: int = 3, *, skips: bool = False) -> dict[str, nn.Module]:
    """The blocks of ENCODER from a ResNet without its pooling and linear layer, of strides 4, 4, 8, 16, 32 in resolution.

    With `skips` the last one hands on the features after conv2x, conv3x, conv4x and conv5x, otherwise only the last ones. Images of
    other than three `channels` get a first convolution of theirs, with torchvision's initial weights.
    """
    if channels != 3:
        old = resnet.conv1
        resnet.conv1 = nn.Conv2d(channels, old.out_channels, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
    layers = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
    made = [Layer(layer, f"layer{i + 1}", keep=skips and i > 0) for i, layer in enumerate(layers)]
    return dict(zip(ENCODER, [Stem(resnet), *made], strict=True))


class Stem(nn.Module):
    """(image,) -> (x,): 7x7 convolution of stride 2, BatchNorm, ReLU, 3x3 max-pooling of stride 2."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool

    def forward(self, features: Features) -> Features:
        return (self.maxpool(self.relu(self.bn1(self.conv1(features[-1])))),)


class Layer(nn.Module):
    """(..., x) -> (..., layer(x)), or (..., x, layer(x)) with `keep`; `origin` is what torchvision calls the layer."""

    def __init__(self, layer: nn.Module, origin: str, *, keep: bool) -> None:
        super().__init__()
        self.layer, self.origin, self.keep = layer, origin, keep

    def forward(self, features: Features) -> Features:
        *pending, x = features
        return (*pending, x, self.layer(x)) if self.keep else (*pending, self.layer(x))


def torchvision_names(blocks: Mapping[str, nn.Module]) -> dict[str, str]:
    """Name of every tensor of the encoder among a network's blocks -> its name in torchvision's ResNet; empty without one."""
    names: dict[str, str] = {}
    for name, block in blocks.items():
        if isinstance(block, Stem):
            names |= {f"{name}.{inner}": inner for inner in block.state_dict()}
        elif isinstance(block, Layer):
            names |= {f"{name}.layer.{inner}": f"{block.origin}.{inner}" for inner in block.layer.state_dict()}
    return names
