"""The scored table as text for the terminal, Markdown, LaTeX and CSV. Percent with two decimals; "-" where there is no number."""

import csv
import io
import math
from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

from semiseg.report.cells import Cell
from semiseg.report.grid import MISSING, TICK, Grid, as_latex, as_markdown, as_text, named, percent
from semiseg.report.headroom import Headroom
from semiseg.report.metrics import Metrics, metrics_grid, plus_minus, written
from semiseg.report.scores import ScoredRow, ScoredTable
from semiseg.report.statistics import Paired, Ratio, Spread, verdict
from semiseg.report.unlearned import LOST
from semiseg.report.verdicts import what_intervals_are
from semiseg.results.printed import PrintedSpread

ANCHORS = "Anchors: labels only, with as many labelled images a step as the row has and as many steps as its chain; 'all labels': with all."
GAP = "Of the gap: (row - anchor) / (all labels - anchor), with Fieller's interval; left out where that is unbounded."
FAILED = "failed"
LOST_SHOWN = 6
"""Results that are named of those that lose a class."""


class TableLine(NamedTuple):
    """One row of the table as text; every table below arranges these."""

    name: str
    ticks: tuple[bool, ...]
    score: str
    delta: str
    role: str
    paper: tuple[str, ...]


def points(value: float) -> str:
    """A difference of fractions as signed points: 0.0123 -> "+1.23"; what rounds to zero has no minus."""
    return MISSING if math.isnan(value) else f"{round(100 * value, 2) + 0.0:+.2f}"


def interval(delta: Paired) -> str:
    """ "-7.94 [-9.01, -6.87]"; one seed has no interval."""
    if delta.n == 0:
        return MISSING
    if delta.n > 1 and math.isnan(delta.low):  # an anytime-valid one of so few seeds
        return f"{points(delta.mean)} (no bounds yet)"
    return (
        f"{points(delta.mean)} [{points(delta.low)}, {points(delta.high)}]" if delta.n > 1 else f"{points(delta.mean)} (one seed)"
    )


def share_text(share: Ratio) -> str:
    """ "41 % [30, 52]"; without an interval where that is unbounded or there is one seed."""
    if math.isnan(share.value):
        return MISSING
    value, low, high = (f"{round(100 * one) + 0}" if math.isfinite(one) else "" for one in share[1:])
    return f"{value} %" + (f" [{low}, {high}]" if low else "")


def closed_text(room: Headroom) -> str:
    """The share of the gap that a row closes; where fewer seeds have all labels than the row's delta has, their number: -25 % (n = 3)."""
    said = share_text(room.share)
    return said if said == MISSING or room.share.n == room.gain.n else f"{said} (n = {room.share.n})"


def paper_text(value: float, delta: float, behind: PrintedSpread | None = None) -> str:
    """The paper's number with its own difference to the row's opponent: "46.91 (-7.94)", "67.92 ± 0.31 (sd, n = 10) (-2.29)"."""
    if math.isnan(value):
        return MISSING
    said = plus_minus(value, behind) + (f" ({behind})" if behind else "")
    return said if math.isnan(delta) or delta == 0 else f"{said} ({round(delta, 2) + 0.0:+.2f})"


def line(row: ScoredRow, table: ScoredTable) -> TableLine:
    """Format one row."""
    seeds = table.due(row.name)
    lost = len(failed_cells(row))
    n = f"n = {row.score.n}" + (f" of {seeds}" if row.score.n < seeds else "") + (f", {lost} failed" if lost else "")
    sd = "" if math.isnan(row.score.sd) else f" ± {percent(row.score.sd)}"
    if row.delta is None:
        delta = "reference" if row.name in table.opponents else MISSING
    else:
        few = 1 < row.delta.n < seeds or table.until is not None
        delta = interval(row.delta) + (f" (n = {row.delta.n})" if few else "")
    return TableLine(
        name=row.name,
        ticks=tuple(switch in row.switches for switch in table.switches),
        score=f"{percent(row.score.mean)}{sd} ({n})" if row.score.n else FAILED if lost == seeds else MISSING,
        delta=delta,
        role=row.role or MISSING,
        paper=tuple(map(paper_text, row.paper, row.paper_delta, row.paper_spread)),
    )


def failed_cells(row: ScoredRow) -> dict[int, Cell]:
    """Cells by seed that will have no score, because their stage or one that it learns from failed."""
    return {seed: cell for seed, cell in row.cells.items() if cell.state in ("failed", "skipped")}


def cell_text(cell: Cell) -> str:
    """ "46.91", "failed", or "-" for what has not finished."""
    return FAILED if cell.state in ("failed", "skipped") else percent(cell.value)


