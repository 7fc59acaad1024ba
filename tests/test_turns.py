"""Which trial trains which stage and how long a process is kept, against a model of how Tune 2.60 keeps processes."""

import io
from typing import Any

import pytest
import tiny
from rich.console import Console
from test_three_stage import ROWS

from semiseg.stage import Stage
from semiseg.sweep import turns as module
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import make_plan
from semiseg.sweep.turns import Turns

FIGURES = {"training_step": 1, "steps": 1, "selection_score": 0.4, "images_per_second": 4.0, "seconds": 1.0, "error_text": ""}
RUNNING, FINISHED = FIGURES | {"finished": False}, FIGURES | {"finished": True}
FAILED = {"finished": False, "error_text": "boom"}


class Told(PlanFeed):
    """A plan's feed that counts what it is told."""

    def __init__(self, *, seeds: int = 1) -> None:
        plan = make_plan(
            tiny.resolved(ROWS),
            tuple(range(seeds)),
            split=lambda line: tiny.SPLIT,
            net=tiny.NET,
            train=tiny.TRAIN,
            has=lambda key: False,
        )
        super().__init__(plan, Queue(plan.to_train, plan.done), lambda row, seed: None, Console(file=io.StringIO()))
        self.told: list[tuple[str, str]] = []
        self.unwanted: set[str] = set()

    def progress(self, key: str, figures: Any) -> bool:
        return super().progress(key, figures) or key in self.unwanted

    def finish(self, key: str) -> None:
        self.told.append(("finish", key))
        super().finish(key)

    def stop(self, key: str) -> None:
        self.told.append(("stop", key))

    def fail(self, key: str, error: str) -> None:
        self.told.append(("fail", key))
        super().fail(key, error)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def begin(turns: Turns, *trials: str) -> list[Stage]:
    """Trials with a stage and a process each."""
    stages = [turns.suggest(trial) for trial in trials]
    for trial in trials:
        turns.started(trial)
    assert None not in stages
    return [stage for stage in stages if stage is not None]


def test_a_process_goes_on_with_what_is_most_urgent_when_it_is_free(clock: list[float]) -> None:
    turns = Turns(Told(), reuse=True)
    (first,) = begin(turns, "a")
    assert first.name == "s1"
    assert not turns.report("a", RUNNING)
    assert turns.report("a", FINISHED)
    (second,) = begin(turns, "b")
    assert second.name == "s2", "which could not start before"
    assert turns.starting == {}


def test_a_process_without_a_stage_waits_until_there_is_one_or_its_patience_is_over(clock: list[float]) -> None:
    feed = Told()
    turns = Turns(feed, reuse=True)
    first, other = begin(turns, "a", "b")
    assert (first.name, other.name) == ("s1", "s2-T2")
    assert turns.report("b", FINISHED)  # s3-T2 can start
    (follower,) = begin(turns, "c")
    assert not turns.report("c", FINISHED)  # all others wait for s1
    clock[0] += module.PATIENCE - 1
    assert not turns.report("c", FINISHED)
    assert turns.report("a", FINISHED)
    assert turns.report("c", FINISHED)
    assert {stage.name for stage in begin(turns, "d", "e")} == {"s2", "s2-CR"}
    assert feed.told == [("finish", stage.key) for stage in (other, follower, first)], "each once"
    turns = Turns(Told(), reuse=True)
    begin(turns, "a", "b")
    assert turns.report("b", FINISHED)
    begin(turns, "c")
    assert not turns.report("c", FINISHED)
    clock[0] += module.PATIENCE
    assert turns.report("c", FINISHED)


def test_no_process_is_taken_from_a_trial_whose_own_is_being_started(clock: list[float]) -> None:
    turns = Turns(Told(seeds=3), reuse=True)
    begin(turns, "a")
    turns.suggest("b")
    assert not turns.report("a", FINISHED)
    turns.started("b")
    assert turns.report("a", FINISHED)
    turns.restarts("b")  # its process has died
    begin(turns, "c")
    assert not turns.report("c", FINISHED)
    clock[0] += module.PATIENCE
    assert turns.report("c", FINISHED), "it may never come"


