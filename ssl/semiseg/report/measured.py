"""A results folder as the tables of docs/measured.md: rows with verdicts, the course of training, the quality of pseudo-masks."""

import math
from collections.abc import Sequence

from semiseg.report.answer import answer, margin_words
from semiseg.report.data import ReportData
from semiseg.report.grid import MISSING, Grid, named, percent
from semiseg.report.power import MOST_SEEDS
from semiseg.report.pseudo import OVER_ALL, pseudo_info
from semiseg.report.scores import PartDelta, ScoredRow, ScoredTable, part_deltas
from semiseg.report.statistics import OF_ROW, Paired, Spread, Standing, spread
from semiseg.report.tables import closed_text, interval, notes, paper_text
from semiseg.report.training import selection_info
from semiseg.report.verdicts import what_intervals_are

ENDS: dict[Standing, str] = {"better here": "helps", "worse here": "hurts", "earns its place": "helps", "hurts here": "hurts"}
SIDES: dict[Standing, str] = {"better here": "better", "worse here": "worse"}
SHARES = (25, 50, 75, 100)
"""Percent of a stage's steps at which its score is shown."""


def verdict_on(table: ScoredTable, row: str, against: str, delta: Paired, words: dict[Standing, str] = ENDS) -> str:
    """What is said of row minus against: `words` of a difference, equivalent, cannot tell and why, or undecided and the seeds that it
    would take."""
    room = table.doubted(row)
    return _in_words(table, table.stands(row, against, delta, OF_ROW, room is not None), row, against, delta, words)


def _in_words(table: ScoredTable, said: Standing, row: str, against: str, delta: Paired, words: dict[Standing, str]) -> str:
    if said in words:
        return words[said]
    if said == "equivalent":
        return f"equivalent within {margin_words(table.margin)}"
    if said == "cannot tell here":
        room = table.doubted(row)
        return "cannot tell" + (f": {room.reason}" if room else "")
    return "no result" if said == "no result yet" else "undecided" + _more(table, row, against, delta)


def _more(table: ScoredTable, row: str, against: str, delta: Paired) -> str:
    """How many further seeds a decision will probably take, if mean and spread are as seen."""
    decision = table.decision(row, against)
    if decision is not None:
        return "" if decision.more is None else _seeds(decision.more)
    fixed = table.fixed.get((row, against)) or table.fixed.get((against, row))
    if fixed is None or delta.n < 2:
        return ""
    enough = [seeds for seeds in (fixed.to_detect, fixed.to_equate) if not math.isnan(seeds)]
    if not enough:
        return ""
    return f", more than {MOST_SEEDS} seeds" if math.isinf(min(enough)) else _seeds(max(int(min(enough)) - delta.n, 1))


def _seeds(count: int) -> str:
    return f", about {count} more seed{'s' * (count > 1)}"


def measured_grid(data: ReportData) -> Grid:
    """Every row with its score, whom it is compared with, what of the gap it closes and a verdict; the reference of an ablation, with
    which the others are compared, beside its anchor."""
    table = data.table
    parts = {part.row: part for part in part_deltas(table) if not part.quantity}
    gaps = [row for row, room in table.headrooms.items() if not room.doubtful and not math.isnan(room.share.value)]
    heads = [f"{data.label}, %: mean ± sd", "n"]
    columns = (
        named("row", ["row"]) + named("number", heads) + named("text", ["against"]) + named("number", ["delta [95 % interval]"])
    )
    columns += named("number", ["of the gap"][: len(gaps)]) + named("text", ["verdict"])
    beside = [i for i, shown in enumerate(table.paper_beside) if shown]
    columns += named("paper", [f"paper: {table.paper_columns[i]}" for i in beside])
    lines = []
    for row in table.rows:
        against, delta, verdict = _judged(table, row, parts.get(row.name))
        gap = closed_text(table.headrooms[row.name]) if row.name in gaps else MISSING
        paper = [paper_text(row.paper[i], row.paper_delta[i], row.paper_spread[i]) for i in beside]
        compared = (against, interval(delta) if delta is not None else MISSING, *[gap][: len(gaps)], verdict)
        lines.append((row.name, plus_or_minus(row.score), str(row.score.n), *compared, *paper))
    return Grid(columns, tuple(lines))


