"""Wall time of training: what is allowed, and what was spent in all runs of a study."""

import re
import time

from semiseg.config import require

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float:
    """90s, 30m or 2h in seconds. Raises SettingError for other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    found = float(match[1]) * UNITS[match[2]] if match else 0.0
    require(found > 0, "budget", text, "a number above 0 with s, m or h, such as 90s, 30m or 2h")
    return found


class Clock:
    """Seconds of training, from `before` in earlier runs on; `allowed` None: any number."""

    def __init__(self, allowed: float | None, before: float = 0.0) -> None:
        self.allowed, self.before = allowed, before
        self.began: float | None = None

    def begin(self) -> None:
        """Training begins."""
        self.began = time.monotonic()

    def end(self) -> None:
        """Training has ended."""
        self.before, self.began = self.spent, None

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.before + (time.monotonic() - self.began if self.began is not None else 0.0)

    @property
    def over(self) -> bool:
        """Whether all that is allowed is spent."""
        return self.allowed is not None and self.spent >= self.allowed
