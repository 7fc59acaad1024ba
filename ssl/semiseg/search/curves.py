"""Figures of a search that Optuna does not draw: the course of every trial, and the score over a weight or a decay."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from semiseg.report.style import BLUE, GOLD, GREEN, NEUTRAL, ORANGE, RED, Drawn, faded, figure
from semiseg.search.choice import choose, full
from semiseg.search.folder import NO_TRIAL, SearchResults, default_of

ONE_MINUS = "one_minus_"
ENDINGS = {
    TrialState.COMPLETE: ("full budget", faded(BLUE, 0.55), "solid"),
    TrialState.PRUNED: ("pruned", faded(NEUTRAL, 0.8), "dash"),
    TrialState.FAIL: ("failed", RED, "dot"),
    TrialState.RUNNING: ("running", GOLD, "solid"),
}


def draw_courses(search: SearchResults) -> Drawn | str:
    """Every trial while it trained, however it ended."""
    resource = search.about.get("resource", {})
    if not courses(search.trials):
        several = search.objectives > 1
        pruned = "With several objectives no trial is pruned, and selection scores are not recorded."
        return pruned if several else "No selection score has been recorded yet."
    seed, stages = next(iter(search.about.get("seeds", [])), 0), ", ".join(resource.get("stages", []))
    note = f"Selection scores of seed {seed} in the stages that differ between trials ({stages}). Crosses: pruned."
    return Drawn(note, (courses_figure(search.trials, resource, search.label, search.chosen),))


def courses(trials: Iterable[FrozenTrial]) -> dict[TrialState, list[FrozenTrial]]:
    """Trials with a selection score, by how they ended; Optuna draws pruned ones like the others."""
    found: dict[TrialState, list[FrozenTrial]] = {}
    for one in trials:
        if one.intermediate_values and one.state in ENDINGS:
            found.setdefault(one.state, []).append(one)
    return {state: found[state] for state in ENDINGS if state in found}


def courses_figure(
    trials: Sequence[FrozenTrial], resource: Mapping[str, Any], label: str, best: FrozenTrial | None = None
) -> go.Figure:
    """Selection scores while training, a line per trial, pruned ones dashed with a cross at their end, the best one thick."""
    made = figure([], height=460)
    for state, ones in courses(trials).items():
        name, colour, dash = ENDINGS[state]
        made.add_trace(_course(ones, name, {"color": colour, "dash": dash, "width": 1.5}))
        if state == TrialState.PRUNED:
            ends = [(*max(one.intermediate_values.items()), one.number) for one in ones]
            marker = {"symbol": "x", "size": 8, "color": NEUTRAL}
            x, y, text = [step for step, _, _ in ends], [100 * value for _, value, _ in ends], [number for _, _, number in ends]
            said = {"name": "pruned here", "text": text, "hovertemplate": "trial %{text} pruned: %{y:.2f} %<extra></extra>"}
            made.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=marker, **said))
    for one, name, colour, width in ((best or choose(trials), "best", GREEN, 4.5), (default_of(trials), "default", ORANGE, 2)):
        if one and one.intermediate_values:
            made.add_trace(_course([one], name, {"color": colour, "width": width}))
    names, each = resource.get("stages", []), resource.get("evaluations", 0)
    for i, stage in enumerate(names):
        at = {"x": 0.5 + each * (i + 0.5), "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False}
        made.add_annotation(text=stage, font={"size": 12, "color": NEUTRAL}, **at)
        if i:
            made.add_vline(x=0.5 + each * i, line={"width": 1, "color": NEUTRAL, "dash": "dot"})
    made.update_xaxes(
        title_text="selection score number", showgrid=False, range=[0.5, resource.get("total", 0) + 0.5] if names else None
    )
    return made.update_yaxes(title_text=f"{label}, %").update_layout(margin={"t": 26})


def _course(ones: Iterable[FrozenTrial], name: str, line: dict) -> go.Scatter:
    """Lines of several trials as one trace with gaps."""
    points: list[tuple] = []
    for one in ones:
        points += [(step, 100 * value, one.number) for step, value in sorted(one.intermediate_values.items())] + [
            (None, None, None)
        ]
    x, y, text = (list(column) for column in zip(*points, strict=True))
    said = {"name": name, "text": text, "hovertemplate": "trial %{text}: %{y:.2f} %<extra></extra>"}
    return go.Scatter(x=x, y=y, mode="lines+markers", marker={"size": 4}, line=line, **said)


def draw_lambda(search: SearchResults) -> Drawn | str:
    """A panel per weight of a loss term."""
    return _drawn(search, lambda_curves(search.trials), "weight of a loss term")


def draw_ema(search: SearchResults) -> Drawn | str:
    """A panel per decay of an averaged network."""
    return _drawn(search, ema_curves(search.trials), "decay of the teacher's average")


def _drawn(search: SearchResults, found: Sequence["ParameterCurve"], what: str) -> Drawn | str:
    if not found:
        return f"The trials of the full budget have no numeric {what}." if full(search.trials) else NO_TRIAL
    note = f"Score over each {what}. Other parameters differ between the trials too, so this is no controlled comparison."
    return Drawn(note, tuple(parameter_figure(one, search.label) for one in found), panel_px=420)


class ParameterCurve(NamedTuple):
    """Full-budget trials over one numeric parameter."""

    param: str
    axis: str
    trials: tuple[FrozenTrial, ...]
    complement: bool = False  # drawn over 1 - value

    def place(self, one: FrozenTrial) -> float:
        """Where a trial stands on the axis."""
        return 1 - one.params[self.param] if self.complement else one.params[self.param]


def lambda_curves(trials: Iterable[FrozenTrial]) -> list[ParameterCurve]:
    """Of every weight of a loss term: numbers called lambda or weight, but neither weights nor weight_decay."""
    return [ParameterCurve(name, name, ones) for name, ones in _numeric(trials, r"lambda|weight(?!s|_?decay)")]


def ema_curves(trials: Iterable[FrozenTrial]) -> list[ParameterCurve]:
    """Of every decay of the teacher's average, over 1 - decay; some spaces search that number itself."""
    found = _numeric(trials, r"ema[._]decay")
    return [
        ParameterCurve(name, f"1 − {name.removeprefix(ONE_MINUS)}", ones, not name.startswith(ONE_MINUS)) for name, ones in found
    ]


