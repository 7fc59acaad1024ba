"""Best against last weights, when in the stage the best ones were, and how optimistic the score on the images that chose them is."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.report.cells import numbers_of
from semiseg.report.decisions import comparison
from semiseg.report.grid import MISSING, Grid, named, percent
from semiseg.report.scores import ScoredTable
from semiseg.report.statistics import Paired, Spread, spread
from semiseg.report.tables import interval, points
from semiseg.results import Results

OPTIMISM = (
    ". Selection - test: of the reported weights, so with how much easier the selection images are; by choosing: of the best "
)
OPTIMISM += "weights minus of the last ones, which no image chose"


class WeightsLine(NamedTuple):
    """A row's final stages: scores, fractions, with the best and with the last weights, their difference paired by seed, and means over
    seeds of where the best weights were."""

    row: str
    best: Spread
    last: Spread
    delta: Paired  # best minus last
    step: float
    epoch: float  # NaN where no stage recorded it
    share: float  # of the stage
    optimism: Paired  # of the reported weights: score on selection images minus score on test; n = 0 where either is missing
    chosen: Paired  # what of it comes from choosing: by how much more the best weights have it than the last ones


def epochs_of(results: Results) -> dict[str, float]:
    """Steps of an epoch by stage, of stages that recorded how many epochs they had trained."""
    columns = (results.curves.column(name).to_pylist() for name in ("key", "name", "step", "value"))
    return {key: step / epoch for key, name, step, epoch in zip(*columns, strict=True) if name == "epoch" and epoch}


def weights_info(results: Results, table: ScoredTable) -> tuple[WeightsLine, ...]:
    """Rows that have a score with both, of the role and on the images that are scored."""
    score = results.study.score
    best, last = (numbers_of(results, score.metric, weights) for weights in ("best", "last"))
    wanted = (pc.field("class") == "") & (pc.field("metric") == score.metric) & (pc.field("weights") == "best")
    steps = {(line["key"], line["role"]): line["step"] for line in results.metrics.filter(wanted).to_pylist()}
    seen = {weights: numbers_of(results, score.metric, weights, "selection") for weights in ("best", "last")}
    lengths = {stage["key"]: stage["steps"] for stage in results.stages.to_pylist()}
    epochs, compare = epochs_of(results), comparison(results.study)
    lines = []
    for row in table.rows:
        ends = {seed: (cell.key, cell.role) for seed, cell in row.cells.items() if cell.state == "done"}
        both = {seed: end for seed, end in ends.items() if end in best and end in last}
        if not both:
            continue
        ours, theirs = ({seed: found[end] for seed, end in both.items()} for found in (best, last))
        apart = {weights: _apart(both, seen[weights], found) for weights, found in (("best", best), ("last", last))}
        zero = dict.fromkeys(both, 0.0)
        at = [steps[end] for end in both.values()]
        per = [(epochs.get(key, math.nan), lengths[key] or math.nan) for key, _ in both.values()]
        lines.append(
            WeightsLine(
                row.name,
                spread(ours.values()),
                spread(theirs.values()),
                compare(ours, theirs),
                spread(at).mean,
                spread(step / epoch for step, (epoch, _) in zip(at, per, strict=True)).mean,
                spread(step / length for step, (_, length) in zip(at, per, strict=True)).mean,
                compare(apart[score.weights] if score.split == "test" else {}, zero),
                compare(apart["best"] if score.split == "test" else {}, apart["last"]),
            )
        )
    return tuple(lines)


def _apart(ends: Mapping[int, tuple[str, str]], seen: Mapping, tested: Mapping) -> dict[int, float]:
    """Selection score minus test score by seed; NaN where there is no selection score."""
    return {seed: seen.get(end, math.nan) - tested[end] for seed, end in ends.items()}


def weights_grid(lines: tuple[WeightsLine, ...], label: str) -> Grid | None:
    """The table as text; None without lines."""
    if not lines:
        return None
    heads = (
        "best weights: mean ± sd",
        "last weights: mean ± sd",
        "best - last [95 % interval]",
        "best step",
        "best epoch",
        "of the stage",
    )
    tested = any(line.optimism.n for line in lines)
    heads += ("selection - test [95 % interval]", "of it by choosing [95 % interval]") if tested else ()
    columns = named("row", ["row"]) + named("number", heads)
    cells = tuple(
        (
            line.row,
            _score(line.best),
            _score(line.last),
            interval(line.delta),
            _number(line.step, ".0f"),
            _number(line.epoch, ".1f"),
            _number(line.share, ".0%").replace("%", " %"),
            *((interval(line.optimism), interval(line.chosen)) if tested else ()),
        )
        for line in lines
    )
    said = f"Best and last weights, {label}, %; step and epoch of the best ones, means over seeds"
    said += OPTIMISM if tested else ""
    return Grid(columns, cells, said)


def weights_cells(lines: tuple[WeightsLine, ...]) -> Grid | None:
    """The same for other programs, percent, one number a cell; None without lines."""
    heads = ("best", "best sd", "last", "last sd", "best - last", "best - last low", "best - last high")
    heads += ("best step", "best epoch", "best of the stage")
    heads += ("selection - test", "selection - test low", "selection - test high")
    heads += ("by choosing", "by choosing low", "by choosing high")
    cells = []
    for line in lines:
        scores = (line.best.mean, line.best.sd, line.last.mean, line.last.sd)
        deltas = map(points, (line.delta.mean, line.delta.low, line.delta.high))
        at = (_number(line.step, ".6g"), _number(line.epoch, ".6g"), percent(line.share))
        apart = [points(value) for one in (line.optimism, line.chosen) for value in (one.mean, one.low, one.high)]
        cells.append((line.row, *map(percent, scores), *deltas, *at, *apart))
    return Grid(named("row", ["row"]) + named("number", heads), tuple(cells)) if cells else None


def _score(score: Spread) -> str:
    return percent(score.mean) + ("" if math.isnan(score.sd) else f" ± {percent(score.sd)}")


def _number(value: float, form: str) -> str:
    return MISSING if math.isnan(value) else format(value, form)
