"""What the pages of ablations and searches are made of: one self-contained document of sections, tables and figures."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


class Plot(NamedTuple):
    """A figure of the page with its heading, what to read from it, and the words that stand there when it has no data."""

    anchor: str
    heading: str
    note: str
    empty: str
    figure: go.Figure | None
    wide: bool = False  # scrolls sideways on a phone instead of shrinking


def document(title: str, question: str, facts: str, banner: str, sections: Sequence[tuple[str, str, str]], folder: str) -> str:
    """The whole page as text; a section is (anchor, name in the navigation, content)."""
    links = "".join(f'<a href="#{anchor}">{escaped(name)}</a>' for anchor, name, _ in sections)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{escaped(title)}</title><style>{asset("page.css")}</style></head><body>
<header><h1>{escaped(title)}</h1><p class="question">{escaped(question)}</p>{facts}</header>
<nav><div>{links}</div></nav><main>
{banner}{"".join(content for _, _, content in sections)}
</main><footer>Written by semiseg from {escaped(folder)}/. Nothing on this page is loaded from anywhere else.</footer>
<script>{get_plotlyjs()}</script><script>{asset("page.js")}</script></body></html>
"""


def facts_list(facts: Mapping[str, object]) -> str:
    """Names and values under the title; empty values are left out."""
    items = "".join(f"<li>{escaped(name)} <b>{escaped(value)}</b></li>" for name, value in facts.items() if value not in (None, ""))
    return f'<ul class="facts">{items}</ul>'


def escaped(words: object) -> str:
    return html.escape(str(words))


def numeral(words: str) -> str:
    """Escaped, with real minus signs before digits; a number keeps its %."""
    return re.sub(r"-(?=\d)", "−", escaped(words)).replace(" %", "&nbsp;%")


def asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def section(anchor: str, heading: str, content: str, kind: str = "") -> str:
    return f'<section id="{anchor}" class="{kind}"><h2>{escaped(heading)}</h2>{content}</section>\n'


def wide_table(heads: list[str], lines: list[str]) -> str:
    return f'<div class="wide"><table class="results"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def plot_section(plot: Plot) -> str:
    if plot.figure is None:
        return section(plot.anchor, plot.heading, f'<p class="empty">{escaped(plot.empty)}</p>')
    data = (plot.figure.to_json() or "").replace("</", "<\\/")
    wide = "plot-wide" if plot.wide else ""
    holder = f'<div class="wide"><div class="{wide}" data-plot="data-{plot.anchor}"></div></div>'
    script = f'<script type="application/json" id="data-{plot.anchor}">{data}</script>'
    return section(plot.anchor, plot.heading, f'<p class="note">{escaped(plot.note)}</p>{holder}{script}')


def pairs_table(pairs: Mapping[str, object]) -> str:
    lines: Iterable[str] = (
        f"<tr><th>{escaped(name)}</th><td><code>{escaped(value)}</code></td></tr>"
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return f'<table class="provenance"><tbody>{"".join(lines)}</tbody></table>'
