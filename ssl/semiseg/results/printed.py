"""What papers print behind their numbers."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PrintedSpread:
    """What a paper prints behind a number: how far its runs are apart."""

    kind: Literal["sd", "se"]
    """sd: standard deviation of the runs; se: standard error of their mean."""
    value: float
    """In the unit of the number."""
    n: int
    """Runs."""

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"spread.value: got {self.value!r}; allowed: a number >= 0")
        if self.n < 2:
            raise ValueError(f"spread.n: got {self.n!r}; allowed: a whole number >= 2")

    def __str__(self) -> str:
        return f"{self.kind}, n = {self.n}"
