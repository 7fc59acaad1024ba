"""Differences between rows: mean, interval, seeds, and the paper's own. Numbers first, drawing second."""

import math
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.answer import margin_words
from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable, comparisons, part_deltas
from semiseg.report.statistics import OF_PART, Standing
from semiseg.report.style import NEUTRAL, ORANGE, STANDING_COLOURS, Drawn, figure, named_points

ERROR_BAR = {"type": "data", "symmetric": False, "thickness": 2.5, "width": 7}


def draw_deltas(data: ReportData) -> Drawn | str:
    """Each row minus the row it is compared with, in points."""
    table = data.table
    until = getattr(data.study, "until", None)
    info = forest_info(table, until.order if until is not None else ())
    if not info.deltas:
        other = "the row it is compared with" if table.comparison else f"'{table.reference}'"
        return f"No row shares a finished seed with {other} yet."
    better = f"'{table.reference}'" if part_deltas(table) else "the row"
    note = f"Squares: mean with its 95 % interval, green where {better} is better, red where it is worse"
    note += f", blue where the rows are equivalent within {margin_words(table.margin)}" if table.fixed else ""
    note += ", grey where unclear" + (", judged after Holm's adjustment. " if table.fixed else ". ")
    if table.until is not None:
        note = f"Squares: mean with its anytime-valid interval, green where {better} is decided to be better, red where worse, "
        note += "blue where both are equivalent, grey where undecided. "
    note += "Dots: seeds. Hollow: the paper's own differences." if info.paper_columns else "Dots: seeds."
    if until is not None:
        note += " Rows stand in the order in which they were decided."
    return Drawn(note, (forest_figure(info),))


class Delta(NamedTuple):
    """One row minus the row `against`, in points (percent)."""

    row: str
    against: str
    mean: float
    low: float  # NaN for one seed
    high: float
    seeds: dict[int, float]
    paper: tuple[float, ...]  # NaN where the paper states nothing
    standing: Standing  # in an ablation of what the reference has more, otherwise of the row


class ForestInfo(NamedTuple):
    """Differences of all rows that have at least one seed in common with their opponent, in table order or, where seeds were added until
    they were decided, in the order of that."""

    reference: str  # "" when rows have different opponents
    deltas: tuple[Delta, ...]
    paper_columns: tuple[str, ...]  # with a difference


def forest_info(table: ScoredTable, added: Sequence[tuple[str, int]] = ()) -> ForestInfo:
    """Mean, interval, seeds and the paper's own difference per row; `added` are rows and seeds in the order in which they were trained:
    a row is decided where its last seed stands in it."""
    deltas, ablated = [], bool(part_deltas(table))
    for row, against, delta, outcome, paper in comparisons(table):
        if delta.n == 0:
            continue
        seeds = {seed: 100 * one for seed, one in delta.deltas.items()}
        mean, low, high = (100 * value for value in (delta.mean, delta.low, delta.high))
        doubtful = table.doubted(row) is not None
        said = table.stands(against, row, delta.opposite(), OF_PART, doubtful) if ablated else outcome
        deltas.append(Delta(row, against, mean, low, high, seeds, paper, said))
    last = {row: i for i, (row, _) in enumerate(added)}
    deltas.sort(key=lambda delta: last.get(delta.row, -1))
    stated = [any(not math.isnan(delta.paper[i]) for delta in deltas) for i in range(len(table.paper_columns))]
    kept = [delta._replace(paper=tuple(compress(delta.paper, stated))) for delta in deltas]
    return ForestInfo(table.opponent, tuple(kept), tuple(compress(table.paper_columns, stated)))


def forest_figure(info: ForestInfo) -> go.Figure:
    """Mean with interval as a bar, every seed as a dot, the paper's differences as hollow marks."""
    names = [delta.row for delta in info.deltas]
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}  # first row on top
    colours = [STANDING_COLOURS[delta.standing] for delta in info.deltas]
    spans = [(0.0, 0.0) if math.isnan(delta.high) else (delta.mean - delta.low, delta.high - delta.mean) for delta in info.deltas]
    bars = [  # one trace per row: an error bar takes the colour of its trace only
        go.Scatter(
            x=[delta.mean],
            y=[place[delta.row]],
            error_x={**ERROR_BAR, "array": [span[1]], "arrayminus": [span[0]], "color": colour} if any(span) else None,
            mode="markers",
            marker={"symbol": "square", "size": 11, "color": colour},
            hovertemplate=f"{delta.row}: %{{x:+.2f}} [{delta.low:+.2f}, {delta.high:+.2f}]<extra></extra>",
            name="mean and 95 % interval",
            legendgroup="mean",
            showlegend=i == 0,
        )
        for i, (delta, span, colour) in enumerate(zip(info.deltas, spans, colours, strict=True))
    ]
    dots = [
        (value, place[delta.row] - 0.2, f"{delta.row}, seed {seed}") for delta in info.deltas for seed, value in delta.seeds.items()
    ]
    traces = [*bars, named_points(dots, "each seed", {"size": 7, "color": ORANGE, "opacity": 0.85})]
    for i, column in enumerate(info.paper_columns):
        stated = [
            (delta.paper[i], place[delta.row] + 0.22, f"{delta.row}, paper")
            for delta in info.deltas
            if not math.isnan(delta.paper[i])
        ]
        symbol = ("diamond-open", "circle-open", "triangle-up-open", "star-open")[i % 4]
        traces.append(
            named_points(stated, f"paper: {column}", {"size": 9, "symbol": symbol, "color": NEUTRAL, "line": {"width": 1.6}})
        )
    made = figure(traces, height=130 + 52 * len(names))
    made.update_xaxes(title_text=f"points: row − {info.reference or 'its counterpart'} (left: worse)")
    spent = [f" (n = {len(delta.seeds)})" if len({len(one.seeds) for one in info.deltas}) > 1 else "" for delta in info.deltas]
    rows = [name + n for name, n in zip(names, spent, strict=True)]
    labels = rows if info.reference else [f"{row}<br>− {delta.against}" for row, delta in zip(rows, info.deltas, strict=True)]
    made.update_yaxes(tickvals=list(place.values()), ticktext=labels, range=[-0.6, len(names) - 0.4], showgrid=False)
    return made.add_vline(x=0, line={"width": 1.5, "color": NEUTRAL, "dash": "dot"})
