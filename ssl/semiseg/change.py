"""Changes of settings as values: what a row of a table says, checked by the type checker where it is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar, cast

from semiseg.config import Data, SettingError, Train

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Change(Generic[T]):
    """A class of settings, and values for some of its fields; `part.field` is a field of a part."""

    kind: type[T]
    values: Mapping[str, Any] = field(default_factory=dict)

    def of(self, base: T) -> T:
        """The base with these values, all at once, as some go only together. Whether fields exist says `codec.check_change`."""
        return with_values(base, self.values)

    def __or__(self, other: "Change[T]") -> "Change[T]":
        """Both; of fields that both name, the other's. Raises SettingError where they change two classes."""
        if other.kind is not self.kind:
            raise SettingError(f"row: got changes of {self.kind.__name__} and {other.kind.__name__}; allowed: one of them")
        replaced = tuple(f"{name}." for name in other.values)
        return Change(self.kind, {k: v for k, v in self.values.items() if not k.startswith(replaced)} | dict(other.values))


def change(kind: Callable[P, T], *args: P.args, **values: P.kwargs) -> Change[T]:
    """Other values of fields, typed like the call of the class: `change(Train, steps=40)`."""
    if args:
        raise TypeError("settings have names")
    return Change(cast("type[T]", kind), dict(values))


def within(kind: type[T], name: str, part: Change[Any]) -> Change[T]:
    """A change of a part alone, of which all else stays: `within(MeanTeacher, "ema", change(Ema, every="step"))`."""
    return Change(kind, {f"{name}.{inner}": value for inner, value in part.values.items()})


@dataclass(frozen=True)
class Row:
    """What a row of a table changes of a preset; of the data what `data_settings.OF_ROWS` names."""

    method: Change[Any] | None = None
    """Of the preset's method of that class; None: the preset's own method as it is."""
    data: Change[Data] = field(default_factory=lambda: Change(Data))
    train: Change[Train] = field(default_factory=lambda: Change(Train))

    def __or__(self, other: "Row") -> "Row":
        """Both; where both say something, the other's."""
        method = self.method | other.method if self.method and other.method else self.method or other.method
        return Row(method, self.data | other.data, self.train | other.train)


def with_values(settings: Any, values: Mapping[str, Any]) -> Any:
    """Settings with other values of fields, of their parts as `part.field`, of entries of a tuple as `field.0.field`; all at
    once."""
    direct = {name: value for name, value in values.items() if "." not in name}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        head, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
    if isinstance(settings, tuple):
        return tuple(with_values(one, inner.get(str(number), {})) for number, one in enumerate(settings))
    for head, part in inner.items():
        direct[head] = with_values(direct.get(head, getattr(settings, head)), part)
    return replace(settings, **direct) if direct else settings


def part_of(settings: Any, name: str, values: Mapping[str, Any] | None = None, path: str = "") -> tuple[Any, str]:
    """The settings that a field such as `perturbation.ops` is in, and the rest of the name there; `values` stand for what is there now.

    Where nothing is called so, the rest of the name is no field of what comes back.
    """
    head, dot, rest = name.partition(".")
    part: Any = (values or {}).get(path + head, getattr(settings, head, None))
    if isinstance(part, tuple):
        number, dot, rest = rest.partition(".")
        head = f"{head}.{number}"
        part = part[int(number)] if number.isdecimal() and int(number) < len(part) else None
    return part_of(part, rest, values, f"{path}{head}.") if dot and is_dataclass(part) else (settings, name)
