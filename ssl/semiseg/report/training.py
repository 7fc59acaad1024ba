"""Figures of how the stages trained: selection curves and loss terms. Numbers first, drawing second."""

import math
import re
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from semiseg.report.data import ReportData
from semiseg.report.style import CYCLE, Drawn, faded, figure
from semiseg.results import Results

POINTS = 160  # per line; longer ones are averaged in bins, so that the page stays small


def draw_selection(data: ReportData) -> Drawn | str:
    """How the score grew, a panel per stage number."""
    info = selection_info(data.results)
    if not info.seeds:
        return "No selection score has been recorded yet."
    note = "Score on the selection images while training. Thick: mean over seeds; thin: each seed."
    return Drawn(note, (training_figure(info, "selection score, %", True),))


def draw_losses(data: ReportData) -> Drawn | str:
    """How the losses fell, a panel per term."""
    info = losses_info(data.results)
    if not info.seeds:
        return "No loss has been recorded yet."
    return Drawn("Weighted terms as they enter the sum, mean over seeds.", (training_figure(info, "loss", False),))


class TrainingLine(NamedTuple):
    """One line: a stage kind (see `stage_labels`) at one seed, or its mean over seeds (`seed` None)."""

    stage: str
    variant: str  # what shares a colour
    number: int
    panel: str
    seed: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]


class TrainingInfo(NamedTuple):
    """Lines by panel. Means are taken at the steps that every seed of a stage kind has."""

    panels: tuple[str, ...]
    seeds: tuple[TrainingLine, ...]
    means: tuple[TrainingLine, ...]


def selection_info(results: Results) -> TrainingInfo:
    """Selection score in percent of the role that counts, one panel per stage number."""
    metric = results.study.score.metric
    wanted = {(stage["key"], f"selection/{stage['evaluated']}/{metric}"): "stage" for stage in results.stages.to_pylist()}
    return _curves(results, lambda key, name: wanted.get((key, name)), 100.0)


def losses_info(results: Results) -> TrainingInfo:
    """Weighted loss terms, one panel per term."""
    return _curves(results, lambda _, name: name.removeprefix("loss/") if name.startswith("loss/") else None, 1.0)


def _curves(results: Results, panel_of, scale: float) -> TrainingInfo:
    stages, labels = {stage["key"]: stage for stage in results.stages.to_pylist()}, stage_labels(results)
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
        seeds.append(TrainingLine(*labels[key], stage["number"], panel, stage["seed"], *_thin(steps, values)))
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
    thinned = (tuple(float(chunk.mean()) for chunk in np.array_split(np.array(line, float), POINTS)) for line in (steps, values))
    return next(thinned), next(thinned)


def training_figure(info: TrainingInfo, y_title: str, share_y: bool) -> go.Figure:
    """Panels side by side: means as lines, seeds as thin lines; one colour per variant, the same in every panel."""
    columns = 2 if len(info.panels) == 4 else min(len(info.panels), 3)
    rows = math.ceil(len(info.panels) / columns)
    made = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=info.panels,
        shared_yaxes=share_y,
        horizontal_spacing=0.06,
        vertical_spacing=0.2 / rows,
    )
    variants: dict[str, list[str]] = defaultdict(list)
    for _, stage, variant in sorted({(curve.number, curve.stage, curve.variant) for curve in info.seeds}):
        variants[variant].append(stage)
    names = {variant: variant if kinds[0].startswith(f"{variant}: ") else ", ".join(kinds) for variant, kinds in variants.items()}
    colours = {variant: CYCLE[i % len(CYCLE)] for i, variant in enumerate(variants)}
    named: set[str] = set()
    for curve in [*info.seeds, *info.means]:
        if curve.seed is not None and not share_y:
            continue  # seeds of loss terms would hide the means
        at = divmod(info.panels.index(curve.panel), columns)
        mean = curve.seed is None
        trace = go.Scatter(
            x=curve.steps,
            y=[round(value, 5) for value in curve.values],
            mode="lines" if len(curve.steps) > 1 else "markers",
            line={"color": colours[curve.variant] if mean else faded(colours[curve.variant], 0.35), "width": 2.4 if mean else 1},
            name=names[curve.variant],
            legendgroup=curve.variant,
            showlegend=mean and curve.variant not in named,
            hovertemplate=f"{curve.stage}, {'mean' if mean else f'seed {curve.seed}'}, step %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        if mean:
            named.add(curve.variant)
        made.add_trace(trace, row=at[0] + 1, col=at[1] + 1)
    made.update_layout(figure([], height=100 + 270 * rows).layout)
    made.update_layout(legend={"y": -0.2 / rows}, margin={"t": 34})
    made.update_xaxes(
        ticks="outside", zeroline=False, rangemode="tozero", automargin=True, title={"standoff": 8, "font": {"size": 12.5}}
    )
    made.update_yaxes(ticks="outside", zeroline=False, automargin=True, title={"standoff": 8, "font": {"size": 12.5}})
    for column in range(1, columns + 1):
        made.update_xaxes(title_text="step", row=rows, col=column)
    return made.update_yaxes(title_text=y_title, col=1)
