"""The section "Statistics" of a page."""

from semiseg.report.fixed_table import fixed_grid, fixed_notes
from semiseg.report.markup import Section, grid_table, render, section
from semiseg.report.scores import ScoredTable


def fixed_section(table: ScoredTable) -> list[Section]:
    """One line per comparison and what to read from it; no section where seeds are added until all is decided."""
    made = fixed_grid(table)
    if made is None:
        return []
    title = [] if made.title == "Statistics" else [f"{made.title}."]
    first, notes = (render("notes", numerals=words, words=()) for words in (title, fixed_notes(table)))
    return [("statistics", "Statistics", section("statistics", "Statistics", first + grid_table(made) + notes))]
