"""A plan that grows while it is trained, with real stages whose scores are made up: no data, no training, no Ray."""

import io
import random
from collections.abc import Sequence

import numpy as np
import pytest
import tiny
from rich.console import Console

from semiseg.config import SettingError
from semiseg.report.decisions import Quantity, Scores
from semiseg.stage import Stage
from semiseg.sweep import budget
from semiseg.sweep.budget import Clock, seconds_of
from semiseg.sweep.feed import Queue
from semiseg.sweep.growth import Growth, UntilFeed, work_of
from semiseg.sweep.plan import Plan, make_plan
from semiseg.sweep.until import Limits, SeedOrder, seeds_to

LINES = tiny.resolved({"full": "S1 S2 S3 CR T2 SA N2", "no CR": "S1 S2 S3 T2 SA N2", "no N2": "S1 S2 S3 CR T2 SA", "S1": "S1"})
TRUTH = {"full": 0.60, "no CR": 0.55, "no N2": 0.6005, "S1": 0.64}
FIGURES = {"training_step": 1, "steps": 8, "selection_score": 0.4, "images_per_second": 4.0, "seconds": 1.0}


def planned(rows: Sequence[str], seeds: Sequence[int], done: frozenset[str] = frozenset()) -> Plan:
    lines = {row: LINES[row] for row in rows}
    return make_plan(lines, seeds, split=lambda line: tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, has=done.__contains__)


def deltas(scores: Scores) -> dict[str, Quantity]:
    full = scores.get("full", {})
    return {
        row: Quantity((row, "full"), {seed: one - full[seed] for seed, one in scores.get(row, {}).items() if seed in full})
        for row in LINES
        if row != "full"
    }


def made_up(stage: Stage) -> float:
    """The score of a row's final stage: by its key, as equal settings give equal scores."""
    row = next(name for name in LINES if planned([name], [stage.seed]).chains[name, stage.seed][-1].key == stage.key)
    return TRUTH[row] + float(np.random.default_rng([stage.seed, list(LINES).index(row)]).normal(0, 0.004))


def growing(most: int = 30, done: frozenset[str] = frozenset(), ahead: int = 2) -> Growth:
    plan = planned(list(LINES), (0, 1, 2), done)

    def cost(row: str, seed: int) -> dict[str, float]:
        return {stage.key: work_of(stage) for stage in planned([row], [seed]).chains[row, seed]}

    order = SeedOrder(LINES, Limits(0.05 / 3, 0.01, seeds_to((0, 1, 2), most), 3, ahead), deltas, cost)
    return Growth(plan, Queue(plan.to_train, plan.done), order, lambda rows, seeds: planned(rows, seeds, done), made_up)


def train(feed: UntilFeed, slots: int, shuffle: random.Random, most: int = 10_000) -> list[str]:
    """Train up to `most` stages, `slots` at a time, which end in a random order; the keys of those that ended."""
    running: list[Stage] = []
    ended: list[str] = []
    while len(ended) < most:
        while len(running) < slots and (stage := feed.take()) is not None:
            running.append(stage)
        if not running:
            assert feed.exhausted
            break
        stage = running.pop(shuffle.randrange(len(running)))
        if feed.progress(stage.key, FIGURES):
            feed.stop(stage.key)
        else:
            ended.append(stage.key)
            feed.finish(stage.key)
    return ended


