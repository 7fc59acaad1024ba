"""Which Tune trial trains which stage, and when its process may go on to the next one. Knows nothing of Ray.

A trial is one stage, but a process trains many, and starting one takes seconds. Tune 2.60 keeps the process of a trial that has ended
in two cases only: another trial waits for one, or it is the only one kept. So two things are avoided here by letting a trial whose stage
has ended wait for a moment:

- ending while no other stage can start (teachers train): of several such processes Tune would keep one;
- ending while the process of another trial is being started: Tune would give it this one and kill the one that starts, time and again.
"""

import time
from collections.abc import Mapping
from typing import Any

from semiseg.stage import Stage
from semiseg.sweep.feed import Feed

PATIENCE = 120.0
"""Seconds for which a process without a stage is kept, and for which others are kept for one that is being started."""


class Turns:
    """Hands stages to trials. With `reuse` a process goes on to another trial; otherwise every trial ends with its stage."""

    def __init__(self, feed: Feed, *, reuse: bool) -> None:
        self.feed, self.reuse = feed, reuse
        self.stages: dict[str, Stage] = {}
        """By the id of their trial."""
        self.ended: dict[str, float] = {}
        """Trials whose stage has ended, of which the feed has been told, and since when."""
        self.starting: dict[str, float] = {}
        """Trials for which a process is being started, and since when."""
        self.next: list[Stage] = []
        """What a process that has just become free goes on with."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it calls with the experiment, which is never restored

    @property
    def exhausted(self) -> bool:
        """Whether no stage is left to start, when `suggest` found none."""
        return not self.next and self.feed.exhausted

    def suggest(self, trial: str) -> Stage | None:
        """The stage of a new trial, or None when none can start (yet)."""
        stage = self.next.pop() if self.next else None
        if stage is None and (stage := self.feed.take()) is not None:
            self.starting[trial] = time.monotonic()
        if stage is not None:
            self.stages[trial] = stage
        return stage

    def started(self, trial: str) -> None:
        """The trial has a process."""
        self.starting.pop(trial, None)

    def restarts(self, trial: str) -> None:
        """The trial's process has died; it waits for another one."""
        self.starting[trial] = time.monotonic()

    def report(self, trial: str, result: Mapping[str, Any]) -> bool:
        """A trial has reported; whether it is to end now."""
        key = self.stages[trial].key
        over = bool(result["finished"] or result["error_text"])
        if trial in self.ended:
            return not over or self._relieved(trial)  # not over: its process died while it waited; nothing is trained twice
        if result["error_text"]:
            self.feed.fail(key, result["error_text"])
        else:
            unwanted = self.feed.progress(key, result)
            if not over and not unwanted:
                return False
            if over:
                self.feed.finish(key)
            else:
                self.feed.stop(key)
        self.ended[trial] = time.monotonic()
        return self._relieved(trial) or not over

    def stopped(self, trial: str) -> None:
        """A trial has ended that was not told to."""
        self.starting.pop(trial, None)
        if trial not in self.ended:
            self.feed.stop(self.stages[trial].key)

    def failed(self, trial: str, error: str) -> None:
        """A trial was given up."""
        self.starting.pop(trial, None)
        if trial not in self.ended:
            self.feed.fail(self.stages[trial].key, error)

    def _relieved(self, trial: str) -> bool:
        """Whether a trial whose stage has ended may end too: its process has another stage, or is kept no longer."""
        if not self.reuse:
            return True
        now = time.monotonic()
        if any(now - since < PATIENCE for since in self.starting.values()):
            return False
        if (stage := self.feed.take()) is not None:
            self.next.append(stage)
            return True
        return self.feed.exhausted or now - self.ended[trial] >= PATIENCE
