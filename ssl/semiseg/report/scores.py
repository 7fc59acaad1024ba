"""From the tables of a results folder to one scored ablation: rows, seeds, differences to the reference row, parts that were removed."""

import math
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.report.statistics import Paired, Spread, Standing, paired, spread, standing
from semiseg.results import Results


class Cell(NamedTuple):
    """One row at one seed: the score of the chain's final stage, or why there is none."""

    value: float  # NaN when there is no score
    state: str  # of the final stage: done, failed, skipped, waiting
    error: str
    role: str  # student or teacher: whose score counts
    key: str


class Row(NamedTuple):
    """One line of the table. `delta` is this row minus the reference, None for the reference itself."""

    name: str
    switches: tuple[str, ...]
    cells: dict[int, Cell]
    score: Spread
    delta: Paired | None
    role: str
    paper: tuple[float, ...]  # percent, as printed in the paper; NaN where it states nothing
    paper_delta: tuple[float, ...]


class Part(NamedTuple):
    """What the reference row has and another row lacks. `gain` is the reference minus that row: positive when the part helps."""

    removed: tuple[str, ...]
    row: str
    gain: Paired
    standing: Standing
    paper_gain: tuple[float, ...]


class Ablation(NamedTuple):
    """A scored ablation table."""

    switches: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    reference: str
    baseline: str | None
    paper_columns: tuple[str, ...]

    def row(self, name: str) -> Row:
        """The row called `name`."""
        return next(row for row in self.rows if row.name == name)


def ablation(results: Results) -> Ablation:
    """Score every row at every seed and compare it with the reference row."""
    study = results.study
    seeds = tuple(study["seeds"])
    cells = score_cells(results)
    table = {name: {seed: cells[name, seed] for seed in seeds} for name in study["rows"]}
    values = {name: {seed: cell.value for seed, cell in line.items()} for name, line in table.items()}
    paper = study.get("paper") or {"columns": [], "rows": {}}
    nothing = [None] * len(paper["columns"])
    stated = {
        name: tuple(math.nan if value is None else float(value) for value in paper["rows"].get(name, nothing))
        for name in study["rows"]
    }
    reference = study["reference"]
    rows = tuple(
        Row(
            name=name,
            switches=tuple(switches.split()),
            cells=table[name],
            score=spread(values[name].values()),
            delta=None if name == reference else paired(values[name], values[reference]),
            role=" / ".join(dict.fromkeys(cell.role for cell in table[name].values() if cell.role)),
            paper=stated[name],
            paper_delta=tuple(ours - full for ours, full in zip(stated[name], stated[reference], strict=True)),
        )
        for name, switches in study["rows"].items()
    )
    first = study["rows"][reference].split()
    others = [switch for row in rows for switch in row.switches]
    return Ablation(tuple(dict.fromkeys([*first, *others])), seeds, rows, reference, study["baseline"], tuple(paper["columns"]))


def score_cells(results: Results) -> dict[tuple[str, int], Cell]:
    """Score every row and seed: metrics of the final stage at the study's split, weights and metric, of the role the stage says."""
    score = results.study["score"]
    stages = {stage["key"]: stage for stage in results.stages.to_pylist()}
    wanted = (pc.field("class") == "") & (pc.field("metric") == score["metric"])
    wanted &= (pc.field("split") == score["split"]) & (pc.field("weights") == score["weights"])
    numbers = {(line["key"], line["role"]): line["value"] for line in results.metrics.filter(wanted).to_pylist()}
    final = {(line["row"], line["seed"]): line["key"] for line in results.rows.filter(pc.field("final")).to_pylist()}
    return {
        (row, seed): _cell(final.get((row, seed), ""), stages, numbers)
        for row in results.study["rows"]
        for seed in results.study["seeds"]
    }


def _cell(key: str, stages: dict, numbers: dict) -> Cell:
    if key not in stages:
        return Cell(math.nan, "waiting", "", "", key)
    stage = stages[key]
    state, role, error = stage["state"], stage["evaluated"] or "", stage["error"] or ""
    if state != "done":
        return Cell(math.nan, state, error, role, key)
    value = numbers.get((key, role))
    if value is None or not math.isfinite(value):
        return Cell(math.nan, "failed", f"stage {stage['name']} finished without a finite score", role, key)
    return Cell(value, "done", "", role, key)


def parts(table: Ablation) -> tuple[Part, ...]:
    """Every row that is the reference with something switched off, the baseline apart: what was removed and what it was worth."""
    full = table.row(table.reference)
    found = []
    for row in table.rows:
        removed = tuple(switch for switch in full.switches if switch not in row.switches)
        extra = set(row.switches) - set(full.switches)
        if row.delta is None or row.name == table.baseline or not removed or extra:
            continue
        gain = row.delta.opposite()
        found.append(Part(removed, row.name, gain, standing(gain), tuple(-delta for delta in row.paper_delta)))
    return tuple(found)


def unfinished(table: Ablation) -> list[tuple[str, int, Cell]]:
    """Rows and seeds without a score, in table order."""
    return [(row.name, seed, cell) for row in table.rows for seed, cell in row.cells.items() if math.isnan(cell.value)]