def table_grid(table: ScoredTable, metric: str) -> Grid:
    """The table as text. Where rows have different opponents, a column names them."""
    to, several = (f" to {table.opponent}", False) if table.opponent else ("", True)
    columns = named("row", ["row"]) + named("tick", table.switches) + named("fact", table.columns)
    columns += named("number", [f"{metric}, %: mean ± sd", *_beside(table), f"delta{to} [95 % interval]", *_gap(table)])
    columns += named("text", [*["against"][: int(several)], "scored"])
    columns += named("paper", [f"paper: {column}" for column in compress(table.paper_columns, table.paper_beside)])
    lines = []
    for row in table.rows:
        one = line(row, table)
        against = [row.against or ""] if several else []
        ticks = [TICK if on else "" for on in one.ticks]
        others = [percent(table.zeros.scores[row.name].mean) if row.name in table.zeros.scores else MISSING for _ in _beside(table)]
        room = table.headrooms.get(row.name)
        gap = [closed_text(room) if room is not None and not room.doubtful else MISSING for _ in _gap(table)]
        numbers = (one.score, *others, one.delta, *gap)
        lines.append((one.name, *ticks, *row.facts, *numbers, *against, one.role, *compress(one.paper, table.paper_beside)))
    return Grid(columns, tuple(lines))


def _beside(table: ScoredTable) -> list[str]:
    """Head of the column of the score without classes that score 0 everywhere, if there is one."""
    return [f"of {table.zeros.left} class{'es' * (table.zeros.left > 1)}"] if table.zeros.scores else []


def _gap(table: ScoredTable) -> list[str]:
    """Head of the column of what rows do of all labels' gain, if there is one; an ablation says it in a sentence of its one row."""
    return ["of the gap [95 % interval]"] if table.comparison and table.headrooms else []


def notes(table: ScoredTable, rule: str) -> list[str]:
    """What a reader must know beside the numbers: rule, what n allows, what the interval is of."""
    compared = [row.delta for row in table.rows if row.delta is not None and row.delta.n and not row.added]
    if not table.comparison:  # the whole method, which no row is compared with, and its anchor
        compared += [room.gain for room in table.headrooms.values() if room.gain.n]
    smallest = min(compared, key=lambda delta: delta.n, default=None)
    count = f"{len(compared)} comparison{'' if len(compared) == 1 else 's'}"
    what = f"Deltas are paired by seed; intervals are Student's t with n - 1 degrees of freedom, unadjusted for {count}"
    what += "; verdicts are judged after Holm's adjustment." if len(table.fixed) > 1 else "."
    said = [verdict(smallest.n if smallest else 0)]
    if table.until is not None:
        what, said = f"Deltas are paired by seed. {what_intervals_are(table.until)}", []
    if table.headrooms:
        said.append(ANCHORS)
    if _gap(table):
        said.append(GAP)
    said += [*_lost_note(table), *_failed_note(table)]
    return [f"Scores: {rule}" if rule.endswith(".") else f"Scores: {rule}.", what, *said]


def _lost_note(table: ScoredTable) -> list[str]:
    """Results whose mean is low because they hold a class not at all."""
    if not table.lost:
        return []
    runs: dict[tuple[str, int], list[str]] = {}
    for row, seed, name, iou in table.lost:
        runs.setdefault((row, seed), []).append(f"{name} {percent(iou)} %")
    said = [f"{row} (seed {seed}: {', '.join(classes)})" for (row, seed), classes in runs.items()]
    more = [f"and {len(said) - LOST_SHOWN} more"] if len(said) > LOST_SHOWN else []
    scored, verb = sum(row.score.n for row in table.rows), "lose" if len(said) > 1 else "loses"
    rule = f"IoU below {100 * LOST:.0f} %, where most hold it"
    return [f"{len(said)} of {scored} results {verb} a class ({rule}): {'; '.join([*said[:LOST_SHOWN], *more])}."]


def _failed_note(table: ScoredTable) -> list[str]:
    """How many results failed, and which."""
    rows = {row.name: failed_cells(row) for row in table.rows}
    lost, asked = sum(map(len, rows.values())), len(table.rows) * len(table.seeds)
    if not lost:
        return []
    named = "; ".join(f"{row} (seed {', '.join(map(str, cells))})" for row, cells in rows.items() if cells)
    return [f"Failed: {lost} of {asked} results, which are in no mean and no difference: {named}."]


