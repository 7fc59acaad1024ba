"""The page's section of all effects of a study."""

from semiseg.report.data import ReportData
from semiseg.report.effects_table import CALLED, MEANS, effects_grid, effects_words, kinds_of_effects
from semiseg.report.markup import Section, escaped, numeral, section, wide_table


def effects_section(data: ReportData) -> list[Section]:
    """The section of all effects, if there are any."""
    grid = effects_grid(data)
    if grid is None:
        return []
    numbers = [kind == "number" for kind in grid.kinds]
    heads = [f'<th class="{"number" * is_number}">{escaped(name)}</th>' for name, is_number in zip(grid.head, numbers, strict=True)]
    body = []
    for one, line in zip(data.table.effects, grid.lines, strict=True):
        cells = [f'<td class="{"number" * is_number}">{numeral(cell)}</td>' for cell, is_number in zip(line, numbers, strict=True)]
        body.append(f'<tr class="{"reference" * one.decided}">{"".join(cells)}</tr>')
    meant = [f"{CALLED[kind].capitalize()}: {MEANS[kind]}." for kind in kinds_of_effects(data.table.effects)]
    below = [*effects_words(data), *meant]
    notes = "".join(f'<p class="note">{numeral(one)}</p>' for one in below)
    return [("effects", "Effects", section("effects", "What each part is worth", wide_table(heads, body) + notes))]
