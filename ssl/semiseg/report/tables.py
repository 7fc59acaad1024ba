"""The ablation table as text for the terminal, Markdown, LaTeX and CSV. Percent with two decimals; "-" where there is no score."""

import csv
import io
import math
from typing import NamedTuple

from semiseg.report.scores import Ablation, Row
from semiseg.report.statistics import Paired, verdict

MISSING = "-"


class Line(NamedTuple):
    """One row of the table as text; every table below arranges these."""

    name: str
    ticks: tuple[bool, ...]
    score: str
    delta: str
    role: str
    paper: tuple[str, ...]


def percent(value: float) -> str:
    """0.4691 -> "46.91"."""
    return MISSING if math.isnan(value) else f"{100 * value:.2f}"


def points(value: float) -> str:
    """A difference of fractions as signed points: 0.0123 -> "+1.23"; what rounds to zero has no minus."""
    return MISSING if math.isnan(value) else f"{round(100 * value, 2) + 0.0:+.2f}"


def interval(delta: Paired) -> str:
    """ "-7.94 [-9.01, -6.87]"; one seed has no interval."""
    if delta.n == 0:
        return MISSING
    return (
        f"{points(delta.mean)} [{points(delta.low)}, {points(delta.high)}]" if delta.n > 1 else f"{points(delta.mean)} (one seed)"
    )


def paper_text(value: float, delta: float) -> str:
    """The paper's number with its own difference to the reference: "46.91 (-7.94)"."""
    if math.isnan(value):
        return MISSING
    return f"{value:.2f}" if math.isnan(delta) or delta == 0 else f"{value:.2f} ({round(delta, 2) + 0.0:+.2f})"


def line(row: Row, table: Ablation) -> Line:
    """Format one row."""
    seeds = len(table.seeds)
    n = f"n = {row.score.n}" + (f" of {seeds}" if row.score.n < seeds else "")
    sd = "" if math.isnan(row.score.sd) else f" ± {percent(row.score.sd)}"
    delta = "reference" if row.delta is None else interval(row.delta)
    if row.delta is not None and 1 < row.delta.n < seeds:
        delta += f" (n = {row.delta.n})"
    return Line(
        name=row.name,
        ticks=tuple(switch in row.switches for switch in table.switches),
        score=MISSING if row.score.n == 0 else f"{percent(row.score.mean)}{sd} ({n})",
        delta=delta,
        role=row.role or MISSING,
        paper=tuple(paper_text(value, delta) for value, delta in zip(row.paper, row.paper_delta, strict=True)),
    )


def header(table: Ablation, metric: str) -> list[str]:
    """Column heads shared by the printed tables."""
    paper = [f"paper: {column}" for column in table.paper_columns]
    return ["row", *table.switches, f"{metric}, %: mean ± sd", f"delta to {table.reference} [95 % interval]", "scored", *paper]


def notes(table: Ablation, rule: str) -> list[str]:
    """What a reader must know beside the numbers: rule, what n allows, what the interval is of."""
    compared = [row.delta for row in table.rows if row.delta is not None and row.delta.n]
    smallest = min(compared, key=lambda delta: delta.n, default=None)
    what = f"Deltas are paired by seed; intervals are Student's t with n - 1 degrees of freedom, unadjusted for {len(compared)} comparisons."
    said = verdict(smallest.n if smallest else 0)
    return [f"Scores: {rule}" if rule.endswith(".") else f"Scores: {rule}.", what, said]


def _cells(table: Ablation, tick: str, blank: str) -> list[list[str]]:
    lines = [line(row, table) for row in table.rows]
    return [[one.name, *(tick if on else blank for on in one.ticks), one.score, one.delta, one.role, *one.paper] for one in lines]


def text(table: Ablation, metric: str, rule: str, width: int | None = None) -> str:
    """Plain aligned text for a terminal; without the paper's columns when the lines would be longer than `width` characters."""
    head, cells = header(table, metric), _cells(table, "x", "")
    if width is not None and sum(max(map(len, column)) + 2 for column in zip(head, *cells, strict=True)) > width + 2:
        kept = len(head) - len(table.paper_columns)
        head, cells = head[:kept], [one[:kept] for one in cells]
    widths = [max(len(cell) for cell in column) for column in zip(head, *cells, strict=True)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(one, widths, strict=True)).rstrip() for one in [head, *cells]]
    rows.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*rows, *notes(table, rule)]) + "\n"


def markdown(table: Ablation, metric: str, rule: str) -> str:
    """A pipe table followed by its notes."""
    head = header(table, metric)
    left = {0, len(table.switches) + 3}  # row and scored; the rest is centred or right-aligned
    marks = [":--" if i in left else ":-:" if i <= len(table.switches) else "--:" for i in range(len(head))]
    rows = [head, marks, *_cells(table, "✓", "")]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |" for one in rows]
    return "\n".join(body) + "\n\n" + "\n".join(notes(table, rule)) + "\n"


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def escape_latex(words: str) -> str:
    """Text that LaTeX prints as it stands; a minus before a digit becomes a minus sign."""
    pairs = zip(words, [*words[1:], " "], strict=False)  # a character and the one after it
    return "".join("$-$" if one == "-" and after.isdigit() else LATEX.get(one, one) for one, after in pairs)


def latex(table: Ablation, metric: str, rule: str) -> str:
    """A booktabs tabular; its notes stand above it as comments."""
    columns = "l" + "c" * len(table.switches) + "rrl" + "r" * len(table.paper_columns)
    tick = "\0"
    rows = [" & ".join(map(escape_latex, one)).replace(tick, r"$\checkmark$") + r" \\" for one in _cells(table, tick, "")]
    head = " & ".join(map(escape_latex, header(table, metric))) + r" \\"
    comments = ["% needs \\usepackage{booktabs,amssymb}", *(f"% {note}" for note in notes(table, " ".join(rule.split())))]
    body = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*comments, *body]) + "\n"


def comma_separated(table: Ablation) -> str:
    """One line per row for other programs: switches as 1 and 0, every seed's score, percent."""
    seeds = [f"seed {seed}" for seed in table.seeds]
    paper = [name for column in table.paper_columns for name in (f"paper: {column}", f"paper delta: {column}")]
    head = [
        "row",
        *table.switches,
        "n",
        "mean",
        "sd",
        *seeds,
        "delta",
        "delta low",
        "delta high",
        "delta n",
        "p sign flip",
        "scored",
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*head, *paper])
    for row in table.rows:
        ticks = [int(switch in row.switches) for switch in table.switches]
        scores = [percent(row.cells[seed].value) for seed in table.seeds]
        delta = [MISSING] * 5
        if row.delta is not None:
            p = MISSING if math.isnan(row.delta.p) else f"{row.delta.p:.4g}"
            delta = [points(row.delta.mean), points(row.delta.low), points(row.delta.high), row.delta.n, p]
        stated = [
            MISSING if math.isnan(number) else f"{number:.2f}"
            for pair in zip(row.paper, row.paper_delta, strict=True)
            for number in pair
        ]
        summary = [row.score.n, percent(row.score.mean), percent(row.score.sd)]
        writer.writerow([row.name, *ticks, *summary, *scores, *delta, row.role or MISSING, *stated])
    return stream.getvalue()
