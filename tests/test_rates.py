"""Rates and decay by group of parameters, and AdamW."""

import math

import pytest
import torch
from test_encoders import made, net
from torch import nn

from semiseg.config import SettingError, Train
from semiseg.nets import MultiTask
from semiseg.nets.optimiser import optimiser


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.6)])
def test_adamw_shrinks_weights_beside_the_step_and_leaves_biases_alone(betas: tuple[float, float]) -> None:
    train = Train(optimiser="adamw", betas=betas, weight_decay=0.5, learning_rate=0.1)
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    steps = optimiser(layer, train)
    weight, bias, first, second = 1.0, 1.0, 0.0, 0.0
    for t, gradient in enumerate([1.0, -0.5, 2.0, 0.25], 1):
        layer.weight.grad, layer.bias.grad = torch.tensor([[gradient]]), torch.tensor([gradient])
        steps.step()
        first, second = betas[0] * first + (1 - betas[0]) * gradient, betas[1] * second + (1 - betas[1]) * gradient**2
        step = 0.1 * first / (1 - betas[0] ** t) / (math.sqrt(second / (1 - betas[1] ** t)) + 1e-8)
        weight, bias = weight * (1 - 0.1 * 0.5) - step, bias - step  # Loshchilov & Hutter 2019, algorithm 2
        assert (layer.weight.item(), layer.bias.item()) == pytest.approx((weight, bias), rel=1e-5)


@pytest.mark.parametrize(("layer_decay", "rates"), [(1.0, [0.1] * 5), (0.5, [0.1 / 16, 0.1 / 8, 0.1 / 4, 0.1 / 2, 0.1])])
@pytest.mark.parametrize("own", [0, 1])
def test_the_backbones_blocks_have_the_rates_and_the_decay_of_their_place(layer_decay: float, rates: list[float], own: int) -> None:
    train = Train(backbone_rate=0.1, backbone_decay=0.5, weight_decay=0.2, layer_decay=layer_decay, optimiser="adamw")
    network = made(net(), own)
    groups = optimiser(network, train).param_groups
    found = {id(one): (group["factor"], group["weight_decay"]) for group in groups for one in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found) == len(list(network.parameters()))
    f = network.segmentation if isinstance(network, MultiTask) else network
    place = {id(one): i for i, name in enumerate(f.backbone) for one in f.blocks[name].parameters()}
    for one in network.parameters():
        i = place.get(id(one))
        rate, decay = (1.0, 0.2) if i is None else (rates[i], 0.1)
        assert found[id(one)] == pytest.approx((rate, decay if one.ndim > 1 else 0.0))


@pytest.mark.parametrize("factor", [0.0, 1.1, -1.0])
def test_the_factor_from_block_to_block_is_a_share(factor: float) -> None:
    with pytest.raises(SettingError, match=rf"^train.layer_decay: got {factor}; allowed: a factor in \(0, 1\]$"):
        Train(layer_decay=factor)
