"""A trial of a search in training."""

from dataclasses import dataclass, field

from optuna.trial import Trial

from semiseg.search.configuration import Configuration
from semiseg.stage import Stage


@dataclass
class Candidate:
    """A trial in training: its configuration, the seeds it is trained with, and what it has cost."""

    trial: Trial
    made: Configuration
    seeds: list[int]
    chains: dict[int, tuple[Stage, ...]]
    exempt: bool
    """Never stopped early: the configuration that the others are compared with, or one that the store held when the trial began."""
    scores: dict[int, float] = field(default_factory=dict)
    further: bool = False
    """Whether it was found to deserve further seeds."""

    @property
    def stages(self) -> list[Stage]:
        return [stage for seed in self.seeds for stage in self.chains[seed]]
