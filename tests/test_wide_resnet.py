"""The wide residual network has the layers of the paper and adds up what it says."""

import pytest
import torch
import torch.nn.functional as F
from test_nets import CLASSES, MEAN, STD, count, images, made
from torch import nn

from semiseg.nets import BlockNet, WideResNet, build
from semiseg.nets.wide_resnet_layers import Residual


def test_wrn_28_2_has_the_parameters_of_the_published_one() -> None:
    """1,467,610 at 10 classes, as widely printed: the 1x1 convolution of the head has as many as the linear layer."""
    expected = 9 * 3 * 16
    for source, channels in ((16, 32), (32, 64), (64, 128)):
        first = 2 * source + 9 * source * channels + 2 * channels + 9 * channels * channels + source * channels
        expected += first + 3 * (2 * channels + 9 * channels * channels) * 2
    expected += 2 * 128 + 128 * 10 + 10
    net = build(WideResNet(width=32, depth=4), 10, mean=MEAN, std=STD, seed=0)
    assert count(net) == expected == 1_467_610
    assert isinstance(net, BlockNet)
    assert list(net.blocks) == ["stem", "group1", "group2", "group3", "head"]
    assert [net.first(images(32, 32, 1), k)[-1].shape[1:] for k in (1, 2, 3, 4)] == [
        (16, 32, 32),
        (32, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
    ]


@pytest.mark.parametrize("depth", [1, 4])
def test_a_wide_resnet_has_6_depth_plus_4_convolutions_before_its_head(depth: int) -> None:
    blocks = nn.ModuleDict(WideResNet(width=32, depth=depth).blocks(CLASSES))
    layers = [name for name, module in blocks.named_modules() if isinstance(module, nn.Conv2d) and not name.startswith("head")]
    assert len(layers) == 6 * depth + 4
    assert sum(name.endswith("shortcut") for name in layers) == 3


def test_a_residual_block_adds_its_change_to_its_input_or_to_a_projection_of_the_activated_input() -> None:
    x = images().repeat(1, 2, 1, 1)
    for source, channels, stride in ((6, 6, 1), (6, 8, 1), (6, 6, 2), (6, 8, 2)):
        block = Residual(source, channels, 0.0, stride).eval()
        active = ((x - 0) / (1 + 1e-5) ** 0.5).relu()  # BatchNorm before any training
        middle = F.conv2d(active, block.conv1.weight, stride=stride, padding=1)
        change = F.conv2d((middle / (1 + 1e-5) ** 0.5).relu(), block.conv2.weight, padding=1)
        plain = x if block.shortcut is None else F.conv2d(active, block.shortcut.weight, stride=stride)
        assert (block.shortcut is None) == ((channels, stride) == (6, 1))
        torch.testing.assert_close(block(x), plain + change)


def test_an_image_level_network_averages_over_the_image() -> None:
    net = made("wide_resnet").eval()
    assert isinstance(net, BlockNet)
    features = net.first(images(), 4)[-1]
    head = net.blocks["head"].conv
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    expected = features.flatten(2).mean(2) @ head.weight.flatten(1).T + head.bias
    torch.testing.assert_close(net(images()).flatten(1), expected)
