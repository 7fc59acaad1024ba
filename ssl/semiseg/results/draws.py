"""What a seed of a study has drawn, as `study.json` says it."""

from dataclasses import dataclass
from typing import Literal

Vary = Literal["training", "labelled", "both", "crossed"]
"""What a seed draws: initial weights and data order, the labelled subset, both; or every one of the former with every subset."""


@dataclass(frozen=True, kw_only=True)
class DrawRecord:
    """What a number in `seeds` stands for."""

    seed: int
    training: int
    """Seed of initial weights and data order."""
    subset: int
    """Seed of the labelled subset."""
    labelled_hash: str
    """Names the labelled images, of a row that has no number of them of its own."""
