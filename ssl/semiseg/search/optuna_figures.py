"""Optuna's figures of a search in the page's look. Only trials of the full budget (state COMPLETE) enter them."""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna import visualization as drawn
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from semiseg.report.style import BLUE, GREEN, NEUTRAL, ORANGE, Drawn, faded, figure
from semiseg.search.curves import star
from semiseg.search.folder import NO_TRIAL, SearchResults, default_of, full

FEWEST = 4
"""Full-budget trials below which an importance would be noise."""
TOP = 5
"""Trials that PED-ANOVA's top quantile should hold (its documentation), of at most half of all."""


def in_percent(trials: Iterable[FrozenTrial], objectives: int = 1) -> optuna.Study:
    """A study in memory with the same numbers of trials and scores in percent, where only full-budget trials have values.

    Optuna's plots then need no `target`, with which they would turn their colours round and PED-ANOVA would look for low scores.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=[StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][:objectives])
    trials = list(trials)
    known = {one.number for one in full(trials)}
    for one in trials:
        if one.number in known:
            values = [100 * one.values[0], *one.values[1:]][:objectives]
            study.add_trial(create_trial(values=values, params=one.params, distributions=one.distributions))
        else:
            study.add_trial(create_trial(state=TrialState.FAIL))
    return study


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


def importances(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Share of each parameter by PED-ANOVA, the highest first; empty with fewer than FEWEST trials, equal scores or constant
    parameters.

    How the parameters of the best trials are distributed against those of all (Watanabe et al. 2023, arXiv:2304.10255).
    """
    done = full(trials)
    names = _varied(done)
    if not names or len(done) < FEWEST or len({one.values[0] for one in done}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about conditional parameters with one trial, which it leaves out
        found = get_param_importances(in_percent(done), evaluator=_evaluator(done), params=names)
    return found if sum(found.values()) > 0 else {}


def _varied(done: Iterable[FrozenTrial]) -> list[str]:
    """Parameters with at least two values; others would get an importance from PED-ANOVA's prior alone."""
    pairs = {(name, value) for one in done for name, value in one.params.items()}
    return sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)


def _evaluator(done: Sequence[FrozenTrial]) -> PedAnovaImportanceEvaluator:
    return PedAnovaImportanceEvaluator(target_quantile=top(len(done)) / len(done))


def top(trials: int) -> int:
    """Of so many full-budget trials, how many are the best ones of PED-ANOVA: a tenth, at least 5, at most half."""
    return min(trials // 2, max(TOP, math.ceil(trials / 10)))


def draw_importance(search: SearchResults) -> Drawn | str:
    """What high scores depend on."""
    if not importances(search.trials):
        return _too_few(search)
    count = len(full(search.trials))
    note = f"PED-ANOVA: how the best {top(count)} of the {count} trials of the full budget differ from all of them. "
    note += "Pruned trials do not count. It says which parameters matter within the ranges searched."
    return Drawn(note, (importance(search.trials, search.label),))


def _too_few(search: SearchResults) -> str:
    count = len(full(search.trials))
    return f"Needs at least {FEWEST} trials of the full budget whose scores and parameters differ; there are {count}."


def importance(trials: Iterable[FrozenTrial], label: str) -> go.Figure:
    """A bar per parameter; `importances` must not be empty."""
    done = full(trials)
    names = list(importances(done))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = drawn.plot_param_importances(in_percent(done), evaluator=_evaluator(done), params=sorted(names), target_name=label)
    made = _dressed(made, 110 + 30 * len(names)).update_traces(marker_color=BLUE, cliponaxis=False)
    made.update_xaxes(title_text="share of the importance", range=[0, 1.08], tickformat=".0%")
    return made.update_yaxes(title_text="", showgrid=False).update_layout(showlegend=False)


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
        values, choices = _traces(one)[0].x, one.layout.xaxis.categoryarray
        if choices:  # in Optuna's repr
            one.update_xaxes(tickvals=choices, ticktext=[choice.strip("'") for choice in choices])
        elif one.layout.xaxis.type == "log" and max(values) >= 100 * min(values):
            one.update_xaxes(dtick=1)  # powers of ten only: more do not fit
        one.update_xaxes(showgrid=False, exponentformat="e")
        one.update_yaxes(range=[min(scores) - room, max(scores) + room])
        made.append(one)
    return made


def pair(trials: Iterable[FrozenTrial]) -> tuple[str, str] | None:
    """The two most important numbers or choices that occur together, both with at least two values."""
    done = full(trials)
    for first, second in combinations(importances(done), 2):
        both = [(one.params[first], one.params[second]) for one in done if {first, second} <= one.params.keys()]
        if len(both) >= FEWEST and all(len(set(values)) > 1 for values in zip(*both, strict=True)):
            return first, second
    return None


def draw_contour(search: SearchResults) -> Drawn | str:
    """The two parameters that matter most."""
    names = pair(search.trials)
    if names is None:
        return _too_few(search)
    note = f"The two most important parameters that occur together: {names[0]} and {names[1]}. "
    return Drawn(note + "Between the trials (dots) it is interpolated.", (contour(search.trials, names, search.label),))


def contour(trials: Iterable[FrozenTrial], names: tuple[str, str], label: str) -> go.Figure:
    """Score over two parameters, interpolated between the trials (dots)."""
    kept = [one for one in full(trials) if set(names) <= one.params.keys()]  # Optuna stretches the axes to the others too
    made = _dressed(drawn.plot_contour(in_percent(kept), params=list(names), target_name=f"{label}, %"), 460)
    made.update_traces(
        colorscale=[[0, ORANGE], [0.5, "#e9e6df"], [1, BLUE]], colorbar=_bar(f"{label}, %"), selector={"type": "contour"}
    )
    return made


def draw_pareto(search: SearchResults) -> Drawn | str | None:
    """Score against cost, of a search with both as objectives."""
    if search.objectives == 1:
        return None
    if not full(search.trials):
        return NO_TRIAL
    note = "Higher scores are further right, cheaper trials further down."
    return Drawn(note, (pareto(search.trials, search.label),))


def pareto(trials: Iterable[FrozenTrial], label: str) -> go.Figure:
    """Score against seconds of the full-budget trials: no trial is both better and faster than one of the front."""
    kept = full(trials)
    made = _dressed(drawn.plot_pareto_front(in_percent(kept, 2), target_names=[f"{label}, %", "stage-seconds of a trial"]), 420)
    numbers = {(100 * one.values[0], one.values[1]): one.number for one in kept}
    for trace, name, colour in zip(_traces(made), ("others", "Pareto front"), (NEUTRAL, BLUE), strict=True):
        text = [f"trial {numbers[at]}" for at in zip(trace.x, trace.y, strict=True)]
        trace.update(text=text, hovertemplate="%{text}: %{x:.2f} %, %{y:.0f} s<extra></extra>", name=name, showlegend=True)
        trace.update(marker={"color": colour, "size": 9}, overwrite=True)
    return made.add_traces(star(default_of(kept), lambda one: 100 * one.values[0], lambda one: one.values[1]))


def _dressed(made: go.Figure, height: int) -> go.Figure:
    """An Optuna figure in the page's look: its traces, axes, shapes and annotations without its title and colours."""
    own = figure(made.data, height, shapes=made.layout.shapes, annotations=made.layout.annotations)
    return own.update_layout(xaxis=made.layout.xaxis.to_plotly_json(), yaxis=made.layout.yaxis.to_plotly_json())


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
