"""Rows x seeds -> chains of stages -> distinct stages, in an order in which teachers come before those who learn from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from semiseg.change import with_values
from semiseg.config import Net, Train
from semiseg.stage import Split, Stage, with_teachers
from semiseg.sweep.draws import Design, SeedDraw
from semiseg.sweep.rows import ResolvedRow


@dataclass(frozen=True)
class Plan:
    """`chains[row, seed]` is the chain of stages of a row at a seed; `done` are the keys that the store holds; `anchors` the rows that
    the table did not declare; `names` what people read of seeds, where that is not their number."""

    chains: dict[tuple[str, int], tuple[Stage, ...]]
    done: frozenset[str]
    anchors: frozenset[str] = frozenset()
    names: Mapping[int, str] = field(default_factory=dict)

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
        if not found:
            return f"seed {stage.seed}/{stage.name}"
        row, seed = found[0]
        return f"{row}/{self.names.get(seed, f'seed {seed}')}/{stage.name}"

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


def drawn_chain(
    line: ResolvedRow, draw: SeedDraw, *, split: Callable[[ResolvedRow], Split], net: Net, train: Train
) -> tuple[Stage, ...]:
    """The stages of a row with the weights, order and labelled images that are drawn."""
    return chain_of(line, draw.training, split=split(draw.of(line)), net=net, train=train)


def make_plan(
    lines: Mapping[str, ResolvedRow],
    seeds: Sequence[int],
    *,
    split: Callable[[ResolvedRow], Split],
    net: Net,
    train: Train,
    has: Callable[[str], bool],
    light: Callable[[str], bool] | None = None,
    anchors: Iterable[str] = (),
    design: Design | None = None,
) -> Plan:
    """Resolve every row at every seed into its stages and look up which of them `has` finished; `split` gives a row's images.

    `design` says what a seed draws; without one, initial weights and data order. `light` says of which stages the results are there: these are
    done too, unless one that is to be trained needs their weights.
    """
    design = design or Design(seeds=tuple(seeds))
    chains = {
        (row, seed): drawn_chain(line, design.draw(seed), split=split, net=net, train=train)
        for row, line in lines.items()
        for seed in seeds
    }
    plan = Plan(chains, frozenset(), frozenset(anchors), design.names)
    done, taught = {key for key in plan.stages if has(key)}, set[str]()
    for key, stage in reversed(plan.stages.items()):
        if key not in done and light is not None and key not in taught and light(key):
            done.add(key)
        if key not in done:
            taught |= {teacher.key for teacher in stage.teachers}
    return replace(plan, done=frozenset(done))
