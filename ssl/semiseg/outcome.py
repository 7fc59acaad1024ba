"""What a stage leaves behind, and what changes while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Outcome:
    """All that a finished stage leaves behind."""

    weights: dict[str, Tensor]
    """"best.student.NAME", "last.teacher.NAME" ... on the CPU."""
    metrics: list[dict[str, Any]]
    """A score each: key, role, weights, split, step, class, metric, and value in [0,1] or nan."""
    curves: list[dict[str, Any]]
    """A point each: key, step, name, such as "loss/total", and value."""
    samples: dict[int, np.ndarray]
    """Predicted masks uint8 by row of the pack, of SAMPLES images, by the reported weights, with the rows and columns of `Pack.picture`."""
    chosen_step: int
    """Steps after which the reported weights were taken."""
    seconds: float
    """Wall time of training and scoring."""
    images: int
    """Images that its mini-batches held in all."""
    targets: list[dict[str, Any]] = field(default_factory=list)
    """How good the targets are that its own networks make of unlabelled images at the last step; lines of the table `pseudo`."""

    counts: list[dict[str, Any]] = field(default_factory=list)
    """Pixels of confusion matrices and of calibration bins, of the weights and images that are scored; lines of the table `counts`."""


@dataclass
class Progress:
    """What changes while a stage runs, besides its networks, their optimisers and the best weights; a checkpoint holds all of it."""

    step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    selection: float = float("nan")
    seconds: float = 0.0
    curves: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    targets: list[dict[str, Any]] = field(default_factory=list)


def count_lines(counts: Mapping[tuple[str, str, str], float], place: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines of the table `counts` of one evaluation; `place` is key, role, weights and split."""
    return [{**place, "table": table, "first": one, "second": two, "value": value} for (table, one, two), value in counts.items()]
