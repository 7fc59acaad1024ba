"""Which seeds are added, in which order, with made-up scores and no training."""

import itertools
import random
from collections.abc import Mapping

import numpy as np
import pytest

from semiseg.config import SettingError
from semiseg.report.decisions import Quantity, Scores
from semiseg.sweep.until import FEWEST, Addition, Limits, SeedOrder, seeds_to

ROWS = ("full", "no part", "no null", "no harm")
TRUTH = {"full": 0.60, "no part": 0.55, "no null": 0.6005, "no harm": 0.64}
"""The part is worth 5 points, the null part nothing, the harmful one costs 4."""
LEVEL, MARGIN = 0.05 / 3, 0.01


def score(row: str, seed: int, spread: float = 0.004) -> float:
    return TRUTH[row] + float(np.random.default_rng([seed, ROWS.index(row)]).normal(0, spread))


def deltas(scores: Scores) -> dict[str, Quantity]:
    """Every row minus the first."""
    full = scores.get("full", {})
    return {
        row: Quantity((row, "full"), {seed: one - full[seed] for seed, one in scores.get(row, {}).items() if seed in full})
        for row in ROWS[1:]
    }


def cost(row: str, seed: int) -> Mapping[str, float]:
    """All rows of a seed share their first stage."""
    return {f"first {seed}": 2.0, f"{row} {seed}": 1.0}


def order(most: int = 30, ahead: int = 2, costs=cost, quantities=deltas) -> SeedOrder:
    return SeedOrder(ROWS, Limits(LEVEL, MARGIN, seeds_to((0, 1, 2), most), 3, ahead), quantities, costs)


def run(
    one: SeedOrder, shuffle: random.Random | None = None, failing: set[tuple[str, int]] | None = None, spread: float = 0.004
) -> SeedOrder:
    """Train what it asks for; those under way end in a random order."""
    running = [(row, seed) for row, seed in one.cells(0)]
    for _ in range(10_000):
        if one.reason or not running:
            return one
        cell = running.pop(shuffle.randrange(len(running)) if shuffle else 0)
        one.end(*cell, None if cell in (failing or set()) else score(*cell, spread))
        running += [(row, added.seed) for added in one.go_on() for row in added.rows]
    raise AssertionError("does not end")


def test_help_harm_and_nothing_are_told_apart() -> None:
    one = run(order())
    verdicts = {name: found.verdict for name, found in one.decided(len(one.additions)).items()}
    assert one.reason == "decided"
    assert verdicts == {"no part": "hurts", "no null": "equivalent", "no harm": "helps"}
    assert one.additions


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_the_order_does_not_depend_on_who_ends_first(ahead: int) -> None:
    orders = [run(order(ahead=ahead), random.Random(number)).additions for number in range(12)]
    assert all(one == orders[0] for one in orders)
    assert orders[0] == run(order(ahead=ahead)).additions


def test_as_many_additions_are_under_way_as_are_allowed() -> None:
    one = order(ahead=3)
    for cell in one.cells(0):
        one.end(*cell, score(*cell))
    assert len(one.go_on()) == 3
    assert one.go_on() == []


def test_a_row_takes_its_seeds_in_order_and_one_that_is_decided_takes_no_more() -> None:
    one = run(order())
    taken = {row: [added.seed for added in one.additions if row in added.rows] for row in ROWS}
    assert all(seeds == list(range(3, 3 + len(seeds))) for seeds in taken.values())
    after = {name: found.after for name, found in one.decided(len(one.additions)).items()}
    for row in ROWS[1:]:
        assert 3 + len(taken[row]) <= max(3, (after[row] or 0) + one.limits.ahead - 1)


def test_a_shared_row_is_paid_once() -> None:
    one = run(order(ahead=1))
    assert sum("full" in added.rows for added in one.additions) == len({added.seed for added in one.additions})


def test_what_costs_less_comes_first_when_all_else_is_alike() -> None:
    def alike(scores: Scores) -> dict[str, Quantity]:
        line = scores.get("full", {})
        return {row: Quantity((row,), {seed: 0.001 * (-1) ** seed for seed in line}) for row in ROWS}

    def dear(row: str, seed: int) -> Mapping[str, float]:
        return {f"{row} {seed}": 1.0 if row == "no harm" else 9.0}

    one = order(ahead=1, costs=dear, quantities=alike)
    for cell in one.cells(0):
        one.end(*cell, 0.5)
    assert one.go_on() == [Addition(("no harm",), 3)]


