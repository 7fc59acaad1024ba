"""A table as one value: methods, data, seeds, and rows that say what each line trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from semiseg.config import Data, Net, SettingError, Train
from semiseg.methods import Method, Supervised, ThreeStage, name_of
from semiseg.nets import UNet
from semiseg.sweep.rows import read_row, with_values


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Numbers that a paper prints for the same rows, shown beside ours."""

    title: str
    url: str = ""
    table: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    """Percent, one per column; None where the paper states nothing."""
    metrics: tuple[str | None, ...] | None = None
    """Our metric of each column, when the columns are several metrics of one table."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Rows as points of curves: score over a number."""

    x: str
    """What the number is, such as "labelled share"."""
    series: dict[str, dict[float, str]]
    """Rows by curve and number."""
    levels: tuple[str, ...] = ()
    """Rows without a number, such as an upper bound."""
    log: bool = False
    paper: dict[str, dict[float, float]] | None = None
    """Percent by curve and number, as printed."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A complete set of defaults for one purpose; the command line changes single values of it."""

    data: Data = field(default_factory=Data)
    net: Net = field(default_factory=UNet)
    train: Train = field(default_factory=Train)
    method: Method = field(default_factory=ThreeStage)
    """The method that `--method.FIELD` changes and that rows mean which name none."""
    others: tuple[Method, ...] = ()
    """Further methods that rows may name; `supervised` needs no mention."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: tuple[str, ...] = ()
    """Rows when the command line names none; none: all of the table."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Words added to the table's row of that name, such as settings that a paper changes with the number of labels."""
    curve_paper: Mapping[str, Mapping[float, float]] | None = None
    """What the paper states for this preset's network, in place of `Curve.paper`."""

    def methods(self) -> dict[str, Method]:
        """Methods that rows may name, the preset's own one first."""
        return methods_of(self.method, self.others)


@dataclass(frozen=True, kw_only=True)
class Quick:
    """What --quick changes: enough to see everything work, not to learn."""

    train: Mapping[str, Any] = field(default_factory=lambda: {"steps": 12, "evaluations": 2})
    method: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the method and of every other method that has them."""
    rows: tuple[str, ...] = ()
    """Rows when the command line names none; none: those of the preset."""
    seeds: int = 2

    def apply(self, preset: Preset) -> Preset:
        def smaller(method: Method) -> Method:
            known = set(getattr(method, "__dataclass_fields__", ()))
            return with_values(method, {name: value for name, value in self.method.items() if name.partition(".")[0] in known})

        return replace(
            preset,
            train=replace(preset.train, **self.train),
            method=smaller(preset.method),
            others=tuple(map(smaller, preset.others)),
            seeds=preset.seeds[: self.seeds],
            rows=self.rows or preset.rows,
        )


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Rows by name, each a string of words (`semiseg.sweep.rows`), and presets by name of which "demo" is the default.

    A wrong word, reference or baseline raises SettingError where the table is declared, naming the row and what there is.
    """

    name: str
    title: str
    question: str
    rows: dict[str, str]
    reference: str
    """Row that the others are compared with."""
    presets: dict[str, Preset]
    baseline: str | None = None
    against: dict[str, str] | None = None
    """Rows that are compared with another row than the reference."""
    metrics: tuple[str, ...] = ()
    """Metrics of a second table, beside the score."""
    curve: Curve | None = None
    quick: Quick = field(default_factory=Quick)
    paper: Paper | None = None

    def __post_init__(self) -> None:
        for preset in self.presets.values():
            for row, words in worded(self.rows, preset.words).items():
                check_row(self.name, row, words, preset.methods())
        against = self.against or {}
        chosen = [*self.quick.rows, *(row for preset in self.presets.values() for row in (*preset.rows, *preset.words))]
        points = [row for line in (self.curve.series if self.curve else {}).values() for row in line.values()]
        levels = self.curve.levels if self.curve else ()
        for name in (self.reference, self.baseline, *against, *against.values(), *points, *levels, *chosen):
            if name is not None and name not in self.rows:
                raise SettingError(f"{self.name}: no row {name!r}; there are {', '.join(self.rows)}")

    def preset(self, name: str, quick: bool) -> Preset:
        """The preset, made small for --quick. Raises SettingError for an unknown name."""
        if name not in self.presets:
            raise SettingError(f"preset: got {name!r}; allowed: {', '.join(self.presets)}")
        return self.quick.apply(self.presets[name]) if quick else self.presets[name]


def methods_of(method: Method, others: tuple[Method, ...]) -> dict[str, Method]:
    """The methods by name, the first one first; plain `supervised` is always among them."""
    found = {name_of(one): one for one in (method, *others)}
    return found | {name: one for name, one in (("supervised", Supervised()),) if name not in found}


def worded(rows: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """The rows with a preset's own words at the end of each."""
    return {row: f"{text} {words.get(row, '')}".rstrip() for row, text in rows.items()}


def check_row(table: str, row: str, words: str, methods: Mapping[str, Method]) -> None:
    """Raise SettingError naming table, row and what is allowed when the words mean nothing or make no chain of stages."""
    method = read_row(table, row, words, methods).method
    try:
        if isinstance(method, ThreeStage):
            method.check_switches()
    except SettingError as error:
        raise SettingError(f"{table} row {row!r}: {error}") from None


def chosen_rows(
    table: Ablation, wanted: tuple[str, ...], methods: Mapping[str, Method], words: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Rows of a command line: names of the table's rows, or `name=WORDS` for new ones; all rows when none are named.

    The table's rows get the preset's `words`. What the named rows are compared with is always among them.
    """
    known = worded(table.rows, words)
    if not wanted:
        return known
    rows: dict[str, str] = {}
    for text in wanted:
        name, equals, new = text.partition("=")
        if text in known:
            rows[text] = known[text]
        elif equals:
            check_row(table.name, name, new, methods)
            rows[name] = " ".join(new.split())
        else:
            raise SettingError(f"rows: no row {text!r}; there are {', '.join(table.rows)}, or NAME='WORD WORD ...' for a new one")
    against = table.against or {}
    waiting = list(rows)
    while waiting:
        name = against.get(waiting.pop(), table.reference)
        if name not in rows:
            rows[name] = known[name]
            waiting.append(name)
    return rows
