"""Classes that were not learned: by no row of a study, or by single runs, which a mean over classes and seeds hides."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.report.statistics import Spread, spread
from semiseg.results import Results, StudyRecord

ZERO = 5e-4
"""IoU below which a class scores 0: what a table of percent with one decimal prints as 0.0."""
LOST = 0.1
"""IoU below which a class is lost."""
Run = tuple[str, int]
"""A row and a seed."""


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


def held_ious(results: Results, keys: Mapping[Run, tuple[str, str]]) -> dict[Run, dict[str, float]]:
    """IoU of the classes that are there by (row, seed), whose (stage, role) are `keys`; runs without any are left out."""
    ious = class_ious(results)
    held = {run: {name: iou for name, iou in ious.get(key, {}).items() if math.isfinite(iou)} for run, key in keys.items()}
    return {run: one for run, one in held.items() if one}


def zeros(study: StudyRecord, held: Mapping[Run, Mapping[str, float]]) -> Zeros:
    """Classes whose IoU is 0 in every row and at every seed, though they are there."""
    there = [name for name in study.classes if any(name in one for one in held.values())]
    none = tuple(name for name in there if all(one.get(name, 0.0) < ZERO for one in held.values()))
    others: dict[str, list[float]] = {}
    for (row, _), one in held.items():
        left = [value for name, value in one.items() if name not in none]
        others.setdefault(row, []).append(sum(left) / len(left) if left else math.nan)
    means = {row: spread(values) for row, values in others.items()} if none and study.score.metric == "miou" else {}
    return Zeros(none, len(there) - len(none), means if len(there) > len(none) else {})


class LostClass(NamedTuple):
    """A class that one run does not hold, though most do."""

    row: str
    seed: int
    name: str
    iou: float  # in [0, 1]


def lost_classes(held: Mapping[Run, Mapping[str, float]]) -> tuple[LostClass, ...]:
    """Classes of runs with an IoU below LOST that more than half of all runs have above it: one that is hard for all is no run's fault."""
    runs = Counter(name for one in held.values() for name in one)
    lost = [LostClass(*run, name, iou) for run, one in held.items() for name, iou in one.items() if iou < LOST]
    times = Counter(one.name for one in lost)
    return tuple(one for one in lost if 2 * times[one.name] < runs[one.name])
