"""How far a study that adds seeds until all is decided has come, as `study.json` says it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class UntilRecord:
    """Seeds were added until every comparison was decided, or what was allowed was spent."""

    level: float = 0.05
    """For all comparisons together; each is held to its share."""
    comparisons: int
    """Among which `level` is shared, gaps to all labels among them."""
    max_seeds: int
    """Of a row."""
    budget_seconds: float | None = None
    """Wall time of training that was allowed; None: any."""
    order: tuple[tuple[str, int], ...] = ()
    """(row, seed) after those with which it began, as they were added."""
    spent_seconds: float = 0.0
    """Wall time of training, in all runs."""
    reason: Literal["decided", "max_seeds", "budget", "stopped", "running"] = "running"
    """Why it ended."""
    began: float = 0.0
    """Time of the first run, seconds since 1970: what was in the store then cost nothing."""
    ahead: int = 1
    """Additions that may be under way at once."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"until.level: got {self.level!r}; allowed: a number between 0 and 1")
        if self.comparisons < 1:
            raise ValueError(f"until.comparisons: got {self.comparisons!r}; allowed: a whole number >= 1")
