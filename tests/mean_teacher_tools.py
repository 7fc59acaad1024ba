"""Settings of mean teacher, networks and motions for its tests, and its paper's Dice. Not a test module."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import tiny
import torch
from torch import Tensor, nn

from semiseg.augment import Gentle, gentle
from semiseg.augment.warp import affine_grid
from semiseg.batch import Batch
from semiseg.ema import Ema
from semiseg.losses import SoftDice
from semiseg.methods.mean_teacher import MeanTeacher
from semiseg.methods.rule import State
from semiseg.nets import build
from semiseg.schedules import Moment

STILL = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0)
TURNING = replace(STILL, rotation=30.0)
PLAIN = MeanTeacher(perturbation=STILL)
SOFT = replace(PLAIN, target="soft", distance="mse_sum", weight=1.0)
PERONE2018 = MeanTeacher(
    objective=SoftDice(),
    distance="bce",
    target="soft",
    weight=2.9,
    ramp=(0.0, 100 / 350),
    draw="mixed",
    perturbation=replace(STILL, noise=0.01, noise_teacher=0.01, rotation=4.5),
    ema=Ema(decay=(0.99, 0.999), start=(0.0, 50 / 350), warmup=True, buffers="own", mode="train"),
)
CHOICES = get_args(get_type_hints(MeanTeacher)["delayed"])
LATE = Moment(step=90, steps=100, epoch_steps=10)
QUARTER_TURN = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
EIGHT_LEFT = ((1.0, 0.0, 8.0), (0.0, 1.0, 0.0))  # what was 8 pixels to the right is shown: 8 columns on the right are out of frame


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def networks(rule: MeanTeacher, classes: int = len(tiny.CLASSES)) -> State:
    """Student and teacher of different weights in evaluation mode, whose logits differ from pixel to pixel."""
    state = rule.start(lambda role="student": build(tiny.NET, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0))
    torch.manual_seed(11)
    with torch.no_grad():
        for network in state.networks().values():
            for value in network.parameters():
                value += 0.3 * torch.randn_like(value)
    state.student.eval()
    pupil(state).eval()
    return state


def pupil(state: State) -> nn.Module:
    assert state.teacher is not None
    return state.teacher


def terms(rule: MeanTeacher, state: State, batch: Batch, now: Moment = LATE) -> dict[str, Tensor]:
    return dict(rule.loss(state, batch, now, generator()))


def seen(network: nn.Module) -> list[Tensor]:
    """A list that will hold what the network is given from now on."""
    images: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, given: images.append(given[0].detach()))
    return images


def moving(monkeypatch: pytest.MonkeyPatch, *matrices: tuple[tuple[float, ...], ...]) -> None:
    """Motions are those of the matrices, one draw after the other, instead of random ones."""
    motions = [affine_grid(torch.tensor([matrix] * 4), tiny.SIZE) for matrix in matrices]
    monkeypatch.setattr(gentle, "draw_motion", lambda *_: motions.pop(0))


def dice_of(p: Tensor, t: Tensor) -> float:
    """Equation 1 of pets_mean_teacher for maps (N,H,W) of one class: the mean over images."""
    return sum(1 - 2 * (a * b).sum().item() / ((a * a).sum() + (b * b).sum()).item() for a, b in zip(p, t, strict=True)) / len(p)


def dice_of_labels(logits: Tensor, mask: Tensor) -> float:
    return sum(dice_of(logits.softmax(1)[:, c], (mask == c).float()) for c in range(1, 5)) / 4
