"""Waits on something outside: what they say, when they end, and that a signal ends them."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from semiseg import waiting
from semiseg.config import SettingError
from semiseg.waiting import wait_for


def test_what_the_call_returns_or_raises_comes_through() -> None:
    assert wait_for(lambda: 7, "seven") == 7
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 // 0, "nothing")


def test_a_wait_without_answer_is_given_up_and_says_for_what() -> None:
    never = threading.Event()
    try:
        with pytest.raises(SettingError, match=r"^lock of x: no answer within 0 s; allowed: a free one$"):
            wait_for(never.wait, "lock of x", limit=0.3, allowed="a free one")
    finally:
        never.set()


def test_after_a_while_a_line_says_what_is_awaited(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(waiting, "SAY_AFTER", 0.2)
    done = threading.Event()
    threading.Timer(0.8, done.set).start()
    assert wait_for(done.wait, "store s3://b", limit=9)
    assert capsys.readouterr().err == "waiting for store s3://b, for at most 9 s\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait_on_a_call_that_hears_none(number: signal.Signals) -> None:
    """The call blocks in C with all signals masked in its thread, as a library's own thread would."""
    code = textwrap.dedent(
        """
        import signal, time
        from semiseg.sweep.stop import Stopped, stopping
        from semiseg.waiting import wait_for
        def deaf():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            print("waiting", flush=True)
            time.sleep(60)
        try:
            with stopping():
                wait_for(deaf, "nobody")
        except Stopped as stopped:
            print("ended by", stopped, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert said == f"ended by {number.name}\n"
    assert process.returncode == 0
