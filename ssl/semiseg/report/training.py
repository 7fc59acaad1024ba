"""Figures of how the stages trained: selection curves, loss terms, and when each stage ran. Numbers first, drawing second."""

import math
import re
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from semiseg.report.style import CYCLE, GREY, faded, figure
from semiseg.results import Results

POINTS = 160  # per line; longer ones are averaged in bins, so that the page stays small


class Curve(NamedTuple):
    """One line: a stage kind (see `stage_labels`) at one seed, or its mean over seeds (`seed` None)."""

    stage: str
    variant: str  # what shares a colour
    number: int
    panel: str
    seed: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]


class CurvesInfo(NamedTuple):
    """Lines by panel. Means are taken at the steps that every seed of a stage kind has."""

    panels: tuple[str, ...]
    seeds: tuple[Curve, ...]
    means: tuple[Curve, ...]


def selection_info(results: Results) -> CurvesInfo:
    """Selection score in percent of the role that counts, one panel per stage number."""
    metric = results.study["score"]["metric"]
    wanted = {(stage["key"], f"selection/{stage['evaluated']}/{metric}"): "stage" for stage in results.stages.to_pylist()}
    return _curves(results, lambda key, name: wanted.get((key, name)), 100.0)


def losses_info(results: Results) -> CurvesInfo:
    """Weighted loss terms, one panel per term."""
    return _curves(results, lambda _, name: name.removeprefix("loss/") if name.startswith("loss/") else None, 1.0)


def _curves(results: Results, panel_of, scale: float) -> CurvesInfo:
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
        seeds.append(Curve(*labels[key], stage["number"], panel, stage["seed"], *_thin(steps, values)))
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
    groups: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in seeds:
        groups[curve.panel, curve.stage].append(curve)
    return CurvesInfo(panels, tuple(seeds), tuple(mean for group in groups.values() for mean in _mean(group)))


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
    order = {row: i for i, row in enumerate(results.study["rows"])}
    lines = [line for line in results.rows.to_pylist() if line["row"] in order]
    length = Counter((line["row"], line["seed"]) for line in lines)
    for line in sorted(lines, key=lambda line: order[line["row"]], reverse=True):  # the first row has the last word
        row, name = line["row"], line["stage"]
        if name in clash:
            labels[line["key"]] = (row if length[row, line["seed"]] == 1 else f"{row}: {name}", row)
    return labels


def _mean(curves: list[Curve]) -> list[Curve]:
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


def curves_figure(info: CurvesInfo, y_title: str, share_y: bool) -> go.Figure:
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


class Bar(NamedTuple):
    """One stage on one slot; seconds since the first start."""

    slot: int
    start: float
    end: float
    stage: str
    seed: int
    number: int
    state: str


class TimelineInfo(NamedTuple):
    """When the stages of the latest run of the command ran, and which share of the slots they kept busy."""

    slots: int
    bars: tuple[Bar, ...]
    wall: float
    busy: float  # (sum of stage seconds / slots) / wall from first start to last end; NaN without stages
    earlier: int  # stages that an earlier run of the command finished


PAUSE_S = 60  # no stage ran for this long: another run of the command began


def timeline_info(results: Results) -> TimelineInfo:
    """Lay the stages of the latest run out on slots: each takes the lowest slot that is free when it starts."""
    ran = [stage for stage in results.stages.to_pylist() if stage["started"] and (stage["ended"] or 0) > stage["started"]]
    ran.sort(key=lambda stage: (stage["started"], stage["key"]))
    first = 0
    for i in range(1, len(ran)):
        if ran[i]["started"] - max(stage["ended"] for stage in ran[:i]) > PAUSE_S:
            first = i
    latest, slots = ran[first:], int(results.study["slots"])
    if not latest:
        return TimelineInfo(slots, (), 0.0, math.nan, 0)
    zero, free, bars = latest[0]["started"], [], []
    for stage in latest:
        slot = next((i for i, end in enumerate(free) if end <= stage["started"] + 0.5), len(free))
        free[slot : slot + 1] = [stage["ended"]]
        start, end = stage["started"] - zero, stage["ended"] - zero
        bars.append(Bar(slot, start, end, stage["name"], stage["seed"], stage["number"], stage["state"]))
    wall = max(bar.end for bar in bars)
    lengths = [stage["ended"] - stage["started"] for stage in latest]
    # A stage that was continued counts only what it trained in this run.
    busy = sum(min(stage["seconds"] or length, length) for stage, length in zip(latest, lengths, strict=True))
    slots = slots or len(free)  # a study that found all its stages in the store has had no slots of its own
    return TimelineInfo(slots, tuple(bars), wall, busy / slots / wall, first)


def timeline_figure(info: TimelineInfo) -> go.Figure:
    """A bar per stage, one line per slot, coloured by stage number."""
    traces = []
    for number in sorted({bar.number for bar in info.bars}):
        bars = [bar for bar in info.bars if bar.number == number]
        traces.append(
            go.Bar(
                base=[bar.start for bar in bars],
                x=[bar.end - bar.start for bar in bars],
                y=[f"slot {bar.slot + 1}" for bar in bars],
                text=[f"{bar.stage} #{bar.seed}" for bar in bars],
                textposition="inside",
                insidetextanchor="middle",
                insidetextfont={"color": "white"},
                textangle=0,
                constraintext="both",
                customdata=[(bar.end, bar.state) for bar in bars],
                orientation="h",
                marker={"color": CYCLE[(number - 1) % len(CYCLE)], "line": {"width": 1, "color": faded(GREY, 0.6)}},
                name=f"stage {number}",
                hovertemplate="%{text}: %{base:.1f} s to %{customdata[0]:.1f} s, %{customdata[1]}<extra></extra>",
            )
        )
    lanes = 1 + max(bar.slot for bar in info.bars)
    made = figure(traces, height=120 + 46 * lanes, barmode="overlay", legend={"y": -0.35})
    made.update_xaxes(title_text="seconds since the first stage started")
    return made.update_yaxes(autorange="reversed", showgrid=False, categoryorder="category ascending")
