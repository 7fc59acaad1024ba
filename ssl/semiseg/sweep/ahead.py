"""Ray, started in a thread while the plan is checked and its cost measured. Imports no ray itself."""

import contextlib
import threading
from collections.abc import Callable

from semiseg.sweep.resources import Ray

LIMIT = 60.0
"""Seconds for which the end of a start is awaited that nobody wants any more."""


class Ahead:
    """A private cluster for as long as its thread lives: on Linux its daemons end with the thread that has started them."""

    def __init__(self, settings: Ray, limit: float) -> None:
        self.settings, self.limit = settings, limit
        self.error: BaseException | None = None
        self._up, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="start of Ray", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until Ray has started. Raises what kept it from starting."""
        self._up.wait()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """End Ray, or its start where that goes on."""
        self._closing.set()
        self._thread.join(LIMIT)

    def _run(self) -> None:
        end: Callable[[], None] | None = None
        try:
            from semiseg.sweep import cluster  # a second

            if not self._closing.is_set():
                end = cluster.begin(self.settings, self.limit)
        except BaseException as error:  # noqa: BLE001  raised in the main thread
            self.error = error
        self._up.set()
        if end is not None and not self._closing.is_set():
            with contextlib.suppress(Exception):  # told by whoever needs it
                from semiseg.sweep import tune  # noqa: F401  seconds, in which the plan is made and trials' processes start
        self._closing.wait()
        if end is not None:
            end()
