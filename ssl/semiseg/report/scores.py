"""From the tables of a results folder to one scored table: rows, seeds, differences between rows, parts that were removed.

A study is an ablation (every row is compared with the reference row) or, when study.json says who is `against` whom, a comparison.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from semiseg.report.cells import Cell, score_cells
from semiseg.report.decisions import Decision, comparison, decisions, in_order, pair_name, standing_of
from semiseg.report.effects import Effect, effects_of, where_words
from semiseg.report.fixed import Fixed, fixed_statistics, judged
from semiseg.report.headroom import Headroom, headrooms
from semiseg.report.statistics import OF_PART, OF_ROW, Paired, Spread, Standing, spread, standing
from semiseg.report.unlearned import LostClass, Zeros, held_ious, lost_classes, zeros
from semiseg.report.words import row_words
from semiseg.results import Results, StudyRecord
from semiseg.results.printed import PrintedSpread
from semiseg.results.until import UntilRecord


class ScoredRow(NamedTuple):
    """One line of the table. `delta` is this row minus the row `against`; both are None for a row that is compared with none."""

    name: str
    switches: tuple[str, ...]
    facts: tuple[str, ...]  # method and settings, one per column; "" where the row says nothing
    cells: dict[int, Cell]
    score: Spread
    against: str | None
    delta: Paired | None
    role: str
    paper: tuple[float, ...]  # percent, as printed in the paper; NaN where it states nothing
    paper_delta: tuple[float, ...]  # NaN too in columns of another metric than the score
    added: bool = False  # an anchor that the table does not declare
    paper_spread: tuple[PrintedSpread | None, ...] = ()  # per column, what is printed behind the number


class PartDelta(NamedTuple):
    """What the reference row has and another row lacks. `gain` is the reference minus that row: positive when the part helps."""

    removed: tuple[str, ...]
    row: str
    gain: Paired
    standing: Standing
    paper_gain: tuple[float, ...]
    where: str = ""  # what the gain is of, unless it is the reference minus `row`
    quantity: str = ""  # of an effect its name


class Compared(NamedTuple):
    """One row beside the row it is compared with. `delta` is positive when the row is better."""

    row: str
    against: str
    delta: Paired
    standing: Standing
    paper_delta: tuple[float, ...]


class ScoredTable(NamedTuple):
    """A scored table; `columns` are the heads of the rows' `facts`."""

    switches: tuple[str, ...]
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[ScoredRow, ...]
    reference: str
    baseline: str | None
    paper_columns: tuple[str, ...]
    paper_beside: tuple[bool, ...]  # per column, whether it stands beside the score; others stand in the table of all metrics
    comparison: bool  # study.json says who is against whom
    headrooms: Mapping[str, Headroom]  # by row
    zeros: Zeros
    lost: tuple[LostClass, ...]
    until: UntilRecord | None = None
    decisions: Mapping[str, Decision] = {}  # by name, of a study that adds seeds until all is decided
    margin: float = 1.0  # points
    effects: tuple[Effect, ...] = ()  # of a study of effects
    fixed: Mapping[tuple[str, str], Fixed] = {}  # of `judged_deltas`; none where seeds are added until all is decided

    def row(self, name: str) -> ScoredRow:
        """The row called `name`."""
        return next(row for row in self.rows if row.name == name)

    @property
    def headroom(self) -> Headroom | None:
        """That of the reference, or of the first row that has one."""
        return self.headrooms.get(self.reference) or next(iter(self.headrooms.values()), None)

    def doubted(self, row: str) -> Headroom | None:
        """What makes it doubtful that there is anything to gain for the row; in an ablation for the reference, which stands for all."""
        found = self.headrooms.get(row) if self.comparison else self.headroom
        return found if found is not None and found.doubtful else None

    def due(self, *rows: str) -> int:
        """Seeds that all those rows need."""
        return min(sum(cell.state != "not needed" for cell in self.row(name).cells.values()) for name in rows)

    def stands(
        self, row: str, against: str, delta: Paired, words: tuple[Standing, Standing] = OF_ROW, doubtful: bool = False
    ) -> Standing:
        """What is said of row minus against, `delta`: decided with an anytime-valid interval, or at fixed n judged within the table,
        whichever of the two is a line of it."""
        if (decision := self.decision(row, against)) is not None:
            return standing_of(decision, words)
        fixed = self.fixed.get((row, against)) or self.fixed.get((against, row))
        return judged(standing(delta, words, doubtful), fixed, doubtful)

    def decision(self, row: str, against: str) -> Decision | None:
        """What has been decided of row minus against; None where the number of seeds is fixed."""
        if (turned := self.decisions.get(pair_name(against, row))) is not None:
            return turned.opposite()
        return self.decisions.get(pair_name(row, against))

    def decision_of(self, part: PartDelta) -> Decision | None:
        """What has been decided of a part."""
        return self.decisions.get(part.quantity) if part.quantity else self.decision(self.reference, part.row)

    @property
    def opponents(self) -> tuple[str, ...]:
        """Rows that another row is compared with, in the order of those; the reference when there is no other row."""
        return tuple(dict.fromkeys(row.against for row in self.rows if row.against is not None)) or (self.reference,)

    @property
    def opponent(self) -> str:
        """The row that all others are compared with; "" when they have different ones."""
        return self.opponents[0] if len(self.opponents) == 1 else ""


