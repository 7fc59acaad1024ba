"""Parameters named on a command line: the fields of a method that they set, and the values that they may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from itertools import chain, islice, product
from operator import or_
from typing import Any, Literal, get_origin

from optuna.trial import BaseTrial

from semiseg.annotations import hint_of, hints_of, kinds_of
from semiseg.change import part_of, with_values
from semiseg.codec import FAMILIES, read_text, spelled, value_words
from semiseg.config import SettingError, require

FLOATS = tuple[float, ...]
LARGEST = 10_000
"""Combinations that are tried until one allows a value that the base method alone does not."""


@dataclass(frozen=True)
class Axis:
    """One parameter: the fields it sets, all alike, and the ends of its range or its choices."""

    name: str
    fields: tuple[str, ...]
    values: tuple[Any, ...]
    ranged: bool
    log: bool

    def suggest(self, trial: BaseTrial) -> Any:
        if not self.ranged:
            return trial.suggest_categorical(self.name, self.values)
        low, high = self.values
        suggest = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        return suggest(self.name, low, high, log=self.log)


def axis_of(names: tuple[str, ...], values: Sequence[Any], *, choices: bool, log: bool) -> Axis:
    """The parameter named like the first field: a range if there are two numbers that are not meant as choices.

    Raises SettingError for an empty range, no or equal choices, or a log scale of what is no range above 0.
    """
    name, said = names[0], " ".join(map(str, values))
    ranged = len(values) == 2 and not choices and all(type(value) in (int, float) for value in values)
    if ranged:
        require(values[0] < values[1], f"space.{name}", said, "two numbers, low < high")
    require(len(set(values)) == len(values) > 0, f"space.{name}", said, "two numbers, low < high, or different choices")
    require(not log or (ranged and values[0] > 0), "space.log", f"{name} {said}", "a range of numbers above 0")
    return Axis(name, names, tuple(values), ranged, log)


def changes_of(axes: Sequence[Axis], values: Sequence[Any]) -> dict[str, Any]:
    """Values of fields, from one value per parameter."""
    return {name: value for axis, value in zip(axes, values, strict=True) for name in axis.fields}


def changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """`with_values`, but one number replaces every entry of a field that holds several, such as ema.decay, and a word stands for a
    kind of a family."""
    spread: dict[str, Any] = {}
    for name, value in changes.items():
        part, field = part_of(settings, name)
        old, hint = getattr(part, field), hint_of(type(part), field)
        if of_family(hint) and isinstance(value, str):
            spread[name] = read_text(hint, value)
        else:
            spread[name] = (value,) * len(old) if isinstance(old, tuple) and hint == FLOATS else value
    return with_values(settings, spread)


def value_in(settings: Any, name: str) -> Any:
    """The value of a parameter in settings, as `changed` takes it."""
    part, field = part_of(settings, name)
    value, hint = getattr(part, field), hint_of(type(part), field)
    if of_family(hint) and value is not None:
        return " ".join(value_words(field, value, hint)).removeprefix(f"{field}=")
    return value[0] if isinstance(value, tuple) else value


def of_family(hint: Any) -> bool:
    """Whether a field holds one of several kinds of settings."""
    return any(kind in FAMILIES for kind in kinds_of(hint))


def check_values(axes: Sequence[Axis], base: Any) -> None:
    """Raise SettingError for an end or a choice that the method refuses, whatever the ends and choices of the others."""

    def refusal(changes: dict[str, Any]) -> SettingError | None:
        try:
            changed(base, changes)
        except SettingError as error:
            return error

    for axis in axes:
        others = [other for other in axes if other is not axis]
        for value in axis.values:
            mine = changes_of([axis], [value])
            rest = (changes_of(others, combination) for combination in product(*(other.values for other in others)))
            tries = chain([{}], islice(rest, LARGEST))
            refusals = (refusal(mine | changes) for changes in tries)
            first = next(refusals)
            if first is not None and all(refusals):
                raise SettingError(f"space.{axis.name}: {first}")


def searchable(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Annotations of the fields that are numbers, choices or of a family, by name."""
    found: dict[str, Any] = {}
    hints = hints_of(type(settings))
    for field in fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        if of_family(hint):
            found[prefix + field.name] = hint
        if is_dataclass(value):
            found |= searchable(value, f"{prefix}{field.name}.")
        elif all(kind in (int, float, bool, type(None), FLOATS) or get_origin(kind) is Literal for kind in kinds_of(hint)):
            choices = tuple(kind for kind in kinds_of(hint) if kind != FLOATS)  # beside them several numbers are no choice
            found[prefix + field.name] = reduce(or_, choices) if choices else hint
    return found


def read_word(name: str, hint: Any, word: str) -> Any:
    """A word as the annotation reads it, of several numbers as one of them; SettingError when it does not."""
    one = float if hint == FLOATS else hint
    try:
        value = read_text(one, word)
    except ValueError:
        raise SettingError(f"space.{name}: got {word!r}; allowed: {spelled(one)}") from None
    if of_family(hint):
        return None if value is None else word
    return float(value) if float in kinds_of(one) and isinstance(value, int) else value
