"""What the pages of ablations and searches are made of: one self-contained document of sections, tables and figures.

Markup stands in templates (`templates/*.html.j2`), in which every value is escaped unless it is `Markup`. Functions here return text that
is markup already, so that sections can be joined from them.
"""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from semiseg.report.grid import Grid, Kind
from semiseg.report.style import Drawn

Shown = TypeVar("Shown")
HERE = Path(__file__).parent
# Plotly writes style elements and draws through inline scripts; everything else, above all any address, is refused by the browser.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
CELL_CLASSES: Mapping[Kind, str] = {"tick": "tick", "number": "number", "paper": "number"}
"""What a column holds -> class of its cells."""


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


@cache
def _templates(package: str) -> Environment:
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(value)),  # quotes as in the rest of the page
    )
    made.filters["numeral"] = lambda words: Markup(numeral(words))
    return made


def render(name: str, package: str = "semiseg.report", **values: Any) -> str:
    """The template `templates/<name>.html.j2` of a package with these values; what is markup already is given as `Markup`.

    Raises jinja2.UndefinedError for a value that the template needs and does not get.
    """
    return _templates(package).get_template(f"{name}.html.j2").render(values)


def figure_sections(figures: Iterable[PageFigure[Shown]], data: Shown) -> list[Section]:
    """The sections of all figures that are not left out."""
    found = []
    for one in figures:
        drawn = one.draw(data)
        if isinstance(drawn, str):
            found.append((one.anchor, one.heading, section(one.anchor, one.heading, empty(drawn))))
        elif drawn is not None:
            heading = drawn.heading or one.heading
            found.append((one.anchor, heading, section(one.anchor, heading, _figure(one, drawn))))
    return found


def _figure(one: PageFigure, drawn: Drawn) -> str:
    """Where `page.js` draws, and the data that it draws."""
    names = [f"{one.anchor}-{i}" if drawn.panel_px else one.anchor for i in range(len(drawn.figures))]
    data = [Markup((made.to_json() or "").replace("</", "<\\/")) for made in drawn.figures]
    figures = list(zip(names, data, strict=True))
    return render("figure", note=drawn.note, figures=figures, panel_px=drawn.panel_px, wide=one.wide)


def document(title: str, question: str, facts: str, banner: str, sections: Sequence[Section], folder: str) -> str:
    """The whole page as text."""
    return render(
        "document",
        policy=Markup(POLICY),
        title=title,
        question=question,
        facts=Markup(facts),
        banner=Markup(banner),
        sections=[(anchor, name, Markup(content)) for anchor, name, content in sections],
        folder=folder,
        style=asset("page.css"),
        plotly=Markup(get_plotlyjs()),
        script=asset("page.js"),
    )


def facts_list(facts: Mapping[str, object]) -> str:
    """Names and values under the title; empty values are left out."""
    return render("facts", facts=_stated(facts))


def escaped(words: object) -> str:
    return html.escape(str(words))


def numeral(words: str) -> str:
    """Escaped, with real minus signs before digits; a number keeps its %."""
    return re.sub(r"-(?=\d)", "−", escaped(words)).replace(" %", "&nbsp;%")


def asset(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))


def section(anchor: str, heading: str, content: str, kind: str = "") -> str:
    return render("section", anchor=anchor, heading=heading, content=Markup(content), kind=kind)


def empty(words: str) -> str:
    """A sentence in place of what is missing."""
    return f'<p class="empty">{escaped(words)}</p>'


Marked = tuple[str | Markup, str]
"""Words and the class of their cell."""


def grid_heads(made: Grid) -> list[Marked]:
    """The heads of a grid with the classes of their columns."""
    return [(name, CELL_CLASSES.get(kind, "")) for name, kind in made.columns]


def grid_line(made: Grid, cells: Sequence[str], marks: Iterable[str] = repeat("")) -> list[Marked]:
    """The cells of a line with their classes; `marks` are further ones."""
    kinds = [kind for _, kind in grid_heads(made)]
    return [
        (Markup(numeral(cell)) if kind else cell, f"{kind} {mark}".strip())
        for cell, kind, mark in zip(cells, kinds, marks, strict=False)
    ]


def cells_table(heads: Sequence[Marked], lines: Sequence[tuple[str, Sequence[Marked]]]) -> str:
    """A table that is sorted and filtered on the page: heads, and lines with their class."""
    return render("grid", heads=heads, lines=lines)


def grid_table(made: Grid) -> str:
    """A grid as a table that is sorted and filtered on the page."""
    return cells_table(grid_heads(made), [("", grid_line(made, line)) for line in made.lines])


def pairs_table(pairs: Mapping[str, object], settings: Mapping[str, object] | None = None) -> str:
    """Names beside values, empty values left out; `settings` as another such table that opens on demand."""
    return render("pairs", pairs=_stated(pairs), settings=Markup(pairs_table(settings)) if settings is not None else "")


def _stated(pairs: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in pairs.items() if value not in (None, "")}


def dotted(settings: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names: {"train": {"steps": 400}} -> {"train.steps": "400"}."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= dotted(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found
