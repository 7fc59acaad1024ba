"""--effects: from a row, its switches and chosen settings to the rows that say what each of them is worth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, NamedTuple

import tyro

from semiseg.change import Change, Row, with_values
from semiseg.coalitions import KINDS, Coalition, Kind, asked_sets, needs, ordered
from semiseg.codec import method_of, read_row
from semiseg.config import SettingError, require
from semiseg.methods import name_of
from semiseg.results.effects import EffectsRecord
from semiseg.stage import Split
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.rows import resolve_row

MOST, MOST_FACTORIAL = 10, 5
"""Parts of which all sets are tried out, 2**MOST, and of which all are trained."""
IMAGES = Split(
    fingerprint="", classes=("", ""), labelled=8, labelled_hash="", training=64, training_hash="", selection_hash="", test_hash=""
)
"""Stand for the data: which sets are the same training does not depend on them."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What a part is worth; the rows of the table are then the sets of parts that say so."""

    kinds: Annotated[tuple[Kind, ...], tyro.conf.arg(name="")] = ()
    """loo: all parts, and without each; loi: none, and with each alone; both: loo and loi; factorial: all sets of at most 5 parts,
    main effects and interactions; shapley: all sets, what each part adds on average over all orders."""
    parts: tuple[str, ...] = ()
    """Switches that count as parts; others stay on. None given: all that the row has more than the baseline, or with
    --effects.settings none."""
    settings: tuple[str, ...] = ()
    """Settings that count as parts, FIELD=LOW,HIGH: words of a row, such as threshold=0,0.9 or train.steps=200,400."""
    of: str | None = None
    """Row whose parts these are; None: the one that others are compared with."""


class Planned(NamedTuple):
    """A table whose rows are sets of parts, its preset, and which row is which set."""

    table: Ablation
    preset: Preset
    record: EffectsRecord


def planned_effects(table: Ablation, preset: Preset, asked: Effects) -> Planned | None:
    """The table of the effects asked for; None where none is. Rows that the table has keep their names.

    SettingError for what is no part, changes nothing, or leaves nothing to train.
    """
    if not asked.kinds:
        given = {f"effects.{one}": value for one in ("parts", "settings", "of") if (value := getattr(asked, one))}
        for name, value in given.items():
            raise SettingError(f"{name}: got {value}; allowed: together with --effects {'|'.join(KINDS)}")
        return None
    game = _Game(table, preset, asked)
    feasible = game.feasible()
    _check_size(asked.kinds, game.players)
    try:
        wanted = ordered({one for kind in asked.kinds for one in asked_sets(kind, feasible, game.players)}, game.players)
    except ValueError as error:
        raise SettingError(f"effects: got {', '.join(game.players)}: {error}; allowed: other --effects.parts") from None
    names = game.names(wanted)
    rows = {names[one]: game.row(one) if names[one] not in game.known else game.known[names[one]] for one in wanted}
    reference, smallest = names[wanted[-1]], names[wanted[0]]
    only = replace(preset, rows=(), adds={})
    made = replace(
        table,
        name=f"{table.name}-effects",
        rows=rows,
        reference=reference,
        baseline=smallest if not wanted[0] else None,
        against=None,
        curve=None,
        quick=replace(table.quick, rows=()),
        presets={"effects": only},
    )
    record = EffectsRecord(
        asked=asked.kinds,
        players=tuple(game.players),
        sets={names[one]: tuple(p for p in game.players if p in one) for one in wanted},
        levels=dict(game.levels),
        base=tuple(one for one in game.method.SWITCHES if one in game.base),
        feasible=len(feasible),
        infeasible=needed_words(needs(feasible, game.players), game.players),
    )
    return Planned(made, only, record)


def _check_size(kinds: Sequence[Kind], players: Sequence[str]) -> None:
    if "factorial" in kinds and len(players) > MOST_FACTORIAL:
        raise SettingError(
            f"effects: got factorial of the {len(players)} parts {', '.join(players)}; allowed: at most {MOST_FACTORIAL}, "
            f"chosen with --effects.parts {' '.join(players[:MOST_FACTORIAL])}"
        )