def test_without_reuse_a_trial_ends_with_its_stage(clock: list[float]) -> None:
    turns = Turns(Told(), reuse=False)
    begin(turns, "a")
    turns.suggest("b")
    assert turns.report("a", FINISHED)
    assert turns.report("b", FAILED)
    assert turns.next == []


def test_the_feed_is_told_once_of_every_end(clock: list[float]) -> None:
    feed = Told(seeds=3)
    turns = Turns(feed, reuse=True)
    failed, unwanted, stopped, given_up, done = (stage.key for stage in begin(turns, *"abcde"))
    feed.unwanted = {unwanted}
    turns.report("a", FAILED)
    assert turns.report("b", RUNNING)
    turns.stopped("c")
    turns.failed("d", "its process died")
    turns.report("e", FINISHED)
    for trial in "abe":
        turns.stopped(trial)
        turns.failed(trial, "its process died when it had ended")
    assert feed.told == [("fail", failed), ("stop", unwanted), ("stop", stopped), ("fail", given_up), ("finish", done)]


def test_a_stage_that_ended_is_not_trained_again_when_its_waiting_process_dies(clock: list[float]) -> None:
    feed = Told()
    turns = Turns(feed, reuse=True)
    begin(turns, "a")
    turns.suggest("b")
    assert not turns.report("a", FINISHED)
    turns.restarts("a")
    turns.started("a")
    assert turns.report("a", RUNNING)
    assert len(feed.told) == 1


class Tune:
    """Processes as Tune 2.60 keeps them (tune_controller.py, object_cache.py): one of an ended trial is kept where another trial waits
    for one or none is kept; a kept one goes to a waiting trial, in place of the one that is being started for it."""

    def __init__(self, turns: Turns, slots: int) -> None:
        self.turns, self.slots = turns, slots
        self.running: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        """Trials whose process is being started."""
        self.kept: list[int] = []
        self.trials = self.processes = self.alive = self.most = 0

    def suggest(self) -> None:
        while len(self.running) + len(self.waiting) < self.slots:
            trial = f"trial {self.trials}"
            if self.turns.suggest(trial) is None:
                return
            self.trials += 1
            if self.kept:
                self.running[trial] = self.kept.pop()
                self.turns.started(trial)
            else:
                self.processes, self.alive = self.processes + 1, self.alive + 1
                self.waiting[trial] = self.processes
            self.most = max(self.most, self.alive)

    def start(self, trial: str) -> None:
        self.running[trial] = self.waiting.pop(trial)
        self.turns.started(trial)

    def end(self, trial: str) -> None:
        process = self.running.pop(trial)
        if self.waiting:
            other = next(iter(self.waiting))
            del self.waiting[other]
            self.alive -= 1
            self.running[other] = process
            self.turns.started(other)
        elif self.kept:
            self.alive -= 1
        else:
            self.kept.append(process)

    def run(self, steps: int) -> int:
        """Train everything, `steps` reports a stage, a process starting for as long as five reports of all others."""
        left: dict[str, int] = {}
        rounds = 0
        while True:
            self.suggest()
            if not self.running and not self.waiting:
                return rounds
            rounds += 1
            if rounds % 5 == 0 and self.waiting:
                self.start(next(iter(self.waiting)))
            for trial in list(self.running):
                left.setdefault(trial, steps)
                left[trial] -= 1
                if self.turns.report(trial, FINISHED if left[trial] <= 0 else RUNNING):
                    self.end(trial)
                    self.suggest()


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("steps", [1, 3])
def test_there_are_never_more_processes_than_slots(slots: int, steps: int, clock: list[float]) -> None:
    feed = Told(seeds=6)
    tune = Tune(Turns(feed, reuse=True), slots)
    tune.run(steps)
    assert sorted(key for _, key in feed.told) == sorted(feed.plan.stages)
    assert tune.trials == 60
    assert tune.processes == tune.most == slots


def test_the_model_shows_what_tune_alone_does(clock: list[float]) -> None:
    """Without a trial that waits the second process is killed whenever the first one has ended a stage."""
    feed = Told(seeds=6)
    tune = Tune(Turns(feed, reuse=False), 2)
    tune.run(1)
    assert len(feed.told) == 60
    assert tune.processes > 2 * 2