def fed(growth: Growth, allowed: float | None = None, rows: list[tuple[str, int]] | None = None) -> UntilFeed:
    clock = Clock(allowed)
    clock.begin()
    said = rows if rows is not None else []
    return UntilFeed(growth, clock, lambda row, seed: said.append((row, seed)), Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def whole() -> Growth:
    growth = growing()
    train(fed(growth), 2, random.Random(0))
    return growth


def test_stages_come_in_until_all_is_decided(whole: Growth) -> None:
    assert whole.order.reason == "decided"
    assert {row for one in whole.order.additions for row in one.rows} >= {"full", "no N2"}
    assert {name: one.verdict for name, one in whole.order.decided(99).items()} == {
        "no CR": "hurts",
        "no N2": "equivalent",
        "S1": "helps",
    }
    assert set(whole.kept(len(whole.order.additions)).stages) <= whole.queue.done
    assert not whole.queue.waiting


@pytest.mark.parametrize("slots", [1, 3])
def test_neither_slots_nor_the_order_in_which_stages_end_change_the_order_of_seeds(whole: Growth, slots: int) -> None:
    growth, told = growing(), list[tuple[str, int]]()
    train(fed(growth, rows=told), slots, random.Random(7))
    assert growth.order.additions == whole.order.additions
    assert set(growth.order.cells(99)) <= set(told)
    assert len(told) == len(set(told))


def test_no_stage_is_trained_twice_after_any_interruption(whole: Growth) -> None:
    for stop in (1, 11, 25, 33):
        growth = growing()
        first = train(fed(growth), 2, random.Random(stop), stop)
        again = growing(done=frozenset(first))
        second = train(fed(again), 2, random.Random(stop + 1))
        assert not set(first) & set(second)
        assert again.order.additions == whole.order.additions


def test_a_study_that_is_decided_trains_nothing(whole: Growth) -> None:
    again = growing(done=frozenset(whole.queue.done))
    assert again.order.reason == "decided"
    assert fed(again).take() is None
    assert again.order.additions == whole.order.additions


def test_what_was_begun_and_is_not_needed_is_stopped_and_left_out() -> None:
    growth, feed, shuffle = growing(ahead=4), None, 0
    while not growth.unwanted and shuffle < 9:  # in some orders nothing was begun
        growth = growing(ahead=4)
        feed, shuffle = fed(growth), shuffle + 1
        train(feed, 4, random.Random(shuffle))
    assert feed is not None
    kept = growth.kept(len(growth.order.additions))
    assert growth.unwanted
    assert not growth.unwanted & set(kept.stages)
    assert all(feed.progress(key, FIGURES) for key in growth.unwanted)


def test_nothing_starts_and_all_stops_when_the_budget_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    growth = growing()
    feed = fed(growth, allowed=60)
    stage = feed.take()
    assert stage is not None
    assert not feed.progress(stage.key, FIGURES)
    now[0] = 159.0
    assert not feed.exhausted
    now[0] = 160.0
    assert feed.exhausted
    assert feed.take() is None
    assert feed.progress(stage.key, FIGURES)
    feed.clock.end()
    now[0] = 500.0
    assert feed.clock.spent == 60


def test_a_failed_teacher_fails_its_row_at_that_seed_only() -> None:
    growth = growing()
    feed = fed(growth)
    first = feed.take()
    assert first is not None
    feed.fail(first.key, "boom")
    train(feed, 2, random.Random(2))
    assert growth.order.reason == "decided"
    assert first.seed not in growth.order.decided(99)["no CR"].paired.deltas


def test_stages_that_come_late_wait_for_teachers_and_are_skipped_with_failed_ones() -> None:
    first, *later = planned(["full"], [0]).stages.values()
    queue = Queue([first], ())
    queue.add([first])
    assert queue.take() is first
    queue.add(later)
    assert queue.take() is None
    queue.fail(first.key, "boom")
    assert queue.exhausted
    assert queue.skipped == {stage.key: "its teacher stage failed: boom" for stage in later if queue.skipped.get(stage.key)}
    fresh = Queue([], ())
    fresh.failed[first.key] = "boom"
    fresh.add(later)
    assert set(fresh.skipped.values()) == {"its teacher stage failed: boom"}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400)])
def test_a_budget_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "0m", "-3s", "1d", "m", "1 h"])
def test_another_budget_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        seconds_of(text)
    assert str(refused.value) == f"budget: got {text!r}; allowed: a number above 0 with s, m or h, such as 90s, 30m or 2h"
