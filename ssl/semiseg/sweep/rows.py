"""What a row of a table trains with a preset: its changes made on the preset's method, and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semiseg.change import Row, with_values
from semiseg.codec import check_change, method_of
from semiseg.config import Data, SettingError, Train, require
from semiseg.data_settings import OF_ROWS
from semiseg.measures import check_names
from semiseg.methods import Method


@dataclass(frozen=True)
class ResolvedRow:
    """A method and, where the row says so, its own values of the data, such as labelled images, and of training settings."""

    method: Method
    data: Mapping[str, Any]
    train: Mapping[str, Any]


def resolve_row(table: str, name: str, row: Row, methods: Mapping[str, Method]) -> ResolvedRow:
    """The row with the preset's methods, of which the first is meant when it names none.

    Raises SettingError naming table, row and what is allowed for a field or a value that cannot be, and for values that do not go
    together.
    """
    try:
        return _resolved(row, methods)
    except SettingError as error:
        raise SettingError(f"{table} row {name!r}: {error}") from None


def _resolved(row: Row, methods: Mapping[str, Method]) -> ResolvedRow:
    method = method_of(row, methods)
    if row.method is not None:
        check_change(row.method, method)
        method = row.method.of(method)
    method.check_switches()
    check_change(row.data, Data())
    for name, value in row.data.values.items():
        own = ", ".join(f"data.{one}" for one in OF_ROWS)
        require(name in OF_ROWS, f"data.{name}", value, f"another value for the whole study; a row changes {own}")
    check_change(row.train, Train())
    check_train(row.train.values)
    data = row.data.of(Data())
    own = {name: value for name in row.data.values if (value := getattr(data, name)) is not None}  # None: as the study has it
    return ResolvedRow(method, own, dict(row.train.values))


def check_train(train: Mapping[str, Any]) -> None:
    """Raise SettingError for training settings of a row that cannot be, or that only a whole study can fill in."""
    settings = with_values(Train(), train)
    require(settings.steps >= 1, "train.steps", settings.steps, "a whole number >= 1 in a row")
    check_names(settings)
    require(train.get("precision") != "auto", "train.precision", "auto", "fp32 or bf16 in a row")
    require("crop" not in train or settings.crop is not None, "train.crop", None, "height and width in a row")
