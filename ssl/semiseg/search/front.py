"""The Pareto front of a search with several objectives, as a figure and as a table."""

from collections.abc import Sequence

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from semiseg.report.grid import Grid, named
from semiseg.report.markup import Section, empty, grid_table, render, section
from semiseg.report.style import BLUE, NEUTRAL, Drawn, figure
from semiseg.search.choice import Objective, front, full, settings_said
from semiseg.search.curves import star
from semiseg.search.folder import NO_TRIAL, SearchResults, default_of

WORDS = {"seconds": "stage-seconds of a trial", "parameters": "parameters of the network"}


def draw_pareto(search: SearchResults) -> Drawn | str | None:
    """Score against each other objective."""
    names = search.objective_names
    if len(names) == 1:
        return None
    if not full(search.trials):
        return NO_TRIAL
    note = "Higher scores are further right, cheaper trials further down. Of the front no trial is beaten in all objectives."
    made = tuple(pareto(search.trials, search.label, names, place) for place in range(1, len(names)))
    return Drawn(note, made, panel_px=420 if len(made) > 1 else 0)


def pareto(trials: Sequence[FrozenTrial], label: str, objectives: Sequence[Objective], place: int = 1) -> go.Figure:
    """Score against the objective of that place, of the full-budget trials; the front is that of all objectives."""
    done, best = full(trials), {one.number for one in front(trials, objectives)}
    name = objectives[place]
    traces = []
    for called, colour, ones in (
        ("others", NEUTRAL, [one for one in done if one.number not in best]),
        ("Pareto front", BLUE, [one for one in done if one.number in best]),
    ):
        traces.append(
            go.Scatter(
                x=[100 * one.values[0] for one in ones],
                y=[one.values[place] for one in ones],
                text=[f"trial {one.number}" for one in ones],
                mode="markers",
                name=called,
                marker={"color": colour, "size": 9},
                hovertemplate="%{text}: %{x:.2f} %, %{y:,.0f} " + name + "<extra></extra>",
            )
        )
    made = figure([*traces, *star(default_of(done), lambda one: 100 * one.values[0], lambda one: one.values[place])], height=420)
    made.update_xaxes(title_text=f"{label}, %", showgrid=False)
    return made.update_yaxes(title_text=WORDS[name])


def front_section(search: SearchResults) -> Section | None:
    """The trials of the front with their objectives and settings; None of one objective."""
    names = search.objective_names
    if len(names) == 1:
        return None
    chosen = search.chosen
    heads = [f"{search.label}, %", *(WORDS[name] for name in names[1:])]
    columns = (*named("row", [""]), *named("number", heads), *named("text", ["settings"]))
    cells = []
    for one in front(search.trials, names):
        mark = " (picked)" if chosen is not None and one.number == chosen.number else ""
        numbers = [f"{100 * one.values[0]:.2f}", *(f"{value:,.0f}" for value in one.values[1:])]
        cells.append((f"trial {one.number}{mark}", *numbers, settings_said(one)))
    note = "The same command with --pick and a trial's number compares that one with the default and writes its best.json."
    content = render("notes", numerals=(), words=[note]) + grid_table(Grid(columns, tuple(cells))) if cells else empty(NO_TRIAL)
    return ("front", "Front", section("front", "Trials of the Pareto front", content))
