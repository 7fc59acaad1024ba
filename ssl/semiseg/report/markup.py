"""What the pages of ablations and searches are made of: one self-contained document of sections, tables and figures."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from semiseg.report.style import Drawn

Shown = TypeVar("Shown")
HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


Section = tuple[str, str, str]
"""Anchor, name in the navigation, content."""


class PageFigure(NamedTuple, Generic[Shown]):
    """A figure of a page that is made from a Shown: one line in a registry."""

    anchor: str
    heading: str
    draw: Callable[[Shown], Drawn | str | None]
    """What is drawn; a sentence that says what is missing; or None, which leaves the figure out of the page."""
    wide: bool = False
    """Scrolls sideways on a phone instead of shrinking."""
    first: bool = False
    """Stands before the page's own tables."""


def figure_sections(figures: Iterable[PageFigure[Shown]], data: Shown) -> list[Section]:
    """The sections of all figures that are not left out."""
    found = []
    for one in figures:
        drawn = one.draw(data)
        if isinstance(drawn, str):
            found.append((one.anchor, one.heading, section(one.anchor, one.heading, f'<p class="empty">{escaped(drawn)}</p>')))
        elif drawn is not None:
            heading = drawn.heading or one.heading
            content = f'<p class="note">{escaped(drawn.note)}</p>{_holders(one.anchor, drawn, one.wide)}'
            found.append((one.anchor, heading, section(one.anchor, heading, content)))
    return found


def _holders(anchor: str, drawn: Drawn, wide: bool) -> str:
    """Where `page.js` draws, and the data that it draws."""
    if not drawn.panel_px:
        (made,) = drawn.figures
        holder = f'<div class="wide"><div class="{"plot-wide" if wide else ""}" data-plot="data-{anchor}"></div></div>'
        return holder + _data(anchor, made)
    holders = "".join(f'<div data-plot="data-{anchor}-{i}" style="min-width: 0"></div>' for i in range(len(drawn.figures)))
    scripts = "".join(_data(f"{anchor}-{i}", made) for i, made in enumerate(drawn.figures))
    columns = f"display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, {drawn.panel_px}px), 1fr)); gap: 12px"
    return f'<div style="{columns}">{holders}</div>{scripts}'


def _data(name: str, made: go.Figure) -> str:
    text = (made.to_json() or "").replace("</", "<\\/")
    return f'<script type="application/json" id="data-{name}">{text}</script>'


def document(title: str, question: str, facts: str, banner: str, sections: Sequence[Section], folder: str) -> str:
    """The whole page as text."""
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


def pairs_table(pairs: Mapping[str, object]) -> str:
    lines: Iterable[str] = (
        f"<tr><th>{escaped(name)}</th><td><code>{escaped(value)}</code></td></tr>"
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return f'<table class="provenance"><tbody>{"".join(lines)}</tbody></table>'


def dotted(settings: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names: {"train": {"steps": 400}} -> {"train.steps": "400"}."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= dotted(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found
