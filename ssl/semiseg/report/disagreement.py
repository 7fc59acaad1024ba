"""In how many pixels student and teacher name different classes while they train. Numbers first, drawing second."""

import math
from collections import defaultdict
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.style import CYCLE, Drawn, faded, figure
from semiseg.report.training import stage_labels
from semiseg.results import Results

PREFIX = "disagreement/"


def draw_disagreement(data: ReportData) -> Drawn | str:
    """A curve per stage kind."""
    lines = disagreement_info(data.results)
    if not lines:
        return "No stage has recorded how far its student and its teacher are apart."
    note = (
        "Share of pixels of a sample of unlabelled images in which a network and its moving average name different classes. Where it falls to "
        "0 the two have converged, and the teacher has nothing left to teach (ke2020, section 3, of mean teachers). Thick: mean over seeds; thin: each seed."
    )
    return Drawn(note, (disagreement_figure(lines),))


class DisagreementLine(NamedTuple):
    """Percent by step of a stage kind, at every seed and, at the steps that all seeds have, their mean."""

    name: str
    seeds: dict[int, dict[int, float]]
    mean: dict[int, float]


def disagreement_info(results: Results) -> tuple[DisagreementLine, ...]:
    """Curves of every average of every stage kind (see `stage_labels`), in the order of stages."""
    stages, labels = {stage["key"]: stage for stage in results.stages.to_pylist()}, stage_labels(results)
    found: dict[tuple[int, str, str], dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    columns = (results.curves.column(name).to_pylist() for name in ("key", "name", "step", "value"))
    for key, name, step, value in zip(*columns, strict=True):
        if key in stages and name.startswith(PREFIX) and value is not None and math.isfinite(value):
            stage, role = stages[key], name.removeprefix(PREFIX)
            found[stage["number"], labels[key][0], role][stage["seed"]][step] = 100 * value
    lines = []
    for (_, label, role), seeds in sorted(found.items()):
        shared = sorted(set.intersection(*(set(one) for one in seeds.values())))
        mean = {step: sum(one[step] for one in seeds.values()) / len(seeds) for step in shared}
        by_seed = {seed: dict(sorted(one.items())) for seed, one in sorted(seeds.items())}
        lines.append(DisagreementLine(label if role == "teacher" else f"{label}, {role}", by_seed, mean))
    return tuple(lines)


def disagreement_figure(lines: tuple[DisagreementLine, ...]) -> go.Figure:
    """Means as lines, seeds as thin lines, a colour per stage kind."""
    traces = []
    for i, line in enumerate(lines):
        colour = CYCLE[i % len(CYCLE)]
        drawn = [(f"seed {seed}", points, faded(colour, 0.35), 1.0) for seed, points in line.seeds.items()]
        for who, points, shade, width in [*drawn, ("mean", line.mean, colour, 2.4)]:
            traces.append(
                go.Scatter(
                    x=list(points),
                    y=[round(value, 4) for value in points.values()],
                    mode="lines" if len(points) > 1 else "markers",
                    line={"color": shade, "width": width},
                    marker={"color": shade},
                    name=line.name,
                    legendgroup=line.name,
                    showlegend=who == "mean",
                    hovertemplate=f"{line.name}, {who}, step %{{x}}: %{{y:.2f}} %<extra></extra>",
                )
            )
    made = figure(traces, height=380)
    made.update_xaxes(title_text="step", rangemode="tozero")
    return made.update_yaxes(title_text="pixels that differ, %", rangemode="tozero")
