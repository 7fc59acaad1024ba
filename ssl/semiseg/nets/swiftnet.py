"""SwiftNet (Orsic et al. 2019, arXiv:1903.08469) on ResNet-18 at one scale, as grubisic2021 trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from semiseg.config import Net
from semiseg.nets.limits import ENCODER

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum


@dataclass(frozen=True, kw_only=True)
class SwiftNet(Net):
    """ResNet-18, spatial pyramid pooling and a decoder of three levels of 128 channels, of the one width that was published."""

    name: str = "swiftnet"
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid."""

    BACKBONE = ENCODER

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks conv1, conv2x, conv3x, conv4x, conv5x, spp, up4x, up3x, up2x, head; logits have a quarter of the image's
        resolution.

        Skips are the encoder's features after their ReLU: the authors' code means those before it, but its ReLU works in place.
        Weights of new convolutions are He et al.'s (2015, fan-out). Any image size works.
        """
        from torchvision.models import resnet18

        from semiseg.nets.resnet import encoder
        from semiseg.nets.swiftnet_layers import SKIPS, PyramidPooling, SwiftHead, Up

        blocks = encoder(resnet18(), channels, skips=True)
        blocks["spp"] = PyramidPooling(512)
        for name, width in SKIPS.items():
            blocks[name] = Up(width)
        return {**blocks, "head": SwiftHead(classes, self.outputs)}

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        return len(ENCODER)

    def pretrained(self) -> WeightsEnum:
        from torchvision.models import ResNet18_Weights

        return ResNet18_Weights.IMAGENET1K_V1