def text(table: ScoredTable, metric: str, rule: str, width: int | None = None, more: Metrics | None = None) -> str:
    """Plain aligned text for a terminal of `width` characters (None: as wide as it gets), then all metrics."""
    other = metrics_grid(more) if more else None
    return (
        "\n".join([as_text(table_grid(table, metric), width), *notes(table, rule), *(["", as_text(other)] if other else [])]) + "\n"
    )


def markdown(table: ScoredTable, metric: str, rule: str, more: Metrics | None = None, grids: Iterable[Grid | None] = ()) -> str:
    """A pipe table followed by its notes, then all metrics, then other tables."""
    others = [one for one in (metrics_grid(more) if more else None, *grids) if one]
    return "\n\n".join([as_markdown(table_grid(table, metric)), "\n".join(notes(table, rule)), *map(as_markdown, others)]) + "\n"


def latex(table: ScoredTable, metric: str, rule: str, more: Metrics | None = None, grids: Iterable[Grid | None] = ()) -> str:
    """A booktabs tabular, then all metrics and other tables as more of them; the notes stand above as comments."""
    others = [one for one in (metrics_grid(more) if more else None, *grids) if one]
    comments = ["% needs \\usepackage{booktabs,amssymb}", *(f"% {note}" for note in notes(table, " ".join(rule.split())))]
    return (
        "\n".join([*comments, as_latex(table_grid(table, metric)), *(part for one in others for part in ("", as_latex(one)))])
        + "\n"
    )


def comma_separated(table: ScoredTable, more: Metrics | None = None, grids: Iterable[Grid | None] = ()) -> str:
    """One line per row for other programs: switches as 1 and 0, every seed's score, percent; then what other tables say of the row, and
    n, mean and sd of every metric."""
    tables = [one for one in grids if one]
    several = not table.opponent
    head = ["row", *table.switches, *table.columns, "n", "mean", "sd", *(f"seed {seed}" for seed in table.seeds)]
    head += ["delta", "delta low", "delta high", "delta n", "p sign flip", *["against"][: int(several)], "scored"]
    head += ["anchor", "all labels", "of the gap", "of the gap low", "of the gap high"] if table.headrooms else []
    head += [name for column in table.paper_columns for name in (f"paper: {column}", f"paper delta: {column}")]
    spread_in = [any(row.paper_spread[i] for row in table.rows) for i in range(len(table.paper_columns))]
    behind = compress(table.paper_columns, spread_in)
    head += [f"paper {what}: {column}" for column in behind for what in ("spread", "spread is", "n")]
    head += [name for one in tables for name in one.head[1:]]
    head += [f"{name} {what}" for name in (more.names if more else ()) for what in ("n", "mean", "sd")]
    cells_of = [{name: cells for name, *cells in one.lines} for one in tables]
    nothing = [[MISSING] * (len(one.head) - 1) for one in tables]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for i, row in enumerate(table.rows):
        ticks = [int(switch in row.switches) for switch in table.switches]
        scores = [cell_text(row.cells[seed]) for seed in table.seeds]
        delta = [MISSING] * 5
        if row.delta is not None:
            p = MISSING if math.isnan(row.delta.p) else f"{row.delta.p:.4g}"
            delta = [points(row.delta.mean), points(row.delta.low), points(row.delta.high), row.delta.n, p]
        stated = [
            MISSING if math.isnan(number) else f"{number:.2f}"
            for pair in zip(row.paper, row.paper_delta, strict=True)
            for number in pair
        ]
        for one in compress(row.paper_spread, spread_in):
            stated += [f"{one.value:g}", one.kind, str(one.n)] if one else [MISSING] * 3
        against = [row.against or MISSING] if several else []
        values = zip(more.names, more.lines[i].values, strict=True) if more and more.lines else ()
        others = [one for name, value in values for one in _summary(value, name)]
        writer.writerow(
            [
                *(row.name, *ticks, *row.facts, *_summary(row.score), *scores, *delta, *against, row.role or MISSING),
                *(_room(table, row.name) if table.headrooms else []),
                *stated,
                *(cell for cells, none in zip(cells_of, nothing, strict=True) for cell in cells.get(row.name, none)),
                *others,
            ]
        )
    return stream.getvalue()


def _room(table: ScoredTable, row: str) -> list[str]:
    """A row's anchor, the same with all labels, and what the row does of their difference, in percent."""
    room = table.headrooms.get(row)
    if room is None:
        return [MISSING] * 5
    return [room.anchor, room.all_labels or MISSING, *map(percent, room.share[1:])]


def _summary(value: Spread, metric: str = "") -> tuple[int, str, str]:
    return value.n, written(metric, value.mean), written(metric, value.sd)
