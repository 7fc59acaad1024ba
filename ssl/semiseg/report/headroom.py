"""What all labels add to a row's anchor, how much of that the row does, and whether a difference that is not seen says anything."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from semiseg.report.decisions import comparison
from semiseg.report.statistics import Paired, Ratio, fieller
from semiseg.results import StudyRecord


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
