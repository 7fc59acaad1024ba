"""Signals that end a run: which ones, and how they reach Tune."""

import os
import signal
from collections.abc import Iterator

import pytest

from semiseg.sweep.stop import SIGNALS, Stopped, as_user_signal, stopping


@pytest.fixture
def tune_listens() -> Iterator[list[int]]:
    """Handles SIGUSR1 as Tune does; what has come."""
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    yield came
    signal.signal(signal.SIGUSR1, before)


def test_a_closed_terminal_counts_among_what_ends_a_run() -> None:
    assert set(SIGNALS) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_reaches_tune_as_one_that_stops_it_in_good_order(number: signal.Signals, tune_listens: list[int]) -> None:
    """Then Tune calls `cleanup` of every trial, which saves a checkpoint."""
    before = signal.getsignal(number)
    with as_user_signal() as came:
        os.kill(os.getpid(), number)
        assert came == [number]
        assert tune_listens == [signal.SIGUSR1]
        with pytest.raises(Stopped, match=number.name):  # the second time at once
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_before_tune_listens_ends_the_run(number: signal.Signals) -> None:
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    with pytest.raises(Stopped, match=number.name), as_user_signal():
        os.kill(os.getpid(), number)
    with pytest.raises(Stopped, match=number.name), stopping():
        os.kill(os.getpid(), number)
