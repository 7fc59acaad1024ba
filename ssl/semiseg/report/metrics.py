"""How metrics are called, and the table of all metrics that a study asks for, beside the paper's."""

import math
from typing import NamedTuple

from semiseg.report.grid import MISSING, Grid, named, percent
from semiseg.report.scores import ScoredTable, numbers_of
from semiseg.report.statistics import Spread, spread
from semiseg.results import Results

PER_IMAGE = " per image"
PAPER_LINE = "paper"
NAMES = {
    "miou": "mIoU",
    "accuracy": "accuracy",
    "foreground_iou": "foreground IoU",
    "foreground_dice": "foreground Dice",
    "half_dice": "Dice / 2 (printed as IOU in pets_mean_teacher)",
    "image_miou": f"mIoU{PER_IMAGE}",
    "image_dice": f"Dice{PER_IMAGE}",
    "image_iou": f"IoU{PER_IMAGE}",
    "image_accuracy": f"accuracy{PER_IMAGE}",
    "image_precision": f"precision{PER_IMAGE}",
    "image_recall": f"recall{PER_IMAGE}",
    "image_specificity": f"specificity{PER_IMAGE}",
}


class MetricLine(NamedTuple):
    """One row of the table: a spread per metric, and what the paper states for it in percent."""

    row: str
    values: tuple[Spread, ...]
    paper: tuple[tuple[float, ...], ...]  # per metric one number per column of the paper that states it
    seeds: int  # seeds with a score


class Metrics(NamedTuple):
    """Rows x metrics on the split and with the weights of the score; without lines when a study asks for no other metric."""

    split: str
    names: tuple[str, ...]
    lines: tuple[MetricLine, ...]


def pretty(metric: str) -> str:
    """How a metric is called in heads and labels."""
    return NAMES.get(metric, metric.replace("_", " "))


def metrics_info(results: Results, table: ScoredTable) -> Metrics:
    """All metrics of each row's final stages, of the role that is scored."""
    study = results.study
    names = study.metrics
    if not set(names) - {study.score.metric}:
        return Metrics(study.score.split, (), ())
    numbers = {name: numbers_of(results, name) for name in names}
    meant = (study.paper.metrics if study.paper else None) or ()
    lines = []
    for row in table.rows:
        cells = [cell for cell in row.cells.values() if cell.state == "done"]
        values = [[numbers[name].get((cell.key, cell.role)) for cell in cells] for name in names]
        stated = [[value for of, value in zip(meant, row.paper, strict=False) if of == name] for name in names]
        lines.append(
            MetricLine(
                row=row.name,
                values=tuple(spread(value for value in line if value is not None) for line in values),
                paper=tuple(tuple(value for value in line if not math.isnan(value)) for line in stated),
                seeds=row.score.n,
            )
        )
    return Metrics(study.score.split, names, tuple(lines))


def metrics_grid(info: Metrics) -> Grid | None:
    """The table as text, the paper's numbers in a line below the row's own; None without lines.

    "per image" moves from the heads into the title when it is said of every metric.
    """
    if not info.lines:
        return None
    heads = [pretty(name) for name in info.names]
    per_image = PER_IMAGE if all(head.endswith(PER_IMAGE) for head in heads) else ""
    lines = []
    for line in info.lines:
        lines.append((line.row, *(_cell(value, line.seeds) for value in line.values)))
        if any(line.paper):
            lines.append((PAPER_LINE, *(" / ".join(f"{value:.2f}" for value in stated) for stated in line.paper)))
    title = f"All metrics{per_image}, {info.split}, %: mean (sd)"
    columns = named("row", ["row"]) + named("number", [head.removesuffix(per_image) for head in heads])
    return Grid(columns, tuple(lines), title)


def _cell(value: Spread, seeds: int) -> str:
    """ "67.91 (0.31)"; says n where it is not that of the score."""
    if value.n == 0:
        return MISSING
    sd = "" if math.isnan(value.sd) else f" ({percent(value.sd)})"
    return f"{percent(value.mean)}{sd}" + (f" n = {value.n}" if value.n != seeds else "")
