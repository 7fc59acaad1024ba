"""An ablation table as one value: a method, the data, the seeds, and rows that say which switches are on."""

from dataclasses import dataclass, field
from typing import Any

from semiseg.config import Data, Net, SettingError, Train
from semiseg.methods import ThreeStage


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Numbers that a paper prints for the same rows, shown beside ours."""

    title: str
    url: str
    table: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    """Percent, one per column."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A complete set of defaults for one purpose; the command line changes single values of it."""

    data: Data = field(default_factory=Data)
    net: Net = field(default_factory=Net)
    train: Train = field(default_factory=Train)
    method: ThreeStage = field(default_factory=ThreeStage)
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Rows by name, each a string of switches, and presets by name of which "demo" is the default.

    A wrong switch, reference or baseline raises SettingError where the table is declared, naming the row and what there is.
    """

    name: str
    title: str
    question: str
    rows: dict[str, str]
    reference: str
    """Row that the others are compared with."""
    baseline: str | None
    presets: dict[str, Preset]
    quick: dict[str, Any]
    """Values of `Train` for --quick: enough to see everything work, not to learn."""
    paper: Paper | None = None

    def __post_init__(self) -> None:
        for row, switches in self.rows.items():
            check_row(self.name, row, switches, self.presets["demo"].method)
        for name in (self.reference, self.baseline):
            if name is not None and name not in self.rows:
                raise SettingError(f"{self.name}: no row {name!r}; there are {', '.join(self.rows)}")


def check_row(table: str, row: str, switches: str, method: ThreeStage) -> None:
    """Raise SettingError naming table, row and what is allowed when `switches` holds another word or makes no chain of stages."""
    unknown = sorted(set(switches.split()) - set(method.SWITCHES))
    if unknown:
        raise SettingError(f"{table} row {row!r}: no switch {unknown}; there are {', '.join(method.SWITCHES)}")
    try:
        method.with_switches(switches).check_switches()
    except SettingError as error:
        raise SettingError(f"{table} row {row!r}: {error}") from None


def chosen_rows(table: Ablation, wanted: tuple[str, ...], method: ThreeStage) -> dict[str, str]:
    """Rows of a command line: names of the table's rows, or `name=S1 S2 ...` for new ones; all rows when none are named.

    The reference row is always among them, because every other row is compared with it.
    """
    if not wanted:
        return table.rows
    rows: dict[str, str] = {}
    for text in wanted:
        name, equals, switches = text.partition("=")
        if equals:
            check_row(table.name, name, switches, method)
            rows[name] = " ".join(switches.split())
        elif name in table.rows:
            rows[name] = table.rows[name]
        else:
            raise SettingError(
                f"rows: no row {name!r}; there are {', '.join(table.rows)}, or NAME='SWITCH SWITCH ...' for a new one"
            )
    rows.setdefault(table.reference, table.rows[table.reference])
    return rows
