"""What a study that adds seeds until all is decided has decided: its comparisons, and what one anytime-valid interval says of each.

Engine (`semiseg.sweep.until`) and page ask here, so that what ends the one is what the other shows. A comparison is decided by the first
number of seeds at which its interval (`semiseg.report.sequential`, the intersection over all numbers of seeds) excludes 0 or lies within
the margin; as it only shrinks, that stays. Where what all labels add to an anchor is shown to be less than the headroom asked for, a
comparison of that row that shows no difference cannot tell. This gap is one of the comparisons among which the level is shared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from semiseg.report.crossed import in_design
from semiseg.report.effects import effects_of
from semiseg.report.sequential import intervals, seeds_until
from semiseg.report.statistics import OF_ROW, Paired, Standing, paired, spread
from semiseg.results import StudyRecord

Scores = Mapping[str, Mapping[int, float]]
"""Score by row and seed, fractions; seeds without one are left out or NaN."""
Comparison = Callable[[Mapping[int, float], Mapping[int, float]], Paired]
Verdict = Literal["helps", "hurts", "equivalent", "cannot tell", "undecided", "no result"]


class Quantity(NamedTuple):
    """A number with one value a seed that is to be told from 0, or shown to be within the margin."""

    rows: tuple[str, ...]
    """Rows whose scores of a seed it needs."""
    deltas: Mapping[int, float]
    """By seed, fractions."""
    gap: str = ""
    """The quantity that says whether there is anything to gain."""
    least: float | None = None
    """Of a gap: below this, a fraction, there is nothing to gain. It is judged by that alone."""


class Decision(NamedTuple):
    """What is known of a quantity. `paired` has the anytime-valid interval, NaN while that is unbounded."""

    verdict: Verdict
    paired: Paired
    after: int | None
    """Seeds after which it was decided."""
    more: int | None
    """Seeds that it will probably take further; None where it is decided or nothing is known of its spread."""

    def opposite(self) -> "Decision":
        """Of the same quantity with the other sign."""
        turned: Verdict = "hurts" if self.verdict == "helps" else "helps" if self.verdict == "hurts" else self.verdict
        return Decision(turned, self.paired.opposite(), self.after, self.more)


def pair_name(row: str, against: str) -> str:
    """Name of the quantity row minus against."""
    return f"{row} - {against}"


def of_rows(study: StudyRecord, scores: Scores) -> dict[str, Quantity]:
    """Every declared row minus the row it is compared with, then the reference of an ablation minus its anchor; and gaps: all labels
    minus anchor, of every row that has both."""
    pairs: dict[tuple[str, str], str] = {}
    gaps: dict[tuple[str, str], None] = {}

    def gap_of(row: str) -> str:
        anchors = study.anchors.get(row)
        if anchors is None or anchors.all_labels is None or anchors.all_labels == anchors.row:
            return ""
        gaps[anchors.all_labels, anchors.row] = None
        return pair_name(anchors.all_labels, anchors.row)

    for row in study.rows:
        other = (study.against or {}).get(row, study.reference)
        if row not in study.added and other not in (None, row):
            pairs[row, str(other)] = gap_of(row if study.against is not None else study.reference)
    anchors = study.anchors.get(study.reference)
    if study.against is None and anchors is not None:
        pairs.setdefault((study.reference, anchors.row), gap_of(study.reference))
    found = {pair_name(*pair): Quantity(pair, _minus(scores, *pair), gap) for pair, gap in pairs.items()}
    for pair in gaps:
        found[pair_name(*pair)] = Quantity(pair, _minus(scores, *pair), least=study.headroom / 100)
    return found


def _minus(scores: Scores, row: str, other: str) -> dict[int, float]:
    return _differences(scores.get(row, {}), scores.get(other, {}))


def _differences(row: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    return {seed: row[seed] - other[seed] for seed in sorted(row) if math.isfinite(row[seed] - other.get(seed, math.nan))}


def of_effects(study: StudyRecord, scores: Scores) -> dict[str, Quantity]:
    """What a study of effects is asked for, then the reference minus its anchor, and their gap; nothing of another study."""
    whole = (study.reference, study.anchors[study.reference].row) if study.reference in study.anchors else ()
    beside = {name: one for name, one in of_rows(study, scores).items() if one.least is not None or one.rows == whole}
    gap = next((one.gap for one in beside.values() if one.gap), "")
    asked = [one for one in effects_of(study.effects, scores) if one.decided]
    return {one.name: Quantity(tuple(one.rows), one.values.deltas, gap) for one in asked} | beside if asked else {}


def quantities(study: StudyRecord, scores: Scores) -> dict[str, Quantity]:
    """What is to be decided, by name."""
    return of_effects(study, scores) or of_rows(study, scores)


def judge(found: Mapping[str, Quantity], level: float, margin: float) -> dict[str, Decision]:
    """What is known of every quantity, each held to `level`; `margin` is a fraction."""
    gaps = {name: _of_gap(one, level, one.least) for name, one in found.items() if one.least is not None}
    return {name: gaps[name] if name in gaps else _of_part(one, level, margin, gaps.get(one.gap)) for name, one in found.items()}


def _of_gap(one: Quantity, level: float, least: float) -> Decision:
    """A gap `helps` when it is at least what is asked for, and `hurts` when it is less."""
    ends = _ends(one.deltas, level)
    delta = _with_ends(one.deltas, ends)
    for n, (low, high) in enumerate(ends, 1):
        if low >= least or high < least:
            return Decision("helps" if low >= least else "hurts", delta, n, None)
    return Decision("undecided" if delta.n else "no result", delta, None, _more(delta, level, abs(delta.mean - least)))


def _of_part(one: Quantity, level: float, margin: float, gap: Decision | None) -> Decision:
    ends = _ends(one.deltas, level)
    delta = _with_ends(one.deltas, ends)
    verdict, after = _first(ends, margin)
    if gap is not None and gap.verdict == "hurts" and delta.n and verdict in ("equivalent", "undecided"):
        return Decision("cannot tell", delta, max(after or 0, gap.after or 0), None)
    if verdict != "undecided":
        return Decision(verdict, delta, after, None)
    enough = max(abs(delta.mean), margin - abs(delta.mean))
    return Decision("undecided" if delta.n else "no result", delta, None, _more(delta, level, enough))


def _first(ends: np.ndarray, margin: float) -> tuple[Verdict, int | None]:
    for n, (low, high) in enumerate(ends, 1):
        if low > 0 or high < 0:
            return ("helps" if low > 0 else "hurts"), n
        if -margin < low and high < margin:
            return "equivalent", n
    return "undecided", None


def _more(delta: Paired, level: float, half: float) -> int | None:
    """Further seeds until the interval is narrower than plus and minus `half`, if mean and spread stay."""
    if delta.n < 2 or not math.isfinite(half):
        return None
    return max(seeds_until(half, delta.sd, level) - delta.n, 1)


def _ends(deltas: Mapping[int, float], level: float) -> np.ndarray:
    return intervals([deltas[seed] for seed in sorted(deltas)], level)


def anytime(deltas: Mapping[int, float], level: float) -> Paired:
    """Values by seed with the anytime-valid interval of their mean in place of Student's, and without a test at fixed n."""
    return _with_ends(deltas, _ends(deltas, level))


