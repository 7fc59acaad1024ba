"""From what JSON holds to frozen dataclasses and back, by their annotations.

Annotations may be text, words of a Literal, numbers, true or false, `Any`, tuples (lists in JSON), mappings by text or number (dicts in JSON, whose keys
are text), other dataclasses, and unions of these with None. What does not fit raises ValueError with one line,
`field: got X; allowed: Y`, in which the field is the whole way to it, such as `paper.rows['full'][0]`.
"""

import dataclasses
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def decode(kind: Any, value: object, field: str = "") -> Any:
    """`value`, as `json.loads` gives it, as an instance of the annotation `kind`; `field` is where it stands, "" at the top."""
    if kind is Any:
        return value
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and NoneType in kinds:
        return None
    null = " or null" if NoneType in kinds else ""
    kinds = tuple(one for one in kinds if one is not NoneType)
    scalars = [one for one in kinds if one in WORDS]
    if scalars:
        found = next((one for one in scalars if _is(one, value)), None)
        _need(found is not None, field, value, " or ".join(WORDS[one] for one in scalars) + null)
        return float(value) if found is float else value  # type: ignore[arg-type]  # _is has looked
    (kind,) = kinds
    if get_origin(kind) is Literal:
        words = get_args(kind)
        _need(value in words, field, value, ", ".join(words) + null)
        return value
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, field, null)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, field, null)
    return _mapping(get_args(kind), value, field, null)


def encode(value: Any) -> Any:
    """What `decode` reads: dataclasses and mappings as dicts, tuples as lists, numbers that are keys as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): encode(one) for name, one in value.items()}
    return [encode(one) for one in value] if isinstance(value, list | tuple) else value


def _is(kind: type, value: object) -> bool:
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _need(holds: bool, field: str, found: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{field}: got {found!r}; allowed: {allowed}")


def _record(kind: Any, value: object, field: str, null: str) -> Any:
    at, dot = (f"{field}: ", f"{field}.") if field else ("", "")
    known = {one.name: one for one in dataclasses.fields(kind)}
    given = _dict(value, at, f"a dict with {', '.join(known)}{null}")
    required = [name for name, one in known.items() if one.default is one.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in given]:
        raise ValueError(f"{at}fields missing: {', '.join(missing)}")
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{at}fields unknown: {', '.join(unknown)}; written by a newer version? allowed: {', '.join(known)}")
    hints = get_type_hints(kind)
    return kind(**{name: decode(hints[name], one, f"{dot}{name}") for name, one in given.items()})


def _tuple(inner: tuple[Any, ...], value: object, field: str, null: str) -> tuple[Any, ...]:
    count = None if inner[-1] is ... else len(inner)
    if not isinstance(value, list) or count not in (None, len(value)):
        raise ValueError(f"{field}: got {value!r}; allowed: a list{'' if count is None else f' of {count}'}{null}")
    return tuple(decode(inner[0 if count is None else i], one, f"{field}[{i}]") for i, one in enumerate(value))


def _mapping(inner: tuple[Any, ...], value: object, field: str, null: str) -> dict[Any, Any]:
    key, kind = inner
    given = _dict(value, f"{field}: ", f"a dict{null}")
    return {_place(name, field) if key is float else name: decode(kind, one, f"{field}[{name!r}]") for name, one in given.items()}


def _dict(value: object, at: str, allowed: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{at}got {value!r}; allowed: {allowed}")


def _place(text: str, field: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    _need(math.isfinite(number), field, text, "text of a number")
    return number
