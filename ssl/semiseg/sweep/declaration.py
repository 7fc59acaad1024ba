"""A table as one value: methods, data, seeds, and rows that say what each line trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from semiseg.change import Change, Row, change
from semiseg.codec import read_row
from semiseg.config import Data, Net, SettingError, Train, require
from semiseg.methods import Method, Supervised, ThreeStage, name_of
from semiseg.nets import UNet
from semiseg.results.draws import Vary
from semiseg.results.printed import PrintedSpread
from semiseg.sweep.rows import resolve_row


def spreads(kind: Literal["sd", "se"], n: int, *values: float | None) -> tuple[PrintedSpread | None, ...]:
    """Standard deviations of n runs, or standard errors of their mean, as a paper prints them behind the numbers of a row."""
    return tuple(None if value is None else PrintedSpread(kind, value, n) for value in values)


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
    spreads: Mapping[str, tuple[PrintedSpread | None, ...]] = field(default_factory=dict)
    """What it prints behind the numbers of a row, one per column: `spreads(kind, n, ...)`."""


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
    spreads: Mapping[str, Mapping[float, PrintedSpread | None]] = field(default_factory=dict)
    """What is printed behind those numbers."""


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
    vary: Vary | None = None
    """What a seed draws; None: as `semiseg.sweep.draws.resolved_vary` says of the data."""
    subsets: tuple[int, ...] = ()
    """Seeds of labelled subsets of a crossed design."""
    rows: tuple[str, ...] = ()
    """Rows when the command line names none; none: all of the table."""
    adds: Mapping[str, Row] = field(default_factory=dict)
    """What is added to the table's row of that name, such as settings that a paper changes with the number of labels."""
    curve_paper: Mapping[str, Mapping[float, float]] | None = None
    """What the paper states for this preset's network, in place of `Curve.paper`."""

    def methods(self) -> dict[str, Method]:
        """Methods that rows may name, the preset's own one first."""
        return methods_of(self.method, self.others)


@dataclass(frozen=True, kw_only=True)
class Quick:
    """What --quick changes: enough to see everything work, not to learn."""

    train: Change[Train] = field(default_factory=lambda: change(Train, steps=12, evaluations=2))
    methods: tuple[Change[Any], ...] = ()
    """Of the methods of those classes, where there are any."""
    rows: tuple[str, ...] = ()
    """Rows when the command line names none; none: those of the preset."""
    seeds: int = 2

    def apply(self, preset: Preset) -> Preset:
        def smaller(method: Method) -> Method:
            for one in self.methods:
                method = one.of(method) if isinstance(method, one.kind) else method
            return method

        return replace(
            preset,
            train=self.train.of(preset.train),
            method=smaller(preset.method),
            others=tuple(map(smaller, preset.others)),
            seeds=preset.seeds[: self.seeds],
            rows=self.rows or preset.rows,
        )


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Rows by name, each a value (`semiseg.change`), and presets by name of which "demo" is the default.

    A wrong row, reference or baseline raises SettingError where the table is declared, naming the row and what there is.
    """

    name: str
    title: str
    question: str
    rows: dict[str, Row]
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
        against = self.against or {}
        chosen = [*self.quick.rows, *(row for preset in self.presets.values() for row in (*preset.rows, *preset.adds))]
        points = [row for line in (self.curve.series if self.curve else {}).values() for row in line.values()]
        levels = self.curve.levels if self.curve else ()
        for name in (self.reference, self.baseline, *against, *against.values(), *points, *levels, *chosen):
            if name is not None and name not in self.rows:
                raise SettingError(f"{self.name}: no row {name!r}; there are {', '.join(self.rows)}")
        for preset in self.presets.values():
            for name, row in self.rows_of(preset).items():
                resolve_row(self.name, name, row, preset.methods())

    def rows_of(self, preset: Preset) -> dict[str, Row]:
        """The rows with what the preset adds to them. SettingError, naming the row, where that is of another method."""
        found = {}
        for name, row in self.rows.items():
            try:
                found[name] = row | preset.adds[name] if name in preset.adds else row
            except SettingError as error:
                raise SettingError(f"{self.name} row {name!r}: {error}") from None
        return found


def methods_of(method: Method, others: tuple[Method, ...]) -> dict[str, Method]:
    """The methods by name, the first one first; plain `supervised` is always among them."""
    found = {name_of(one): one for one in (method, *others)}
    return found | {name: one for name, one in (("supervised", Supervised()),) if name not in found}


def chosen_rows(table: Ablation, preset: Preset) -> dict[str, Row]:
    """The preset's rows: names of the table's, or `name=WORDS` for new ones; all of the table when there are none.

    What the rows are compared with is always among them.
    """
    known = table.rows_of(preset)
    if not preset.rows:
        return known
    rows: dict[str, Row] = {}
    for text in preset.rows:
        name, equals, words = text.partition("=")
        if text in known:
            name, row = text, known[text]
        elif equals:
            require(name.strip() != "" and name.isprintable(), "rows", text, "NAME='WORD WORD ...' with a name that can be printed")
            row = _new_row(table.name, name, words, preset)
        else:
            raise SettingError(f"rows: no row {text!r}; there are {', '.join(table.rows)}, or NAME='WORD WORD ...' for a new one")
        require(rows.setdefault(name, row) == row, "rows", text, f"each name once; there is another row {name!r}")
    against = table.against or {}
    waiting = list(rows)
    while waiting:
        name = against.get(waiting.pop(), table.reference)
        if name not in rows:
            rows[name] = known[name]
            waiting.append(name)
    return rows


def _new_row(table: str, name: str, words: str, preset: Preset) -> Row:
    try:
        row = read_row(words, preset.methods())
    except SettingError as error:
        raise SettingError(f"{table} row {name!r}: {error}") from None
    resolve_row(table, name, row, preset.methods())
    return row
