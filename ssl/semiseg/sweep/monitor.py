"""What a person sees while stages train: a live table on a terminal, plain lines in a log."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from semiseg.stage import Stage

LINE_SECONDS = 30.0
"""A running stage prints a plain line this often."""


class Counts(NamedTuple):
    """How many of what have ended, of how many; `before` of them in earlier runs."""

    ended: int
    total: int
    what: str
    before: int = 0


class Watched(Protocol):
    """What a monitor has to know of that which is trained."""

    def label(self, stage: Stage) -> str:
        """What people see of a stage."""
        ...

    def counts(self) -> Counts:
        """How far it all is."""
        ...


class Monitor:
    """Follows running stages, of a plan or of a search. Use it as a context manager around the training."""

    def __init__(self, watched: Watched, console: Console | None = None) -> None:
        self.watched = watched
        self.console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.figures: dict[str, Mapping[str, Any]] = {}
        self.stages: dict[str, Stage] = {}
        """Those that run, by key."""
        self.began = time.monotonic()
        self._said: dict[str, float] = {}
        self._live = (
            Live(console=self.console, get_renderable=self._table, refresh_per_second=2, transient=True)
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def progress(self, stage: Stage, figures: Mapping[str, Any]) -> None:
        """Figures of a running stage have come in."""
        now, key = time.monotonic(), stage.key
        first = key not in self._said
        self.stages[key], self.figures[key] = stage, figures
        for note in figures.get("notes", ()):
            self.say(note)
        if self._live is None and not figures.get("finished") and (first or now - self._said[key] >= LINE_SECONDS):
            self._said[key] = now
            self.say(f"  {self._line(key)}")

    def finished(self, stage: Stage) -> None:
        """A stage is in the store; says so."""
        figures = self.gone(stage.key)
        score = _percent(figures.get("selection_score", math.nan))
        self.say(
            f"{self._head()} done {self.watched.label(stage)}: selection {called(stage)} {score}, "
            f"{figures.get('seconds', 0.0):.0f} s, {self._left()}"
        )

    def failed(self, stage: Stage, error: str) -> None:
        """A stage has failed for good; says so."""
        self.gone(stage.key)
        self.say(f"{self._head()} FAILED {self.watched.label(stage)}: {error}")

    def gone(self, key: str) -> Mapping[str, Any]:
        """A stage runs no longer; its last figures."""
        self.stages.pop(key, None)
        return self.figures.pop(key, {})

    def say(self, text: str) -> None:
        """Print a line, above the live table where there is one."""
        self.console.print(text, markup=False, highlight=False)

    def _head(self) -> str:
        counts = self.watched.counts()
        return f"[{counts.ended}/{counts.total}]"

    def _left(self) -> str:
        ended, total, _, before = self.watched.counts()
        spent, now = time.monotonic() - self.began, ended - before
        if now <= 0 or ended >= total:
            return f"{_clock(spent)} so far"
        return f"{_clock(spent)} so far, about {_clock(spent / now * (total - ended))} to go"

    def _line(self, key: str) -> str:
        stage, figures = self.stages[key], self.figures[key]
        return (
            f"{self.watched.label(stage)}: step {figures['training_step']}/{figures['steps']}, "
            f"selection {called(stage)} {_percent(figures['selection_score'])}, {figures['images_per_second']:.0f} images/s"
        )

    def _table(self) -> RenderableType:
        ended, total, what, _ = self.watched.counts()
        table = Table(title=f"{ended} of {total} {what}, {self._left()}", title_justify="left", box=None, pad_edge=False)
        running = [(stage, self.figures[key]) for key, stage in self.stages.copy().items() if key in self.figures]
        scores = " / ".join(dict.fromkeys(called(stage) for stage, _ in running))
        for name, right in (("stage", False), ("step", True), (f"selection {scores}", True), ("images/s", True), ("left", True)):
            table.add_column(name, justify="right" if right else "left")
        for stage, figures in running:
            done, steps, rate = figures["training_step"], figures["steps"], figures["images_per_second"]
            images = stage.train.batch_labelled + stage.train.batch_unlabelled
            left = _clock((steps - done) * images / rate) if rate else "-"
            label = Text(self.watched.label(stage))
            table.add_row(label, f"{done}/{steps}", _percent(figures["selection_score"]), f"{rate:.0f}", left)
        return table


def _percent(fraction: float) -> str:
    return "-" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def called(stage: Stage) -> str:
    """What reports call the score of a stage."""
    from semiseg.report.metrics import pretty  # not before something is trained

    return pretty(stage.train.score)


def parts_of(label: str) -> tuple[str, str, str]:
    """Row, seed and stage of a label (`Plan.label`)."""
    row, _, rest = label.partition("/seed ")
    seed, _, stage = rest.partition("/")
    return row, seed, stage


def shown_by_metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """What the dashboard's metrics show of a running stage."""
    return {
        "selection_score": figures["selection_score"],
        "images_per_second": figures["images_per_second"],
        "progress": figures["training_step"] / max(figures["steps"], 1),
    }
