"""What a study of effects holds beside its rows: which parts were on in which row."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from semiseg.coalitions import Kind


@dataclass(frozen=True, kw_only=True)
class EffectsRecord:
    """Parts (players), the sets of them that rows train, and what was asked of them. ValueError for sets of other parts or rows."""

    asked: tuple[Kind, ...]
    players: tuple[str, ...]
    """Switches, and fields with two levels."""
    sets: Mapping[str, tuple[str, ...]]
    """Row -> the players that are on, or high, in it."""
    levels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of players that are fields the low and the high value, as words."""
    base: tuple[str, ...] = ()
    """Switches that are on in every set."""
    feasible: int
    """Sets that can be trained and are not the same training as a smaller one, of 2**len(players)."""
    infeasible: str = ""
    """Why others are not, in words: "CR only with S2"."""

    def __post_init__(self) -> None:
        for row, on in self.sets.items():
            if not set(on) <= set(self.players):
                raise ValueError(f"effects.sets[{row!r}]: got {list(on)!r}; allowed: some of {', '.join(self.players)}")
        if len(set(map(frozenset, self.sets.values()))) < len(self.sets):
            raise ValueError(f"effects.sets: got {dict(self.sets)!r}; allowed: each set once")
