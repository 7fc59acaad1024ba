"""What Ray Tune is fed with: stages that can start, and who is told how they go. Knows nothing of Ray."""

from collections.abc import Mapping
from typing import Any, Protocol

from semiseg.stage import Stage
from semiseg.sweep.monitor import Monitor
from semiseg.sweep.plan import Plan, Queue


class Feed(Protocol):
    """What to train, and who is told how it goes."""

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


class PlanFeed:
    """The stages of a plan, none of which is stopped early."""

    def __init__(self, plan: Plan, queue: Queue, monitor: Monitor) -> None:
        self.plan, self.queue, self.monitor = plan, queue, monitor
        self.take, self.label = queue.take, plan.label

    @property
    def exhausted(self) -> bool:
        return self.queue.exhausted

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        self.monitor.progress(key, figures)
        return False

    def finish(self, key: str) -> None:
        self.queue.finish(key)
        self.monitor.ended(key)

    def stop(self, key: str) -> None:
        """Never."""

    def fail(self, key: str, error: str) -> None:
        self.queue.fail(key, error)
        self.monitor.ended(key)
