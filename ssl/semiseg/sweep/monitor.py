"""What a person sees while stages train: a live table on a terminal, plain lines in a log."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from semiseg.report.metrics import pretty
from semiseg.stage import Stage
from semiseg.sweep.plan import Plan, Queue

LINE_SECONDS = 30.0
"""A running stage prints a plain line this often."""


class Monitor:
    """Follows the running stages of a plan. `row_finished(row, seed)` is called when the last stage of a chain is in the store.

    Use it as a context manager around the training.
    """

    def __init__(self, plan: Plan, queue: Queue, row_finished: Callable[[str, int], None], console: Console | None = None) -> None:
        self.plan, self.queue, self.row_finished = plan, queue, row_finished
        self.console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.figures: dict[str, Mapping[str, Any]] = {}
        self.total = len(plan.to_train)
        self.began = time.monotonic()
        self.finished_seconds = 0.0
        self._said: dict[str, float] = {}
        self._live = (
            Live(console=self.console, get_renderable=self._table, refresh_per_second=2, transient=True)
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def progress(self, key: str, figures: Mapping[str, Any]) -> None:
        """Figures of a running stage have come in."""
        now = time.monotonic()
        first = key not in self._said
        self.figures[key] = figures
        if self._live is None and not figures.get("finished") and (first or now - self._said[key] >= LINE_SECONDS):
            self._said[key] = now
            self._print(f"  {self._line(key)}")

    def ended(self, key: str) -> None:
        """A stage is finished, or has failed for good."""
        figures = self.figures.pop(key, {})
        stage = self.plan.stages[key]
        ended = self.total - len(self.queue.waiting) - len(self.queue.running)
        head = f"[{ended}/{self.total}]"
        label = self.plan.label(stage)
        if key in self.queue.failed:
            self._print(f"{head} FAILED {label}: {self.queue.failed[key]}")
            return
        self.finished_seconds += float(figures.get("seconds", 0.0))
        score = _percent(figures.get("selection_score", math.nan))
        self._print(
            f"{head} done {label}: selection {pretty(stage.train.score)} {score}, {figures.get('seconds', 0.0):.0f} s, {self._left(ended)}"
        )
        for (row, seed), chain in self.plan.chains.items():
            keys = {member.key for member in chain}
            if key in keys and keys <= self.queue.done:
                self.row_finished(row, seed)

    def _left(self, ended: int) -> str:
        if not ended or ended == self.total:
            return f"{_clock(time.monotonic() - self.began)} so far"
        spent = time.monotonic() - self.began
        return f"{_clock(spent)} so far, about {_clock(spent / ended * (self.total - ended))} to go"

    def _line(self, key: str) -> str:
        stage, figures = self.plan.stages[key], self.figures[key]
        return (
            f"{self.plan.label(stage)}: step {figures['training_step']}/{figures['steps']}, "
            f"selection {pretty(stage.train.score)} {_percent(figures['selection_score'])}, {figures['images_per_second']:.0f} images/s"
        )

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def _table(self) -> Table:
        ended = self.total - len(self.queue.waiting) - len(self.queue.running)
        table = Table(title=f"{ended} of {self.total} stages, {self._left(ended)}", title_justify="left", box=None, pad_edge=False)
        scores = " / ".join(dict.fromkeys(pretty(stage.train.score) for stage in self.plan.stages.values()))
        for name, right in (("stage", False), ("step", True), (f"selection {scores}", True), ("images/s", True), ("left", True)):
            table.add_column(name, justify="right" if right else "left")
        for key, figures in list(self.figures.items()):
            stage: Stage = self.plan.stages[key]
            done, steps, rate = figures["training_step"], figures["steps"], figures["images_per_second"]
            images = stage.train.batch_labelled + stage.train.batch_unlabelled
            left = _clock((steps - done) * images / rate) if rate else "-"
            table.add_row(
                Text(self.plan.label(stage)), f"{done}/{steps}", _percent(figures["selection_score"]), f"{rate:.0f}", left
            )
        return table


def _percent(fraction: float) -> str:
    return "-" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