def _with_ends(deltas: Mapping[int, float], ends: np.ndarray) -> Paired:
    low, high = ends[-1].tolist() if len(ends) else (math.nan, math.nan)
    low, high = (low, high) if math.isfinite(low) and math.isfinite(high) else (math.nan, math.nan)
    return Paired({seed: deltas[seed] for seed in sorted(deltas)}, *spread(deltas.values()), low, high, math.nan)


def comparison(study: StudyRecord) -> Comparison:
    """How rows of the study are compared, seed by seed: with Student's interval, that of a crossed design, or the anytime-valid one."""
    until = study.until
    if until is None:
        return lambda row, reference: in_design(study, paired(row, reference))
    level = until.level / until.comparisons
    return lambda row, reference: anytime(_differences(row, reference), level)


def decisions(study: StudyRecord, scores: Scores) -> dict[str, Decision]:
    """What the study has decided so far, by name; empty for one with a fixed number of seeds."""
    if study.until is None:
        return {}
    return judge(quantities(study, scores), study.until.level / study.until.comparisons, study.margin / 100)


def standing_of(decision: Decision, words: tuple[Standing, Standing] = OF_ROW) -> Standing:
    """The decision in the page's words: `words` are those of a difference above and below 0."""
    said: Mapping[Verdict, Standing] = {
        "helps": words[0],
        "hurts": words[1],
        "equivalent": "equivalent",
        "cannot tell": "cannot tell here",
        "undecided": "undecided",
        "no result": "no result yet",
    }
    return said[decision.verdict]


def in_order(scores: Mapping[int, float], waiting: Sequence[int]) -> dict[int, float]:
    """Scores of the seeds before the first one that is still waited for: what comes later is looked at when its turn has come."""
    return {seed: value for seed, value in scores.items() if not waiting or seed < min(waiting)}
