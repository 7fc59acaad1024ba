"""What a person reads while stages of a plan or of a search train: lines in a log, a table on a terminal."""

import io
import math
from pathlib import Path
from typing import Any

import pytest
import tiny
from rich.console import Console
from search_drive import drive, hill, make_feed, open_ledger
from test_three_stage import ROWS

from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import Plan, make_plan

FIGURES = {"training_step": 3, "steps": 8, "selection_score": 0.4567, "images_per_second": 41.4, "seconds": 12.0}


class Watched:
    """A monitor over a plan, its output, and the rows it called finished."""

    def __init__(self, rows: dict[str, str] | None = None, *, seeds: tuple[int, ...] = (0,), terminal: bool = False) -> None:
        has = set[str]().__contains__
        self.plan: Plan = make_plan(
            tiny.resolved(rows or ROWS), seeds, split=lambda line: tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, has=has
        )
        self.queue = Queue(self.plan.to_train, self.plan.done)
        self.out, self.rows = io.StringIO(), []
        console = Console(file=self.out, width=200, highlight=False, force_terminal=terminal, soft_wrap=True)
        self.feed = PlanFeed(self.plan, self.queue, lambda row, seed: self.rows.append((row, seed)), console)
        self.monitor = self.feed.monitor

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def take(self) -> str:
        taken = self.queue.take()
        assert taken is not None
        return taken.key

    def finish(self, key: str, **figures: Any) -> None:
        self.feed.progress(key, FIGURES | {"finished": True} | figures)
        self.feed.finish(key)


def test_a_running_stage_is_one_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    key = watched.take()
    now = [100.0]
    monkeypatch.setattr("semiseg.sweep.monitor.time.monotonic", lambda: now[0])
    for now[0] in (100.0, 101.0, 129.0, 131.0):
        watched.feed.progress(key, FIGURES)
    expected = "  S1/seed 0/s1: step 3/8, selection mIoU 45.7 %, 41 images/s"
    assert watched.lines == [expected, expected]


def test_a_score_that_is_not_there_yet_is_a_dash() -> None:
    watched = Watched()
    watched.feed.progress(watched.take(), FIGURES | {"selection_score": math.nan})
    assert watched.lines == ["  S1/seed 0/s1: step 3/8, selection mIoU -, 41 images/s"]


def test_finished_and_failed_stages_are_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr("semiseg.sweep.monitor.time.monotonic", lambda: watched.monitor.began)
    first, second = watched.take(), watched.take()
    watched.finish(second, selection_score=0.5)
    watched.feed.fail(first, "out of memory")
    done, failed = watched.lines
    assert done.startswith("[1/10] done no T2/seed 0/s2-T2: selection mIoU 50.0 %, 12 s, 0:00 so far, about 0:00 to go")
    assert failed == "[9/10] FAILED S1/seed 0/s1: out of memory"  # itself and the seven that were skipped with it


def test_the_time_to_go_is_that_of_what_ended_scaled_to_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr("semiseg.sweep.monitor.time.monotonic", lambda: watched.monitor.began + 400.0)
    watched.finish(watched.take())
    assert watched.lines[-1].endswith("6:40 so far, about 1:00:00 to go")


def test_the_last_stage_says_how_long_all_took(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched({"S1": "S1"})
    monkeypatch.setattr("semiseg.sweep.monitor.time.monotonic", lambda: watched.monitor.began + 5.0)
    watched.finish(watched.take())
    assert watched.lines[-1].startswith("[1/1] done S1/seed 0/s1: ")
    assert watched.lines[-1].endswith("0:05 so far")


def test_a_row_is_reported_once_when_its_chain_is_in_the_store() -> None:
    watched = Watched(seeds=(0, 1))
    while not watched.queue.exhausted:
        watched.finish(watched.take())
    assert sorted(watched.rows) == sorted((row, seed) for row in ROWS for seed in (0, 1))
    assert watched.rows[:2] == [("S1", 0), ("S1", 1)]


def test_a_row_is_reported_whichever_of_its_stages_ends_last() -> None:
    """Without T2, stages 2 and 3 do not learn from stage 1, so stage 1 may well end after them."""
    watched = Watched({"no T2": ROWS["no T2"]})
    s2, s1 = watched.take(), watched.take()
    watched.finish(s2)
    watched.finish(watched.take())
    watched.finish(s1)
    assert watched.plan.stages[s1].name == "s1"
    assert watched.rows == [("no T2", 0)]


@pytest.mark.parametrize("terminal", [False, True])
def test_names_of_rows_are_shown_as_they_are_written(terminal: bool) -> None:
    """`--rows NAME=...` takes any name; rich reads [words] in brackets as markup."""
    watched = Watched({"mine [red] [/b]": "S1"}, terminal=terminal)
    key = watched.take()
    with watched.monitor:
        watched.feed.progress(key, FIGURES)
    watched.finish(key)
    assert watched.out.getvalue().count("mine [red] [/b]/seed 0/s1") >= 2


def test_a_terminal_shows_a_table_of_the_running_stages() -> None:
    watched = Watched(terminal=True)
    with watched.monitor:
        for key in (watched.take(), watched.take()):
            watched.feed.progress(key, FIGURES)
    shown = watched.out.getvalue()
    assert "0 of 10 stages" in shown
    for text in ("S1/seed 0/s1", "no T2/seed 0/s2-T2", "3/8", "45.7 %", "41"):
        assert text in shown


def test_a_stage_that_fails_before_it_said_anything_is_named_too() -> None:
    watched = Watched()
    key = watched.take()
    watched.feed.fail(key, "no [such] file")
    assert watched.lines == ["[8/10] FAILED S1/seed 0/s1: no [such] file"]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_search_is_watched_by_the_same_lines_and_table(tmp_path: Path, terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, force_terminal=terminal, soft_wrap=True)
    with open_ledger(tmp_path, 3) as ledger:
        feed = make_feed(tmp_path, ledger, console=console)
        with feed.monitor:
            drive(feed, hill)
    shown = out.getvalue()
    running = "of 3 trials" if terminal else "  trial 0/seed 0/mean_teacher: step 2/18, selection mIoU "
    assert running in shown
    assert ("best so far" in shown) == terminal
    assert "[1/3] trial 0 selection " in shown
    assert "[3/3] trial 2 selection " in shown
    assert feed.counts() == (3, 3, "trials", 0)
    assert not feed.monitor.figures
