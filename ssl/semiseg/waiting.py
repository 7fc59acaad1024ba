"""Waiting for something outside (a cluster, a remote store, a download, a lock): said after a while, limited, and ended by a signal.

Libraries in C++ and blocking system calls hear no signal and know no limit. Here they run in a thread of their own while the main thread
waits for it in short sleeps, in which Ctrl-C, SIGTERM and SIGHUP are heard.
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from semiseg.config import SettingError

Result = TypeVar("Result")
SAY_AFTER = 5.0
"""Seconds of silence before a line says what is awaited."""
LIMIT = 60.0
"""Seconds after which a wait is given up, unless told otherwise."""


def wait_for(call: Callable[[], Result], what: str, *, limit: float = LIMIT, allowed: str = "something that answers") -> Result:
    """What `call()` returns or raises, called in a thread of its own.

    `what` names what is awaited, as in "store s3://bucket/store". Raises SettingError when nothing has come within `limit` seconds; the
    thread is then left to itself, and ends with the process.
    """
    found: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001  handed on to the waiting thread
            failed.append(error)

    thread = threading.Thread(target=run, name=f"waiting for {what}", daemon=True)
    began, said = time.monotonic(), False
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        waited = time.monotonic() - began
        if waited >= SAY_AFTER and not said and thread.is_alive():
            print(f"waiting for {what}, for at most {limit:.0f} s", file=sys.stderr, flush=True)
            said = True
        if waited >= limit and thread.is_alive():
            raise SettingError(f"{what}: no answer within {limit:.0f} s; allowed: {allowed}")
    if failed:
        raise failed[0]
    return found[0]
