"""Networks, settings and slow loops that the tests of one-way consistency share. Not a test module."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tiny
import torch
from torch import Tensor, nn

from semiseg.augment import CutMix, Cutout, Move, Perturbation, Perturbed, PhTPS, View
from semiseg.batch import IGNORE, Batch
from semiseg.methods.one_way import OneWay
from semiseg.methods.rule import State
from semiseg.schedules import Moment

NOW = Moment(3, 10, 5)
STILL = PhTPS(value_shift=0.0, saturation=(1.0, 1.0), hue=0.0, value_scale=(1.0, 1.0), permute=False)
"""Geometry alone."""
FRENCH: dict[str, Any] = {"distance": "mse_sum", "threshold": 0.97}
"""What goes with CutMix* and Cutout of French et al. 2020."""
ROWS: dict[str, dict[str, Any]] = {
    "phtps": {"perturbation": PhTPS()},
    "cutmix": {"perturbation": CutMix()},
    "cutmix*": {"perturbation": CutMix(), **FRENCH},
    "cutout": {"perturbation": Cutout(), **FRENCH},
}
"""The perturbations of grubisic2021 with their own distance and threshold."""
PAIRS = [("1w-ps", "simple"), ("1w-ps", "mean"), ("1w-pt", "simple"), ("1w-pt", "mean"), ("2w-p1", "simple")]
PAIRS_P2 = [("1w-p2", "simple"), ("1w-p2", "mean")]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def rule(direction: Any = "1w-ps", teacher: Any = "mean", **changes: Any) -> OneWay:
    settings: dict[str, Any] = {"direction": direction, "teacher": teacher, "weight": 1.0}
    return OneWay(**(settings | changes))


def pixel_network(seed: int) -> nn.Module:
    """A class for each pixel from its colour alone: it commutes with any warp."""
    torch.manual_seed(seed)
    network = nn.Conv2d(3, len(tiny.CLASSES), 1)
    with torch.no_grad():
        network.weight *= 8
    return network


def pixel_state(one: OneWay) -> State:
    """Networks of different weights, unless the teacher is simple."""
    state = one.start(lambda role="student": pixel_network(0))
    if state.teacher is not None:
        state.teacher.load_state_dict(pixel_network(1).state_dict())
    return state


def terms(one: OneWay, state: State, batch: Batch) -> dict[str, Tensor]:
    return dict(one.loss(state, batch, NOW, generator()))


def consistency(one: OneWay, batch: Batch) -> float:
    return terms(one, pixel_state(one), batch)["consistency"].item()


def cropped(batch: Batch) -> Batch:
    """The batch with three columns of padding in every image."""
    valid = batch.valid.clone()
    valid[..., :3] = False
    return batch._replace(valid=valid, mask=batch.mask.masked_fill(~valid, IGNORE))


def kl_of_pixels(target: Tensor, prediction: Tensor, valid: Tensor) -> float:
    """KL(softmax(target) || softmax(prediction)) over valid pixels, one by one, in double precision."""
    each = []
    for n, y, x in valid.nonzero().tolist():
        p, q = (logits[n, :, y, x].double().softmax(0).tolist() for logits in (target, prediction))
        each.append(sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True)))
    return sum(each) / len(each)


def sampled(tensor: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear sampling pixel by pixel, and which pixels read from the frame alone."""
    count, channels, height, width = tensor.shape
    found, inside = torch.zeros(count, channels, height, width), torch.ones(count, height, width, dtype=torch.bool)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                u, v = ((grid[n, y, x].double() + 1) / 2 * torch.tensor([width - 1, height - 1])).tolist()
                for j in (math.floor(v), math.floor(v) + 1):
                    for i in (math.floor(u), math.floor(u) + 1):
                        share = (1 - abs(u - i)) * (1 - abs(v - j))
                        if 0 <= i < width and 0 <= j < height:
                            found[n, :, y, x] += share * tensor[n, :, j, i]
                        elif share > 1e-6:
                            inside[n, y, x] = False
    return found, inside


@dataclass(frozen=True, kw_only=True)
class Given(Perturbation):
    """Leaves the colours alone and moves by moves that are known beforehand, one after the other."""

    moves: Iterator[Move]

    def __call__(
        self, view: View, generator: torch.Generator, *, partner: View | None = None, probs: Tensor | None = None
    ) -> Perturbed:
        move = next(self.moves)
        return Perturbed(view.image, move(view.valid), move, view.image)


def state_of(student: nn.Module, teacher: nn.Module | None = None) -> State:
    return (
        State({"student": student})
        if teacher is None
        else State({"student": student}, {"teacher": teacher}, {"teacher": "student"})
    )


class Table(nn.Module):
    """Says the same logits (C,H,W) for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits.expand(len(image), *self.logits.shape)


def mixed_by_loops(mask: Tensor, tensor: Tensor) -> Tensor:
    """Inside its box each image shows the one before it, the first one the last."""
    found = tensor.clone()
    for n, _, y, x in mask.nonzero().tolist():
        found[n, ..., y, x] = tensor[n - 1, ..., y, x]
    return found