def score_table(results: Results) -> ScoredTable:
    """Score every row at every seed and compare it with its opponent."""
    study, words = results.study, row_words(results.study)
    seeds, reference, metric = study.seeds, study.reference, study.score.metric
    cells = score_cells(results)
    scored = {at: (cell.key, cell.role) for at, cell in cells.items() if cell.state == "done"}
    held = held_ious(results, scored)
    lines = {name: {seed: cells[name, seed] for seed in seeds} for name in study.rows}
    values = {name: {seed: cell.value for seed, cell in line.items()} for name, line in lines.items()}
    compare, counted = comparison(study), values
    if study.until is not None:
        waiting = {name: [seed for seed, cell in line.items() if cell.state == "waiting"] for name, line in lines.items()}
        counted = {name: in_order(line, waiting[name]) for name, line in values.items()}
    paper_columns, printed, meant = _paper(study)
    spreads = study.paper.spreads if study.paper else {}
    nothing = [None] * len(paper_columns)
    stated = {name: tuple(math.nan if value is None else value for value in printed.get(name, nothing)) for name in study.rows}
    rows = []
    for name in study.rows:
        other = (study.against or {}).get(name, reference)
        other = None if other == name else other
        row = ScoredRow(
            name=name,
            switches=words.switches[name],
            facts=words.facts[name],
            cells=lines[name],
            score=spread(values[name].values()),
            against=other,
            delta=None if other is None else compare(counted[name], counted[other]),
            role=" / ".join(dict.fromkeys(cell.role for cell in lines[name].values() if cell.role)),
            paper=stated[name],
            paper_delta=tuple(
                ours - theirs if of == metric else math.nan
                for ours, theirs, of in zip(stated[name], stated[other or name], meant, strict=True)
            ),
            added=name in study.added,
            paper_spread=spreads.get(name, (None,) * len(paper_columns)),
        )
        rows.append(row)
    switches = dict.fromkeys([*words.switches[reference], *(switch for row in rows for switch in row.switches)])
    table = ScoredTable(
        tuple(switches),
        words.columns,
        seeds,
        tuple(rows),
        reference,
        study.baseline,
        paper_columns,
        tuple(of == metric or of not in study.metrics for of in meant),
        study.against is not None,
        headrooms(study, counted),
        zeros(study, held),
        lost_classes(held),
        study.until,
        decisions(study, counted),
        study.margin,
        effects=effects_of(study.effects, counted, compare),
    )
    if study.until is not None:
        return table
    return table._replace(fixed=fixed_statistics(judged_deltas(table), study.margin / 100))


def judged_deltas(table: ScoredTable) -> dict[tuple[str, str], Paired]:
    """The comparisons of a table, which are judged together, by row and whom it is compared with: declared rows, and in an ablation the
    reference, which no row stands beside, with its anchor. In a study of effects those that it is asked for stand in place of the rows."""
    found = {(one.name, where_words(one)): one.values for one in table.effects if one.decided} or {
        (row.name, row.against): row.delta for row in table.rows if row.against and row.delta is not None and not row.added
    }
    if not table.comparison:
        found |= {(name, room.anchor): room.gain for name, room in table.headrooms.items()}
    return found


def _paper(study: StudyRecord) -> tuple[tuple[str, ...], Mapping[str, tuple[float | None, ...]], tuple[str | None, ...]]:
    """Columns of the paper, its numbers by row, and our metric of each column; empty without a paper."""
    paper = study.paper
    if paper is None:
        return (), {}, ()
    return paper.columns, paper.rows, paper.metrics or (study.score.metric,) * len(paper.columns)


def part_deltas(table: ScoredTable) -> tuple[PartDelta, ...]:
    """Every row that is the reference with something switched off, the baseline apart: what was removed and what it was worth.

    A comparison has no parts; those of a study of effects are what was asked for.
    """
    if table.effects:
        return _effect_parts(table)
    full = table.row(table.reference)
    found = []
    for row in table.rows:
        removed = tuple(switch for switch in full.switches if switch not in row.switches)
        changed = set(row.switches) - set(full.switches) or row.facts != full.facts
        none = table.comparison or row.added or row.name == table.baseline
        if none or row.delta is None or not removed or changed:
            continue
        gain, doubtful = row.delta.opposite(), table.doubted(row.name) is not None
        paper = tuple(-delta for delta in row.paper_delta)
        said = table.stands(full.name, row.name, gain, OF_PART, doubtful)
        found.append(PartDelta(removed, row.name, gain, said, paper))
    return tuple(found)


def _effect_parts(table: ScoredTable) -> tuple[PartDelta, ...]:
    doubtful, asked = table.doubted(table.reference) is not None, [one for one in table.effects if one.decided]
    several = len({one.kind for one in asked}) > 1
    return tuple(
        PartDelta(
            (f"{one.parts[0]} ({one.kind})" if several else one.parts[0],),
            one.row or table.reference,
            one.values,
            judged(standing(one.values, doubtful=doubtful), table.fixed.get((one.name, where_words(one))), doubtful)
            if decision is None
            else standing_of(decision, OF_PART),
            (),
            where_words(one),
            one.name,
        )
        for one in asked
        for decision in [table.decisions.get(one.name)]
    )


def comparisons(table: ScoredTable) -> tuple[Compared, ...]:
    """Every declared row that is compared with another, in table order."""
    return tuple(
        Compared(
            row.name,
            row.against,
            row.delta,
            table.stands(row.name, row.against, row.delta, OF_ROW, table.doubted(row.name) is not None),
            row.paper_delta,
        )
        for row in table.rows
        if row.against is not None and row.delta is not None and not row.added
    )


def unfinished(table: ScoredTable) -> list[tuple[str, int, Cell]]:
    """Rows and seeds that are needed and have no score, in table order."""
    lines = [(row.name, seed, cell) for row in table.rows for seed, cell in row.cells.items()]
    return [one for one in lines if math.isnan(one[2].value) and one[2].state != "not needed"]
