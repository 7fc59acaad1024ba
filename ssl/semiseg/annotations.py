"""What the annotation of a field says, and whether a value is that."""

import math
import types
from dataclasses import fields
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semiseg.refusals import SettingError

hints_of = lru_cache(maxsize=None)(get_type_hints)
"""Annotations of a class by field."""


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """What a union is made of, or the annotation alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def hint_of(kind: type, name: str) -> Any:
    """The annotation of a field. SettingError when there is none of the name."""
    names = [field.name for field in fields(kind)]
    if name not in names:
        raise SettingError(f"no setting {name!r} in {kind.__name__}; there are {', '.join(names)}")
    return hints_of(kind)[name]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what the annotation says; whole numbers are floats too, infinite ones nothing."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1] is ... else inner
        return isinstance(value, tuple) and len(kinds) == len(value) and all(map(fits, value, kinds))
    if hint in (int, float):
        numbers = int if hint is int else int | float
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    if hint is type(None):
        return value is None
    return isinstance(hint, type) and isinstance(value, hint)
