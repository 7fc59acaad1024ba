"""The best candidates of a search so far, as a table of its page."""

import math

from semiseg.report.markup import Section, escaped, numeral, section, wide_table
from semiseg.search.choice import leaders, shown
from semiseg.search.folder import NO_TRIAL, SearchResults

MOST = 10
"""Candidates in the table."""


def leaders_section(search: SearchResults) -> Section:
    """Mean score, its standard error and the number of judging seeds of the best trials, with their settings."""
    ranked, chosen, lines = leaders(search.trials), search.chosen, []
    for one in ranked[:MOST]:
        marks = [word for word, is_so in (
            ("picked", chosen is not None and one.trial.number == chosen.number),
            ("default", bool(one.trial.user_attrs.get("default"))),
        ) if is_so]  # fmt: skip
        error = "–" if math.isnan(one.error) else f"{100 * one.error:.2f}"
        cells = "".join(f'<td class="number">{numeral(words)}</td>' for words in (f"{100 * one.mean:.2f}", error, str(one.n)))
        name = f"trial {one.trial.number}" + (f" ({', '.join(marks)})" if marks else "")
        settings = " ".join(f"{name}={shown(value)}" for name, value in one.trial.params.items())
        lines.append(f"<tr><td>{name}</td>{cells}<td><code>{escaped(settings)}</code></td></tr>")
    heads = [
        "<th></th>",
        *(f'<th class="number">{escaped(words)}</th>' for words in (f"{search.label}, %", "standard error", "seeds")),
    ]
    note = "Mean over the judging seeds. Promising trials alone have more than one, and only those with the most are compared: of those "
    note += "within one standard error of the best mean the one that changes the fewest settings of the default is picked."
    if search.warm:
        note += f" The sampler also learned from {len(search.warm)} trials of earlier searches, which are not shown."
    content = f'<p class="note">{escaped(note)}</p>{wide_table([*heads, "<th>settings</th>"], lines)}'
    return ("leaders", "Leaders", section("leaders", "Best candidates", content if lines else f'<p class="empty">{NO_TRIAL}</p>'))
