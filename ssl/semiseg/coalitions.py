"""What the parts of a method are worth, as weights of the scores of sets of parts: leaving out, leaving in, factorial, Shapley.

Not every set can be trained: `sets` are the feasible ones (or those of them that were trained). Every effect is a weighted sum of
scores of sets, so one of a seed needs that seed's scores alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, get_args

import numpy as np

Kind = Literal["loo", "loi", "both", "factorial", "shapley"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Coalition = frozenset[str]
Weights = Mapping[Coalition, float]
"""By set, of its score; sets with weight 0 are left out."""


def ordered(sets: Iterable[Coalition], players: Sequence[str]) -> list[Coalition]:
    """Small sets first, those of one size in the order of their players."""
    place = {player: i for i, player in enumerate(players)}
    return sorted(sets, key=lambda one: (len(one), sorted(place[player] for player in one)))


def left_out(part: str, sets: Iterable[Coalition], players: Sequence[str]) -> tuple[Coalition, Coalition]:
    """The largest set, and the largest one without the part: what needs the part goes with it."""
    found = ordered(sets, players)
    return found[-1], [one for one in found if part not in one][-1]


def left_in(part: str, sets: Iterable[Coalition], players: Sequence[str]) -> tuple[Coalition, Coalition]:
    """The smallest set with the part, which has what the part needs, and the same without the part; the smallest set of all where
    that is none."""
    found = ordered(sets, players)
    with_it = next(one for one in found if part in one)
    return with_it, with_it - {part} if with_it - {part} in found else found[0]


def difference_of(more: Coalition, less: Coalition) -> Weights:
    """The score of one set minus that of another."""
    return {more: 1.0, less: -1.0}


def orders(sets: Iterable[Coalition], players: Sequence[str]) -> tuple[dict[Coalition, int], dict[Coalition, int]]:
    """In how many ways a set is reached from the empty one, and the set of all from it, when players come one by one and every
    set on the way is feasible."""
    found = ordered(sets, players)
    known = set(found)
    reached = dict.fromkeys(found, 0)
    ahead = dict.fromkeys(found, 0)
    for one in found:
        reached[one] = 1 if not one else sum(reached[one - {p}] for p in one if one - {p} in known)
    for one in reversed(found):
        others = [one | {p} for p in players if p not in one and one | {p} in known]
        ahead[one] = 1 if len(one) == len(players) else sum(ahead[other] for other in others)
    return reached, ahead


def shapley(sets: Iterable[Coalition], players: Sequence[str]) -> dict[str, Weights]:
    """Of every player what it adds when it comes, averaged over all feasible orders, which count alike; with all sets feasible the
    Shapley value (1953).

    The value of Faigle and Kern 1992 (The Shapley value for cooperative games under precedence constraints, Int. J. Game Theory 21,
    249-266), by sums over sets in place of orders: one that has S when player p comes is one of reached(S) x ahead(S + p). The
    values sum to the score of all players minus that of none. ValueError where no order is feasible.
    """
    reached, ahead = orders(sets, players)
    whole = reached.get(frozenset(players), 0)
    if not whole:
        raise ValueError("no feasible order from none to all")
    found: dict[str, Weights] = {}
    for player in players:
        weights: dict[Coalition, float] = {}
        for one in reached:
            more = one | {player}
            if player not in one and (share := reached[one] * ahead.get(more, 0)):
                weights[more] = weights.get(more, 0.0) + share / whole
                weights[one] = weights.get(one, 0.0) - share / whole
        found[player] = weights
    return found


def factorial(sets: Iterable[Coalition], players: Sequence[str]) -> dict[tuple[str, ...], Weights]:
    """Main effects by (player,) and interactions by (player, player): least squares of the scores on levels -1 and +1 of all
    players and on their pairwise products; an effect is twice a coefficient (Box, Hunter and Hunter 2005, Statistics for
    Experimenters, chapter 5).

    With all sets feasible these are the orthogonal contrasts: with the player minus without it, averaged over the others; and half
    of how far another player changes that. What the feasible sets cannot tell from terms before it, such as the product of a player
    and one that it needs, is left out.
    """
    found = ordered(sets, players)
    level = {p: np.array([1.0 if p in one else -1.0 for one in found]) for p in players}
    terms: list[tuple[str, ...]] = [()]
    columns = [np.ones(len(found))]
    for term in [*((p,) for p in players), *combinations(players, 2)]:
        column = np.prod([level[p] for p in term], axis=0)
        if np.linalg.matrix_rank(np.column_stack([*columns, column])) > len(columns):
            terms.append(term)
            columns.append(column)
    solved = 2 * np.linalg.pinv(np.column_stack(columns))
    return {term: _weights(found, line) for term, line in zip(terms, solved, strict=True) if term}


def _weights(sets: Sequence[Coalition], values: np.ndarray) -> Weights:
    return {one: float(value) for one, value in zip(sets, values, strict=True) if abs(value) > 1e-12}


def needs(sets: Iterable[Coalition], players: Sequence[str]) -> dict[str, Coalition]:
    """The players that are in every set with a player, itself apart."""
    found = list(sets)
    return {p: frozenset.intersection(*(one for one in found if p in one)) - {p} for p in players}


def asked_sets(kind: Kind, sets: Iterable[Coalition], players: Sequence[str]) -> list[Coalition]:
    """The feasible sets that a kind of effects takes. ValueError where it cannot be had from them."""
    found = ordered(sets, players)
    sides: dict[Kind, tuple[Callable[..., tuple[Coalition, Coalition]], ...]] = {
        "loo": (left_out,),
        "loi": (left_in,),
        "both": (left_out, left_in),
    }
    if kind == "factorial":
        return found
    if kind == "shapley":
        shapley(found, players)
        reached, ahead = orders(found, players)
        return [one for one in found if reached[one] and ahead[one]]
    wanted = {one for side in sides[kind] for p in players for one in side(p, found, players)}
    return ordered(wanted | ({found[0]} if kind != "loo" else set()), players)
