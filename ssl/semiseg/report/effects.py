"""What parts are worth in the results of a study of effects: every effect is a weighted sum of rows, seed by seed."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from semiseg.coalitions import Coalition, Kind, Weights, difference_of, factorial, left_in, left_out, shapley
from semiseg.report.statistics import Paired, paired
from semiseg.results.effects import EffectsRecord

EffectKind = Literal["Shapley", "out", "in", "main", "interaction"]
Values = Mapping[str, Mapping[int, float]]
"""Scores by row and seed; NaN where there is none."""
Compare = Callable[[Mapping[int, float], Mapping[int, float]], Paired]


SIDES: tuple[tuple[EffectKind, Kind, Callable[..., tuple[Coalition, Coalition]]], ...] = (
    ("out", "loo", left_out),
    ("in", "loi", left_in),
)


class Effect(NamedTuple):
    """What a part, or of an interaction two, is worth; `values` are differences of scores, seed by seed, with their interval."""

    kind: EffectKind
    parts: tuple[str, ...]
    name: str  # unlike that of all others: "CR: out"
    rows: Mapping[str, float]  # row -> weight of its score
    with_it: tuple[str, ...]  # what goes out, or comes in, with the part
    values: Paired
    decided: bool  # whether the study is asked for it: with Shapley values all else is told beside them

    @property
    def row(self) -> str:
        """The row without, or with, the part; "" where more rows than two are weighed."""
        return "" if len(self.rows) != 2 else next(row for row, weight in self.rows.items() if (weight > 0) == (self.kind == "in"))


class Redundancy(NamedTuple):
    """A part left in minus left out: above 0 others do what it does, below 0 it needs others."""

    part: str
    difference: Paired
    with_it: tuple[str, ...]  # what goes out with the part, so that the two are not the same question


def effects_of(record: EffectsRecord | None, values: Values, compare: Compare = paired) -> tuple[Effect, ...]:
    """Every effect that was asked for; `compare` makes differences and interval of an effect's values and of zeros."""
    if record is None:
        return ()
    found = []
    for kind, parts, weights, with_it in _asked(record):
        rows = _rows(record, weights)
        seeds = {seed: value for seed, value in _weighed(rows, values).items() if math.isfinite(value)}
        decided = kind == "Shapley" or ("shapley" not in record.asked and kind != "interaction")
        name = f"{' x '.join(parts)}: {kind}"
        found.append(Effect(kind, parts, name, rows, with_it, compare(seeds, dict.fromkeys(seeds, 0.0)), decided))
    return tuple(found)


def _asked(record: EffectsRecord) -> Iterable[tuple[EffectKind, tuple[str, ...], Weights, tuple[str, ...]]]:
    players, sets, asked = record.players, [frozenset(on) for on in record.sets.values()], set(record.asked)
    if "shapley" in asked:
        for player, weights in shapley(sets, players).items():
            yield "Shapley", (player,), weights, ()
    for kind, alone, side in SIDES:
        if asked & {"both", alone}:
            for player in players:
                first, second = side(player, sets, players)
                more = [name for name in players if name in first - second and name != player]
                yield kind, (player,), difference_of(first, second), tuple(more)
    if "factorial" in asked:
        for parts, weights in factorial(sets, players).items():
            yield "main" if len(parts) == 1 else "interaction", parts, weights, ()


def _rows(record: EffectsRecord, weights: Weights) -> dict[str, float]:
    names: dict[Coalition, str] = {frozenset(on): row for row, on in record.sets.items()}
    return {names[one]: weight for one, weight in weights.items()}


def _weighed(rows: Mapping[str, float], values: Values) -> dict[int, float]:
    seeds = sorted(set.intersection(*(set(values.get(row, {})) for row in rows)))
    return {seed: math.fsum(weight * values[row][seed] for row, weight in rows.items()) for seed in seeds}


def where_words(one: Effect) -> str:
    """Which rows an effect is of, in a few words."""
    more, less = (next((row for row, weight in one.rows.items() if (weight > 0) is side), "") for side in (True, False))
    return f"'{more}' - '{less}'" if one.row else f"over {len(one.rows)} rows"


def whole_gain(record: EffectsRecord, values: Values, compare: Compare = paired) -> Paired:
    """All parts minus none: what the Shapley values sum to at every seed; nothing where one of the two sets has no row."""
    names = {frozenset(on): row for row, on in record.sets.items()}
    full, none = names.get(frozenset(record.players)), names.get(frozenset())
    return compare(values.get(full or "", {}), values.get(none or "", {}))


def redundancies(effects: Sequence[Effect]) -> tuple[Redundancy, ...]:
    """Of every part that was left out and in."""
    outs, ins = ({one.parts[0]: one for one in effects if one.kind == kind} for kind in ("out", "in"))
    return tuple(
        Redundancy(part, paired(ins[part].values.deltas, outs[part].values.deltas), outs[part].with_it)
        for part in outs
        if part in ins
    )


def redundancy_words(one: Redundancy) -> str:
    """What the difference between in and out says, in a sentence's part; it speaks of intervals only."""
    if one.with_it:
        goes = "goes" if len(one.with_it) == 1 else "go"
        return f"{one.part}: {', '.join(one.with_it)} {goes} out with it, so in and out are not the same question"
    if one.difference.n < 2:
        return f"{one.part}: too few seeds to tell in from out"
    size = f"{100 * abs(one.difference.mean):.1f} points"
    if one.difference.low > 0:
        return f"{one.part} is redundant: worth {size} more alone than in the whole, where others do what it does"
    if one.difference.high < 0:
        return f"{one.part} has synergy: worth {size} more in the whole than alone"
    return f"{one.part}: in and out do not differ clearly"
