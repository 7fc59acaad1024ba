"""Figures of how the stages trained: selection curves and loss terms. Numbers first, drawing second."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from semiseg.measures import described
from semiseg.report.data import ReportData
from semiseg.report.metrics import pretty
from semiseg.report.style import CYCLE, Drawn, Switch, add_switches, faded, figure
from semiseg.report.weights import epochs_of
from semiseg.results import Results

AXES = {"step": "step", "epoch": "epoch", "share": "share of the stage, %"}
"""What curves can be drawn over, and how the axis is called."""
POINTS = 160  # per line; longer ones are averaged in bins, so that the page stays small


def draw_selection(data: ReportData) -> Drawn | str:
    """How the score grew, a panel per stage number."""
    results = data.results
    info = selection_info(results)
    if not info.seeds:
        return "No selection score has been recorded yet."
    others = {name: selection_info(results, name) for name in traced(results)}
    kinds = {name: curves for name, curves in others.items() if curves.seeds}
    note = "Score on the selection images while training. Thick: mean over seeds; thin: each seed."
    note += " Other metrics choose no weights." if kinds else ""
    score = data.study.score.metric
    views = {pretty(name): curves for name, curves in ({score: info} | kinds).items()}
    made = training_figure(views, {name: f"selection {name}, %" for name in views}, True, data.study.report.axis)
    return Drawn(note + _axis_note(info, data.study.report.axis), (made,))


def draw_losses(data: ReportData) -> Drawn | str:
    """How the losses fell, a panel per term."""
    info = losses_info(data.results)
    if not info.seeds:
        return "No loss has been recorded yet."
    axis = data.study.report.axis
    note = "Weighted terms as they enter the sum, mean over seeds." + _axis_note(info, axis)
    return Drawn(note, (training_figure({"": info}, {"": "loss"}, False, axis),))


class TrainingLine(NamedTuple):
    """One line: a stage kind (see `stage_labels`) at one seed, or its mean over seeds (`seed` None)."""

    stage: str
    variant: str  # what shares a colour
    number: int
    panel: str
    seed: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]
    length: float = math.nan  # steps of the stage
    epoch: float = math.nan  # steps of an epoch, where the stage recorded it

    def along(self, axis: str) -> list[float | None]:
        """The steps in the unit of an axis of AXES; None where that is not known."""
        unit = {"step": 1.0, "epoch": self.epoch, "share": self.length / 100}[axis]
        return [round(step / unit, 4) if unit > 0 else None for step in self.steps]


class TrainingInfo(NamedTuple):
    """Lines by panel. Means are taken at the steps that every seed of a stage kind has."""

    panels: tuple[str, ...]
    seeds: tuple[TrainingLine, ...]
    means: tuple[TrainingLine, ...]


def selection_info(results: Results, metric: str = "") -> TrainingInfo:
    """The score on the selection images, or another metric, in percent, of the role that counts; one panel per stage number."""
    metric = metric or results.study.score.metric
    wanted = {(stage["key"], f"selection/{stage['evaluated']}/{metric}"): "stage" for stage in results.stages.to_pylist()}
    return _curves(results, lambda key, name: wanted.get((key, name)), 100.0)


def traced(results: Results) -> tuple[str, ...]:
    """Shares that the curves have of the selection images, without the score."""
    names = {name for name in results.curves.column("name").to_pylist() if name.startswith("selection/")}
    metrics = sorted({name.rpartition("/")[2] for name in names} - {results.study.score.metric})
    return tuple(metric for metric in metrics if described(metric).unit == "share")


def _axis_note(info: TrainingInfo, axis: str) -> str:
    """What is to be said when the axis that was asked for is not known of these curves."""
    known = axis in _axes([*info.seeds, *info.means])
    return "" if known else f" {AXES[axis].partition(',')[0].capitalize()} not recorded: the axis is the step."


def _axes(lines: list[TrainingLine]) -> list[str]:
    """Axes on which every line can be drawn."""
    return [axis for axis in AXES if all(None not in line.along(axis) for line in lines)]


def losses_info(results: Results) -> TrainingInfo:
    """Weighted loss terms, one panel per term."""
    return _curves(results, lambda _, name: name.removeprefix("loss/") if name.startswith("loss/") else None, 1.0)


def _curves(results: Results, panel_of, scale: float) -> TrainingInfo:
    stages, labels = {stage["key"]: stage for stage in results.stages.to_pylist()}, stage_labels(results)
    epochs = epochs_of(results)
    points: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    columns = (results.curves.column(name).to_pylist() for name in ("key", "name", "step", "value"))
    for key, name, step, value in zip(*columns, strict=True):
        panel = panel_of(key, name) if key in stages else None
        if panel is not None and value is not None:
            points[key, panel].append((step, scale * value))
    seeds = []
    for (key, panel), line in points.items():
        stage = stages[key]
        steps, values = zip(*sorted(line), strict=True)
        panel = f"stage {stage['number']}" if panel == "stage" else panel
        units = (stage["steps"] or math.nan, epochs.get(key, math.nan))
        seeds.append(TrainingLine(*labels[key], stage["number"], panel, stage["seed"], *_thin(steps, values), *units))
    by_number = {f"stage {stage['number']}": stage["number"] for stage in stages.values()}
    seeds.sort(
        key=lambda curve: (
            curve.panel == "total",
            by_number.get(curve.panel, 0),
            curve.panel,
            curve.number,
            curve.stage,
            curve.seed,
        )
    )
    panels = tuple(dict.fromkeys(curve.panel for curve in seeds))
    groups: dict[tuple[str, str], list[TrainingLine]] = defaultdict(list)
    for curve in seeds:
        groups[curve.panel, curve.stage].append(curve)
    return TrainingInfo(panels, tuple(seeds), tuple(mean for group in groups.values() for mean in _mean(group)))


def stage_labels(results: Results) -> dict[str, tuple[str, str]]:
    """What to call each stage, by key, and which variant it is of: "s2-CR" and "s3-CR" of "CR", "s1" and "s2" of "", others of
    themselves.

    Rows that train one method in several settings give their stages the same name, and a mean over these would be of nothing:
    where a name is not unique at a seed, a stage is called "row", or "row: name" in a longer chain, after its first row, and is of
    that variant.
    """
    stages = results.stages.to_pylist()
    count = Counter((stage["name"], stage["seed"]) for stage in stages)
    clash = {name for (name, _), times in count.items() if times > 1}
    labels = {}
    for stage in stages:
        found = re.fullmatch(r"s\d+(?:-(.*))?", stage["name"])
        labels[stage["key"]] = (stage["name"], (found[1] or "") if found else stage["name"])
    order = {row: i for i, row in enumerate(results.study.rows)}
    lines = [line for line in results.rows.to_pylist() if line["row"] in order]
    length = Counter((line["row"], line["seed"]) for line in lines)
    for line in sorted(lines, key=lambda line: order[line["row"]], reverse=True):  # the first row has the last word
        row, name = line["row"], line["stage"]
        if name in clash:
            labels[line["key"]] = (row if length[row, line["seed"]] == 1 else f"{row}: {name}", row)
    return labels


def _mean(curves: list[TrainingLine]) -> list[TrainingLine]:
    """The mean line over the steps that all curves have; none when they share no step."""
    lines = [dict(zip(curve.steps, curve.values, strict=True)) for curve in curves]
    steps = tuple(step for step in lines[0] if all(step in line for line in lines))
    values = tuple(sum(line[step] for line in lines) / len(lines) for step in steps)
    return [curves[0]._replace(seed=None, steps=steps, values=values)] if steps else []


def _thin(steps, values) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """At most POINTS points, each the mean of its bin."""
    if len(steps) <= POINTS:
        return tuple(steps), tuple(values)
    sizes = np.full(POINTS, len(steps) // POINTS)  # as np.array_split has them
    sizes[: len(steps) % POINTS] += 1
    starts = np.cumsum(sizes) - sizes
    means = (tuple((np.add.reduceat(np.array(line, float), starts) / sizes).tolist()) for line in (steps, values))
    return next(means), next(means)


def _axis_name(letter: str, number: int) -> str:
    """As the layout calls the axis of a panel, 1 the first."""
    return f"{letter}axis{number if number > 1 else ''}"


def training_figure(views: Mapping[str, TrainingInfo], titles: Mapping[str, str], share_y: bool, axis: str = "step") -> go.Figure:
    """Panels side by side: means as lines, seeds as thin lines; one colour per variant, the same in every panel.

    Of several views, by name with the title of their y axis, the first is shown, and buttons show another one or change the x axis;
    `axis` is the one to begin with, where all lines have it. Panels and colours are those of the first view.
    """
    shown, first = next(iter(views.items()))
    panels = first.panels
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    made = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=panels,
        shared_yaxes=share_y,
        horizontal_spacing=0.06,
        vertical_spacing=0.2 / rows,
    )
    variants: dict[str, list[str]] = defaultdict(list)
    for _, stage, variant in sorted({(curve.number, curve.stage, curve.variant) for curve in first.seeds}):
        variants[variant].append(stage)
    names = {variant: variant if kinds[0].startswith(f"{variant}: ") else ", ".join(kinds) for variant, kinds in variants.items()}
    colours = {variant: CYCLE[i % len(CYCLE)] for i, variant in enumerate(variants)}
    # seeds of loss terms would hide the means
    drawn = [
        (name, curve)
        for name, view in views.items()
        for curve in (*(view.seeds if share_y else ()), *view.means)
        if curve.panel in panels and curve.variant in colours
    ]
    axes = _axes([curve for _, curve in drawn])
    axis = axis if axis in axes else "step"
    named: set[tuple[str, str]] = set()
    for name, curve in drawn:
        mean, colour = curve.seed is None, colours[curve.variant]
        trace = go.Scatter(
            x=curve.along(axis),
            y=[round(value, 5) for value in curve.values],
            mode="lines" if len(curve.steps) > 1 else "markers",
            line={"color": colour if mean else faded(colour, 0.35), "width": 2.4 if mean else 1},
            name=names[curve.variant],
            legendgroup=curve.variant,
            showlegend=mean and (name, curve.variant) not in named,
            visible=None if name == shown else False,
            hovertemplate=f"{curve.stage}, {'mean' if mean else f'seed {curve.seed}'}, %{{x:.4g}}: %{{y:.4g}}<extra></extra>",
        )
        if mean:
            named.add((name, curve.variant))
        at = divmod(panels.index(curve.panel), columns)
        made.add_trace(trace, row=at[0] + 1, col=at[1] + 1)
    height, top = 100 + 270 * rows, 34
    made.update_layout(figure([], height=height).layout)
    made.update_layout(legend={"y": -0.2 / rows}, margin={"t": top})
    bottom = [_axis_name("x", columns * (rows - 1) + i) for i in range(1, columns + 1)]
    left = [_axis_name("y", columns * row + 1) for row in range(rows)]
    metrics = [
        Switch(name, {"visible": [of == name for of, _ in drawn]}, {f"{at}.title.text": titles[name] for at in left})
        for name in views
    ]
    units = [
        Switch(one, {"x": [curve.along(one) for _, curve in drawn]}, {f"{at}.title.text": AXES[one] for at in bottom})
        for one in axes
    ]
    add_switches(made, height, top, (metrics, 0), (units, axes.index(axis)))
    made.update_xaxes(
        ticks="outside", zeroline=False, rangemode="tozero", automargin=True, title={"standoff": 8, "font": {"size": 12.5}}
    )
    made.update_yaxes(ticks="outside", zeroline=False, automargin=True, title={"standoff": 8, "font": {"size": 12.5}})
    for column in range(1, columns + 1):
        made.update_xaxes(title_text=AXES[axis], row=rows, col=column)
    return made.update_yaxes(title_text=titles[shown], col=1)