def test_stages_that_cost_nothing_come_first() -> None:
    def stored(row: str, seed: int) -> Mapping[str, float]:
        return {} if row in ("full", "no null") else cost(row, seed)

    one = order(ahead=1, costs=stored)
    for cell in one.cells(0):
        one.end(*cell, score(*cell))
    assert one.go_on() == [Addition(("no null", "full"), 3)]


def test_it_ends_when_all_seeds_are_spent() -> None:
    one = run(order(most=4), spread=0.05)
    assert one.reason == "max_seeds"
    assert {added.seed for added in one.additions} == {3}
    assert {found.verdict for found in one.decided(len(one.additions)).values()} == {"undecided"}
    assert all((found.more or 0) > 0 for found in one.decided(len(one.additions)).values())


def test_a_failed_seed_is_passed_over() -> None:
    one = run(order(), failing={("full", 3), ("no null", 1)})
    assert one.reason == "decided"
    assert 3 not in one.decided(len(one.additions))["no part"].paired.deltas


def test_a_row_that_always_fails_ends_nothing() -> None:
    one = run(order(), failing={("no part", seed) for seed in range(30)})
    assert one.reason == "decided"
    assert one.decided(len(one.additions))["no part"].verdict == "no result"


def test_what_was_cut_off_goes_on_to_the_same_order() -> None:
    """After each number of ended rows: a new order that is told of all of these at once comes to the same end."""
    whole = run(order(), random.Random(5))
    told = list(whole.ended.items())
    for count in range(0, len(told), 3):
        one = order()
        for cell, value in told[:count]:
            one.end(*cell, value)
        one.go_on()
        while not one.reason:
            waiting = [cell for cell in one.cells(len(one.additions)) if cell not in one.ended]
            one.end(*waiting[0], score(*waiting[0]))
            one.go_on()
        assert one.additions == whole.additions


def test_a_gap_too_small_to_gain_anything_ends_the_row() -> None:
    """The row's difference is far from decided, but all labels are shown to add less than 2 points."""

    def with_gap(scores: Scores) -> dict[str, Quantity]:
        wide = {seed: 0.2 * (-1) ** seed for seed in scores.get("no part", {})}
        narrow = {seed: 0.001 + 0.0001 * (-1) ** seed for seed in scores.get("no harm", {})}
        return {"row": Quantity(("no part", "full"), wide, gap="gap"), "gap": Quantity(("no harm", "full"), narrow, least=0.02)}

    one = run(order(quantities=with_gap))
    assert one.reason == "decided"
    assert one.decided(len(one.additions))["row"].verdict == "cannot tell"
    assert not any("no null" in added.rows for added in one.additions)


@pytest.mark.parametrize(
    ("first", "most", "found"), [((0, 1, 2), 4, (0, 1, 2, 3)), ((7,), 3, (7, 8, 9)), ((5, 2), 4, (2, 5, 6, 7))]
)
def test_seeds_are_the_next_whole_numbers(first: tuple[int, ...], most: int, found: tuple[int, ...]) -> None:
    assert seeds_to(first, most) == found


@pytest.mark.parametrize(("first", "most"), [((0,), 2), ((0, 1, 2, 3), 3)])
def test_fewer_seeds_than_the_start_needs_are_refused(first: tuple[int, ...], most: int) -> None:
    with pytest.raises(SettingError, match=rf"^max_seeds: got {most}; allowed: a whole number >= {max(len(first), FEWEST)}, "):
        seeds_to(first, most)


def test_all_permutations_of_a_small_start_give_one_order() -> None:
    found = []
    for cells in itertools.islice(itertools.permutations(order().cells(0)), 0, 5000, 997):
        one = order()
        for cell in cells:
            one.end(*cell, score(*cell))
            one.go_on()
        found.append(list(one.additions))
    assert all(additions == found[0] for additions in found)