def _numeric(trials: Iterable[FrozenTrial], wanted: str) -> list[tuple[str, tuple[FrozenTrial, ...]]]:
    """Numeric parameters whose names match, each with the full-budget trials that have it."""
    done = full(trials)
    names = sorted({name for one in done for name, value in one.params.items() if re.search(wanted, name) and _number(value)})
    return [(name, tuple(one for one in done if _number(one.params.get(name)))) for name in names]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parameter_figure(curve: ParameterCurve, label: str) -> go.Figure:
    """Dots of trials, small ones of their seeds if there are several, a star for the default; a log axis where no place is 0."""
    places, numbers = [curve.place(one) for one in curve.trials], [f"trial {one.number}" for one in curve.trials]
    seeds = [
        (x, 100 * value, f"{number}, seed {seed}")
        for x, number, one in zip(places, numbers, curve.trials, strict=True)
        for seed, value in one.user_attrs.get("scores", {}).items()
    ]
    traces = []
    if len(seeds) > len(places):
        x, y, text = zip(*seeds, strict=True)
        traces.append(_dots(x, y, text, "each seed", {"size": 5, "color": faded(BLUE, 0.4)}))
    traces.append(_dots(places, [100 * one.values[0] for one in curve.trials], numbers, "full budget", {"size": 9, "color": BLUE}))
    made = figure([*traces, *star(default_of(curve.trials), curve.place)], height=360)
    kind = "log" if min(places) > 0 else "linear"
    made.update_xaxes(title_text=curve.axis, type=kind, showgrid=False, exponentformat="none")
    return made.update_yaxes(title_text=f"{label}, %")


def _dots(x: Iterable, y: Iterable, text: Iterable, name: str, marker: dict) -> go.Scatter:
    said = "%{text}: %{y:.2f} % at %{x:.4g}<extra></extra>"
    return go.Scatter(x=list(x), y=list(y), text=list(text), mode="markers", name=name, marker=marker, hovertemplate=said)


def star(
    default: FrozenTrial | None,
    x: Callable[[FrozenTrial], float],
    y: Callable[[FrozenTrial], float] = lambda one: 100 * one.values[0],
) -> list[go.Scatter]:
    """The mark of the default configuration, if it has a place."""
    if default is None:
        return []
    marker, said = {"symbol": "star", "size": 15, "color": ORANGE}, f"default: {100 * default.values[0]:.2f} %<extra></extra>"
    return [go.Scatter(x=[x(default)], y=[y(default)], mode="markers", name="default", marker=marker, hovertemplate=said)]
