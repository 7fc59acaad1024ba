"""What all figures share: colours, layout, hover. Colours of text and grid follow the page's theme and are set in `page.js`."""

from collections.abc import Iterable
from typing import NamedTuple

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, RED, GOLD, CYAN, BROWN = (
    "#3b76c4",
    "#dd7a2b",
    "#2b9a66",
    "#8a63c9",
    "#cf4a57",
    "#b8931f",
    "#2a9fb5",
    "#96684a",
)
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, GOLD, CYAN, BROWN)
NEUTRAL = "#7f8896"
SHADES = [[0, "#f3f0e6"], [0.35, "#a9d3c0"], [0.7, "#4696ad"], [1, "#1f4479"]]
"""Of 0 to 100 %."""
MOST_WRITTEN = 24
"""Columns of a map of percents beyond which its numbers do not fit into the cells."""
BOTTOM = 44  # pixels below the axes
STANDING_COLOURS = {
    "earns its place": GREEN,
    "hurts here": RED,
    "better here": GREEN,
    "worse here": RED,
    "equivalent": BLUE,
    "unclear": NEUTRAL,
    "unclear after Holm": NEUTRAL,
    "cannot tell here": NEUTRAL,
    "one seed only": NEUTRAL,
    "no result yet": NEUTRAL,
    "undecided": NEUTRAL,
}


class Drawn(NamedTuple):
    """A figure of a page, drawn, and what to read from it."""

    note: str
    figures: tuple[go.Figure, ...]  # several stand side by side
    panel_px: int = 0  # width of each of several, where the screen has room
    heading: str = ""  # in place of the registry's, where the data says what is shown


def faded(colour: str, opacity: float) -> str:
    """A hex colour as rgba."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def percent_map(x: list, y: list[str], z: list[list[float | None]], customdata: list[list], hover: str) -> go.Heatmap:
    """Percents 0 to 100 (lines, columns) as shades, None as a gap; up to MOST_WRITTEN columns with the numbers in the cells. `hover` is what
    is said of a touched cell, in Plotly's terms."""
    return go.Heatmap(
        x=x,
        y=y,
        z=z,
        text=[["" if one is None else f"{one:.1f}" for one in line] for line in z],
        texttemplate="%{text}" if len(x) <= MOST_WRITTEN else None,
        customdata=customdata,
        zmin=0,
        zmax=100,
        colorscale=SHADES,
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate=f"{hover}<extra></extra>",
    )


def figure(traces: Iterable, height: int, left: int = 60, **layout) -> go.Figure:
    """A figure without plotly's template: transparent, so that it takes the page's background."""
    axis = {
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12.5}},
    }
    made = go.Figure(list(traces))
    made.update_layout(
        template=None,
        height=height,
        margin={"l": left, "r": 16, "t": 12, "b": BOTTOM},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12.5},
        legend={"orientation": "h", "y": -68 / (height - 56), "yanchor": "top", "x": 0},  # below the title of the axis
        xaxis=axis,
        yaxis=axis,
        hovermode="closest",
    )
    return made.update_layout(**layout)


class Switch(NamedTuple):
    """A button: what it is called, what it makes of the traces, one value each, and of the layout."""

    name: str
    traces: dict[str, list]
    layout: dict[str, str]


def add_switches(made: go.Figure, height: int, top: int, *groups: tuple[list[Switch], int]) -> None:
    """Rows of buttons above a figure of that height and top margin, the first group left, the second right, each with the number of the
    one that is on. A group of fewer than two is left out."""
    menus = [
        {
            "type": "buttons",
            "direction": "right",
            "buttons": [{"label": one.name, "method": "update", "args": [one.traces, one.layout]} for one in choices],
            "active": on,
            "showactive": True,
            **({"x": 0, "xanchor": "left"} if side == 0 else {"x": 1, "xanchor": "right"}),
            "y": 1 + 30 / (height - top - BOTTOM),
            "yanchor": "bottom",
            "pad": {"l": 0, "r": 0, "t": 0, "b": 0},
            # the same in both themes, as plotly paints the active one light
            "bgcolor": "#d5dbe5",
            "bordercolor": NEUTRAL,
            "font": {"color": "#1d2433", "size": 12},
        }
        for side, (choices, on) in enumerate(groups)
        if len(choices) > 1
    ]
    if menus:
        more = 42  # pixels
        made.update_layout(updatemenus=menus, margin={"t": top + more}, height=height + more)


def named_points(points: list[tuple[float, float, str]], name: str, marker: dict) -> go.Scatter:
    """Marks of one name in the legend; a point is x, y and what it says when touched, before x in points."""
    xs, ys, labels = ([point[i] for point in points] for i in range(3))
    template = "%{text}: %{x:+.2f}<extra></extra>"
    return go.Scatter(x=xs, y=ys, text=labels, mode="markers", marker=marker, name=name, hovertemplate=template)
