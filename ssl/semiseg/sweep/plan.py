"""Rows x seeds -> chains of stages -> distinct stages, in an order in which teachers come before those who learn from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from semiseg.change import with_values
from semiseg.config import Net, Train
from semiseg.stage import Split, Stage, with_teachers
from semiseg.sweep.rows import ResolvedRow


@dataclass(frozen=True)
class Plan:
    """`chains[row, seed]` is the chain of stages of a row at a seed; `done` are the keys that the store holds."""

    chains: dict[tuple[str, int], tuple[Stage, ...]]
    done: frozenset[str]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Distinct stages by key, teachers first."""
        return with_teachers(stage for chain in self.chains.values() for stage in chain)

    @cached_property
    def total(self) -> int:
        """Stages that training every row from scratch would take."""
        return sum(len(chain) for chain in self.chains.values())

    @cached_property
    def to_train(self) -> tuple[Stage, ...]:
        """Missing stages, those with the longest chain of missing descendants and then the most of them first."""
        return tuple(sorted((stage for stage in self.stages.values() if stage.key not in self.done), key=self._urgency))

    def label(self, stage: Stage) -> str:
        """row/seed/stage of the first row that needs the stage: what people see of it."""
        for (row, seed), chain in self.chains.items():
            if any(member.key == stage.key for member in chain):
                return f"{row}/seed {seed}/{stage.name}"
        return f"seed {stage.seed}/{stage.name}"

    def descendants(self, key: str) -> set[str]:
        """Keys of all stages that learn from this one, directly or not."""
        return set(self._descendants[key])

    def counts(self) -> dict[str, int]:
        rows = len({row for row, _ in self.chains})
        seeds = len({seed for _, seed in self.chains})
        missing = len(self.to_train)
        distinct = len(self.stages)
        return {
            "rows": rows,
            "seeds": seeds,
            "stages": self.total,
            "distinct": distinct,
            "done": distinct - missing,
            "to_train": missing,
        }

    def __str__(self) -> str:
        c = self.counts()
        return (
            f"{c['rows']} rows x {c['seeds']} seeds: {c['stages']} stages, {c['distinct']} distinct, "
            f"{c['done']} done, {c['to_train']} to train"
        )

    @cached_property
    def _descendants(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {key: set() for key in self.stages}
        for stage in reversed(self.stages.values()):
            for teacher in stage.teachers:
                found[teacher.key] |= {stage.key} | found[stage.key]
        return found

    @cached_property
    def _height(self) -> dict[str, int]:
        height = dict.fromkeys(self.stages, 0)
        for stage in reversed(self.stages.values()):
            for teacher in stage.teachers:
                height[teacher.key] = max(height[teacher.key], height[stage.key] + 1)
        return height

    def _urgency(self, stage: Stage) -> tuple[int, int, int]:
        order = list(self.stages).index(stage.key)
        return (-self._height[stage.key], -len(self._descendants[stage.key]), order)


def make_plan(
    lines: Mapping[str, ResolvedRow],
    seeds: Sequence[int],
    *,
    split: Callable[[ResolvedRow], Split],
    net: Net,
    train: Train,
    has: Callable[[str], bool],
) -> Plan:
    """Resolve every row at every seed into its stages and look up which of them `has` finished; `split` gives a row's images."""
    chains = {
        (row, seed): line.method.stages(split(line), net, with_values(train, line.train), seed)
        for row, line in lines.items()
        for seed in seeds
    }
    plan = Plan(chains, frozenset())
    return Plan(chains, frozenset(key for key in plan.stages if has(key)))
