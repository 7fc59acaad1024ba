"""Rows x seeds -> chains of stages -> distinct stages, in an order in which teachers come before those who learn from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from semiseg.change import with_values
from semiseg.config import Net, Train
from semiseg.stage import Split, Stage, with_teachers
from semiseg.sweep.rows import ResolvedRow


@dataclass(frozen=True)
class Plan:
    """`chains[row, seed]` is the chain of stages of a row at a seed; `done` are the keys that the store holds; `anchors` the rows that
    the table did not declare."""

    chains: dict[tuple[str, int], tuple[Stage, ...]]
    done: frozenset[str]
    anchors: frozenset[str] = frozenset()

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
        """Missing stages, those with the longest chain of missing descendants and then the most of them first, then as in `stages`."""
        return tuple(sorted((stage for stage in self.stages.values() if stage.key not in self.done), key=self._urgency))

    def label(self, stage: Stage) -> str:
        """row/seed/stage of the first row that needs the stage: what people see of it."""
        found = self.needed_by.get(stage.key)
        row = f"{found[0][0]}/seed {found[0][1]}" if found else f"seed {stage.seed}"
        return f"{row}/{stage.name}"

    @cached_property
    def needed_by(self) -> dict[str, list[tuple[str, int]]]:
        """The chains that a stage is part of, by its key, in the order of the table."""
        found: dict[str, list[tuple[str, int]]] = {}
        for name, chain in self.chains.items():
            for key in dict.fromkeys(stage.key for stage in chain):
                found.setdefault(key, []).append(name)
        return found

    def descendants(self, key: str) -> set[str]:
        """Keys of all stages that learn from this one, directly or not."""
        return set(self._descendants[key])

    def counts(self) -> dict[str, int]:
        rows = len({row for row, _ in self.chains} - self.anchors)
        seeds = len({seed for _, seed in self.chains})
        missing = len(self.to_train)
        distinct = len(self.stages)
        return {
            "rows": rows,
            "anchors": len(self.anchors),
            "seeds": seeds,
            "stages": self.total,
            "distinct": distinct,
            "done": distinct - missing,
            "to_train": missing,
        }

    def __str__(self) -> str:
        c = self.counts()
        added = f" and {c['anchors']} anchor{'s' * (c['anchors'] > 1)}" if c["anchors"] else ""
        return (
            f"{c['rows']} rows{added} x {c['seeds']} seeds: {c['stages']} stages, {c['distinct']} distinct, "
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

    def _urgency(self, stage: Stage) -> tuple[int, int]:
        return (-self._height[stage.key], -len(self._descendants[stage.key]))


def chain_of(line: ResolvedRow, seed: int, *, split: Split, net: Net, train: Train) -> tuple[Stage, ...]:
    """The stages of a row at a seed, on its images and with its own training settings."""
    return line.method.stages(split, net, with_values(train, line.train), seed)


def make_plan(
    lines: Mapping[str, ResolvedRow],
    seeds: Sequence[int],
    *,
    split: Callable[[ResolvedRow], Split],
    net: Net,
    train: Train,
    has: Callable[[str], bool],
    anchors: Iterable[str] = (),
) -> Plan:
    """Resolve every row at every seed into its stages and look up which of them `has` finished; `split` gives a row's images."""
    chains = {
        (row, seed): chain_of(line, seed, split=split(line), net=net, train=train) for row, line in lines.items() for seed in seeds
    }
    plan = Plan(chains, frozenset(), frozenset(anchors))
    return replace(plan, done=frozenset(key for key in plan.stages if has(key)))
