"""Initial weights of U-Nets against Ronneberger et al. 2015, section 3, and the momentum of BatchNorm's statistics in every network."""

import math
from typing import Any

import pytest
import torch
from test_nets import EVERY_NET, HAVING, MEAN, STD, images, net
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from semiseg.config import SettingError
from semiseg.nets import MultiTask, UNet, UNetMRI, build

UNETS = pytest.mark.parametrize("kind", [UNet, UNetMRI])


def incoming(layer: Any) -> int:
    """How many values of its input an output in the middle is made of, counted by its gradient."""
    again = type(layer)(4, 1, layer.kernel_size, stride=layer.stride, padding=layer.padding)
    nn.init.ones_(again.weight)
    image = torch.zeros(1, 4, 9, 9, requires_grad=True)
    output = again(image)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    assert image.grad is not None
    return int(image.grad.count_nonzero()) // 4 * layer.in_channels


@UNETS
def test_normal_weights_have_variance_2_over_the_number_of_incoming_values(kind: type[UNet] | type[UNetMRI]) -> None:
    """sqrt(2/N); "for a 3x3 convolution and 64 feature channels in the previous layer N = 9 * 64 = 576"."""
    network = build(kind(width=32, init="normal"), 5, mean=MEAN, std=STD, seed=0)
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)]
    assert 576 in {incoming(one) for one in layers}
    for one in layers:
        weight = one.weight.detach().flatten()
        scaled = weight / math.sqrt(2 / incoming(one))
        error = 4 / math.sqrt(len(weight))  # four standard errors
        assert abs(scaled.mean()) < error
        assert scaled.square().mean().item() == pytest.approx(1, abs=math.sqrt(2) * error)
        assert scaled.pow(4).mean().item() == pytest.approx(3, abs=math.sqrt(96) * error)  # of a Gaussian, not of a uniform
        assert one.bias is None or not one.bias.any()


@UNETS
def test_the_default_weights_are_torchs(kind: type[UNet] | type[UNetMRI]) -> None:
    first, again = (build(kind(init="default"), 5, mean=MEAN, std=STD, seed=0) for _ in range(2))
    layer = next(one for one in first.modules() if isinstance(one, nn.Conv2d))
    limit = 1 / math.sqrt(incoming(layer))
    assert layer.weight.abs().max() <= limit
    assert layer.weight.abs().max() > 0.9 * limit
    normal = build(kind(init="normal"), 5, mean=MEAN, std=STD, seed=0)
    assert all(one.equal(other) for one, other in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(one.equal(other) for one, other in zip(first.parameters(), normal.parameters(), strict=True))


@UNETS
def test_normal_weights_are_the_same_with_a_branch(kind: type[UNet] | type[UNetMRI]) -> None:
    alone, both = (build(kind(init="normal"), 5, mean=MEAN, std=STD, seed=3, own=own) for own in (0, 1))
    assert isinstance(both, MultiTask)
    pairs = zip(alone.parameters(), both.segmentation.parameters(), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_initial_weights_are_torchs_or_normal_and_only_a_unet_has_the_choice() -> None:
    with pytest.raises(SettingError, match="^net.init: got 'zeros'; allowed: default, normal$"):
        UNet(init="zeros")  # type: ignore[arg-type]
    assert all(hasattr(net(name), "init") == name.startswith("unet") for name in HAVING["outputs"])


@EVERY_NET
def test_a_momentum_is_the_weight_of_a_batch_in_every_layers_statistics(name: str) -> None:
    """perone2018's 0.9 is the weight of what was there: 0.1 of a batch."""
    own, tenth, all_new = (
        build(net(name, width=4, bn_momentum=momentum), 5, mean=MEAN, std=STD, seed=0, own=1).train()
        for momentum in (None, 0.1, 1.0)
    )
    for network in (own, tenth, all_new):
        with torch.no_grad():
            network.both(images()) if isinstance(network, MultiTask) else network(images())
    layers = [[one for one in network.modules() if isinstance(one, _BatchNorm)] for network in (own, tenth, all_new)]
    assert layers[0]
    for ours, slow, new in zip(*layers, strict=True):
        assert (slow.momentum, new.momentum) == (0.1, 1.0)
        assert slow.running_mean is not None
        torch.testing.assert_close(slow.running_mean, 0.1 * new.running_mean)
        torch.testing.assert_close(slow.running_var, 0.9 + 0.1 * new.running_var)
        torch.testing.assert_close(ours.running_mean, ours.momentum * new.running_mean)


@pytest.mark.parametrize(
    ("momentum", "frozen", "said"),
    [
        (0.0, False, r"got 0.0; allowed: a weight in \(0, 1\], or None$"),
        (1.5, False, r"got 1.5; allowed: a weight in \(0, 1\], or None$"),
        (0.1, True, "got 0.1; allowed: None with net.frozen_norm, which gathers no statistics$"),
    ],
)
def test_a_momentum_that_cannot_be_used_is_refused(momentum: float, frozen: bool, said: str) -> None:
    with pytest.raises(SettingError, match=f"^net.bn_momentum: {said}"):
        UNet(bn_momentum=momentum, frozen_norm=frozen)
