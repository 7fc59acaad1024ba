"""What `--until decided` adds to a run of a study: its record, its clock, and what it says before it begins."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semiseg.config import require
from semiseg.report.decisions import Decision, quantities
from semiseg.report.sequential import seeds_until
from semiseg.results import StudyRecord
from semiseg.results.decode import encode
from semiseg.results.records import read_study
from semiseg.results.until import UntilRecord
from semiseg.stage import Stage, with_teachers
from semiseg.store import Store
from semiseg.sweep.arguments import Common, checked_seeds
from semiseg.sweep.budget import Clock, seconds_of
from semiseg.sweep.feed import Queue
from semiseg.sweep.growth import Growth, More, UntilFeed, grown
from semiseg.sweep.plan import Plan
from semiseg.sweep.until import FEWEST, seeds_to

TYPICAL = 1.0
"""Points: the standard deviation of paired differences that is taken while fewer than FEWEST seeds have finished."""


class Deciding:
    """A study whose plan grows until all is decided: `growth` and `clock`, and the record of both."""

    def __init__(self, plan: Plan, queue: Queue, record: StudyRecord, arguments: Common[Any], more: More, store: Store, out: Path):
        asked = quantities(record, {})
        require(bool(asked), "until", arguments.until, "a table in which rows are compared, or no --until")
        earlier = earlier_run(out, record)
        self.until = UntilRecord(
            comparisons=len(asked),
            max_seeds=arguments.max_seeds,
            budget_seconds=None if arguments.budget is None else seconds_of(arguments.budget),
            spent_seconds=earlier.spent_seconds if earlier else 0.0,
            began=earlier.began if earlier else time.time(),
            ahead=earlier.ahead if earlier else max(arguments.ray.expected_slots(), 1),
        )
        self.seeds = all_seeds(tuple(dict.fromkeys(seed for _, seed in plan.chains)), arguments)
        self.margin, self.more = record.margin, more
        self.clock = Clock(self.until.budget_seconds, self.until.spent_seconds)
        self.growth: Growth = grown(plan, queue, record, self.until, self.seeds, more, store)
        self.closed = self.stopped = False

    @property
    def trains(self) -> bool:
        """Whether there is something to train, and time left for it."""
        return bool(self.growth.queue.waiting) and not self.growth.order.reason and not self.clock.over

    def feed(self, row_finished: Callable[[str, int], None]) -> UntilFeed:
        """What is trained; the clock runs from now on."""
        self.clock.begin()
        return UntilFeed(self.growth, self.clock, row_finished)

    def close(self, stopped: bool) -> None:
        """Nothing is trained any more."""
        self.clock.end()
        self.closed, self.stopped = True, stopped

    @property
    def plan(self) -> Plan:
        """What results are of: the plan as it is, and in the end without what was dropped or did not come to its end in order."""
        order = self.growth.order
        return self.growth.kept(len(order.additions) if order.reason or not self.closed else order.known)

    def seen(self) -> tuple[Plan, UntilRecord]:
        """The plan, and how far seeds were added to it, both of one moment."""
        with self.growth.lock:
            return self.plan, self._until()

    def _until(self) -> UntilRecord:
        order = self.growth.order
        additions = order.additions if order.reason or not self.closed else order.additions[: max(order.known, 0)]
        return replace(
            self.until,
            order=tuple((row, one.seed) for one in additions for row in one.rows),
            spent_seconds=round(self.clock.spent, 1),
            reason=order.reason or (("stopped" if self.stopped else "budget") if self.closed else "running"),
        )

    def outlook(self) -> list[str]:
        """How many seeds the margin will probably take, by row."""
        n, level = self.until.comparisons, self.until.level / self.until.comparisons
        order = self.growth.order
        decided = order.decided(max(order.known, 0))
        rows: dict[str, int] = {}
        for name, one in order.asked.items():
            if one.least is None:
                seeds = likely(decided[name], level, self.margin / 100)
                rows |= {row: max(rows.get(row, 0), seeds) for row in one.rows}
        spread = f"{TYPICAL:g} point{'s' * (TYPICAL != 1)}"
        known = any(decided[name].paired.n >= FEWEST for name in order.asked)
        source = f"finished seeds' differences, others as if their standard deviation were {spread}" if known else ""
        share = f"{self.until.level:g}/{n} each" if n > 1 else f"{self.until.level:g}"
        said = f"until decided: {n} comparison{'s' * (n > 1)}, margin {self.margin:g}, level {share}; "
        said += f"rows begin with {order.limits.first} seeds and have at most {self.until.max_seeds}"
        return [
            said,
            f"seeds that will probably be needed, by {source or f'differences with a standard deviation of {spread}'}:",
            *(
                f"  {seeds}{self._beyond(seeds)}: {rows_said([row for row in rows if rows[row] == seeds], len(rows))}"
                for seeds in dict.fromkeys(rows.values())
            ),
        ]

    def _beyond(self, seeds: int) -> str:
        return "" if seeds <= self.until.max_seeds else ", more than --max-seeds"

    def longest(self) -> Plan:
        """The plan if every row takes all seeds that are allowed."""
        plan = self.growth.plan
        rest = self.more(self.growth.order.rows, self.seeds)
        return replace(plan, chains=rest.chains, done=plan.done | rest.done)


def rows_said(rows: Sequence[str], of: int) -> str:
    """The rows, or that they are all."""
    return f"all {of} rows" if len(rows) == of > 1 else ", ".join(rows)


def seed_by_seed(plan: Plan) -> list[Stage]:
    """Stages that are missing, those of the first seed first: where a budget ends before all first seeds have finished, some have."""
    place: dict[str, int] = {}
    for (_, seed), chain in plan.chains.items():
        for stage in with_teachers(chain[-1:]).values():
            place[stage.key] = min(seed, place.get(stage.key, seed))
    return sorted(plan.to_train, key=lambda stage: place[stage.key])


def likely(decision: Decision, level: float, margin: float) -> int:
    """Seeds until a comparison is decided, from those that have finished or else for a difference of 0 with a typical spread."""
    delta = decision.paired
    if decision.after is not None:
        return decision.after
    if delta.n < FEWEST or decision.more is None:
        return seeds_until(margin, TYPICAL / 100, level)
    return delta.n + decision.more


def earlier_run(out: Path, record: StudyRecord) -> UntilRecord | None:
    """How far an earlier run of the same rows with the same settings came, as the results folder says."""
    try:
        found = read_study(out)
    except ValueError:
        return None
    alike: Mapping[str, Any] = {"rows": dict(record.rows), "settings": encode(record.settings)}
    same = dict(found.rows) == alike["rows"] and encode(found.settings) == alike["settings"]
    return found.until if same and found.data.fingerprint == record.data.fingerprint else None


def all_seeds(first: tuple[int, ...], arguments: Common[Any]) -> tuple[int, ...]:
    """All seeds that a row may have. SettingError where there are not as many."""
    return checked_seeds("max_seeds", seeds_to(first, arguments.max_seeds), arguments.development)


def first_seeds(asked: tuple[int, ...], arguments: Common[Any]) -> tuple[int, ...]:
    """Seeds that all rows begin with: those asked for, and at least FEWEST."""
    return all_seeds(asked, arguments)[: max(len(asked), FEWEST)]
