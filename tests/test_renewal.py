"""Results and report of an unfinished study: renewed in a thread, by time, and nothing that fails there is lost."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from semiseg.sweep import renewal
from semiseg.sweep.renewal import Renewal


class Counted:
    """A renewal whose report costs nothing, and how often it has written and reported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: float, write: Callable[[], None] = lambda: None) -> None:
        self.written, self.reported = 0, 0
        self.inner = write
        monkeypatch.setattr(renewal, "EVERY", every)
        self.renewal = Renewal(Path("nowhere"), self.write)
        monkeypatch.setattr(self.renewal, "_render", self.report)

    def write(self) -> None:
        self.written += 1
        self.inner()

    def report(self) -> None:
        self.reported += 1

    def wait(self, times: int) -> None:
        end = time.monotonic() + 20
        while self.reported < times and time.monotonic() < end:
            time.sleep(0.01)
        assert self.reported == times


def test_the_first_news_are_shown_at_once_and_later_ones_once_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch, every=0.5)
    counted.renewal.news()
    counted.wait(1)
    for _ in range(100):
        counted.renewal.news()
    assert counted.written == 1
    counted.wait(2)
    time.sleep(0.7)
    assert (counted.written, counted.reported) == (2, 2), "nothing new is known"
    counted.renewal.close()
    assert counted.written == 2


def test_what_costs_more_is_renewed_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([0.0, 60.0])  # before and after the first
    monkeypatch.setattr(renewal, "_cpu_seconds", lambda: next(taken))
    counted = Counted(monkeypatch, every=0.0)
    counted.renewal.news()
    counted.wait(1)
    counted.renewal.news()
    time.sleep(0.1)
    counted.renewal.close()  # at once, though it would have rested for ten minutes
    assert counted.written == 1


def test_training_does_not_wait_but_the_end_does(monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    counted = Counted(monkeypatch, every=0.0, write=lambda: assert_(going.wait(20)))
    counted.renewal.news()
    counted.renewal.news()  # returns while the first is written
    going.set()
    counted.renewal.close()
    assert counted.reported == counted.written >= 1


def assert_(value: bool) -> None:
    assert value


def test_an_error_comes_out_where_the_study_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        raise KeyError("a stage that has gone")

    counted = Counted(monkeypatch, every=0.0, write=write)
    counted.renewal.news()
    with pytest.raises(KeyError, match="has gone"):
        counted.renewal.close()
    counted.renewal.close()  # told once
    assert counted.reported == 0


def test_without_news_there_is_nothing_to_wait_for() -> None:
    Renewal(Path("nowhere"), lambda: None).close()
