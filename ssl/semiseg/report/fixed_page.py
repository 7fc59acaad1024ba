"""The section "Statistics" of a page."""

from semiseg.report.fixed_table import fixed_grid, fixed_notes
from semiseg.report.markup import Section, escaped, numeral, section, wide_table
from semiseg.report.scores import ScoredTable


def fixed_section(table: ScoredTable) -> list[Section]:
    """One line per comparison and what to read from it; no section where seeds are added until all is decided."""
    made = fixed_grid(table)
    if made is None:
        return []
    kinds = ["number" if kind == "number" else "" for kind in made.kinds]
    heads = [f'<th class="{kind}">{escaped(name)}</th>' for name, kind in zip(made.head, kinds, strict=True)]
    body = []
    for line in made.lines:
        cells = [f'<td class="{kind}">{numeral(cell)}</td>' for cell, kind in zip(line, kinds, strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="note">{numeral(one)}</p>' for one in fixed_notes(table))
    content = f'<p class="note">{numeral(made.title)}.</p>{wide_table(heads, body)}{notes}'
    return [("statistics", "Statistics", section("statistics", "Statistics", content))]
