"""What all labels add to a row's anchor, how much of that the row does, and whether a difference that is not seen says anything."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.report.decisions import comparison
from semiseg.report.statistics import Paired, Ratio, Spread, fieller, spread
from semiseg.results import Results, StudyRecord

ZERO = 5e-4
"""IoU below which a class scores 0: what a table of percent with one decimal prints as 0.0."""


class Headroom(NamedTuple):
    """A row beside its anchor, labels only with as many labelled images a step and as many steps, and beside the same with all labels.

    `gap` is all labels minus anchor (n = 0 where the row has all labels), `gain` row minus anchor, `share` gain / gap.
    """

    row: str
    anchor: str
    all_labels: str | None
    gap: Paired
    gain: Paired
    share: Ratio
    least: float  # a fraction: what a gap has to be
    shown: bool = False  # whether it has to be shown, by an anytime-valid interval, that there is nothing to gain

    @property
    def doubtful(self) -> bool:
        """Whether all labels add so little, or so uncertainly, that a method which gains nothing need not be to blame."""
        if self.shown:
            return self.gap.high < self.least
        return bool(self.gap.n) and (self.gap.mean < self.least or self.gap.low <= 0)

    @property
    def reason(self) -> str:
        """Why it is doubtful."""
        if self.shown:
            low, high = (f"{round(100 * one, 1) + 0.0:.1f}" for one in (self.gap.low, self.gap.high))
            return f"all labels add less than {100 * self.least:g} points [{low}, {high}]"
        if self.gap.mean < self.least:
            return f"all labels add only {round(100 * self.gap.mean, 1) + 0.0:.1f} points"
        low, high = (f"{round(100 * one, 1) + 0.0:+.1f}" for one in (self.gap.low, self.gap.high))
        return f"what all labels add, {100 * self.gap.mean:.1f} points [{low}, {high}], may be nothing"


def headrooms(study: StudyRecord, values: Mapping[str, Mapping[int, float]]) -> dict[str, Headroom]:
    """Of every row with an anchor, from the scores by row and seed."""
    found, compare, shown = {}, comparison(study), study.until is not None
    for row, anchors in study.anchors.items():
        few, every = values[anchors.row], values[anchors.all_labels] if anchors.all_labels else {}
        share = fieller(values[row], every, few)  # its interval is one of independent seeds
        found[row] = Headroom(
            row,
            anchors.row,
            anchors.all_labels,
            compare(every, few),
            compare(values[row], few),
            share if study.vary != "crossed" and not shown else _point(share),
            study.headroom / 100,
            shown,
        )
    return found


def _point(share: Ratio) -> Ratio:
    """Without the interval, which is one for a fixed number of seeds."""
    return share._replace(low=math.nan, high=math.nan)


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
    ious = {key: one for key, one in finite.items() if one}
    scored = {at: ious[key] for at, key in keys.items() if key in ious}
    there = [name for name in results.study.classes if any(name in one for one in scored.values())]
    none = tuple(name for name in there if all(one.get(name, 0.0) < ZERO for one in scored.values()))
    others: dict[str, list[float]] = {}
    for (row, _), one in scored.items():
        left = [value for name, value in one.items() if name not in none]
        others.setdefault(row, []).append(sum(left) / len(left) if left else math.nan)
    means = {row: spread(values) for row, values in others.items()} if none and results.study.score.metric == "miou" else {}
    return Zeros(none, len(there) - len(none), means if len(there) > len(none) else {})
