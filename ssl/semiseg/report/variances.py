"""How much a row's scores vary from seed to seed, beside those of the row it is compared with. Numbers first, drawing second."""

import math
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.cells import numbers_of
from semiseg.report.data import ReportData
from semiseg.report.metrics import pretty
from semiseg.report.scores import ScoredTable
from semiseg.report.statistics import Ratio, printed_variance_ratio, variance_ratio
from semiseg.report.style import CYCLE, NEUTRAL, Drawn, figure
from semiseg.results import Results
from semiseg.results.printed import PrintedSpread

NOTE = (
    "Variance over seeds of each row / that of the row it is compared with; left of 1 the row varies less. Bars: 95 % interval of "
    "Pitman and Morgan, for scores that are normal and paired by seed; filled where it leaves 1 out. {n}, unadjusted for {count}."
)
PAPER_NOTE = " Grey: the ratio of the deviations that the paper prints, with the F interval of normal, independent runs ({n})."


def draw_variances(data: ReportData) -> Drawn | None:
    """Ratios of variances of the score and all metrics; left out where no two rows share three seeds, where runs are not independent, as
    in a crossed design, and where seeds were added by what was seen: these intervals are for a fixed number."""
    fixed = data.study.vary != "crossed" and data.study.until is None
    lines = variance_lines(data.results, data.table) if fixed else ()
    if not lines:
        return None
    seeds = sorted({line.ratio.n for line in lines})
    count = f"{len(lines)} comparison{'' if len(lines) == 1 else 's'}"
    n = f"n = {seeds[0]}" if len(seeds) == 1 else f"n = {seeds[0]} to {seeds[-1]}"
    note, runs = NOTE.format(n=n, count=count), sorted({line.paper.n for line in lines if line.paper is not None})
    note += PAPER_NOTE.format(n=f"n = {' or '.join(map(str, runs))}") if runs else ""
    return Drawn(note, (variance_figure(lines),))


class VarianceLine(NamedTuple):
    """The variance of a metric over the seeds of a row / that of the row `against`, and the same as the paper prints it."""

    row: str
    against: str
    metric: str
    ratio: Ratio
    paper: Ratio | None


def variance_lines(results: Results, table: ScoredTable) -> tuple[VarianceLine, ...]:
    """Rows of the table by metric, the score first, that share at least three seeds with their opponent and both vary."""
    study = results.study
    numbers = {name: numbers_of(results, name) for name in dict.fromkeys((study.score.metric, *study.metrics))}

    def by_seed(row: str, metric: str) -> dict[int, float]:
        cells = table.row(row).cells.items()
        return {seed: numbers[metric].get((cell.key, cell.role), math.nan) for seed, cell in cells if cell.state == "done"}

    columns = (study.paper.metrics or (study.score.metric,) * len(study.paper.columns)) if study.paper else ()
    lines = []
    for metric in numbers:
        for row in table.rows:
            if row.against is None or row.added:
                continue
            ratio = variance_ratio(by_seed(row.name, metric), by_seed(row.against, metric))
            pairs = zip(columns, row.paper_spread, table.row(row.against).paper_spread, strict=False)
            stated = [printed_ratio(*both) for of, *both in pairs if of == metric]
            lines.append(VarianceLine(row.name, row.against, metric, ratio, next((one for one in stated if one is not None), None)))
    return tuple(line for line in lines if math.isfinite(line.ratio.value))


def printed_ratio(row: PrintedSpread | None, other: PrintedSpread | None) -> Ratio | None:
    """Of what a paper prints behind two numbers; None where it prints too little."""
    if row is None or other is None:
        return None
    sds = [one.value * (math.sqrt(one.n) if one.kind == "se" else 1) for one in (row, other)]
    found = printed_variance_ratio(sds[0], row.n, sds[1], other.n)
    return found if math.isfinite(found.value) else None


Bar = tuple[str, float, Ratio]
"""What it says when touched, where it stands, what it shows."""


def variance_figure(lines: tuple[VarianceLine, ...]) -> go.Figure:
    """A bar per row and metric over a logarithmic axis, the first row on top."""
    rows = dict.fromkeys((line.row, line.against) for line in lines)
    metrics = list(dict.fromkeys(line.metric for line in lines))
    place = {pair: len(rows) - 1 - i for i, pair in enumerate(rows)}
    apart = 0.7 / len(metrics)
    traces: list[go.Scatter] = []
    stated: list[Bar] = []
    for i, (metric, colour) in enumerate(zip(metrics, cycle(CYCLE), strict=False)):
        shift = apart * ((len(metrics) - 1) / 2 - i)
        own = [(line.row, place[line.row, line.against] + shift, line.ratio) for line in lines if line.metric == metric]
        traces.append(_bars(own, pretty(metric), colour, "square", 2))
        stated += [
            (f"{line.row}, {pretty(metric)}, paper", place[line.row, line.against] + shift - apart / 3, line.paper)
            for line in lines
            if line.metric == metric and line.paper is not None
        ]
    traces += [_bars(stated, "paper", NEUTRAL, "diamond", 1)] if stated else []
    made = figure(traces, height=130 + round(len(rows) * max(44, 18 * len(metrics))))
    made.update_xaxes(title_text="ratio of variances (left: varies less)", type="log")
    labels = [f"{row}<br>/ {against}" for row, against in rows]
    made.update_yaxes(tickvals=list(place.values()), ticktext=labels, range=[-0.6, len(rows) - 0.4], showgrid=False)
    return made.add_vline(x=1, line={"width": 1.5, "color": NEUTRAL, "dash": "dot"})


def _bars(bars: list[Bar], name: str, colour: str, symbol: str, thickness: int) -> go.Scatter:
    """Ratios with their intervals; marks are filled where an interval leaves 1 out."""
    ratios = [ratio for *_, ratio in bars]
    return go.Scatter(
        x=[one.value for one in ratios],
        y=[y for _, y, _ in bars],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.value for one in ratios],
            "arrayminus": [one.value - one.low for one in ratios],
            "color": colour,
            "thickness": thickness,
        },
        mode="markers",
        marker={"symbol": [symbol + "-open" * (one.low <= 1 <= one.high) for one in ratios], "size": 9, "color": colour},
        text=[f"{words}, n = {one.n}: {one.value:.3g} [{one.low:.3g}, {one.high:.3g}]" for words, _, one in bars],
        hovertemplate="%{text}<extra></extra>",
        name=name,
    )
