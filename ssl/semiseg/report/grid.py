"""A table of text cells, and how it looks in a terminal, in Markdown and in LaTeX."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

MISSING = "-"
TICK = "✓"
Kind = Literal["row", "tick", "fact", "number", "text", "paper"]
ALIGNED: dict[Kind, str] = {"row": "l", "tick": "c", "fact": "l", "number": "r", "text": "l", "paper": "r"}
MARKS = {"l": ":--", "c": ":-:", "r": "--:"}


Column = tuple[str, Kind]


class Grid(NamedTuple):
    """Columns by head and what they hold, and lines of cells; a title where the table needs one."""

    columns: tuple[Column, ...]
    lines: tuple[tuple[str, ...], ...]
    title: str = ""

    @property
    def head(self) -> tuple[str, ...]:
        """The heads alone."""
        return tuple(head for head, _ in self.columns)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What each column holds."""
        return tuple(kind for _, kind in self.columns)

    def without(self, kind: Kind) -> "Grid":
        """The same table without the columns of one kind."""
        kept = [i for i, one in enumerate(self.kinds) if one != kind]
        lines = tuple(tuple(cells[i] for i in kept) for cells in self.lines)
        return self._replace(columns=tuple(self.columns[i] for i in kept), lines=lines)

    def ticked(self, tick: str) -> "Grid":
        """The same table with another sign in its tick columns."""
        lines = tuple(
            tuple(tick if kind == "tick" and cell == TICK else cell for kind, cell in zip(self.kinds, cells, strict=True))
            for cells in self.lines
        )
        return self._replace(lines=lines)

    def widths(self) -> list[int]:
        """Characters of the longest cell of each column."""
        return [max(map(len, column)) for column in zip(self.head, *self.lines, strict=True)]


def named(kind: Kind, heads: Iterable[str]) -> tuple[Column, ...]:
    """Columns that all hold the same."""
    return tuple((head, kind) for head in heads)


def percent(value: float) -> str:
    """0.4691 -> "46.91"."""
    return MISSING if math.isnan(value) else f"{100 * value:.2f}"


def as_text(grid: Grid, width: int | None = None) -> str:
    """Aligned columns; lines longer than `width` lose the paper's columns, then those of method and settings, which rows are named
    by."""
    grid = grid.ticked("x")
    for kind in ("paper", "fact"):
        if width is not None and sum(grid.widths()) + 2 * (len(grid.head) - 1) > width:
            grid = grid.without(kind)
    widths = grid.widths()
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(one, widths, strict=True)) for one in (grid.head, *grid.lines)]
    lines.insert(1, "  ".join("-" * size for size in widths))
    return "\n".join([*([grid.title] if grid.title else []), *(line.rstrip() for line in lines)])


def as_markdown(grid: Grid) -> str:
    """A pipe table."""
    lines = [grid.head, [MARKS[ALIGNED[kind]] for kind in grid.kinds], *grid.lines]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |" for one in lines]
    return "\n".join([*([grid.title, ""] if grid.title else []), *body])


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "↓": r"$\downarrow$"}
LATEX |= {"<": "$<$", ">": "$>$"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def escape_latex(words: str) -> str:
    """Text that LaTeX prints as it stands; a minus before a digit becomes a minus sign."""
    pairs = zip(words, [*words[1:], " "], strict=False)  # a character and the one after it
    return "".join("$-$" if one == "-" and after.isdigit() else LATEX.get(one, one) for one, after in pairs)


def as_latex(grid: Grid) -> str:
    """A booktabs tabular, its title above it as a comment."""
    columns = "".join(ALIGNED[kind] for kind in grid.kinds)
    tick = "\0"
    lines = [" & ".join(map(escape_latex, one)).replace(tick, r"$\checkmark$") + r" \\" for one in grid.ticked(tick).lines]
    head = " & ".join(map(escape_latex, grid.head)) + r" \\"
    body = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*([f"% {grid.title}"] if grid.title else []), *body])
