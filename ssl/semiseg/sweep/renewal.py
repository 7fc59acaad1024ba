"""Results and report of an unfinished study, renewed beside its training: by time, not by stage."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 20.0
"""Results and report of an unfinished study are renewed at most this often, in seconds."""
SHARE = 10
"""And so seldom that it takes at most one CPU second in this many seconds."""
RENDER = "import os, sys, pathlib, semiseg.report as r; os.nice(15); r.write_report(pathlib.Path(sys.argv[1]), figures=False)"


class Renewal:
    """Calls `write()`, then makes the report of `folder` in a process of low priority, by the Python text `render`: in a thread, for which
    training never waits.

    What `write` raises is raised by the next call of `news` or `close`.
    """

    def __init__(self, folder: Path, write: Callable[[], None], render: str = RENDER) -> None:
        self.folder, self.write, self.render = folder, write, render
        self.error: BaseException | None = None
        self._known, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal of the report", daemon=True)

    def news(self) -> None:
        """There is something to show: at once, or when it is time again."""
        self._raise()
        self._known.set()
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """End; wait for what is going on. What came since is for the caller to write."""
        self._closing.set()
        self._known.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        rest = 0.0
        while self._known.wait() and not self._closing.wait(rest):
            self._known.clear()
            before = _cpu_seconds()
            try:
                self.write()
                self._render()
            except BaseException as error:  # noqa: BLE001  raised in the main thread
                self.error = error
                return
            rest = max(EVERY, SHARE * (_cpu_seconds() - before))

    def _render(self) -> None:
        command = [sys.executable, "-c", self.render, str(self.folder)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _cpu_seconds() -> float:
    """What this thread, and the processes that this one has started and seen end, have taken."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime
