"""The best candidates of a search so far, as a table of its page."""

import math

from semiseg.report.grid import Grid, named
from semiseg.report.markup import Section, empty, grid_table, render, section
from semiseg.search.choice import leaders, settings_said
from semiseg.search.folder import NO_TRIAL, SearchResults

MOST = 10
"""Candidates in the table."""


def leaders_section(search: SearchResults) -> Section:
    """Mean score, its standard error and the number of judging seeds of the best trials, with their settings."""
    chosen = search.chosen
    columns = (
        *named("row", [""]),
        *named("number", [f"{search.label}, %", "standard error", "seeds"]),
        *named("text", ["settings"]),
    )
    cells = []
    for one in leaders(search.trials)[:MOST]:
        marks = ["picked"] if chosen is not None and one.trial.number == chosen.number else []
        marks += ["default"] if one.trial.user_attrs.get("default") else []
        name = f"trial {one.trial.number}" + (f" ({', '.join(marks)})" if marks else "")
        error = "–" if math.isnan(one.error) else f"{100 * one.error:.2f}"
        cells.append((name, f"{100 * one.mean:.2f}", error, str(one.n), settings_said(one.trial)))
    note = "Mean over the judging seeds. Promising trials alone have more than one, and only those with the most are compared: of those "
    note += "within one standard error of the best mean the one that changes the fewest settings of the default is picked."
    if search.warm:
        note += f" The sampler also learned from {len(search.warm)} trials of earlier searches, which are not shown."
    content = render("notes", numerals=(), words=[note]) + grid_table(Grid(columns, tuple(cells))) if cells else empty(NO_TRIAL)
    return ("leaders", "Leaders", section("leaders", "Best candidates", content))
