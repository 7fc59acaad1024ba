"""Scores of every network of a row's final stage, by role: student beside teacher, or whatever a method trains. Numbers first,
drawing second."""

import math
from collections import defaultdict
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.answer import in_words
from semiseg.report.cells import numbers_of
from semiseg.report.data import ReportData
from semiseg.report.scores import ScoredTable
from semiseg.report.style import BLUE, CYCLE, ORANGE, Drawn, figure, named_points
from semiseg.results import Results

ROLE_COLOURS = (ORANGE, BLUE, *CYCLE[2:])


def draw_roles(data: ReportData) -> Drawn | str:
    """All networks that are scored, whichever of them the table uses."""
    info = roles_info(data.results, data.table)
    if not info.rows:
        return "No final stage is finished yet."
    names = list(info.values)
    heading, said = in_words(names), "Both" if len(names) == 2 else "All"
    note = f"{said} are scored; the table uses the one named in its column 'scored'."
    if len(names) == 1:
        note = "The rows have one network each."
    return Drawn(note, (roles_figure(info, data.label),), heading=heading[0].upper() + heading[1:])


class RolesInfo(NamedTuple):
    """Score in percent of each network of each row's final stages: role -> row -> values by seed; roles in their order."""

    rows: tuple[str, ...]
    values: dict[str, dict[str, dict[int, float]]]


def roles_info(results: Results, table: ScoredTable) -> RolesInfo:
    """Every role's scores on the scored split with the scored weights; roles that the table uses first, then by name."""
    numbers = numbers_of(results, results.study.score.metric)
    cells = [(row.name, seed, cell) for row in table.rows for seed, cell in row.cells.items() if cell.state == "done"]
    evaluated = {cell.role for _, _, cell in cells}
    values: dict[str, dict[str, dict[int, float]]] = {}
    for role in sorted({role for _, role in numbers}, key=lambda role: (role not in evaluated, role)):
        lines: dict[str, dict[int, float]] = defaultdict(dict)
        for row, seed, cell in cells:
            value = numbers.get((cell.key, role))
            if value is not None and math.isfinite(value):
                lines[row][seed] = 100 * value
        if lines:
            values[role] = dict(lines)
    rows = tuple(row.name for row in table.rows if any(row.name in lines for lines in values.values()))
    return RolesInfo(rows, values)


def roles_figure(info: RolesInfo, label: str) -> go.Figure:
    """Mean as a bar mark and seeds as dots per row, the first role on top."""
    place = {name: len(info.rows) - 1 - i for i, name in enumerate(info.rows)}
    middle = (len(info.values) - 1) / 2
    apart = 0.26 if middle <= 1 else 0.6 / (2 * middle)  # of a row's height
    colours = dict(zip(sorted(info.values), cycle(ROLE_COLOURS), strict=False))  # whichever role comes first
    traces = []
    for i, (role, lines) in enumerate(info.values.items()):
        shift, colour = apart * (middle - i), colours[role]
        dots = [
            (value, place[row] + shift, f"{row}, {role}, seed {seed}")
            for row, seeds in lines.items()
            for seed, value in seeds.items()
        ]
        means = [(sum(seeds.values()) / len(seeds), place[row] + shift, f"{row}, {role}, mean") for row, seeds in lines.items()]
        for points, name, marker in (
            (dots, f"{role}, each seed", {"size": 6, "color": colour, "opacity": 0.5}),
            (means, f"{role}, mean", {"symbol": "line-ns", "size": 15, "line": {"width": 3, "color": colour}}),
        ):
            traces.append(named_points(points, name, marker).update(hovertemplate="%{text}: %{x:.2f} %<extra></extra>"))
    made = figure(traces, height=130 + 44 * len(info.rows))
    made.update_xaxes(title_text=f"{label}, %")
    return made.update_yaxes(tickvals=list(place.values()), ticktext=list(place), range=[-0.6, len(place) - 0.4], showgrid=False)
