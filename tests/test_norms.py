"""Statistics of BatchNorm for scoring are those of the network as it is, for every network, and training does not notice."""

import copy
from dataclasses import replace

import pytest
import tiny
import torch
from test_nets import EVERY_NET, STD, images, made
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from semiseg.config import SettingError, Train
from semiseg.device import autocast
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy
from semiseg.methods import MeanTeacher, Supervised
from semiseg.nets import MultiTask, SwiftNet, build
from semiseg.norms import recomputed
from semiseg.stage import stream

PLAIN = autocast(torch.device("cpu"), "fp32")


def batches(count: int = 3) -> list[Tensor]:
    return [torch.rand((2, 3, 33, 47), generator=torch.Generator().manual_seed(seed)) ** (seed + 1) for seed in range(count)]


def buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_buffers()}


@EVERY_NET
def test_they_are_what_torchs_update_bn_finds_and_the_earlier_ones_come_back(name: str) -> None:
    network = made(name, own=1, width=4)
    network(images())  # statistics other than those of the start
    network.train()
    other, before = copy.deepcopy(network), buffers(network)
    update_bn(batches(), Both(other))
    with recomputed([network], batches(), PLAIN):
        found = buffers(network)
        assert all(module.training for module in network.modules())
    for key, value in other.named_buffers():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)
    assert all(value.equal(before[key]) for key, value in network.named_buffers())
    assert not all(value.equal(before[key]) for key, value in found.items())


class Both(nn.Module):
    """f and its branch in one pass, which `update_bn` has no way to ask for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> object:
        assert isinstance(self.network, MultiTask)
        return self.network.both(image)


def test_swiftnets_pyramid_keeps_its_start_for_long_and_recomputed_it_has_none_of_it() -> None:
    """After n steps a moving average of momentum m holds (1 - m)^n of the initial mean 0 and variance 1."""
    network = build(SwiftNet(), 5, mean=(0.5,) * 3, std=STD, seed=0).train()
    norm = network.get_submodule("blocks.spp.first.0")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.momentum == 0.005
    seen: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        for image in batches(4):
            network(image)
    means = torch.stack([x.mean((0, 2, 3)) for x in seen])
    weights = torch.tensor([0.005 * 0.995 ** (3 - i) for i in range(4)])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, weights @ means)
    assert weights.sum() == pytest.approx(1 - 0.995**4)
    assert round(0.995**200, 2) == 0.37
    seen.clear()
    with recomputed([network], batches(4), PLAIN):
        torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
        torch.testing.assert_close(norm.running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0), rtol=1e-4, atol=1e-5)


def test_a_frozen_norm_and_dropout_are_left_alone() -> None:
    network = build(SwiftNet(frozen_norm=True), 5, mean=(0.5,) * 3, std=STD, seed=0).train()
    before = buffers(network)
    with recomputed([network], batches(), PLAIN):
        assert all(value.equal(before[name]) for name, value in network.named_buffers())
    layers = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).train()
    with recomputed([layers], batches(1), PLAIN):
        torch.testing.assert_close(layers.get_buffer("1.running_mean"), batches(1)[0].mean((0, 2, 3)))


def test_a_stage_scores_and_keeps_recomputed_statistics_and_trains_as_without() -> None:
    method = MeanTeacher(objective=CrossEntropy(), ema=Ema(decay=(0.5,)))
    plain, again = (
        tiny.run(tiny.chain(method, train=replace(tiny.TRAIN, steps=4, evaluations=2, recompute_norm=count))[0]) for count in (0, 3)
    )
    assert tiny.losses(plain) == tiny.losses(again)
    for role, network in plain.state.networks().items():
        assert tiny.flat(network).equal(tiny.flat(again.state.networks()[role]))
    outcome = again.finish()
    generators = [torch.Generator().manual_seed(stream(again.stage.seed, "norm", 1, step)) for step in range(3)]
    seen = [again.batches.make(step, generator).image for step, generator in enumerate(generators)]
    for role in ("student", "teacher"):
        network = copy.deepcopy(plain.state.networks()[role])
        update_bn(seen, network)
        for name, value in network.named_buffers():
            torch.testing.assert_close(outcome.weights[f"last.{role}.{name}"], value, rtol=1e-4, atol=1e-5)
        for name, value in network.named_parameters():
            assert outcome.weights[f"last.{role}.{name}"].equal(value)


def test_a_stages_key_says_whether_they_are_recomputed() -> None:
    settings = [tiny.chain(Supervised(), train=replace(tiny.TRAIN, recompute_norm=count))[0].settings() for count in (0, 2)]
    assert "recompute_norm" not in settings[0]["train"]
    assert settings[1]["train"]["recompute_norm"] == 2
    with pytest.raises(SettingError, match="^train.recompute_norm: got -1; allowed: a whole number >= 0$"):
        Train(recompute_norm=-1)
