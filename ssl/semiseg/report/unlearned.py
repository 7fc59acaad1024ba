"""Classes that were not learned: by no row of a study, or by single runs, which a mean over classes and seeds hides."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.report.statistics import Spread, spread
from semiseg.results import Results

ZERO = 5e-4
"""IoU below which a class scores 0: what a table of percent with one decimal prints as 0.0."""
LOST = 0.1
"""IoU below which a class is lost."""


class Zeros(NamedTuple):
    """Classes that no row has learned, and the score without them; `scores` is empty where the score is no mean over classes."""

    classes: tuple[str, ...]
    left: int  # classes that remain
    scores: Mapping[str, Spread]  # by row


def class_ious(results: Results) -> dict[tuple[str, str], dict[str, float]]:
    """IoU in [0, 1] by class of each (stage, role), on the scored split with the scored weights; NaN of an absent class."""
    score = results.study.score
    wanted = (pc.field("metric") == "iou") & (pc.field("split") == score.split) & (pc.field("weights") == score.weights)
    ious: dict[tuple[str, str], dict[str, float]] = {}
    for one in results.metrics.filter(wanted & (pc.field("class") != "")).to_pylist():
        ious.setdefault((one["key"], one["role"]), {})[one["class"]] = math.nan if one["value"] is None else one["value"]
    return ious


def zeros(results: Results, keys: Mapping[tuple[str, int], tuple[str, str]]) -> Zeros:
    """Classes whose IoU is 0 in every row and at every seed, though they are there; `keys` are (stage, role) by row and seed."""
    finite = {key: {name: iou for name, iou in one.items() if math.isfinite(iou)} for key, one in class_ious(results).items()}
    scored = {at: finite[key] for at, key in keys.items() if finite.get(key)}
    there = [name for name in results.study.classes if any(name in one for one in scored.values())]
    none = tuple(name for name in there if all(one.get(name, 0.0) < ZERO for one in scored.values()))
    others: dict[str, list[float]] = {}
    for (row, _), one in scored.items():
        left = [value for name, value in one.items() if name not in none]
        others.setdefault(row, []).append(sum(left) / len(left) if left else math.nan)
    means = {row: spread(values) for row, values in others.items()} if none and results.study.score.metric == "miou" else {}
    return Zeros(none, len(there) - len(none), means if len(there) > len(none) else {})


class LostClass(NamedTuple):
    """A class that one run does not hold, though most do."""

    row: str
    seed: int
    name: str
    iou: float  # in [0, 1]


def lost_classes(results: Results, keys: Mapping[tuple[str, int], tuple[str, str]]) -> tuple[LostClass, ...]:
    """Runs with a class of less than LOST that more than half of all runs hold; `keys` are (stage, role) by row and seed. A class that is
    hard for all of them is nobody's fault."""
    ious = class_ious(results)
    scored = {at: ious[key] for at, key in keys.items() if key in ious}
    found = []
    for name in results.study.classes:
        values = {at: one[name] for at, one in scored.items() if math.isfinite(one.get(name, math.nan))}
        lost = {at: iou for at, iou in values.items() if iou < LOST}
        if 2 * len(lost) < len(values):
            found += [LostClass(row, seed, name, iou) for (row, seed), iou in lost.items()]
    order = list(keys)
    return tuple(sorted(found, key=lambda one: order.index((one.row, one.seed))))
