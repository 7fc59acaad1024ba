"""Figures of the table itself: differences between rows, per-class IoU, student against teacher. Numbers first, drawing second.

Each figure is a pair: `..._info` returns plain data (empty when there is nothing to show) and `..._figure` draws it.
"""

import math
from collections import defaultdict
from itertools import compress
from typing import NamedTuple

import plotly.graph_objects as go
import pyarrow.compute as pc

from semiseg.report.scores import Ablation, comparisons, numbers_of, parts
from semiseg.report.statistics import Standing, spread, standing
from semiseg.report.style import BLUE, GREY, ORANGE, STANDING_COLOURS, figure
from semiseg.results import Results


class Delta(NamedTuple):
    """One row minus the row `against`, in points (percent)."""

    row: str
    against: str
    mean: float
    low: float  # NaN for one seed
    high: float
    seeds: dict[int, float]
    paper: tuple[float, ...]  # NaN where the paper states nothing
    standing: Standing  # in an ablation of what the reference has more, otherwise of the row


class ForestInfo(NamedTuple):
    """Differences of all rows that have at least one seed in common with their opponent, in table order."""

    reference: str  # "" when rows have different opponents
    deltas: tuple[Delta, ...]
    paper_columns: tuple[str, ...]  # with a difference


def forest_info(table: Ablation) -> ForestInfo:
    """Mean, interval, seeds and the paper's own difference per row."""
    deltas, ablated = [], bool(parts(table))
    for row, against, delta, outcome, paper in comparisons(table):
        if delta.n == 0:
            continue
        seeds = {seed: 100 * one for seed, one in delta.deltas.items()}
        mean, low, high = (100 * value for value in (delta.mean, delta.low, delta.high))
        said = standing(delta.opposite()) if ablated else outcome
        deltas.append(Delta(row, against, mean, low, high, seeds, paper, said))
    stated = [any(not math.isnan(delta.paper[i]) for delta in deltas) for i in range(len(table.paper_columns))]
    kept = [delta._replace(paper=tuple(compress(delta.paper, stated))) for delta in deltas]
    return ForestInfo(table.opponent, tuple(kept), tuple(compress(table.paper_columns, stated)))


def forest_figure(info: ForestInfo) -> go.Figure:
    """Mean with interval as a bar, every seed as a dot, the paper's differences as hollow marks."""
    names = [delta.row for delta in info.deltas]
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}  # first row on top
    colours = [STANDING_COLOURS[delta.standing] for delta in info.deltas]
    spans = [0 if math.isnan(delta.high) else delta.high - delta.mean for delta in info.deltas]
    bars = [  # one trace per row: an error bar takes the colour of its trace only
        go.Scatter(
            x=[delta.mean],
            y=[place[delta.row]],
            error_x={"type": "data", "array": [span], "color": colour, "thickness": 2.5, "width": 7} if span else None,
            mode="markers",
            marker={"symbol": "square", "size": 11, "color": colour},
            hovertemplate=f"{delta.row}: %{{x:+.2f}} [{delta.low:+.2f}, {delta.high:+.2f}]<extra></extra>",
            name="mean and 95 % interval",
            legendgroup="mean",
            showlegend=i == 0,
        )
        for i, (delta, span, colour) in enumerate(zip(info.deltas, spans, colours, strict=True))
    ]
    dots = [
        (value, place[delta.row] - 0.2, f"{delta.row}, seed {seed}") for delta in info.deltas for seed, value in delta.seeds.items()
    ]
    traces = [*bars, _points(dots, "each seed", {"size": 7, "color": ORANGE, "opacity": 0.85})]
    for i, column in enumerate(info.paper_columns):
        stated = [
            (delta.paper[i], place[delta.row] + 0.22, f"{delta.row}, paper")
            for delta in info.deltas
            if not math.isnan(delta.paper[i])
        ]
        symbol = ("diamond-open", "circle-open", "triangle-up-open", "star-open")[i % 4]
        traces.append(_points(stated, f"paper: {column}", {"size": 9, "symbol": symbol, "color": GREY, "line": {"width": 1.6}}))
    made = figure(traces, height=130 + 52 * len(names))
    made.update_xaxes(title_text=f"points: row − {info.reference or 'its counterpart'} (left: worse)")
    labels = names if info.reference else [f"{delta.row}<br>− {delta.against}" for delta in info.deltas]
    made.update_yaxes(tickvals=list(place.values()), ticktext=labels, range=[-0.6, len(names) - 0.4], showgrid=False)
    return made.add_vline(x=0, line={"width": 1.5, "color": GREY, "dash": "dot"})


def _points(points: list[tuple[float, float, str]], name: str, marker: dict) -> go.Scatter:
    xs, ys, labels = ([point[i] for point in points] for i in range(3))
    template = "%{text}: %{x:+.2f}<extra></extra>"
    return go.Scatter(x=xs, y=ys, text=labels, mode="markers", marker=marker, name=name, hovertemplate=template)


