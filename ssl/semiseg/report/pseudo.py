"""How good the pseudo-masks and own targets are that stages learn of unlabelled images. Numbers first, drawing second."""

import math
from collections import defaultdict
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from semiseg.report.data import ReportData
from semiseg.report.statistics import spread
from semiseg.report.style import Drawn, figure, percent_map
from semiseg.report.training import stage_labels
from semiseg.results import Results

OVER_ALL = {
    "miou": "mIoU",
    "accuracy": "accuracy",
    "kept": "kept",
    "kept_miou": "mIoU of kept",
    "kept_accuracy": "accuracy of kept",
    "confidence": "confidence",
    "entropy": "entropy",
}
BY_CLASS = {"iou": "IoU", "precision": "precision", "kept": "kept", "confidence": "confidence", "entropy": "entropy"}


def draw_pseudo(data: ReportData) -> Drawn | str:
    """A line per stage and teacher: all classes together, and IoU by class."""
    info = pseudo_info(data.results)
    if not info.lines:
        if info.without_mask:
            return f"The {info.without_mask:.0f} unlabelled images have no masks that pseudo-masks could be compared with."
        return "No pseudo-masks of unlabelled images have been measured."
    note = (
        "What stages learn of unlabelled images beside true masks, which training never sees and nothing is chosen by; %, mean over seeds. "
        "A stage ← who made its pseudo-masks; own: what its own network says of a sample at the last step. Kept: share of pixels "
        "that is learned. Confidence: mean of the largest probability. Entropy: mean, as a share of log C."
    )
    if info.without_mask:
        note += f" {info.without_mask:.0f} unlabelled images have no mask and are not measured."
    return Drawn(note, (pseudo_figure(info),))


class PseudoLine(NamedTuple):
    """Targets of one kind of stage by one maker: percent, mean over the seeds that have a number; NaN where none has."""

    name: str
    seeds: int
    images: float
    values: dict[tuple[str, str], float]
    """By class, "" for all, and metric."""


class PseudoInfo(NamedTuple):
    """Lines in the order of stages, learned masks before own targets; classes of which there is an IoU; the most images of a line that
    have no mask."""

    lines: tuple[PseudoLine, ...]
    classes: tuple[str, ...]
    without_mask: float


def pseudo_info(results: Results) -> PseudoInfo:
    """Numbers of every stage kind (see `stage_labels`) that learns unlabelled images, from the table `pseudo`."""
    stages, labels = {stage["key"]: stage for stage in results.stages.to_pylist()}, stage_labels(results)
    groups: dict[tuple[int, str, bool, str], list[dict[str, Any]]] = defaultdict(list)
    for line in results.pseudo.to_pylist():
        if line["key"] in stages:
            own = line["teacher"] == line["key"]
            groups[stages[line["key"]]["number"], labels[line["key"]][0], own, line["role"]].append(line)
    made, without = [], 0.0
    for (_, stage, own, role), lines in sorted(groups.items(), key=lambda group: group[0]):
        makers = sorted({labels.get(line["teacher"], ("?",))[0] for line in lines})
        numbers: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in lines:
            numbers[line["class"], line["metric"]].append(math.nan if line["value"] is None else line["value"])
        counts = [max(numbers.pop(("", name), [0.0])) for name in ("images", "without_mask")]
        without = max(without, counts[1])
        values = {name: 100 * spread(found).mean for name, found in numbers.items()}
        if values:
            name = f"{stage}, own {role}" if own else f"{stage} ← {' / '.join(makers)}, {role}"
            made.append(PseudoLine(name, len({line["key"] for line in lines}), counts[0], values))
    present = {of for line in made for (of, metric), value in line.values.items() if metric == "iou" and not math.isnan(value)}
    return PseudoInfo(tuple(made), tuple(name for name in results.study.classes if name in present), without)


def pseudo_figure(info: PseudoInfo) -> go.Figure:
    """Two heat maps of the same lines with the numbers written into them: metrics over all classes, and IoU by class, where all
    numbers of a class stand when it is touched."""

    def number(line: PseudoLine, name: str, metric: str) -> float:
        return line.values.get((name, metric), math.nan)

    def told(line: PseudoLine, name: str, metric: str) -> str:
        shown = BY_CLASS if name else {metric: OVER_ALL[metric]}
        said = ", ".join(f"{label} {number(line, name, one):.2f} %" for one, label in shown.items())
        return f"{said} ({line.images:.0f} images, n = {line.seeds})"

    parts = {
        "all classes, %": {label: ("", metric) for metric, label in OVER_ALL.items()},
        "IoU by class, %": {name: (name, "iou") for name in info.classes},
    }
    parts = {title: columns for title, columns in parts.items() if columns}
    made = make_subplots(
        cols=len(parts),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        column_widths=[max(len(columns), 3) for columns in parts.values()],
    )
    for at, (title, columns) in enumerate(parts.items(), 1):
        values = [[number(line, *place) for place in columns.values()] for line in info.lines]
        heat = percent_map(
            x=list(columns),
            y=[line.name for line in info.lines],
            z=[[None if math.isnan(one) else round(one, 3) for one in row] for row in values],
            customdata=[[told(line, *place) for place in columns.values()] for line in info.lines],
            hover="%{y}, %{x}: %{customdata}",
        )
        made.add_trace(heat, row=1, col=at)
        made.update_xaxes(title_text=title, row=1, col=at)
    made.update_layout(figure([], height=110 + 34 * len(info.lines), margin={"l": 60, "r": 16, "t": 64, "b": 8}).layout)
    made.update_xaxes(showgrid=False, zeroline=False, side="top", ticks="", type="category", automargin=True)
    return made.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, ticks="", type="category", automargin=True)
