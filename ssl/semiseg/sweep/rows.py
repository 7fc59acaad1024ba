"""The words of a table's row: a method's name, switches, and settings such as `variant=1w-pt`, `data.labelled=0.05` or
`train.steps=400`."""

import ast
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semiseg.augment import Perturbation, perturbation_named
from semiseg.config import Data, SettingError, Train, require
from semiseg.methods import Method
from semiseg.metrics import METRICS

LABELLED = "data.labelled"


@dataclass(frozen=True)
class Line:
    """What a row trains: a method and, where the row says so, its own number of labelled images and training settings."""

    method: Method
    labelled: int | float | Literal["all"] | None
    train: Mapping[str, Any]


def read_row(table: str, row: str, words: str, methods: Mapping[str, Method]) -> Line:
    """The meaning of a row's words; the first of `methods` is meant when they name none.

    Raises SettingError naming table, row and what is allowed for an unknown word or a value that cannot be.
    """
    try:
        return _line(words.split(), methods)
    except SettingError as error:
        raise SettingError(f"{table} row {row!r}: {error}") from None


def _line(words: list[str], methods: Mapping[str, Method]) -> Line:
    settings: dict[str, list[str]] = {}
    for name, equals, text in (word.partition("=") for word in words):
        if equals:
            settings.setdefault(name, []).append(text)
    bare = [word for word in words if "=" not in word]
    named = [word for word in bare if word in methods]
    if len(named) > 1:
        raise SettingError(f"got the methods {', '.join(named)}; allowed: one of them")
    method = methods[named[0]] if named else next(iter(methods.values()))
    switches = [word for word in bare if word not in methods]
    if unknown := sorted(set(switches) - set(method.SWITCHES)):
        allowed = [*method.SWITCHES, *methods, "FIELD=VALUE"]
        raise SettingError(f"no switch or method {unknown}; there are {', '.join(allowed)}")
    if method.SWITCHES:
        method = replace(method, **{name: name in switches for name in method.SWITCHES})
    changes: dict[str, Any] = {}
    train: dict[str, Any] = {}
    labelled = None
    for name, texts in settings.items():
        require(len(texts) == 1, name, texts, "one value")
        text = texts[0]
        if name == LABELLED:
            labelled = parse_value(Data, "labelled", text)
            Data(labelled=labelled)
        elif name.startswith("train."):
            train[name.removeprefix("train.")] = parse_value(Train, name.removeprefix("train."), text)
        else:
            part, field = part_of(method, name)
            changes[name] = parse_value(type(part), field, text)
    check_train(train)
    return Line(with_values(method, changes), labelled, train)


def part_of(settings: Any, name: str) -> tuple[Any, str]:
    """The dataclass that a field such as `strong.ops` is in, and the rest of the name there."""
    head, dot, rest = name.partition(".")
    part = getattr(settings, head, None)
    return part_of(part, rest) if dot and is_dataclass(part) else (settings, name)


def with_values(settings: Any, changes: Mapping[str, Any]) -> Any:
    """A dataclass with other values of fields, of its parts as `part.field`; all at once, as some go only together."""
    direct = {name: value for name, value in changes.items() if "." not in name}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
    return replace(settings, **direct, **{head: with_values(getattr(settings, head), part) for head, part in inner.items()})


def check_train(train: Mapping[str, Any]) -> None:
    """Raise SettingError for training settings of a row that cannot be, or that only a whole study can fill in."""
    settings = Train(**train)
    require(settings.steps >= 1, "train.steps", settings.steps, "a whole number >= 1 in a row")
    require(settings.score in METRICS, "train.score", settings.score, ", ".join(METRICS))
    require(train.get("precision") != "auto", "train.precision", "auto", "fp32 or bf16 in a row")
    require("crop" not in train or settings.crop is not None, "train.crop", None, "height and width in a row")


def parse_value(kind: type, name: str, text: str) -> Any:
    """The value of a dataclass's field as its annotation reads the text; SettingError when the field or the value cannot be."""
    names = [field.name for field in fields(kind)]
    if name not in names:
        raise SettingError(f"no setting {name!r} in {kind.__name__}; there are {', '.join(names)}")
    hint = get_type_hints(kind)[name]
    if Perturbation in (hint, *get_args(hint)) and text != "None":
        return perturbation_named(text)
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False}.get(text, text)
    for one in (value, text):
        if _fits(one, hint):
            return one
    raise SettingError(f"{name}: got {text!r}; allowed: {spelled(hint)}")


def spelled(hint: Any) -> str:
    """An annotation as an error message says what is allowed.

    >>> spelled(float | None), spelled(Literal["hard", "soft"]), spelled(tuple[float, ...])
    ('float or None', 'hard, soft', 'tuple[float, ...]')
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(map(spelled, inner))
    if hint is type(None):
        return "None"
    return hint.__name__ if origin is None else str(hint)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is ... else inner
        return isinstance(value, tuple) and len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    return isinstance(hint, type) and isinstance(value, hint)
