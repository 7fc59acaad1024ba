"""The command line that every ablation script shares."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from semiseg.config import SettingError
from semiseg.outside import command_line
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.effects import planned_effects
from semiseg.sweep.stop import Stopped, stopping

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that may come at any time, whatever was tried before: it is full, or has become read-only."""
UNUSABLE = 2
"""Exit status when arguments or data cannot be used; tyro's own errors end with it too."""


def main(table: Ablation, argv: Sequence[str] | None = None) -> int:
    """Run an ablation table with the command line's settings; returns the exit status.

    0: all stages done; 1: some stage failed, or a disk is full; 2: unusable arguments or data (one line says what, where and what is allowed);
    128 + the signal's number after Ctrl-C or SIGTERM.
    """

    def run(words: list[str]) -> int:
        arguments, preset = parse(table, words)
        from semiseg.sweep.study import Study  # `--help` and refused arguments do not wait for it

        effects = planned_effects(table, preset, arguments.effects)
        return Study(table, preset, arguments, words, shown=arguments.report, effects=effects).run()

    return guarded(run, argv)


class Unbroken:
    """A stream that loses what nobody reads any more, as after `... | head -2`, instead of ending what goes on."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._close()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # what is in its buffer goes there too

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def speak_safely() -> None:
    """Let no character that a terminal does not know and no closed pipe end a run."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        if hasattr(stream, "fileno") and not isinstance(stream, Unbroken) and stream in (sys.__stdout__, sys.__stderr__):
            setattr(sys, name, Unbroken(stream))


def guarded(run: Callable[[list[str]], int], argv: Sequence[str] | None) -> int:
    """The exit status of `run(words)`, or that of what it raised, after one line about it."""
    words = list(sys.argv[1:] if argv is None else argv)
    speak_safely()
    try:
        with stopping():
            return run(words)
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        if error.errno not in FULL:
            raise
        from semiseg.sweep.bench import FAILED

        again = "the same command again, which trains nothing twice, or another disk"
        print(f"error: cannot write to {error.filename or 'a disk'} ({error.strerror}); allowed: {again}", file=sys.stderr)
        return FAILED
    except Stopped as stopped:
        print(f"\nstopped by {stopped}; the same command goes on from here: {command_line(words)}", file=sys.stderr)
        return 128 + stopped.number
