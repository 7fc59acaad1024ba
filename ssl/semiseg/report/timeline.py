"""When each stage ran, and how busy that kept the slots. Numbers first, drawing second."""

import math
from typing import NamedTuple

import plotly.graph_objects as go

from semiseg.report.data import ReportData
from semiseg.report.style import CYCLE, NEUTRAL, Drawn, faded, figure
from semiseg.results import Results


def draw_timeline(data: ReportData) -> Drawn | str:
    """The latest run of the command."""
    info = timeline_info(data.results)
    if not info.bars:
        return "No stage has run yet."
    note = f"{len(info.bars)} stages on {info.slots} slots in {info.wall:.0f} s; the slots were busy {info.busy:.0%} of it."
    note += f" {info.earlier} stages of earlier runs of the command are not shown." if info.earlier else ""
    return Drawn(note, (timeline_figure(info),))


class Bar(NamedTuple):
    """One stage on one slot; seconds since the first start."""

    slot: int
    start: float
    end: float
    stage: str
    seed: int
    number: int
    state: str


class TimelineInfo(NamedTuple):
    """When the stages of the latest run of the command ran, and which share of the slots they kept busy."""

    slots: int
    bars: tuple[Bar, ...]
    wall: float
    busy: float  # (sum of stage seconds / slots) / wall from first start to last end; NaN without stages
    earlier: int  # stages that an earlier run of the command finished


PAUSE_S = 60  # no stage ran for this long: another run of the command began


def timeline_info(results: Results) -> TimelineInfo:
    """Lay the stages of the latest run out on slots: each takes the lowest slot that is free when it starts."""
    ran = [stage for stage in results.stages.to_pylist() if stage["started"] and (stage["ended"] or 0) > stage["started"]]
    ran.sort(key=lambda stage: (stage["started"], stage["key"]))
    first = 0
    for i in range(1, len(ran)):
        if ran[i]["started"] - max(stage["ended"] for stage in ran[:i]) > PAUSE_S:
            first = i
    latest, slots = ran[first:], results.study.slots
    if not latest:
        return TimelineInfo(slots, (), 0.0, math.nan, 0)
    zero, free, bars = latest[0]["started"], [], []
    for stage in latest:
        slot = next((i for i, end in enumerate(free) if end <= stage["started"] + 0.5), len(free))
        free[slot : slot + 1] = [stage["ended"]]
        start, end = stage["started"] - zero, stage["ended"] - zero
        bars.append(Bar(slot, start, end, stage["name"], stage["seed"], stage["number"], stage["state"]))
    wall = max(bar.end for bar in bars)
    lengths = [stage["ended"] - stage["started"] for stage in latest]
    # A stage that was continued counts only what it trained in this run.
    busy = sum(min(stage["seconds"] or length, length) for stage, length in zip(latest, lengths, strict=True))
    slots = slots or len(free)  # a study that found all its stages in the store has had no slots of its own
    return TimelineInfo(slots, tuple(bars), wall, busy / slots / wall, first)


def timeline_figure(info: TimelineInfo) -> go.Figure:
    """A bar per stage, one line per slot, coloured by stage number."""
    traces = []
    for number in sorted({bar.number for bar in info.bars}):
        bars = [bar for bar in info.bars if bar.number == number]
        traces.append(
            go.Bar(
                base=[bar.start for bar in bars],
                x=[bar.end - bar.start for bar in bars],
                y=[f"slot {bar.slot + 1}" for bar in bars],
                text=[f"{bar.stage} #{bar.seed}" for bar in bars],
                textposition="inside",
                insidetextanchor="middle",
                insidetextfont={"color": "white"},
                textangle=0,
                constraintext="both",
                customdata=[(bar.end, bar.state) for bar in bars],
                orientation="h",
                marker={"color": CYCLE[(number - 1) % len(CYCLE)], "line": {"width": 1, "color": faded(NEUTRAL, 0.6)}},
                name=f"stage {number}",
                hovertemplate="%{text}: %{base:.1f} s to %{customdata[0]:.1f} s, %{customdata[1]}<extra></extra>",
            )
        )
    lanes = 1 + max(bar.slot for bar in info.bars)
    made = figure(traces, height=120 + 46 * lanes, barmode="overlay", legend={"y": -0.35})
    made.update_xaxes(title_text="seconds since the first stage started")
    return made.update_yaxes(autorange="reversed", showgrid=False, categoryorder="category ascending")