class _Game:
    """The parts of a row: which sets of them can be trained, and as which rows."""

    def __init__(self, table: Ablation, preset: Preset, asked: Effects) -> None:
        self.table, self.preset, self.methods = table, preset, preset.methods()
        self.known = table.rows_of(preset)
        of = table.reference if asked.of is None else asked.of
        require(of in self.known, "effects.of", of, ", ".join(self.known))
        self.start = self.known[of]
        self.method = resolve_row(table.name, of, self.start, self.methods).method
        on = tuple(name for name in self.method.SWITCHES if getattr(self.method, name))
        for name in asked.parts:
            require(name in on, "effects.parts", name, f"switches of {of!r}: {' '.join(on) or 'it has none'}")
        require(len(set(asked.parts)) == len(asked.parts), "effects.parts", asked.parts, "each once")
        self.levels, self._low, self._high = self._read(asked.settings)
        parts = asked.parts or (() if asked.settings else self._more_than_baseline(on))
        switches = tuple(name for name in on if name in parts)
        self.players = (*switches, *self.levels)
        nothing = f"parts of {of!r}, which has no switches: --effects.settings FIELD=LOW,HIGH"
        require(bool(self.players), "effects", " ".join(asked.kinds), nothing)
        require(len(self.players) <= MOST, "effects", ", ".join(self.players), f"at most {MOST} parts, chosen with --effects.parts")
        self.base = self._always_on([name for name in on if name not in parts])

    def _read(self, settings: Sequence[str]) -> tuple[dict[str, tuple[str, str]], dict[str, Row], dict[str, Row]]:
        levels, low, high = {}, {}, {}
        for text in settings:
            name, _, values = text.partition("=")
            two = _split(values)
            require(len(two) == 2 and name not in levels, "effects.settings", text, "FIELD=LOW,HIGH, each field once")
            require(name not in self.method.SWITCHES, "effects.settings", text, f"--effects.parts {name}")
            levels[name] = (two[0], two[1])
            low[name], high[name] = (self._word(f"{name}={one}") for one in two)
        return levels, low, high

    def _word(self, word: str) -> Row:
        """A row that changes a single setting of the method, of the data or of training."""
        name = word.partition("=")[0]
        found = read_row(word, {name_of(self.method): self.method})
        values = dict(found.method.values) if found.method else {}
        return replace(found, method=Change(type(self.method), {k: v for k, v in values.items() if k == name}))

    def _more_than_baseline(self, on: Sequence[str]) -> tuple[str, ...]:
        """Switches that the row has and the table's baseline, if it is of the same method, has not; else those without which
        something can be trained."""
        baseline = self.known[self.table.baseline] if self.table.baseline else None
        if baseline is not None and isinstance(method_of(baseline, self.methods), type(self.method)):
            method = resolve_row(self.table.name, str(self.table.baseline), baseline, self.methods).method
            return tuple(name for name in on if not getattr(method, name))
        accepted = [one for one in _subsets(on) if self._trained(self._changed(one, ())) is not None]
        return tuple(name for name in on if any(name not in one for one in accepted))

    def _always_on(self, others: Sequence[str]) -> Coalition:
        """As many of the switches that are no parts as can be on while all parts are off."""
        for one in reversed(_subsets(others)):
            if self._trained(self._changed(one, ())) is not None:
                return one
        raise SettingError(
            f"effects.parts: got {' '.join(self.players)}, without which nothing is left to train; allowed: fewer of them"
        )

    def _changed(self, switches: Iterable[str], high: Iterable[str]) -> Row:
        switches, high = set(switches), set(high)
        values: dict[str, Any] = {name: name in switches for name in self.method.SWITCHES}
        row = self.start | Row(Change(type(self.method), values)) if values or self.start.method else self.start
        for name in self.levels:
            row = row | (self._high if name in high else self._low)[name]
        return row

    def row(self, one: Coalition) -> Row:
        """The row that trains a set of parts."""
        return self._changed(self.base | (one & set(self.method.SWITCHES)), one)

    def _trained(self, row: Row) -> tuple[Any, ...] | None:
        """What is the same for rows that are the same training; None where the method refuses it."""
        try:
            line = resolve_row(self.table.name, "effects", row, self.methods)
            train = with_values(self.preset.train, line.train)
            return line.method.stages(IMAGES, self.preset.net, train, 0)[-1].key, *sorted(line.data.items())
        except SettingError:
            return None

    def feasible(self) -> list[Coalition]:
        """Sets that the method accepts and in which no part is idle: without it the training would be another.

        SettingError where the set of all is not among them; that of none is.
        """
        found = self._keys = {one: self._trained(self.row(one)) for one in _subsets(self.players)}
        whole = frozenset(self.players)
        if found[whole] is None:
            resolve_row(self.table.name, "with all parts", self.row(whole), self.methods)
            raise SettingError(f"effects: got {' '.join(self.players)}; allowed: parts that can all be on")
        for part in self.players:
            if found[whole - {part}] == found[whole]:
                rest = [name for name in self.players if name != part]
                raise SettingError(f"effects: got {part}, which changes nothing here; allowed: {' '.join(rest) or 'other parts'}")
        return ordered(
            [one for one, key in found.items() if key and not any(found[one - {part}] == key for part in one)], self.players
        )

    def names(self, sets: Sequence[Coalition]) -> dict[Coalition, str]:
        """A name for each set: that of the table's row which is the same training, or what is on, or off where that is shorter."""
        keys = {name: self._trained(row) for name, row in reversed(self.known.items())}
        there = {key: name for name, key in keys.items()}
        names: dict[Coalition, str] = {}
        for one in sets:
            name = there.get(self._keys[one], "") or self._said(one)
            while name in names.values() or keys.get(name, self._keys[one]) != self._keys[one]:
                name += " of the parts"
            names[one] = name
        return names

    def _said(self, one: Coalition) -> str:
        on = [name for name in self.players if name in one]
        off = [name for name in self.players if name not in one]
        if not off:
            return "full"
        if not on:
            return " + ".join([*(name for name in self.method.SWITCHES if name in self.base), *self._low_words(off)]) or "none"
        if len(on) < len(off):
            return "only " + " + ".join(f"{name}={self.levels[name][1]}" if name in self.levels else name for name in on)
        lowered, without = " + ".join(self._low_words(off)), " + ".join(name for name in off if name not in self.levels)
        return "full" + f" with {lowered}" * bool(lowered) + f" without {without}" * bool(without)

    def _low_words(self, names: Iterable[str]) -> list[str]:
        return [f"{name}={self.levels[name][0]}" for name in names if name in self.levels]


def _subsets(names: Sequence[str]) -> list[Coalition]:
    """All of them, small ones first."""
    return [frozenset(one) for size in range(len(names) + 1) for one in combinations(names, size)]


def _split(values: str) -> list[str]:
    """Text at commas that are in no brackets: "(0,1),(0,0.5)" are two."""
    found, depth = [""], 0
    for character in values:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [one.strip() for one in found if one.strip()]


def needed_words(needed: Mapping[str, Coalition], players: Sequence[str]) -> str:
    """ "S3, CR and T2 only with S2; N2 only with S3": of what a part needs only what no other of it needs."""
    direct = {p: [q for q in players if q in needed[p] and not any(q in needed[r] for r in needed[p])] for p in players}
    groups: dict[tuple[str, ...], list[str]] = {}
    for player, others in direct.items():
        if others:
            groups.setdefault(tuple(others), []).append(player)
    return "; ".join(f"{_and(names)} only with {_and(others)}" for others, names in groups.items())


def _and(names: Sequence[str]) -> str:
    return " and ".join(one for one in (", ".join(names[:-1]), names[-1]) if one)