def _judged(table: ScoredTable, row: ScoredRow, part: PartDelta | None) -> tuple[str, Paired | None, str]:
    """Whom a row stands beside, by how much it is above, and what that says: of an ablation's row of what it lacks."""
    room = table.headrooms.get(row.name)
    if not table.comparison and row.name == table.reference and room is not None:
        return room.anchor, room.gain, verdict_on(table, row.name, room.anchor, room.gain)
    if row.added or row.against is None or row.delta is None:
        return MISSING, None, MISSING
    if part is not None:
        said = _in_words(table, part.standing, table.reference, row.name, part.gain, ENDS)
        return row.against, row.delta, f"{'+'.join(part.removed)}: {said}"
    words = ENDS if table.comparison else SIDES
    return row.against, row.delta, verdict_on(table, row.name, row.against, row.delta, words)


def plus_or_minus(score: Spread) -> str:
    """ "46.91 ± 0.52", in percent; one seed has no spread."""
    return MISSING if not score.n else percent(score.mean) + ("" if math.isnan(score.sd) else f" ± {percent(score.sd)}")


def claims(data: ReportData, rows: Sequence[str] = ()) -> list[tuple[str, str, str, str, str, str]]:
    """Of every row with an anchor, or of some: row, anchor, delta with interval, verdict, share of the gap, n. In a study without
    anchors, of every row beside the one that it is compared with. A row that its study compares with another one than its anchor has the
    verdict on that."""
    found = []
    for row in () if data.table.headrooms else data.table.rows:
        against, delta, verdict = _judged(data.table, row, None)
        if delta is not None and (not rows or row.name in rows):
            found.append((row.name, against, interval(delta), verdict, MISSING, str(delta.n)))
    for name, room in data.table.headrooms.items():
        if not rows or name in rows:
            share = MISSING if room.doubtful else closed_text(room)
            against, delta, verdict = _judged(data.table, data.table.row(name), None)
            if not data.table.comparison or delta is None or against == room.anchor:
                verdict = verdict_on(data.table, name, room.anchor, room.gain)
            else:
                verdict = f"not judged; beside '{against}': {verdict}"
            found.append((name, room.anchor, interval(room.gain), verdict, share, str(room.gain.n)))
    return found


def beside_rows(data: ReportData) -> list[str]:
    """What all labels add, which is what there is to gain, how far the study came, and how the numbers are to be read."""
    said = answer(data.table, data.label)
    gap = [sentence for sentence in said.first if sentence.startswith(("All labels", "The class"))]
    until = data.table.until
    came = [] if until is None else [said.caveat.removesuffix(what_intervals_are(until)).rstrip()]  # the notes say what they are
    return [*gap, *came, *notes(data.table, data.study.score.rule)]


def course_grid(data: ReportData) -> Grid | None:
    """The score on selection images, percent, along every kind of stage: mean ± sd over seeds; None where no curve is recorded. A stage
    of no steps, which picks one of two models, has no course."""
    curves = [one for one in selection_info(data.results).seeds if math.isfinite(one.length)]
    lines = []
    for stage in dict.fromkeys(one.stage for one in curves):
        own = [one for one in curves if one.stage == stage]
        at = [[_at(one.steps, one.values, share / 100 * one.length) for one in own] for share in SHARES]
        lengths = dict.fromkeys(f"{one.length:.0f}" for one in own)
        lines.append((stage, " / ".join(lengths), str(len(own)), *(_mean_of(values) for values in at)))
    if not lines:
        return None
    heads = ["steps", "n", *(f"at {share} %" for share in SHARES)]
    return Grid(named("row", ["stage"]) + named("number", heads), tuple(lines))


def _at(steps: Sequence[float], values: Sequence[float], step: float) -> float:
    """The score at the first scoring that is not before a step, but for rounding of a step."""
    return next((value for at, value in zip(steps, values, strict=True) if at >= step - 1), math.nan)


def _mean_of(values: Sequence[float]) -> str:
    return plus_or_minus(spread(value / 100 for value in values))


def pseudo_grid(data: ReportData) -> Grid | None:
    """How good the pseudo-masks and own targets are that each kind of stage learns, percent, mean over seeds; None without any."""
    lines = [
        (line.name, str(line.seeds), *(_percent_of(line.values.get(("", metric), math.nan)) for metric in OVER_ALL))
        for line in pseudo_info(data.results).lines
    ]
    return Grid(named("row", ["stage ← maker"]) + named("number", ["n", *OVER_ALL.values()]), tuple(lines)) if lines else None


def _percent_of(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2f}"
