"""Optuna's figures of a search in the page's look. Only trials of the full budget (state COMPLETE) enter them."""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from optuna import visualization as drawn
from optuna.trial import FrozenTrial

from semiseg.report.style import BLUE, GREEN, ORANGE, Drawn, faded, figure
from semiseg.search.choice import full
from semiseg.search.curves import star
from semiseg.search.folder import NO_TRIAL, SearchResults, default_of
from semiseg.search.importance import FEWEST, in_percent, kept_importances, too_few


def draw_history(search: SearchResults) -> Drawn | str:
    """The way to the best score."""
    if not full(search.trials):
        return NO_TRIAL
    note = "Score of each trial trained with the full budget (mean over its seeds), and the best so far."
    return Drawn(note, (history(search.trials, search.label),))


def history(trials: Sequence[FrozenTrial], label: str) -> go.Figure:
    """Score of each full-budget trial and the best so far."""
    points, line, *_ = _traces(drawn.plot_optimization_history(in_percent(trials), target_name=label))
    points.update(name="full budget", marker={"color": BLUE, "size": 8}, hovertemplate="trial %{x}: %{y:.2f} %<extra></extra>")
    so_far = [value if math.isfinite(value) else None for value in line.y]
    line.update(y=so_far, name="best so far", line={"color": GREEN, "width": 2, "shape": "hv"}, hoverinfo="skip")
    made = figure([line, points, *star(default_of(trials), lambda one: one.number)], height=400)
    made.update_xaxes(title_text="trial", showgrid=False)
    return made.update_yaxes(title_text=f"{label}, %")


def draw_parallel(search: SearchResults) -> Drawn | str:
    """All parameters of all trials."""
    if not full(search.trials):
        return NO_TRIAL
    note = "A line per trial of the full budget. None: the trial does not have the parameter."
    return Drawn(note, (parallel(search.trials, search.label),))


def parallel(trials: Iterable[FrozenTrial], label: str) -> go.Figure:
    """A line per full-budget trial through its score and its parameters, from orange (lowest score) to blue (highest)."""
    made = _dressed(drawn.plot_parallel_coordinate(in_percent(trials), target_name=f"{label}, %"), 420)
    for trace in _traces(made, "lines"):
        trace.update(line={"color": _between(trace.y[0]), "width": 1.8}, opacity=0.75)
    for trace in _traces(made, "markers"):
        trace.update(marker={"colorscale": [[0, ORANGE], [0.5, _between(0.5)], [1, BLUE]], "colorbar": _bar(f"{label}, %")})
    return made.update_annotations(font={"size": 10.5}, overwrite=True)


def draw_slices(search: SearchResults) -> Drawn | str:
    """A panel per parameter."""
    made = slices(search.trials, search.label)
    note = "Trials of the full budget over each parameter; the fuller the colour, the later the trial."
    return Drawn(note, tuple(made), panel_px=260) if made else NO_TRIAL


def slices(trials: Iterable[FrozenTrial], label: str) -> list[go.Figure]:
    """Per parameter the scores over its values, in fuller colour for later trials; all on one scale of scores."""
    trials = list(trials)
    study, done, made = in_percent(trials), full(trials), []
    scores = [100 * one.values[0] for one in done]
    room = 0.06 * (max(scores, default=0) - min(scores, default=0)) or 1
    for name in sorted({name for one in done for name in one.params}):
        one = _dressed(drawn.plot_slice(study, params=[name], target_name=f"{label}, %"), 270)
        marker = {"size": 8, "colorscale": [[0, faded(BLUE, 0.2)], [1, BLUE]], "line": {"color": BLUE}, "showscale": False}
        one.update_traces(marker=marker, hovertemplate="trial %{marker.color}: %{y:.2f} %<extra></extra>")
        values, choices = _traces(one)[0].x, _layout(one).xaxis.categoryarray
        if choices:  # in Optuna's repr
            one.update_xaxes(tickvals=choices, ticktext=[choice.strip("'") for choice in choices])
        elif _layout(one).xaxis.type == "log" and max(values) >= 100 * min(values):
            one.update_xaxes(dtick=1)  # powers of ten only: more do not fit
        one.update_xaxes(showgrid=False, exponentformat="e")
        one.update_yaxes(range=[min(scores) - room, max(scores) + room])
        made.append(one)
    return made


def pair(trials: Iterable[FrozenTrial], folder: Path) -> tuple[str, str] | None:
    """The two most important numbers or choices of a search in `folder` that occur together, both with at least two values."""
    done = full(trials)
    for first, second in combinations(kept_importances(done, folder), 2):
        both = [(one.params[first], one.params[second]) for one in done if {first, second} <= one.params.keys()]
        if len(both) >= FEWEST and all(len(set(values)) > 1 for values in zip(*both, strict=True)):
            return first, second
    return None


def draw_contour(search: SearchResults) -> Drawn | str:
    """The two parameters that matter most."""
    names = pair(search.trials, search.folder)
    if names is None:
        return too_few(search)
    note = f"The two parameters that occur together and tell the best trials apart most (PED-ANOVA): {names[0]} and {names[1]}. "
    return Drawn(note + "Between the trials (dots) it is interpolated.", (contour(search.trials, names, search.label),))


def contour(trials: Iterable[FrozenTrial], names: tuple[str, str], label: str) -> go.Figure:
    """Score over two parameters, interpolated between the trials (dots)."""
    kept = [one for one in full(trials) if set(names) <= one.params.keys()]  # Optuna stretches the axes to the others too
    made = _dressed(drawn.plot_contour(in_percent(kept), params=list(names), target_name=f"{label}, %"), 460)
    made.update_traces(
        colorscale=[[0, ORANGE], [0.5, "#e9e6df"], [1, BLUE]], colorbar=_bar(f"{label}, %"), selector={"type": "contour"}
    )
    return made


def _dressed(made: go.Figure, height: int) -> go.Figure:
    """An Optuna figure in the page's look: its traces, axes, shapes and annotations without its title and colours."""
    layout = _layout(made)
    own = figure(made.data, height, shapes=layout.shapes, annotations=layout.annotations)
    return own.update_layout(xaxis=layout.xaxis.to_plotly_json(), yaxis=layout.yaxis.to_plotly_json())


def _layout(made: go.Figure) -> Any:
    """Typed as anything, as Plotly's own types do not say what is in it."""
    return made.layout


def _traces(made: go.Figure, mode: str = "") -> list[Any]:
    """Traces of a figure, or those of one mode."""
    traces: Any = made.data
    return [trace for trace in traces if mode in ("", trace.mode)]


def _bar(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "side": "right", "font": {"size": 12.5}}, "thickness": 12, "outlinewidth": 0}


def _between(share: float) -> str:
    """The colour at a share of the way from orange to blue, through grey."""
    low, high = ([int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (ORANGE, BLUE))
    return "rgb({},{},{})".format(*(round(a + (b - a) * share) for a, b in zip(low, high, strict=True)))
