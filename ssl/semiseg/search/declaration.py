"""A search as one value."""

from dataclasses import dataclass, field

from semiseg.sweep.declaration import Preset, Quick


@dataclass(frozen=True, kw_only=True)
class Search:
    """What `sweeps/search_*.py` declare; the space is that of the presets' method in SPACES, or what `--space.FIELD` says."""

    name: str
    title: str
    question: str
    presets: dict[str, Preset]
    """By name; "demo" is the default. Their method is the default configuration, the first point and what the best is compared
    with."""
    trials: int = 24
    quick: Quick = field(default_factory=lambda: Quick(seeds=1))
    quick_trials: int = 4
