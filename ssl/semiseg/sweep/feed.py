"""What Ray Tune is fed with: stages that can start, and who is told how they go. Knows nothing of Ray."""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVar

from rich.console import Console

from semiseg.config import SettingError
from semiseg.stage import Stage
from semiseg.sweep.monitor import Counts, Monitor
from semiseg.sweep.plan import Plan

Answer = TypeVar("Answer")
LOST = "its teacher stage failed: "


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
    """Which stage to train next: one whose teachers are finished, the most urgent first. Knows failures, not Ray.

    `stages` come in the order of their urgency. Nothing here takes longer because more stages wait.
    """

    def __init__(self, stages: Iterable[Stage], done: Iterable[str]) -> None:
        self.waiting: dict[str, Stage] = {}
        self.done = set(done)
        self.running: dict[str, Stage] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._order: dict[str, int] = {}
        self._missing: dict[str, set[str]] = {}
        """Teachers that are not finished, by the key of the stage that waits for them."""
        self._learners: dict[str, list[str]] = {}
        self._ready: list[tuple[int, str]] = []
        """Stages that can start, as a heap."""
        self.add(stages)

    def add(self, stages: Iterable[Stage]) -> None:
        """Further stages, teachers first, behind those that wait; what is known or done is left out."""
        for stage in stages:
            key = stage.key
            if key in self._order or key in self.done:
                continue
            self._order[key] = len(self._order)
            lost = next(
                (self.failed.get(one.key) or self.skipped.get(one.key) for one in stage.teachers if self._lost(one.key)), None
            )
            if lost is not None:
                self.skipped[key] = lost if lost.startswith(LOST) else f"{LOST}{lost}"
                continue
            self.waiting[key] = stage
            self._missing[key] = {teacher.key for teacher in stage.teachers} - self.done
            for teacher in self._missing[key]:
                self._learners.setdefault(teacher, []).append(key)
            if not self._missing[key]:
                heappush(self._ready, (self._order[key], key))

    def drop(self, keys: Iterable[str]) -> None:
        """Stages that nobody wants any more are not started."""
        gone = {key for key in keys if self.waiting.pop(key, None) is not None}
        self._ready = sorted(one for one in self._ready if one[1] not in gone)

    def _lost(self, key: str) -> bool:
        return key in self.failed or key in self.skipped

    def take(self) -> Stage | None:
        """A stage that can start now, or None when there is none (yet)."""
        if not self._ready:
            return None
        _, key = heappop(self._ready)
        self.running[key] = self.waiting.pop(key)
        return self.running[key]

    @property
    def exhausted(self) -> bool:
        """Whether no stage is left that could still start."""
        return not self.waiting

    def finish(self, key: str) -> None:
        self.running.pop(key, None)
        self.done.add(key)
        for learner in self._learners.pop(key, ()):
            self._missing[learner].discard(key)
            if not self._missing[learner] and learner in self.waiting:
                heappush(self._ready, (self._order[learner], learner))

    def fail(self, key: str, error: str) -> None:
        """A stage failed for good: what learns from it, and only that, is skipped."""
        self.running.pop(key, None)
        self.failed[key] = error
        lost = [key]
        for one in lost:
            for learner in self._learners.pop(one, ()):
                if self.waiting.pop(learner, None) is not None:
                    self.skipped[learner] = f"{LOST}{error}"
                    lost.append(learner)


class PlanFeed:
    """The stages of a plan, none of which is stopped early. `row_finished` is called when the last stage of a chain is in the
    store."""

    def __init__(self, plan: Plan, queue: Queue, row_finished: Callable[[str, int], None], console: Console | None = None) -> None:
        self.plan, self.queue, self.row_finished = plan, queue, row_finished
        self._left: dict[tuple[str, int], set[str]] = {}
        """Stages of every chain that are not finished."""
        self.watch(plan.chains)
        self.monitor = Monitor(self, console)

    def watch(self, chains: Mapping[tuple[str, int], Iterable[Stage]]) -> None:
        """Tell of these rows and seeds when they are finished."""
        self._left |= {name: {stage.key for stage in chain} - self.queue.done for name, chain in chains.items()}

    @property
    def exhausted(self) -> bool:
        return self.queue.exhausted

    def take(self) -> Stage | None:
        return self.queue.take()

    def label(self, stage: Stage) -> str:
        return self.plan.label(stage)

    def counts(self) -> Counts:
        total = len(self.plan.to_train)
        return Counts(total - len(self.queue.waiting) - len(self.queue.running), total, "stages")

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        self.monitor.progress(self.plan.stages[key], figures)
        return False

    def finish(self, key: str) -> None:
        self.queue.finish(key)
        self.monitor.finished(self.plan.stages[key])
        for row, seed in self.plan.needed_by.get(key, ()):
            left = self._left[row, seed]
            left.discard(key)
            if not left:
                self.row_finished(row, seed)

    def stop(self, key: str) -> None:
        """Never."""

    def fail(self, key: str, error: str) -> None:
        self.queue.fail(key, error)
        self.monitor.failed(self.plan.stages[key], error)
