"""A plan that grows while it is trained, seed by seed, until every comparison is decided or the budget is spent."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from semiseg.report.decisions import quantities
from semiseg.results import StudyRecord
from semiseg.results.records import ScoreRecord
from semiseg.results.until import UntilRecord
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.budget import Clock
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import Plan
from semiseg.sweep.until import Limits, SeedOrder

More = Callable[[Sequence[str], Sequence[int]], Plan]
"""The stages of rows at seeds."""


class Growth:
    """The plan of all rows, its queue, and the order of further seeds, brought up to date by `news`."""

    def __init__(self, plan: Plan, queue: Queue, order: SeedOrder, more: More, score: Callable[[Stage], float | None]) -> None:
        self.plan, self.queue, self.order, self.more, self.score = plan, queue, order, more, score
        self.unwanted: set[str] = set()
        """Stages of additions that were dropped."""
        self.lock = threading.Lock()
        """Held while plan and order change; results are renewed in a thread of its own, which looks at both."""
        self._open = dict.fromkeys(plan.chains)
        self.news()

    def news(self) -> bool:
        """Stages have ended: go on with the order. Whether the plan has grown."""
        with self.lock:
            return self._news()

    def _news(self) -> bool:
        grown = False
        while True:
            self._tell()
            before, added = set(self.plan.stages), self.order.go_on()
            for one in added:
                part = self.more(one.rows, (one.seed,))
                chains = {name: chain for name, chain in part.chains.items() if name not in self.plan.chains}
                self._open |= dict.fromkeys(chains)
                self.plan = Plan(self.plan.chains | chains, self.plan.done | part.done, self.plan.anchors)
            if not added:
                break
            grown = True
            self.queue.done |= self.plan.done
            self.queue.add(stage for stage in self.plan.to_train if stage.key not in before)
        if self.order.reason:
            self.unwanted = set(self.plan.stages) - set(self.kept(len(self.order.additions)).stages)
            self.queue.drop(self.unwanted)
        return grown

    def _tell(self) -> None:
        for name in list(self._open):
            end = self.plan.chains[name][-1]
            if end.key in self.queue.done:
                self.order.end(*name, self.score(end))
            elif end.key in self.queue.failed or end.key in self.queue.skipped:
                self.order.end(*name, None)
            else:
                continue
            del self._open[name]

    def kept(self, additions: int) -> Plan:
        """The plan with so many additions."""
        wanted = set(self.order.cells(additions))
        return replace(self.plan, chains={name: chain for name, chain in self.plan.chains.items() if name in wanted})


class UntilFeed(PlanFeed):
    """The stages of a plan that grows. None starts, and those that run are stopped, when all is decided or the clock is over."""

    def __init__(
        self, growth: Growth, clock: Clock, row_finished: Callable[[str, int], None], console: Console | None = None
    ) -> None:
        super().__init__(growth.plan, growth.queue, row_finished, console)
        self.growth, self.clock = growth, clock

    @property
    def exhausted(self) -> bool:
        return bool(self.growth.order.reason) or self.clock.over

    def take(self) -> Stage | None:
        return None if self.exhausted else super().take()

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        super().progress(key, figures)
        return key in self.growth.unwanted or self.clock.over

    def finish(self, key: str) -> None:
        super().finish(key)
        self._grow()

    def stop(self, key: str) -> None:
        self.queue.running.pop(key, None)
        self.monitor.gone(key)

    def fail(self, key: str, error: str) -> None:
        super().fail(key, error)
        self._grow()

    def _grow(self) -> None:
        if not self.growth.news():
            return
        chains = {name: chain for name, chain in self.growth.plan.chains.items() if name not in self.plan.chains}
        self.plan = self.growth.plan
        self.watch(chains)


def stored_score(store: Store, score: ScoreRecord, stage: Stage) -> float | None:
    """The score of a finished stage; None where it has none."""
    table = pq.read_table(store.results(stage.key) / "metrics.parquet")
    wanted = (pc.field("class") == "") & (pc.field("metric") == score.metric) & (pc.field("split") == score.split)
    wanted &= (pc.field("weights") == score.weights) & (pc.field("role") == stage.rule.evaluated)
    found = table.filter(wanted)["value"].to_pylist()
    return found[0] if found else None


def began_before(store: Store, began: float) -> Callable[[str], bool]:
    """Whether a stage was in the store when the study began, so that it costs nothing."""
    has, known = store.listed(), dict[str, bool]()

    def free(key: str) -> bool:
        if key not in known:
            known[key] = has(key) and float(store.info(key)["ended"]) <= began
        return known[key]

    return free


def work_of(stage: Stage) -> float:
    """Images that training a stage takes: its cost, alike on every machine."""
    return float(stage.train.steps * (stage.train.batch_labelled + stage.train.batch_unlabelled))


def grown(
    plan: Plan, queue: Queue, record: StudyRecord, until: UntilRecord, seeds: tuple[int, ...], more: More, store: Store
) -> Growth:
    """A plan of the first seeds that goes on as `until` says; `seeds` are all that a row may have."""
    free, costs = began_before(store, until.began), dict[tuple[str, int], dict[str, float]]()

    def cost(row: str, seed: int) -> dict[str, float]:
        if (row, seed) not in costs:
            chain = plan.chains.get((row, seed)) or more((row,), (seed,)).chains[row, seed]
            costs[row, seed] = {stage.key: 0.0 if free(stage.key) else work_of(stage) for stage in chain}
        return costs[row, seed]

    first = len({seed for _, seed in plan.chains})
    limits = Limits(until.level / until.comparisons, record.margin / 100, seeds, first, until.ahead)
    order = SeedOrder(record.rows, limits, lambda scores: quantities(record, scores), cost)
    return Growth(plan, queue, order, more, lambda stage: stored_score(store, record.score, stage))
