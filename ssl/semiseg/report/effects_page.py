"""The page's section of all effects of a study."""

from semiseg.report.data import ReportData
from semiseg.report.effects import EffectKind
from semiseg.report.effects_table import CALLED, MEANS, effects_grid, effects_words
from semiseg.report.markup import Section, cells_table, grid_heads, grid_line, render, section


def effects_section(data: ReportData) -> list[Section]:
    """The section of all effects, if there are any."""
    grid = effects_grid(data)
    if grid is None:
        return []
    effects = data.table.effects
    lines = [("reference" * one.decided, grid_line(grid, line)) for one, line in zip(effects, grid.lines, strict=True)]
    kinds: list[EffectKind] = list(dict.fromkeys(one.kind for one in effects))
    means = [f"{CALLED[kind].capitalize()}: {MEANS[kind]}." for kind in kinds]
    notes = render("notes", numerals=[*effects_words(data), *means], words=())
    return [("effects", "Effects", section("effects", "What each part is worth", cells_table(grid_heads(grid), lines) + notes))]
