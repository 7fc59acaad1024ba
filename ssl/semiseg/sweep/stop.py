"""Ctrl-C, SIGTERM and SIGHUP as an exception that says which signal came."""

import contextlib
import os
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Someone asked the program to end; not an Exception, so that no handler of errors takes it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `Stopped` in the main thread inside this block; the former handlers come back after it."""

    def handle(number: int, _frame: object) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def endings_blocked() -> Iterator[None]:
    """SIGTERM and SIGHUP wait until the block ends; processes and threads that start inside it never see one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def as_user_signal() -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP reach Tune as SIGUSR1, which stops it in good order; the list says which one came.

    Left alone, SIGTERM aborts the process with nothing saved.
    """
    came: list[int] = []

    def handle(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) > 1 or signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # the second time, or Tune is not listening yet
            raise Stopped(number)
        os.kill(os.getpid(), signal.SIGUSR1)

    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def halt() -> None:
    """Tune ends in good order: running stages save a checkpoint."""
    os.kill(os.getpid(), signal.SIGUSR1)
