"""Which classes a row takes for which: confusion matrices, and recall and precision by class. Numbers first, drawing second."""

import math
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from semiseg.report.counts import of_row, pixel_counts
from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable
from semiseg.report.style import Drawn, figure, percent_map
from semiseg.results import Results

PANEL_PX = 440


def draw_confusion(data: ReportData) -> Drawn | None:
    """A matrix per row; None where no stage has kept its counts, as in results of older versions."""
    found = confusion_info(data.results, data.table)
    if not found:
        return None
    note = (
        f"Pixels of {data.study.score.split} images, all seeds together: of each true class (a line, 100 %) how much is predicted as which. "
        "The diagonal is recall. Below each class its precision: what share of the pixels predicted as the class are right."
    )
    return Drawn(note, tuple(map(confusion_figure, found)), panel_px=PANEL_PX)


class Confusion(NamedTuple):
    """A row's matrix over the classes that are there or predicted; NaN where a class has no pixel."""

    row: str
    n: int
    classes: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    """Fractions by true class (lines sum to 1), then predicted class."""
    precision: tuple[float, ...]


def confusion_info(results: Results, table: ScoredTable) -> tuple[Confusion, ...]:
    """Of every row whose final stages have kept their counts, in table order."""
    counts, names = pixel_counts(results, "confusion"), results.study.classes
    place, found = {name: i for i, name in enumerate(names)}, []
    for row in table.rows:
        kept = of_row(counts, table, row.name)
        if not kept:
            continue
        matrix = np.zeros((len(names), len(names)))
        for one in kept:
            for (truth, predicted), value in one.items():
                matrix[place[truth], place[predicted]] += value
        some = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        matrix = matrix[np.ix_(some, some)]
        with np.errstate(invalid="ignore"):  # 0 / 0: a class without a pixel
            shares, precision = matrix / matrix.sum(1, keepdims=True), matrix.diagonal() / matrix.sum(0)
        lines = tuple(map(tuple, shares.tolist()))
        found.append(Confusion(row.name, len(kept), tuple(names[i] for i in some), lines, tuple(precision.tolist())))
    return tuple(found)


def confusion_figure(info: Confusion) -> go.Figure:
    """A heat map of percent, true classes down, predicted ones across."""
    shown = [[None if math.isnan(one) else round(100 * one, 3) for one in line] for line in info.shares]
    heat = percent_map(
        x=list(range(len(info.classes))),
        y=list(info.classes),
        z=shown,
        customdata=[list(info.classes)] * len(info.classes),
        hover="%{y} predicted as %{customdata}: %{z:.2f} %",
    )
    made = figure([heat], height=150 + max(26, min(40, 600 // len(info.classes))) * len(info.classes))
    made.update_layout(
        margin={"t": 40, "l": 60, "r": 8, "b": 60}, title={"text": f"{info.row} (n = {info.n})", "font": {"size": 13.5}, "x": 0}
    )
    said = ["-" if math.isnan(one) else f"{100 * one:.1f}" for one in info.precision]
    ticks = [f"{name}<br>{precision}" for name, precision in zip(info.classes, said, strict=True)]
    made.update_xaxes(
        tickvals=list(range(len(ticks))), ticktext=ticks, showgrid=False, ticks="", title_text="predicted; precision, %"
    )
    return made.update_yaxes(autorange="reversed", showgrid=False, ticks="", type="category", title_text="true")
