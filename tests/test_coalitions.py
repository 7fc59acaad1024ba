"""Effects of sets of parts: against brute force over all orders, against least squares of other libraries, and by hand."""

from itertools import combinations, permutations
from math import fsum
from random import Random

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from semiseg.coalitions import KINDS, Weights, asked_sets, factorial, left_in, left_out, needs, ordered, shapley

Sets = list[frozenset[str]]


def all_sets(players: str) -> Sets:
    return [frozenset(one) for size in range(len(players) + 1) for one in combinations(players, size)]


def closed(players: str, only_with: dict[str, set[str]]) -> Sets:
    """Sets in which every player has what it needs."""
    return [one for one in all_sets(players) if all(only_with.get(p, set()) <= one for p in one)]


def worth(weights: Weights, score: dict[frozenset[str], float]) -> float:
    return fsum(weight * score[one] for one, weight in weights.items())


def slowly(players: str, feasible: Sets, score: dict[frozenset[str], float]) -> dict[str, float]:
    """The mean over all orders of which every prefix is feasible."""
    gains: dict[str, list[float]] = {p: [] for p in players}
    for order in permutations(players):
        prefixes = [frozenset(order[:i]) for i in range(len(players) + 1)]
        if set(prefixes) <= set(feasible):
            for player, less, more in zip(order, prefixes, prefixes[1:], strict=False):
                gains[player].append(score[more] - score[less])
    return {player: float(np.mean(found)) for player, found in gains.items()}


@st.composite
def games(draw: st.DrawFn) -> tuple[str, Sets, dict[frozenset[str], float]]:
    """Up to six players, random needs without cycles, and now and then sets that are missing for no such reason."""
    players = "abcdef"[: draw(st.integers(1, 6))]
    needed = {p: set(draw(st.lists(st.sampled_from(players[:i]), max_size=2))) for i, p in enumerate(players) if i}
    feasible = closed(players, needed)
    inner = [one for one in feasible if 0 < len(one) < len(players)]
    gone = draw(st.sets(st.sampled_from(inner), max_size=3)) if inner else set()
    feasible = [one for one in feasible if one not in gone]
    values = draw(st.lists(st.floats(-1, 1), min_size=len(feasible), max_size=len(feasible)))
    return players, feasible, dict(zip(feasible, values, strict=True))


@settings(max_examples=150, deadline=None)
@given(games())
def test_shapley_values_are_the_mean_over_all_feasible_orders(game: tuple[str, Sets, dict[frozenset[str], float]]) -> None:
    players, feasible, score = game
    if not any({frozenset(order[:i]) for i in range(len(players) + 1)} <= set(feasible) for order in permutations(players)):
        with pytest.raises(ValueError, match="no feasible order"):
            shapley(feasible, players)
        return
    found = {player: worth(weights, score) for player, weights in shapley(feasible, players).items()}
    assert found == pytest.approx(slowly(players, feasible, score), abs=1e-12)
    assert fsum(found.values()) == pytest.approx(score[frozenset(players)] - score[frozenset()], abs=1e-12)
    assert {one for weights in shapley(feasible, players).values() for one in weights} <= set(
        asked_sets("shapley", feasible, players)
    )


def test_shapley_values_of_a_game_by_hand() -> None:
    """Two parts that do the same share it; one that the other needs comes first and has all of what it does alone."""
    score = {frozenset(): 0.0, frozenset("a"): 4.0, frozenset("b"): 4.0, frozenset("ab"): 4.0}
    assert {p: worth(w, score) for p, w in shapley(list(score), "ab").items()} == {"a": 2.0, "b": 2.0}
    only = [frozenset(), frozenset("a"), frozenset("ab")]
    assert {p: worth(w, score) for p, w in shapley(only, "ab").items()} == {"a": 4.0, "b": 0.0}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_factorial_effects_are_least_squares(count: int, random: Random) -> None:
    """Of all sets also the plain contrasts; the model of statsmodels has the same terms."""
    players = "abcde"[:count]
    sets = all_sets(players)
    score = {one: random.random() for one in sets}
    found = {term: worth(weights, score) for term, weights in factorial(sets, players).items()}
    assert list(found) == [(p,) for p in players] + list(combinations(players, 2))
    assert found == pytest.approx(regressed(sets, score, list(found)), abs=1e-9)
    for p in players:
        with_it, without = ([score[one] for one in sets if (p in one) is side] for side in (True, False))
        assert found[p,] == pytest.approx(np.mean(with_it) - np.mean(without))
    for p, q in combinations(players, 2):
        change = [
            np.mean([score[one | {p}] - score[one - {p}] for one in sets if (q in one) is side and p in one])
            for side in (True, False)
        ]
        assert found[p, q] == pytest.approx((change[0] - change[1]) / 2)


def regressed(sets: Sets, score: dict[frozenset[str], float], terms: list[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    columns = [[np.prod([1.0 if p in one else -1.0 for p in term]) for term in terms] for one in sets]
    fitted = sm.OLS(np.array([score[one] for one in sets]), sm.add_constant(np.array(columns), has_constant="add")).fit()
    return dict(zip(terms, 2 * fitted.params[1:], strict=True))


def test_factorial_effects_of_feasible_sets_leave_out_what_cannot_be_told_apart() -> None:
    """c needs b: their product is told by the two; all else is least squares on the sets there are."""
    sets = closed("abcd", {"c": {"b"}})
    rng = np.random.default_rng(3)
    score = {one: float(rng.normal()) for one in sets}
    found = {term: worth(weights, score) for term, weights in factorial(sets, "abcd").items()}
    assert set(found) == {*((p,) for p in "abcd"), *combinations("abcd", 2)} - {("b", "c")}
    assert found == pytest.approx(regressed(sets, score, list(found)), abs=1e-9)


def test_out_takes_along_what_needs_the_part_and_in_what_it_needs() -> None:
    sets = closed("abcd", {"b": {"a"}, "c": {"b"}})
    whole = frozenset("abcd")
    assert left_out("b", sets, "abcd") == (whole, frozenset("ad"))
    assert left_out("a", sets, "abcd") == (whole, frozenset("d"))
    assert left_in("c", sets, "abcd") == (frozenset("abc"), frozenset("ab"))
    assert left_in("d", sets, "abcd") == (frozenset("d"), frozenset())
    assert needs(sets, "abcd") == {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": set()}


@settings(max_examples=60, deadline=None)
@given(games())
def test_the_sets_of_a_kind_say_the_same_as_all_feasible_ones(game: tuple[str, Sets, dict[frozenset[str], float]]) -> None:
    """A table holds only the sets asked for; out and in are found among those as among all."""
    players, feasible, _ = game
    for kind, side in (("loo", left_out), ("loi", left_in)):
        few = asked_sets(kind, feasible, players)  # type: ignore[arg-type]
        assert set(few) <= set(asked_sets("both", feasible, players)) <= set(feasible)
        for player in players:
            assert side(player, few, players) == side(player, feasible, players)
            assert side(player, asked_sets("both", feasible, players), players) == side(player, feasible, players)


def test_every_kind_takes_the_sets_it_needs() -> None:
    sets = all_sets("abc")
    found = {kind: len(asked_sets(kind, sets, "abc")) for kind in KINDS}
    assert found == {"loo": 4, "loi": 4, "both": 8, "factorial": 8, "shapley": 8}
    assert ordered(sets, "cab")[1:4] == [frozenset("c"), frozenset("a"), frozenset("b")]
