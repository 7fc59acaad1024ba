"""Figures of effects: left out and left in, Shapley values, main effects with the map of interactions."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.effects import Effect, EffectKind, redundancies, redundancy_words, whole_gain
from semiseg.report.effects_table import interval_words
from semiseg.report.statistics import Paired
from semiseg.report.style import BLUE, GREEN, NEUTRAL, ORANGE, RED, Drawn, faded, figure, named_points
from semiseg.report.tables import interval


def draw_shapley(data: ReportData) -> Drawn | str | None:
    """Shapley values as bars; None where the study asks for none."""
    found = _of_kind(data, "Shapley")
    if found is None or isinstance(found, str):
        return found
    record = data.study.effects
    assert record is not None
    values = {row.name: {seed: cell.value for seed, cell in row.cells.items()} for row in data.table.rows}
    whole = whole_gain(record, values)
    note = (
        f"What each part adds to the gain of {interval(whole)} points, averaged over all orders in which every step can be "
        "trained. Bars: mean with its 95 % interval; dots: seeds, whose values sum to that seed's gain."
    )
    return Drawn(note, (bars_figure(found, "points of the whole gain"),))


def draw_dumbbell(data: ReportData) -> Drawn | str | None:
    """Every part left out and left in; None where the study asks for neither."""
    out, alone = _of_kind(data, "out"), _of_kind(data, "in")
    if out is None and alone is None:
        return None
    found = {kind: tuple(one) if isinstance(one, list) else () for kind, one in (("out", out), ("in", alone))}
    if not any(found.values()):
        return "No seed has finished in the rows that a part is judged by yet."
    note = "Out: all parts minus all but the part; in: the part with what it needs, minus what it needs. Bars: 95 % intervals."
    if said := "; ".join(map(redundancy_words, redundancies(data.table.effects))):
        note += f" {said}."
    return Drawn(note, (dumbbell_figure(found["out"], found["in"]),))


def draw_interactions(data: ReportData) -> Drawn | str | None:
    """Main effects as bars and a map of pairwise interactions; None where the study is no factorial."""
    main = _of_kind(data, "main")
    if main is None or isinstance(main, str):
        return main
    pairs = _of_kind(data, "interaction")
    note = (
        "Main effect: with the part minus without it, averaged over the others; dots: seeds. Interaction: half of how far one part "
        "changes what the other is worth; * where the 95 % interval excludes 0, empty where two parts cannot be told apart."
    )
    drawn = [bars_figure(main, "points: with minus without")]
    if isinstance(pairs, list):
        drawn.append(map_figure(pairs, [one.parts[0] for one in main]))
    return Drawn(note, tuple(drawn), panel_px=460)


def _of_kind(data: ReportData, kind: EffectKind) -> list[Effect] | str | None:
    """Effects of a kind that at least one seed says something of; a sentence where none has finished; None where none was asked
    for."""
    asked = [one for one in data.table.effects if one.kind == kind]
    found = [one for one in asked if one.values.n]
    return None if not asked else found or "No seed has finished in all rows that these effects are made of yet."


def _half(values: Paired) -> float:
    return 0.0 if math.isnan(values.high) else 100 * (values.high - values.mean)


def _colour(values: Paired) -> str:
    return {"above 0": GREEN, "below 0": RED}.get(interval_words(values), NEUTRAL)


def _touched(one: Effect) -> str:
    return f"{' × '.join(one.parts)}: {interval(one.values)} (n = {one.values.n})"


def bars_figure(effects: Sequence[Effect], axis: str) -> go.Figure:
    """A bar per part with its interval, and every seed as a dot; the first part on top."""
    names = [" × ".join(one.parts) for one in effects]
    place = [len(names) - 1 - i for i in range(len(names))]
    colours = [_colour(one.values) for one in effects]
    bars = go.Bar(
        x=[100 * one.values.mean for one in effects],
        y=place,
        orientation="h",
        width=0.56,
        marker={"color": [faded(colour, 0.45) for colour in colours], "line": {"color": colours, "width": 1.5}},
        error_x={"type": "data", "array": [_half(one.values) for one in effects], "color": NEUTRAL, "thickness": 2, "width": 6},
        text=[_touched(one) for one in effects],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        name="mean and 95 % interval",
    )
    dots = [
        (100 * value, y - 0.2, f"{name}, seed {seed}")
        for one, name, y in zip(effects, names, place, strict=True)
        for seed, value in one.values.deltas.items()
    ]
    made = figure(
        [bars, named_points(dots, "each seed", {"size": 7, "color": ORANGE, "opacity": 0.85})], height=130 + 46 * len(names)
    )
    made.update_xaxes(title_text=axis)
    made.update_yaxes(tickvals=place, ticktext=names, range=[-0.6, len(names) - 0.4], showgrid=False)
    return made.add_vline(x=0, line={"width": 1.5, "color": NEUTRAL, "dash": "dot"})


def dumbbell_figure(out: Sequence[Effect], alone: Sequence[Effect]) -> go.Figure:
    """Two marks with intervals per part, joined by a line."""
    parts = list(dict.fromkeys(one.parts[0] for one in (*out, *alone)))
    place = {part: len(parts) - 1 - i for i, part in enumerate(parts)}
    both = {one.parts[0]: one for one in out}
    joined = [(both[one.parts[0]], one) for one in alone if one.parts[0] in both]
    traces: list[go.Scatter] = [
        go.Scatter(
            x=[x for one, other in joined for x in (100 * one.values.mean, 100 * other.values.mean, None)],
            y=[y for one, other in joined for y in (place[one.parts[0]] + 0.12, place[other.parts[0]] - 0.12, None)],
            mode="lines",
            line={"color": NEUTRAL, "width": 3},
            opacity=0.5,
            hoverinfo="skip",
            showlegend=False,
        )
    ]
    for effects, name, colour, symbol, shift in (
        (out, "out of the whole", BLUE, "circle", 0.12),
        (alone, "in alone", ORANGE, "diamond", -0.12),
    ):
        if effects:
            traces.append(
                go.Scatter(
                    x=[100 * one.values.mean for one in effects],
                    y=[place[one.parts[0]] + shift for one in effects],
                    error_x={"type": "data", "array": [_half(one.values) for one in effects], "thickness": 2, "width": 6},
                    mode="markers",
                    marker={"size": 11, "color": colour, "symbol": symbol},
                    text=[_touched(one) + f"<br>{_along(one)}" * bool(one.with_it) for one in effects],
                    hovertemplate="%{text}<extra></extra>",
                    name=name,
                )
            )
    made = figure(traces, height=130 + 46 * len(parts))
    made.update_xaxes(title_text="points (right of 0: the part helps)")
    made.update_yaxes(tickvals=list(place.values()), ticktext=parts, range=[-0.6, len(parts) - 0.4], showgrid=False)
    return made.add_vline(x=0, line={"width": 1.5, "color": NEUTRAL, "dash": "dot"})


def _along(one: Effect) -> str:
    return f"{'out' if one.kind == 'out' else 'in'} with {', '.join(one.with_it)}"


def map_figure(pairs: Sequence[Effect], parts: Sequence[str]) -> go.Figure:
    """Interactions of every part with every other, red below 0 and green above, with their intervals when touched."""
    found = {(first, second): one for one in pairs for first, second in (one.parts, one.parts[::-1])}
    cells = [[found.get((row, column)) for column in parts] for row in parts]
    limit = max((abs(100 * one.values.mean) for one in pairs), default=1.0) or 1.0
    shown = go.Heatmap(
        z=[[None if one is None else 100 * one.values.mean for one in line] for line in cells],
        x=list(parts),
        y=list(parts),
        zmin=-limit,
        zmax=limit,
        colorscale=[[0.0, RED], [0.5, NEUTRAL], [1.0, GREEN]],
        text=[["" if one is None else f"{100 * one.values.mean:+.1f}{_mark(one)}" for one in line] for line in cells],
        texttemplate="%{text}",
        customdata=[["" if one is None else _touched(one) for one in line] for line in cells],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorbar={"title": {"text": "points"}, "thickness": 12},
    )
    made = figure([shown], height=130 + 46 * len(parts))
    made.update_yaxes(autorange="reversed", showgrid=False)
    return made.update_xaxes(showgrid=False)


def _mark(one: Effect) -> str:
    return " *" if interval_words(one.values) in ("above 0", "below 0") else ""
