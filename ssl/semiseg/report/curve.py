"""The score over a setting, such as the share of labelled images: one line per series, lower and upper bounds beside it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredRow, ScoredTable
from semiseg.report.statistics import Spread
from semiseg.report.style import CYCLE, Drawn, faded, figure
from semiseg.results.printed import PrintedSpread
from semiseg.results.records import CurveRecord

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star")


class CurvePoint(NamedTuple):
    """One row at its place on the axis; numbers in percent."""

    x: float
    row: str
    score: Spread
    seeds: dict[int, float]


class Series(NamedTuple):
    """Points from left to right, without rows that have no score, and what the paper states: (x, percent) and what it prints behind."""

    name: str
    points: tuple[CurvePoint, ...]
    paper: tuple[tuple[float, float], ...]
    spreads: Mapping[float, PrintedSpread] = {}


class CurveInfo(NamedTuple):
    """What study.json asks to be drawn, with scores; neither series nor levels when there is nothing to show."""

    x: str
    log: bool
    series: tuple[Series, ...]
    levels: tuple[tuple[str, Spread], ...]  # rows that have no x


def draw_curve(data: ReportData) -> Drawn | str | None:
    """The score over a setting; None when the study does not ask for it."""
    if data.study.curve is None:
        return None
    info = curve_info(data.study.curve, data.table)
    if not info.series:
        return "No row of the curve has a score yet."
    note = "Lines: means with ± 1 sd. Dots: seeds." + (" Dashed: rows without a place on the axis." if info.levels else "")
    if any(one.paper for one in info.series):
        note += " Hollow: the paper's numbers" + (
            ", with the spread that it prints." if any(one.spreads for one in info.series) else "."
        )
    return Drawn(note, (curve_figure(info, data.label),))


def curve_info(asked: CurveRecord, table: ScoredTable) -> CurveInfo:
    """Put the rows at their x; series and levels without a single score are left out."""
    series = []
    for name, places in asked.series.items():
        points = [_point(x, table.row(row)) for x, row in places.items() if table.row(row).score.n]
        points.sort(key=lambda point: point.x)
        stated = sorted(asked.paper.get(name, {}).items())
        if points:
            series.append(Series(name, tuple(points), tuple(stated), asked.spreads.get(name, {})))
    levels = [(name, _percent(table.row(name).score)) for name in asked.levels if table.row(name).score.n]
    return CurveInfo(asked.x, asked.log, tuple(series), tuple(levels))


def _point(x: float, row: ScoredRow) -> CurvePoint:
    seeds = {seed: 100 * cell.value for seed, cell in row.cells.items() if math.isfinite(cell.value)}
    return CurvePoint(x, row.name, _percent(row.score), seeds)


def _percent(score: Spread) -> Spread:
    return Spread(score.n, 100 * score.mean, 100 * score.sd)


def tick(x: float, label: str) -> str:
    """A place on the axis: 0.05 of an axis called share or fraction is "5 %", of any other "0.05"."""
    return f"{100 * x:g} %" if "share" in label or "fraction" in label else f"{x:g}"


def curve_figure(info: CurveInfo, label: str) -> go.Figure:
    """Means with ± 1 sd and every seed as a dot; levels as dashed lines over the whole width; the paper's numbers hollow.

    Series stand a little beside each other, and dots beside their mean, so that none hides another.
    """
    xs = sorted({x for one in info.series for x in (*(point.x for point in one.points), *(x for x, _ in one.paper))})
    made = figure([trace for i in range(len(info.series)) for trace in _traces(info, i, xs)], height=430)
    for i, (name, score) in enumerate(info.levels):
        line = {"color": CYCLE[-1 - i % len(CYCLE)], "width": 1.8, "dash": "dash"}
        text = f"{name}: {score.mean:.2f}" + ("" if math.isnan(score.sd) else f" ± {score.sd:.2f}")
        at = {"xref": "paper", "y": score.mean, "yanchor": "bottom"}
        at |= {"x": 1, "xanchor": "right"} if _right_is_free(info, score.mean) else {"x": 0, "xanchor": "left"}
        made.add_hline(y=score.mean, line=line).add_annotation(text=text, **at, showarrow=False, font={"color": line["color"]})
    ticks = {"tickvals": xs, "ticktext": [tick(x, info.x) for x in xs]}
    made.update_xaxes(title_text=info.x, type="log" if info.log else "linear", showgrid=False, **ticks)
    return made.update_yaxes(title_text=f"{label}, %")


def _right_is_free(info: CurveInfo, level: float) -> bool:
    """Whether the series end further from a level than they begin: its label stands where there is more room."""
    begin, end = (min(abs(one.points[at].score.mean - level) for one in info.series) for at in (0, -1))
    return end > begin


def _traces(info: CurveInfo, i: int, xs: list[float]) -> list[go.Scatter]:
    """Of series i the line with means, the dots of its seeds and the hollow marks of the paper."""
    series, colour, symbol = info.series[i], CYCLE[i % len(CYCLE)], SYMBOLS[i % len(SYMBOLS)]
    place = 0.008 * (i - (len(info.series) - 1) / 2)

    def beside(x: float, share: float) -> float:
        """`x` moved by a share of the axis."""
        return x * (xs[-1] / xs[0]) ** share if info.log else x + (xs[-1] - xs[0]) * share

    points = series.points
    spans = [0 if math.isnan(point.score.sd) else point.score.sd for point in points]
    line = go.Scatter(
        x=[beside(point.x, place) for point in points],
        y=[point.score.mean for point in points],
        error_y={"type": "data", "array": spans, "color": colour, "thickness": 1.6, "width": 5} if any(spans) else None,
        text=[f"{point.row}: {point.score.mean:.2f} ± {point.score.sd:.2f} (n = {point.score.n})" for point in points],
        mode="lines+markers",
        line={"color": colour, "width": 2.4},
        marker={"symbol": symbol, "size": 10},
        name=series.name,
        legendgroup=series.name,
        hovertemplate="%{text}<extra></extra>",
    )
    dots = [
        (beside(point.x, place + 0.006), value, f"{point.row}, seed {seed}")
        for point in points
        for seed, value in point.seeds.items()
    ]
    stated = [(beside(x, place), value, _said(series, x, tick(x, info.x))) for x, value in series.paper]
    marks = [_marks(dots, {"size": 5, "color": faded(colour, 0.55)}, showlegend=False)]
    if stated:
        hollow = {"symbol": f"{symbol}-open", "size": 11, "color": colour, "line": {"width": 1.8}}
        behind = [series.spreads[x].value if x in series.spreads else 0 for x, _ in series.paper]
        bars = {"type": "data", "array": behind, "color": colour, "thickness": 1, "width": 4} if any(behind) else None
        marks.append(_marks(stated, hollow, name=f"{series.name}, paper", error_y=bars))
    return [line, *(mark.update(legendgroup=series.name) for mark in marks)]


def _said(series: Series, x: float, place: str) -> str:
    """What the paper's mark at x says when touched, before its number."""
    behind = series.spreads.get(x)
    return f"{series.name} at {place}, paper" + (f" (± {behind.value:.2f}, {behind})" if behind else "")


def _marks(points: list[tuple[float, float, str]], marker: dict, **more: Any) -> go.Scatter:
    xs, ys, labels = ([point[i] for point in points] for i in range(3))
    template = "%{text}: %{y:.2f} %<extra></extra>"
    return go.Scatter(x=xs, y=ys, text=labels, mode="markers", marker=marker, hovertemplate=template, **more)
