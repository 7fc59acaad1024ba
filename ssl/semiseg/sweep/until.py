"""Which row is trained with which further seed, until every comparison is decided. Knows neither Ray nor stages, only what they cost.

The order depends on results alone, never on who finished first: additions are numbered, and number j is chosen from the scores of the
first seeds and of additions 0 ... j - `ahead`, in their order. So up to `ahead` additions are under way at once, which keeps that many
slots busy by speculation, and the same scores give the same order on any machine, after any interruption. What is decided is looked at
after each addition in turn; when all is, those behind it are dropped, finished or not.

Every row takes the seeds in the same order, so that how far a comparison has come may depend on what was seen, but which of its
differences are seen may not: that is what its anytime-valid interval asks for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from semiseg.config import require
from semiseg.report.decisions import Decision, Quantity, Scores, judge

FEWEST = 3
"""Seeds with which every row begins at least: with two no interval has bounds."""


class Addition(NamedTuple):
    """Rows that are trained with a further seed."""

    rows: tuple[str, ...]
    seed: int


class Limits(NamedTuple):
    """How a study decides. `seeds` are all that a row may have, the `first` ones of which it begins with."""

    level: float
    """Of one comparison."""
    margin: float
    """A fraction."""
    seeds: tuple[int, ...]
    first: int
    ahead: int


Cost = Callable[[str, int], Mapping[str, float]]
"""Of a row at a seed: work by stage key, in any unit; stages that cost nothing may be left out."""


class SeedOrder:
    """Additions in their order. Tell it what has ended, with `end`, and ask it to `go_on`."""

    def __init__(
        self, rows: Iterable[str], limits: Limits, quantities: Callable[[Scores], dict[str, Quantity]], cost: Cost
    ) -> None:
        self.rows, self.limits, self.quantities, self.cost = tuple(rows), limits, quantities, cost
        self.asked = quantities({})
        """What is to be decided, without values."""
        self.additions: list[Addition] = []
        self.known = -1
        """Additions that have ended with all before them; -1: the first seeds have not."""
        self.reason: Literal["", "decided", "max_seeds"] = ""
        self.ended: dict[tuple[str, int], float | None] = {}
        self._seen = 0
        self._paid = {key for row in self.rows for seed in limits.seeds[: limits.first] for key in cost(row, seed)}
        """Stages of the first seeds and of all additions."""

    def end(self, row: str, seed: int, score: float | None) -> None:
        """A row has a score at a seed, or failed there for good (None)."""
        self.ended[row, seed] = score

    def go_on(self) -> list[Addition]:
        """What is to be trained further now. Sets `reason` when nothing is."""
        began = len(self.additions)
        self._count()
        while not self.reason:
            from_ = max(len(self.additions) - self.limits.ahead + 1, self._seen)
            if from_ > self.known:
                break
            decided = self.decided(from_)
            undecided = still_open(self.asked, decided)
            if not undecided:
                self.reason = "decided"
                del self.additions[from_:]
            elif (addition := self._next(undecided, decided, from_)) is not None:
                self.additions.append(addition)
                self._paid |= {key for row in addition.rows for key in self.cost(row, addition.seed)}
                self._seen = from_
                self._count()
            else:
                if from_ == len(self.additions):
                    self.reason = "max_seeds"
                self._seen = from_ + 1
        return self.additions[began:]

    def decided(self, count: int) -> dict[str, Decision]:
        """What is known from the first seeds and so many additions."""
        scores: dict[str, dict[int, float]] = {row: {} for row in self.rows}
        for row, seed in self.cells(count):
            if (score := self.ended.get((row, seed))) is not None:
                scores[row][seed] = score
        return judge(self.quantities(scores), self.limits.level, self.limits.margin)

    def cells(self, count: int) -> list[tuple[str, int]]:
        """(row, seed) of the first seeds and of so many additions."""
        first = [(row, seed) for row in self.rows for seed in self.limits.seeds[: self.limits.first]]
        return first + [(row, one.seed) for one in self.additions[: max(count, 0)] for row in one.rows]

    def _count(self) -> None:
        if self.known < 0 and all(cell in self.ended for cell in self.cells(0)):
            self.known = 0
        while 0 <= self.known < len(self.additions):
            one = self.additions[self.known]
            if not all((row, one.seed) in self.ended for row in one.rows):
                break
            self.known += 1

    def _planned(self, count: int) -> dict[str, int]:
        """Seeds of every row after so many additions."""
        found = dict.fromkeys(self.rows, self.limits.first)
        for one in self.additions[:count]:
            for row in one.rows:
                found[row] += 1
        return found

    def _next(self, undecided: Mapping[str, Quantity], decided: Mapping[str, Decision], count: int) -> Addition | None:
        """The next seed of the comparison that will be decided at the least further cost. Those that will be by what is under way, or
        not even by all seeds that are allowed, come last."""
        planned, known = self._planned(len(self.additions)), self._planned(count)
        best: tuple[tuple[bool, bool, float, int], Addition] | None = None
        for place, (name, one) in enumerate(undecided.items()):
            have = min(planned[row] for row in one.rows)
            if have >= len(self.limits.seeds):
                continue
            under_way = have - min(known[row] for row in one.rows)
            more = (decided[name].more or 1) - under_way
            left = len(self.limits.seeds) - have
            rows = tuple(row for row in one.rows if planned[row] == have)
            rank = (more <= 0, more > left, self._work(one.rows, planned, have, min(max(more, 1), left)), place)
            if best is None or rank < best[0]:
                best = rank, Addition(rows, self.limits.seeds[have])
        return best[1] if best else None

    def _work(self, rows: Iterable[str], planned: Mapping[str, int], have: int, more: int) -> float:
        """Of so many further seeds of the rows, without stages that are shared with what is planned."""
        total = 0.0
        for at in range(have, have + more):
            seed, stages = self.limits.seeds[at], dict[str, float]()
            for row in rows:
                if planned[row] <= at:
                    stages |= self.cost(row, seed)
            total += sum(work for key, work in stages.items() if key not in self._paid)
        return total


def still_open(found: Mapping[str, Quantity], decided: Mapping[str, Decision]) -> dict[str, Quantity]:
    """Comparisons that are undecided, and gaps that may yet show that some of those cannot tell."""
    open_ = {name: one for name, one in found.items() if one.least is None and decided[name].verdict == "undecided"}
    asked = {one.gap for one in open_.values()}
    for name, one in found.items():
        verdict, delta = decided[name].verdict, decided[name].paired
        if name in asked and one.least is not None and verdict == "undecided" and delta.mean < one.least:
            open_[name] = one
    return open_


def seeds_to(first: Iterable[int], most: int) -> tuple[int, ...]:
    """The seeds in rising order, then the next whole numbers: at least FEWEST, `most` in all."""
    found = sorted(first)
    require(
        most >= max(len(found), FEWEST), "max_seeds", most, f"a whole number >= {max(len(found), FEWEST)}, the seeds of the start"
    )
    return (*found, *range(found[-1] + 1, found[-1] + 1 + most - len(found)))
