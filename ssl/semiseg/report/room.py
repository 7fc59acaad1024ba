"""The headroom as a bar: where a row stands between its anchor, labels only, and all labels. Numbers first, drawing second."""

import math
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable
from semiseg.report.statistics import Ratio
from semiseg.report.style import BLUE, NEUTRAL, ORANGE, Drawn, faded, figure
from semiseg.report.tables import share_text


def draw_headroom(data: ReportData) -> Drawn | str | None:
    """A bar per row with an anchor and the same with all labels; None where no row has both."""
    if not any(room.all_labels for room in data.table.headrooms.values()):
        return None
    lines = headroom_lines(data.table)
    if not lines:
        return "No row shares a finished seed with its anchor and with all labels yet."
    note = (
        "From the anchor (few labels, no unlabelled images) to all labels; the bar is filled as far as the row comes. Behind it the share of the "
        "gap that the row closes, paired by seed, with Fieller's 95 % interval; left out where that is unbounded."
    )
    if any(line.doubtful for line in lines):
        note += " Grey: all labels add so little that there may be nothing to close."
    return Drawn(note, (headroom_figure(lines, data.label),))


class HeadroomLine(NamedTuple):
    """Means over seeds in percent."""

    row: str
    anchor: str
    few: float
    ours: float
    every: float
    share: Ratio
    doubtful: bool


def headroom_lines(table: ScoredTable) -> tuple[HeadroomLine, ...]:
    """Of rows with finite scores at all three, in table order."""
    lines = []
    for room in table.headrooms.values():
        if room.all_labels is None:
            continue
        few, ours, every = (100 * table.row(name).score.mean for name in (room.anchor, room.row, room.all_labels))
        if all(map(math.isfinite, (few, ours, every))):
            lines.append(HeadroomLine(room.row, room.anchor, few, ours, every, room.share, room.doubtful))
    return tuple(lines)


def headroom_figure(lines: tuple[HeadroomLine, ...], label: str) -> go.Figure:
    """Few labels and all labels as the ends of a bar, the row as a mark on it."""
    places = [len(lines) - 1 - i for i in range(len(lines))]
    traces = []
    for line, place in zip(lines, places, strict=True):
        colour = NEUTRAL if line.doubtful else BLUE
        for end, shade in ((line.every, faded(colour, 0.25)), (line.ours, colour)):
            traces.append(
                go.Scatter(
                    x=[line.few, end],
                    y=[place] * 2,
                    mode="lines",
                    line={"width": 14, "color": shade},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
    ends = (
        ("few labels", "few", {"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": NEUTRAL}}),
        ("the row", "ours", {"symbol": "diamond", "size": 12, "color": ORANGE}),
        ("all labels", "every", {"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": BLUE}}),
    )
    for name, part, marker in ends:
        said = [f"{line.row}: {name} {getattr(line, part):.2f} %" for line in lines]
        xs = [getattr(line, part) for line in lines]
        traces.append(
            go.Scatter(x=xs, y=places, mode="markers", marker=marker, name=name, text=said, hovertemplate="%{text}<extra></extra>")
        )
    right = [max(line.few, line.ours, line.every) for line in lines]
    words = ["" if line.doubtful else f"  {share_text(line.share)}" for line in lines]
    traces.append(
        go.Scatter(x=right, y=places, mode="text", text=words, textposition="middle right", hoverinfo="skip", showlegend=False)
    )
    made = figure(traces, height=130 + 46 * len(lines))
    numbers = [one for line in lines for one in (line.few, line.ours, line.every)]
    low, high = min(numbers), max(numbers)
    span = max(high - low, 1e-3)
    made.update_xaxes(title_text=f"{label}, %", range=[low - 0.06 * span, high + 0.3 * span])
    labels = [f"{line.row}<br>− {line.anchor}" for line in lines]
    return made.update_yaxes(tickvals=places, ticktext=labels, range=[-0.6, len(lines) - 0.4], showgrid=False)
