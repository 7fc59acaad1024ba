"""IoU of every class by row, as a heat map. Numbers first, drawing second."""

import math
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable
from semiseg.report.statistics import spread
from semiseg.report.style import Drawn, figure
from semiseg.report.unlearned import class_ious
from semiseg.results import Results


def draw_classes(data: ReportData) -> Drawn | str:
    """Rows x classes."""
    info = classes_info(data.results, data.table)
    if not info.rows:
        return "No row has a per-class score yet."
    note = f"IoU per class on {data.study.score.split} images, mean over seeds. Blank: class absent."
    return Drawn(note, (classes_figure(info),))


class ClassesInfo(NamedTuple):
    """IoU in percent, rows x classes, mean over the seeds that have a score; NaN where none has."""

    rows: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    counts: tuple[tuple[int, ...], ...]


def classes_info(results: Results, table: ScoredTable) -> ClassesInfo:
    """Per-class IoU of each row's final stages on the scored split; rows without a scored seed are left out."""
    numbers = {(key, role, name): iou for (key, role), one in class_ious(results).items() for name, iou in one.items()}
    present = {name for _, _, name in numbers}
    classes = tuple(name for name in results.study.classes if name in present)
    rows, values, counts = [], [], []
    for row in table.rows:
        cells = [cell for cell in row.cells.values() if cell.state == "done"]
        spreads = [spread(numbers.get((cell.key, cell.role, name), math.nan) for cell in cells) for name in classes]
        if any(one.n for one in spreads):
            rows.append(row.name)
            values.append(tuple(100 * one.mean for one in spreads))
            counts.append(tuple(one.n for one in spreads))
    return ClassesInfo(tuple(rows), classes, tuple(values), tuple(counts))


def classes_figure(info: ClassesInfo) -> go.Figure:
    """A heat map with the numbers written into it."""
    written = [["" if math.isnan(value) else f"{value:.1f}" for value in line] for line in info.values]
    heat = go.Heatmap(
        x=list(info.classes),
        y=list(info.rows),
        z=[[None if math.isnan(value) else round(value, 3) for value in line] for line in info.values],
        text=written,
        texttemplate="%{text}" if len(info.classes) <= 24 else None,
        customdata=info.counts,
        zmin=0,
        zmax=100,
        colorscale=[[0, "#f3f0e6"], [0.35, "#a9d3c0"], [0.7, "#4696ad"], [1, "#1f4479"]],
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": "IoU, %"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y}, %{x}: IoU %{z:.2f} % (n = %{customdata})<extra></extra>",
    )
    made = figure([heat], height=70 + 40 * len(info.rows), margin={"l": 60, "r": 16, "t": 30, "b": 8})
    made.update_xaxes(showgrid=False, side="top", ticks="", type="category")
    return made.update_yaxes(autorange="reversed", showgrid=False, ticks="", type="category")
