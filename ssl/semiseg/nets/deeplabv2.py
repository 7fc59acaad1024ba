"""DeepLabv2 (Chen et al. 2018, arXiv:1606.00915) on ResNet-101, as grubisic2021 and ke2020 train it: one scale, no CRF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from semiseg.config import Net
from semiseg.nets.limits import ENCODER

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum


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
        from torchvision.models import resnet101

        from semiseg.nets.deeplabv2_layers import CHANNELS, Aspp, caffe_stride, dilate
        from semiseg.nets.resnet import encoder

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
        from semiseg.nets.deeplabv2_layers import HALF_CHANNELS, Aspp, half_conv5x, initialise

        blocks = self.blocks(classes + self.aux_dummy, channels)
        if self.aux_init == "same":
            load(blocks)
        if self.aux_width == "half" and own == 2:
            blocks["conv5x"] = half_conv5x()
            blocks["aspp"] = Aspp(HALF_CHANNELS, classes + self.aux_dummy, self.aspp_branches)
        blocks = dict(list(blocks.items())[-own:])
        if self.aux_init == "normal":
            for block in blocks.values():
                initialise(block)
        return blocks

    def pretrained(self) -> WeightsEnum:
        from torchvision.models import ResNet101_Weights

        return ResNet101_Weights.IMAGENET1K_V1
