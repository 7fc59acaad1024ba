"""Whether confidences are right: reliability diagrams and the expected calibration error (Guo et al. 2017) of every scored network.
Numbers first, drawing second."""

import math
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from semiseg.report.counts import of_row, pixel_counts
from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable
from semiseg.report.style import CYCLE, NEUTRAL, Drawn, figure
from semiseg.results import Results

PANEL_PX = 320


def draw_calibration(data: ReportData) -> Drawn | None:
    """A panel per role; None where calibration was not asked for (`train.metrics ece`)."""
    lines = calibration_info(data.results, data.table)
    if not lines:
        return None
    note = (
        f"Pixels of {data.study.score.split} images by confidence, all seeds together: how often they are right, beside how sure the network is. "
        "Below the diagonal it is surer than it should be. ECE: the mean distance from the diagonal, weighted by pixels (Guo et al. 2017)."
    )
    roles = list(dict.fromkeys(line.role for line in lines))
    figures = tuple(calibration_figure(role, [line for line in lines if line.role == role]) for role in roles)
    return Drawn(note, figures, panel_px=PANEL_PX)


class CalibrationLine(NamedTuple):
    """A network of a row, all seeds together: by bin the share of pixels, their mean confidence and how many are right (NaN where a
    bin is empty); and the expected calibration error. All fractions."""

    row: str
    role: str
    n: int
    shares: tuple[float, ...]
    confidence: tuple[float, ...]
    right: tuple[float, ...]
    error: float


def calibration_info(results: Results, table: ScoredTable) -> tuple[CalibrationLine, ...]:
    """Rows in table order, each with its roles, the one that is scored first."""
    counts = pixel_counts(results, "calibration")
    scored = {cell.role for row in table.rows for cell in row.cells.values()}
    roles = sorted({role for _, role in counts}, key=lambda role: (role not in scored, role))
    lines = []
    for row in table.rows:
        for role in roles:
            kept = of_row(counts, table, row.name, role)
            if not kept:
                continue
            bins = 1 + max(int(first) for one in kept for first, _ in one)
            sums = {name: np.zeros(bins) for name in ("pixels", "right", "confidence")}
            for one in kept:
                for (first, name), value in one.items():
                    sums[name][int(first)] += value
            pixels, total = sums["pixels"], sums["pixels"].sum()
            with np.errstate(invalid="ignore"):  # 0 / 0: an empty bin
                shares, confidence, right = (
                    one.tolist() for one in (pixels / total, sums["confidence"] / pixels, sums["right"] / pixels)
                )
            error = float(np.abs(sums["right"] - sums["confidence"]).sum() / total)
            lines.append(CalibrationLine(row.name, role, len(kept), tuple(shares), tuple(confidence), tuple(right), error))
    return tuple(lines)


def calibration_figure(role: str, lines: list[CalibrationLine]) -> go.Figure:
    """Share of right ones over confidence, a line per row, and the diagonal."""
    diagonal = go.Scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": NEUTRAL, "dash": "dot"}, hoverinfo="skip", showlegend=False
    )
    traces = [diagonal]
    for i, line in enumerate(lines):
        points = [
            (100 * x, 100 * y, 100 * share)
            for x, y, share in zip(line.confidence, line.right, line.shares, strict=True)
            if not math.isnan(x)
        ]
        traces.append(
            go.Scatter(
                x=[x for x, _, _ in points],
                y=[y for _, y, _ in points],
                customdata=[share for _, _, share in points],
                mode="lines+markers",
                name=f"{line.row}: ECE {100 * line.error:.2f} %",
                line={"color": CYCLE[i % len(CYCLE)], "width": 1.8},
                hovertemplate="confidence %{x:.1f} %: %{y:.1f} % right, %{customdata:.1f} % of the pixels<extra>"
                + line.row
                + "</extra>",
            )
        )
    below = 60 + 20 * len(lines)
    made = figure(traces, height=330 + below)
    made.update_layout(margin={"t": 30, "b": below}, title={"text": role, "font": {"size": 13.5}, "x": 0})
    made.update_layout(legend={"orientation": "v", "y": -46 / 300})
    made.update_xaxes(title_text="confidence, %", range=[0, 101])
    return made.update_yaxes(title_text="right, %", range=[0, 101])