class ClassesInfo(NamedTuple):
    """IoU in percent, rows x classes, mean over the seeds that have a score; NaN where none has."""

    rows: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    counts: tuple[tuple[int, ...], ...]


def classes_info(results: Results, table: Ablation) -> ClassesInfo:
    """Per-class IoU of each row's final stages on the scored split; rows without a scored seed are left out."""
    score = results.study["score"]
    wanted = (pc.field("metric") == "iou") & (pc.field("split") == score["split"]) & (pc.field("weights") == score["weights"])
    numbers: dict[tuple, float] = {}
    for one in results.metrics.filter(wanted & (pc.field("class") != "")).to_pylist():
        numbers[one["key"], one["role"], one["class"]] = math.nan if one["value"] is None else one["value"]
    present = {name for _, _, name in numbers}
    classes = tuple(name for name in results.study["classes"] if name in present)
    rows, values, counts = [], [], []
    for row in table.rows:
        cells = [cell for cell in row.cells.values() if cell.state == "done"]
        spreads = [spread(numbers.get((cell.key, cell.role, name), math.nan) for cell in cells) for name in classes]
        if any(one.n for one in spreads):
            rows.append(row.name)
            values.append(tuple(100 * one.mean for one in spreads))
            counts.append(tuple(one.n for one in spreads))
    return ClassesInfo(tuple(rows), classes, tuple(values), tuple(counts))


def classes_figure(info: ClassesInfo) -> go.Figure:
    """A heat map with the numbers written into it."""
    written = [["" if math.isnan(value) else f"{value:.1f}" for value in line] for line in info.values]
    heat = go.Heatmap(
        x=list(info.classes),
        y=list(info.rows),
        z=[[None if math.isnan(value) else round(value, 3) for value in line] for line in info.values],
        text=written,
        texttemplate="%{text}" if len(info.classes) <= 24 else None,
        customdata=info.counts,
        zmin=0,
        zmax=100,
        colorscale=[[0, "#f3f0e6"], [0.35, "#a9d3c0"], [0.7, "#4696ad"], [1, "#1f4479"]],
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": "IoU, %"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y}, %{x}: IoU %{z:.2f} % (n = %{customdata})<extra></extra>",
    )
    made = figure([heat], height=70 + 40 * len(info.rows), margin={"l": 60, "r": 16, "t": 30, "b": 8})
    made.update_xaxes(showgrid=False, side="top", ticks="", type="category")
    return made.update_yaxes(autorange="reversed", showgrid=False, ticks="", type="category")


class RolesInfo(NamedTuple):
    """Score in percent of student and teacher of each row's final stages: role -> row -> values by seed."""

    rows: tuple[str, ...]
    values: dict[str, dict[str, dict[int, float]]]


def roles_info(results: Results, table: Ablation) -> RolesInfo:
    """Both roles' scores on the scored split with the scored weights."""
    numbers = numbers_of(results, results.study["score"]["metric"])
    values: dict[str, dict[str, dict[int, float]]] = {}
    for role in ("student", "teacher"):
        lines: dict[str, dict[int, float]] = defaultdict(dict)
        for row in table.rows:
            for seed, cell in row.cells.items():
                value = numbers.get((cell.key, role)) if cell.state == "done" else None
                if value is not None and math.isfinite(value):
                    lines[row.name][seed] = 100 * value
        if lines:
            values[role] = dict(lines)
    rows = tuple(row.name for row in table.rows if any(row.name in lines for lines in values.values()))
    return RolesInfo(rows, values)


def roles_figure(info: RolesInfo, label: str) -> go.Figure:
    """Mean as a bar mark and seeds as dots, student above teacher, per row."""
    place = {name: len(info.rows) - 1 - i for i, name in enumerate(info.rows)}
    traces = []
    for role, shift, colour in (("student", 0.13, ORANGE), ("teacher", -0.13, BLUE)):
        lines = info.values.get(role, {})
        dots = [
            (value, place[row] + shift, f"{row}, {role}, seed {seed}")
            for row, seeds in lines.items()
            for seed, value in seeds.items()
        ]
        means = [(sum(seeds.values()) / len(seeds), place[row] + shift, f"{row}, {role}, mean") for row, seeds in lines.items()]
        for points, name, marker in (
            (dots, f"{role}, each seed", {"size": 6, "color": colour, "opacity": 0.5}),
            (means, f"{role}, mean", {"symbol": "line-ns", "size": 15, "line": {"width": 3, "color": colour}}),
        ):
            if points:
                traces.append(_points(points, name, marker).update(hovertemplate="%{text}: %{x:.2f} %<extra></extra>"))
    made = figure(traces, height=130 + 44 * len(info.rows))
    made.update_xaxes(title_text=f"{label}, %")
    return made.update_yaxes(tickvals=list(place.values()), ticktext=list(place), range=[-0.6, len(place) - 0.4], showgrid=False)
