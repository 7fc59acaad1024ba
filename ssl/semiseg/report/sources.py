"""Where the spread of a crossed study comes from: training seed, labelled subset, or the two together. Numbers first, drawing second."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.crossed import Crossing, cells_of, components, grid_of, shares
from semiseg.report.data import ReportData
from semiseg.report.grid import Grid, named
from semiseg.report.markup import Section, grid_table, render, section
from semiseg.report.statistics import Ratio
from semiseg.report.style import BLUE, NEUTRAL, ORANGE, Drawn, figure

SOURCES = ("training seed", "labelled subset", "the two together")
COLOURS = (BLUE, ORANGE, NEUTRAL)
NOTE = (
    "Shares of the variance of one run: of the training seed (initial weights, data order), of the labelled subset, and of what they do "
    "together. {size}. {advice}"
)
HOW = (
    "Score and differences in points, sd of one run. Shares in percent by restricted maximum likelihood, in brackets 95 % intervals by "
    "generalised pivotal quantities for normal effects: with few seeds and subsets they are wide. Behind them the standard error of the "
    "mean: as it is, with twice as many training seeds, with twice as many subsets, and with as many runs as now of which each draws "
    "both anew (--vary both)."
)


class SourceLine(NamedTuple):
    """A row's score, or with `against` its difference to that row."""

    row: str
    against: str | None
    crossing: Crossing
    shares: tuple[Ratio, Ratio, Ratio]

    @property
    def name(self) -> str:
        return self.row if self.against is None else f"{self.row} − {self.against}"

    @property
    def sd(self) -> float:
        """Of one run."""
        return math.sqrt(components(self.crossing).total)

    def error(self, seeds: int = 1, subsets: int = 1) -> float:
        """Standard error of the mean with so many times as many of them."""
        of, a, b = components(self.crossing), seeds * self.crossing.seeds, subsets * self.crossing.subsets
        return math.sqrt(of.training / a + of.subset / b + of.together / (a * b))

    @property
    def apart(self) -> float:
        """Standard error of as many runs that share neither seed nor subset."""
        return self.sd / math.sqrt(self.crossing.seeds * self.crossing.subsets)


def source_lines(data: ReportData) -> tuple[SourceLine, ...]:
    """Rows, then differences, in table order; none of a study that is not crossed, and none that does not vary."""
    study, table = data.study, data.table
    if study.vary != "crossed":
        return ()
    values = {row.name: {seed: cell.value for seed, cell in row.cells.items()} for row in table.rows}
    wanted = [(row.name, None, values[row.name]) for row in table.rows]
    wanted += [(row.name, row.against, row.delta.deltas) for row in table.rows if row.delta is not None and not row.added]
    found = []
    for row, against, numbers in wanted:
        crossing = grid_of(cells_of(study, numbers))
        if crossing is not None and components(crossing).total > 0:
            found.append(SourceLine(row, against, crossing, shares(crossing)))
    return tuple(found)


def advice(lines: Iterable[SourceLine]) -> str:
    """What to vary so that intervals of differences become shorter; of scores where there are no differences."""
    lines = list(lines)
    judged = [line for line in lines if line.against is not None] or lines
    gains = {
        "training seeds": [line.error(seeds=2) for line in judged],
        "labelled subsets": [line.error(subsets=2) for line in judged],
    }
    now = sum(line.error() for line in judged)
    best = min(gains, key=lambda name: sum(gains[name]))
    shorter = {name: 1 - sum(errors) / now for name, errors in gains.items()}
    (other,) = set(gains) - {best}
    both = 1 - sum(line.apart for line in judged) / now
    what = "differences" if judged[0].against is not None else "scores"
    return (
        f"To shorten the intervals of {what} vary the {best}: twice as many make the standard error {shorter[best]:.0%} smaller on "
        f"average, twice as many {other} {shorter[other]:.0%}; as many runs as now, each with a seed and a subset of its own "
        f"(--vary both), {both:.0%}."
    ).replace("%", " %")


def draw_sources(data: ReportData) -> Drawn | str | None:
    """Shares of each row and each difference; left out of studies that are not crossed."""
    if data.study.vary != "crossed":
        return None
    lines = source_lines(data)
    if not lines:
        return "No row has finished with two training seeds and two labelled subsets yet."
    sizes = sorted({(line.crossing.seeds, line.crossing.subsets) for line in lines})
    size = ", ".join(f"{seeds} seeds x {subsets} subsets" for seeds, subsets in sizes)
    return Drawn(NOTE.format(size=size, advice=advice(lines)), (sources_figure(lines),))


def sources_figure(lines: tuple[SourceLine, ...]) -> go.Figure:
    """A bar of three parts per line, the first on top."""
    names = [line.name for line in lines]
    places = list(range(len(lines)))[::-1]
    traces = [
        go.Bar(
            x=[100 * line.shares[i].value for line in lines],
            y=places,
            orientation="h",
            name=source,
            marker={"color": colour},
            text=[f"{line.name}: {source} {share(line.shares[i])} %" for line in lines],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
        for i, (source, colour) in enumerate(zip(SOURCES, COLOURS, strict=True))
    ]
    made = figure(traces, height=130 + 34 * len(lines))
    made.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal"})
    made.update_xaxes(title_text="share of the variance of one run, %", range=[0, 100])
    return made.update_yaxes(tickvals=places, ticktext=names, range=[-0.6, len(lines) - 0.4], showgrid=False)


def share(ratio: Ratio) -> str:
    """In percent with its interval."""
    return f"{100 * ratio.value:.0f} [{100 * ratio.low:.0f}, {100 * ratio.high:.0f}]"


def sources_sections(data: ReportData) -> list[Section]:
    """The table below the figure, if the study is crossed and has numbers."""
    lines = source_lines(data)
    if not lines:
        return []
    columns = named("row", ["row"])
    columns += named("number", ["sd", *SOURCES, "standard error", "twice the seeds", "twice the subsets", "runs apart"])
    cells = []
    for line in lines:
        errors = (line.error(), line.error(seeds=2), line.error(subsets=2), line.apart)
        cells.append((line.name, f"{100 * line.sd:.2f}", *map(share, line.shares), *(f"{100 * error:.2f}" for error in errors)))
    heading = "Components of variance"
    content = render("notes", numerals=(), words=[HOW]) + grid_table(Grid(columns, tuple(cells)))
    return [("components", heading, section("components", heading, content))]
