"""How much a row's scores vary from seed to seed, beside those of the row it is compared with. Numbers first, drawing second."""

import math
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.metrics import pretty
from semiseg.report.scores import ScoredTable, numbers_of
from semiseg.report.statistics import Ratio, variance_ratio
from semiseg.report.style import CYCLE, NEUTRAL, Drawn, figure
from semiseg.results import Results

NOTE = (
    "Variance over seeds of each row / that of the row it is compared with; left of 1 the row varies less. Bars: 95 % interval of "
    "Pitman and Morgan, for scores that are normal and paired by seed; filled where it leaves 1 out. {n}, unadjusted for {count}."
)


def draw_variances(data: ReportData) -> Drawn | None:
    """Ratios of variances of the score and all metrics; left out where no two rows share three seeds."""
    lines = variance_lines(data.results, data.table)
    if not lines:
        return None
    seeds = sorted({line.ratio.n for line in lines})
    count = f"{len(lines)} comparison{'' if len(lines) == 1 else 's'}"
    n = f"n = {seeds[0]}" if len(seeds) == 1 else f"n = {seeds[0]} to {seeds[-1]}"
    return Drawn(NOTE.format(n=n, count=count), (variance_figure(lines),))


class VarianceLine(NamedTuple):
    """The variance of a metric over the seeds of a row / that of the row `against`."""

    row: str
    against: str
    metric: str
    ratio: Ratio


def variance_lines(results: Results, table: ScoredTable) -> tuple[VarianceLine, ...]:
    """Rows of the table by metric, the score first, that share at least three seeds with their opponent and both vary."""
    study = results.study
    numbers = {name: numbers_of(results, name) for name in dict.fromkeys((study.score.metric, *study.metrics))}

    def by_seed(row: str, metric: str) -> dict[int, float]:
        cells = table.row(row).cells.items()
        return {seed: numbers[metric].get((cell.key, cell.role), math.nan) for seed, cell in cells if cell.state == "done"}

    lines = [
        VarianceLine(row.name, row.against, metric, variance_ratio(by_seed(row.name, metric), by_seed(row.against, metric)))
        for metric in numbers
        for row in table.rows
        if row.against is not None and not row.added
    ]
    return tuple(line for line in lines if math.isfinite(line.ratio.value))


def variance_figure(lines: tuple[VarianceLine, ...]) -> go.Figure:
    """A bar per row and metric over a logarithmic axis, the first row on top."""
    rows = dict.fromkeys((line.row, line.against) for line in lines)
    metrics = list(dict.fromkeys(line.metric for line in lines))
    place = {pair: len(rows) - 1 - i for i, pair in enumerate(rows)}
    apart = 0.7 / len(metrics)
    traces = []
    for i, (metric, colour) in enumerate(zip(metrics, cycle(CYCLE), strict=False)):
        own = [line for line in lines if line.metric == metric]
        ratios, shift = [line.ratio for line in own], apart * ((len(metrics) - 1) / 2 - i)
        seen = [not one.low <= 1 <= one.high for one in ratios]
        traces.append(
            go.Scatter(
                x=[one.value for one in ratios],
                y=[place[line.row, line.against] + shift for line in own],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [one.high - one.value for one in ratios],
                    "arrayminus": [one.value - one.low for one in ratios],
                    "color": colour,
                    "thickness": 2,
                },
                mode="markers",
                marker={"symbol": ["square" if one else "square-open" for one in seen], "size": 9, "color": colour},
                text=[
                    f"{line.row}, n = {one.n}: {one.value:.3g} [{one.low:.3g}, {one.high:.3g}]"
                    for line, one in zip(own, ratios, strict=True)
                ],
                hovertemplate="%{text}<extra></extra>",
                name=pretty(metric),
            )
        )
    made = figure(traces, height=130 + round(len(rows) * max(44, 18 * len(metrics))))
    made.update_xaxes(title_text="ratio of variances (left: varies less)", type="log")
    labels = [f"{row}<br>/ {against}" for row, against in rows]
    made.update_yaxes(tickvals=list(place.values()), ticktext=labels, range=[-0.6, len(rows) - 0.4], showgrid=False)
    return made.add_vline(x=1, line={"width": 1.5, "color": NEUTRAL, "dash": "dot"})
