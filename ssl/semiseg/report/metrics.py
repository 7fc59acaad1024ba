"""How metrics are called and written, and the table of all metrics that a study asks for, beside the paper's."""

import math
from typing import NamedTuple

from semiseg.measures import PER_IMAGE, described
from semiseg.report.cells import numbers_of
from semiseg.report.decisions import comparison
from semiseg.report.grid import MISSING, Grid, named, percent
from semiseg.report.scores import ScoredRow, ScoredTable
from semiseg.report.statistics import OF_ROW, Spread, Standing, spread, standing
from semiseg.results import Results
from semiseg.results.printed import PrintedSpread

PAPER_LINE = "paper"
LOWER = "↓"
"""Behind the heads of metrics of which less is better."""


class MetricLine(NamedTuple):
    """One row of the table: a spread per metric, what the paper states for it as printed, and what may be said of its difference to
    the row that it is compared with."""

    row: str
    values: tuple[Spread, ...]
    paper: tuple[tuple[float, ...], ...]  # per metric one number per column of the paper that states it
    seeds: int  # seeds with a score
    standings: tuple[Standing, ...] = ()  # per metric; none for a row that is compared with none
    paper_spread: tuple[tuple[PrintedSpread | None, ...], ...] = ()  # of the paper's numbers


class Metrics(NamedTuple):
    """Rows x metrics on the split and with the weights of the score; without lines when a study asks for no other metric."""

    split: str
    names: tuple[str, ...]
    lines: tuple[MetricLine, ...]
    length: str = "pixels"  # unit of distances


def pretty(metric: str) -> str:
    """How a metric is called in heads and labels."""
    return described(metric).label


def written(metric: str, value: float) -> str:
    """A value as tables say it: a share in percent, a distance in its unit, both with two decimals."""
    if described(metric).unit == "share":
        return percent(value)
    return MISSING if math.isnan(value) else f"{value:.2f}"


def plus_minus(value: float, behind: PrintedSpread | None) -> str:
    """A paper's number and what it prints behind it, with two decimals or as many as show the first digit of that: "67.92 ± 0.31",
    "99.745 ± 0.005"."""
    if behind is None:
        return f"{value:.2f}"
    digits = max(2, math.ceil(-math.log10(behind.value))) if behind.value > 0 else 2
    return f"{value:.{digits}f} ± {behind.value:.{digits}f}"


def metrics_info(results: Results, table: ScoredTable) -> Metrics:
    """All metrics of each row's final stages, of the role that is scored."""
    study, compare = results.study, comparison(results.study)
    names = study.metrics
    if not set(names) - {study.score.metric}:
        return Metrics(study.score.split, (), ())
    numbers = {name: numbers_of(results, name) for name in names}

    def by_seed(row: ScoredRow, name: str) -> dict[int, float]:
        found = {seed: numbers[name].get((cell.key, cell.role)) for seed, cell in row.cells.items() if cell.state == "done"}
        return {seed: value for seed, value in found.items() if value is not None}

    def standing_of(row: ScoredRow, other: ScoredRow, name: str) -> Standing:
        delta = compare(by_seed(row, name), by_seed(other, name))
        return standing(delta if described(name).better == "higher" else delta.opposite(), OF_ROW)

    meant = (study.paper.metrics if study.paper else None) or ()
    lines = []
    for row in table.rows:
        columns = list(zip(meant, row.paper, row.paper_spread, strict=False))
        stated = [[(value, one) for of, value, one in columns if of == name and not math.isnan(value)] for name in names]
        lines.append(
            MetricLine(
                row=row.name,
                values=tuple(spread(by_seed(row, name).values()) for name in names),
                paper=tuple(tuple(value for value, _ in line) for line in stated),
                paper_spread=tuple(tuple(one for _, one in line) for line in stated),
                seeds=row.score.n,
                standings=() if row.against is None else tuple(standing_of(row, table.row(row.against), name) for name in names),
            )
        )
    return Metrics(study.score.split, names, tuple(lines), study.data.length)


def metrics_grid(info: Metrics) -> Grid | None:
    """The table as text, the paper's numbers in a line below the row's own; None without lines.

    "per image" moves from the heads into the title when it is said of every metric, and so does "%".
    """
    if not info.lines:
        return None
    heads = [pretty(name) for name in info.names]
    per_image = PER_IMAGE if all(head.endswith(PER_IMAGE) for head in heads) else ""
    shares = all(described(name).unit == "share" for name in info.names)
    heads = [head.removesuffix(per_image) for head in heads]
    if not shares:
        units = {"share": "%", "distance": info.length}
        heads = [f"{head}, {units[described(name).unit]}" for head, name in zip(heads, info.names, strict=True)]
    lower = [described(name).better == "lower" for name in info.names]
    heads = [f"{head} {LOWER}" if less else head for head, less in zip(heads, lower, strict=True)]
    lines = []
    for line in info.lines:
        lines.append((line.row, *(_cell(name, value, line.seeds) for name, value in zip(info.names, line.values, strict=True))))
        if any(line.paper):
            lines.append(_paper_line(line))
    title = f"All metrics{per_image}, {info.split}{', %' if shares else ''}: mean (sd)"
    title += f"; {LOWER}: lower is better" if any(lower) else ""
    columns = named("row", ["row"]) + named("number", heads)
    return Grid(columns, tuple(lines), title)


def _paper_line(line: MetricLine) -> tuple[str, ...]:
    """The paper's numbers below a row's own; what its spreads are is said once where they are all of one kind."""
    kinds = {str(one) for spreads in line.paper_spread for one in spreads if one}
    alike = len(kinds) == 1

    def said(value: float, behind: PrintedSpread | None) -> str:
        return plus_minus(value, behind) + (f" ({behind})" if behind and not alike else "")

    head = f"{PAPER_LINE} ({kinds.pop()})" if alike else PAPER_LINE
    return (head, *(" / ".join(map(said, *both)) for both in zip(line.paper, line.paper_spread, strict=True)))


def _cell(metric: str, value: Spread, seeds: int) -> str:
    """ "67.91 (0.31)"; says n where it is not that of the score."""
    if value.n == 0:
        return MISSING
    sd = "" if math.isnan(value.sd) else f" ({written(metric, value.sd)})"
    return f"{written(metric, value.mean)}{sd}" + (f" n = {value.n}" if value.n != seeds else "")
