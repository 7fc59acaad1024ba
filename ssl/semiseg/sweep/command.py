"""The command line that every ablation script shares."""

import shlex
import sys
from collections.abc import Callable, Sequence

from semiseg.config import SettingError
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.stop import Stopped, stopping
from semiseg.sweep.study import Study

UNUSABLE = 2
"""Exit status when arguments or data cannot be used; tyro's own errors end with it too."""


def main(table: Ablation, argv: Sequence[str] | None = None) -> int:
    """Run an ablation table with the command line's settings; returns the exit status.

    0: all stages done; 1: some stage failed; 2: unusable arguments or data (one line says what, where and what is allowed);
    128 + the signal's number after Ctrl-C or SIGTERM.
    """

    def run(words: list[str]) -> int:
        arguments, preset = parse(table, words)
        return Study(table, preset, arguments, words).run()

    return guarded(run, argv)


def guarded(run: Callable[[list[str]], int], argv: Sequence[str] | None) -> int:
    """The exit status of `run(words)`, or that of what it raised, after one line about it."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with stopping():
            return run(words)
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except Stopped as stopped:
        again = shlex.join(["python", sys.argv[0], *words])
        print(f"\nstopped by {stopped}; the same command goes on from here: {again}", file=sys.stderr)
        return 128 + stopped.number
