"""Our numbers beside the paper's, row by row: ours with the interval of their mean, the paper's with the spread that it prints.
Numbers first, drawing second."""

import math
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from semiseg.measures import described
from semiseg.report.cells import numbers_of
from semiseg.report.data import ReportData
from semiseg.report.metrics import plus_minus, pretty
from semiseg.report.statistics import Spread, half_interval, spread
from semiseg.report.style import BLUE, CYCLE, Drawn, figure
from semiseg.results.printed import PrintedSpread

SYMBOLS = ("diamond-open", "circle-open", "triangle-up-open", "star-open")
PANEL_PX = 420
"""Width of a metric's panel where there are several."""


def draw_beside(data: ReportData) -> Drawn | str | None:
    """A panel per metric that the paper states; None where it states nothing of these rows."""
    if data.study.paper is None or data.study.vary == "crossed":  # the interval of a mean is one of independent seeds
        return None
    panels = beside_info(data)
    if not panels:
        return None
    drawn = [one for one in panels if any(line.ours.n for line in one.lines)]
    if not drawn:
        return "No row that the paper states has a score yet."
    note = "Squares: our mean with its 95 % interval. Hollow: the paper's number"
    note += (
        ", with the standard deviation (sd) or standard error (se) that it prints." if _spreads(drawn) else "; it prints no spread."
    )
    note += " Other data, network and budget: compare differences, not heights."
    return Drawn(note, tuple(map(beside_figure, drawn)), panel_px=PANEL_PX if len(drawn) > 1 else 0)


class BesideLine(NamedTuple):
    """A row: our mean and spread, and the paper's number of each column, in percent or the unit of the distance."""

    row: str
    ours: Spread
    paper: tuple[float, ...]  # NaN where a column states nothing
    spreads: tuple[PrintedSpread | None, ...]


class BesidePanel(NamedTuple):
    """A metric and the columns of the paper that state it, with the rows of which they state something."""

    label: str
    share: bool  # in percent
    columns: tuple[str, ...]
    lines: tuple[BesideLine, ...]


def beside_info(data: ReportData) -> tuple[BesidePanel, ...]:
    """Metrics in the order of the paper's columns; without those that are none of ours."""
    study, table = data.study, data.table
    paper = study.paper
    if paper is None:
        return ()
    meant = paper.metrics or (study.score.metric,) * len(paper.columns)
    panels = []
    for metric in dict.fromkeys(one for one in meant if one is not None):
        at = [i for i, one in enumerate(meant) if one == metric]
        share = described(metric).unit == "share"
        numbers, scale = numbers_of(data.results, metric), 100.0 if share else 1.0
        lines = []
        for row in table.rows:
            stated = tuple(row.paper[i] for i in at)
            if all(map(math.isnan, stated)):
                continue
            cells = [cell for cell in row.cells.values() if cell.state == "done"]
            values = [numbers.get((cell.key, cell.role)) for cell in cells]
            ours = spread(scale * value for value in values if value is not None)
            lines.append(BesideLine(row.name, ours, stated, tuple(row.paper_spread[i] for i in at)))
        if lines:
            label = f"{study.score.split} {pretty(metric)}, {'%' if share else study.data.length}"
            panels.append(BesidePanel(label, share, tuple(paper.columns[i] for i in at), tuple(lines)))
    return tuple(panels)


def _spreads(panels: list[BesidePanel]) -> bool:
    return any(spread for panel in panels for line in panel.lines for spread in line.spreads)


def beside_figure(panel: BesidePanel) -> go.Figure:
    """A line per row, the first on top: our square above, the paper's marks below it."""
    names = [line.row for line in panel.lines]
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}
    mine = [line for line in panel.lines if line.ours.n]
    traces = [
        _trace(
            [(line.ours.mean, place[line.row] + 0.18, half_interval(line.ours)) for line in mine],
            [_ours_said(line) for line in mine],
            "ours, mean and 95 % interval",
            {"symbol": "square", "size": 10, "color": BLUE},
        )
    ]
    for i, column in enumerate(panel.columns):
        lines = [line for line in panel.lines if not math.isnan(line.paper[i])]
        marks = [(line.paper[i], place[line.row] - 0.1 - 0.14 * i, _bar(line.spreads[i])) for line in lines]
        colour = CYCLE[1 + i % (len(CYCLE) - 1)]
        marker = {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 10, "color": colour, "line": {"width": 1.8}}
        said = [_paper_said(line, i, column) for line in lines]
        traces.append(_trace(marks, said, f"paper: {column}", marker))
    made = figure(traces, height=130 + 52 * len(names))
    made.update_xaxes(title_text=panel.label, range=_range(panel) if panel.share else None)
    return made.update_yaxes(tickvals=list(place.values()), ticktext=names, range=[-0.6, len(names) - 0.4], showgrid=False)


def _range(panel: BesidePanel) -> list[float]:
    """Of an axis of percent: all that is drawn, but nothing below 0 or above 100, where intervals of few seeds may reach."""
    spans = [(value, _bar(one)) for line in panel.lines for value, one in zip(line.paper, line.spreads, strict=True)]
    spans += [(line.ours.mean, half_interval(line.ours)) for line in panel.lines]
    ends = [mean + side * half for mean, half in ((mean, np.nan_to_num(half)) for mean, half in spans) for side in (-1, 1)]
    low, high = np.nanmin(ends), np.nanmax(ends)
    pad = 0.04 * (min(high, 100) - max(low, 0)) + 0.01
    return [float(max(low, 0) - pad), float(min(high, 100) + pad)]


def _bar(behind: PrintedSpread | None) -> float:
    return math.nan if behind is None else behind.value


def _ours_said(line: BesideLine) -> str:
    half = half_interval(line.ours)
    interval = "one seed" if math.isnan(half) else f"95 % ± {half:.2f}, n = {line.ours.n}"
    return f"{line.row}: {line.ours.mean:.2f} ({interval})"


def _paper_said(line: BesideLine, i: int, column: str) -> str:
    behind = line.spreads[i]
    return f"{line.row}, paper, {column}: {plus_minus(line.paper[i], behind)}" + (f" ({behind})" if behind else "")


def _trace(points: list[tuple[float, float, float]], said: list[str], name: str, marker: dict) -> go.Scatter:
    """Marks (x, y, half the length of the bar or NaN for none), and what each says when touched."""
    xs, ys, bars = ([point[i] for point in points] for i in range(3))
    spans = [0 if math.isnan(one) else one for one in bars]
    error = {"type": "data", "array": spans, "color": marker["color"], "thickness": 1.6, "width": 5} if any(spans) else None
    template = "%{text}<extra></extra>"
    return go.Scatter(x=xs, y=ys, error_x=error, text=said, mode="markers", marker=marker, name=name, hovertemplate=template)
