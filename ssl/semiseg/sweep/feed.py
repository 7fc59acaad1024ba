"""What Ray Tune is fed with: stages that can start, and who is told how they go. Knows nothing of Ray."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from rich.console import Console

from semiseg.config import SettingError
from semiseg.stage import Stage
from semiseg.sweep.monitor import Counts, Monitor
from semiseg.sweep.plan import Plan

Answer = TypeVar("Answer")


class Feed(Protocol):
    """What to train, and who is told how it goes."""

    monitor: Monitor
    """Shows the running stages; open while they are trained."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to start, when `take` found nothing."""
        ...

    def take(self) -> Stage | None:
        """A stage that can start now, or None when there is none (yet)."""
        ...

    def label(self, stage: Stage) -> str:
        """row/seed N/stage: what people see of it."""
        ...

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        """A running stage has reported; whether it is to stop."""
        ...

    def finish(self, key: str) -> None:
        """A stage is in the store."""
        ...

    def stop(self, key: str) -> None:
        """A stage was stopped as `progress` wished."""
        ...

    def fail(self, key: str, error: str) -> None:
        """A stage failed for good."""
        ...


class Careful:
    """A feed whose disk or remote store may fail at any time, which Tune would take for a failure of a trial and try again.

    The first such error is kept in `error`, `halt` is called, and nothing is asked of the feed any more.
    """

    def __init__(self, feed: Feed, halt: Callable[[], None]) -> None:
        self.feed, self.halt, self.monitor = feed, halt, feed.monitor
        self.error: OSError | SettingError | None = None

    def _ask(self, call: Callable[[], Answer], otherwise: Answer) -> Answer:
        if self.error is None:
            try:
                return call()
            except (OSError, SettingError) as error:
                self.error = error
                self.halt()
        return otherwise

    @property
    def exhausted(self) -> bool:
        return self._ask(lambda: self.feed.exhausted, True)

    def take(self) -> Stage | None:
        return self._ask(self.feed.take, None)

    def label(self, stage: Stage) -> str:
        return self.feed.label(stage)

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        return self._ask(lambda: self.feed.progress(key, figures), False)

    def finish(self, key: str) -> None:
        self._ask(lambda: self.feed.finish(key), None)

    def stop(self, key: str) -> None:
        self._ask(lambda: self.feed.stop(key), None)

    def fail(self, key: str, error: str) -> None:
        self._ask(lambda: self.feed.fail(key, error), None)


class Queue:
    """Which stage to train next: one whose teachers are finished, the most urgent first. Knows failures, not Ray."""

    def __init__(self, stages: Iterable[Stage], done: Iterable[str]) -> None:
        self.waiting = {stage.key: stage for stage in stages}
        self.done = set(done)
        self.running: dict[str, Stage] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    def take(self) -> Stage | None:
        """A stage that can start now, or None when there is none (yet)."""
        for key, stage in self.waiting.items():
            if all(teacher.key in self.done for teacher in stage.teachers):
                del self.waiting[key]
                self.running[key] = stage
                return stage
        return None

    @property
    def exhausted(self) -> bool:
        """Whether no stage is left that could still start."""
        return not self.waiting

    def finish(self, key: str) -> None:
        self.running.pop(key, None)
        self.done.add(key)

    def fail(self, key: str, error: str) -> None:
        """A stage failed for good: what learns from it, and only that, is skipped."""
        self.running.pop(key, None)
        self.failed[key] = error
        lost = {key}
        changed = True
        while changed:
            changed = False
            for stage in list(self.waiting.values()):
                if any(teacher.key in lost for teacher in stage.teachers):
                    lost.add(stage.key)
                    self.skipped[stage.key] = f"its teacher stage failed: {error}"
                    del self.waiting[stage.key]
                    changed = True


class PlanFeed:
    """The stages of a plan, none of which is stopped early. `row_finished` is called when the last stage of a chain is in the
    store."""

    def __init__(self, plan: Plan, queue: Queue, row_finished: Callable[[str, int], None], console: Console | None = None) -> None:
        self.plan, self.queue, self.row_finished = plan, queue, row_finished
        self.take, self.label = queue.take, plan.label
        self.monitor = Monitor(self, console)

    @property
    def exhausted(self) -> bool:
        return self.queue.exhausted

    def counts(self) -> Counts:
        total = len(self.plan.to_train)
        return Counts(total - len(self.queue.waiting) - len(self.queue.running), total, "stages")

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        self.monitor.progress(self.plan.stages[key], figures)
        return False

    def finish(self, key: str) -> None:
        self.queue.finish(key)
        self.monitor.finished(self.plan.stages[key])
        for (row, seed), chain in self.plan.chains.items():
            keys = {member.key for member in chain}
            if key in keys and keys <= self.queue.done:
                self.row_finished(row, seed)

    def stop(self, key: str) -> None:
        """Never."""

    def fail(self, key: str, error: str) -> None:
        self.queue.fail(key, error)
        self.monitor.failed(self.plan.stages[key], error)
