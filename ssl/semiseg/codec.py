"""The one place where words and JSON become settings and back: rows of tables, saved configurations, axes of searches."""

import ast
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

from semiseg.annotations import fits, hint_of, hints_of, kinds_of
from semiseg.augment import PERTURBATIONS, Chain, Perturbation
from semiseg.change import Change, Row, T, part_of
from semiseg.config import Data, Net, SettingError, Train, require
from semiseg.losses import LOSSES, Loss
from semiseg.methods import METHODS, Method, name_of
from semiseg.nets import NETS, OwnNet
from semiseg.stage import word_of

FAMILIES: dict[type, Mapping[str, type]] = {
    Method: METHODS,
    Net: {**NETS, "own": OwnNet},
    Perturbation: {**PERTURBATIONS, "chain": Chain},
    Loss: LOSSES,
}
"""Bases of settings of several kinds, with the kinds by name. A field that is annotated with a base holds a value of one of them: in
JSON `{"type": NAME, ...}` or, with its defaults, NAME, in words `field=NAME`; of a kind whose only field is a tuple of the base, `field=NAME+NAME`."""


def spelled(hint: Any) -> str:
    """An annotation as an error message says what is allowed.

    >>> spelled(float | None), spelled(Literal["hard", "soft"]), spelled(tuple[float, ...])
    ('float or None', 'hard, soft', 'tuple[float, ...]')
    """
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if len(kinds_of(hint)) > 1:
        return " or ".join(map(spelled, kinds_of(hint)))
    if hint in FAMILIES:
        return ", ".join(_singles(hint)) + (", or several joined by +" if _chain(hint) else "")
    if hint is type(None):
        return "None"
    return hint.__name__ if get_origin(hint) is None else str(hint)


def _chain(base: type) -> tuple[type, str] | None:
    """The kind of a family whose only field is a tuple of the family, and that field."""
    for kind in FAMILIES[base].values():
        hints = {field.name: hints_of(kind)[field.name] for field in fields(kind)}
        if list(hints.values()) == [tuple[base, ...]]:
            return kind, next(iter(hints))
    return None


def _singles(base: type) -> list[str]:
    """Names of the family's kinds that a word alone makes: not the chain."""
    chain = _chain(base)
    return [name for name, kind in FAMILIES[base].items() if chain is None or kind is not chain[0]]


def _family(value: Any, hint: Any) -> type | None:
    """The base of the family that a value of a field is registered in."""
    return next((base for base in kinds_of(hint) if base in FAMILIES and type(value) in FAMILIES[base].values()), None)


def _named(value: Any, base: type) -> str:
    return next(name for name, kind in FAMILIES[base].items() if kind is type(value))


def read_text(hint: Any, text: str) -> Any:
    """The value that the annotation reads in a text. ValueError when there is none."""
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {"true": True, "false": False}.get(text, text)
    for one in (value, text):
        if fits(one, hint):
            return one
    for base in (one for one in kinds_of(hint) if one in FAMILIES):
        names, chain = [name for name in text.split("+") if name], _chain(base)
        if set(names) <= set(_singles(base)):
            values = tuple(FAMILIES[base][name]() for name in names)
            if "+" in text and chain:
                return chain[0](**{chain[1]: values})
            if "+" not in text and values:
                return values[0]
    raise ValueError(f"{text!r} is not {hint}")


def read_value(kind: type, name: str, text: str) -> Any:
    """The value of a field as its annotation reads the text; SettingError when the field or the value cannot be."""
    hint = hint_of(kind, name)
    try:
        return read_text(hint, text)
    except ValueError:
        raise SettingError(f"{name}: got {text!r}; allowed: {spelled(hint)}") from None


def value_words(name: str, value: Any, hint: Any) -> Iterator[str]:
    """The words `name=TEXT`, and of a part's fields `name.field=TEXT`, that `read_value` reads back."""
    base = _family(value, hint)
    if base is None and is_dataclass(value):
        for field in fields(value):
            yield from value_words(f"{name}.{field.name}", getattr(value, field.name), hints_of(type(value))[field.name])
    elif base is None:
        yield f"{name}={_text(value, hint)}"
    else:
        chain = _chain(base)
        chained = chain is not None and type(value) is chain[0]
        parts = getattr(value, chain[1]) if chain and chained else (value,)
        names = [_named(part, base) for part in parts]
        text = "+".join(names) + ("+" if chained and len(names) < 2 else "")
        yield f"{name}={text}"
        for inner, one in _differences(value, read_text(base, text), f"{name}."):
            part, field = part_of(value, inner.removeprefix(f"{name}."))
            yield from value_words(inner, one, hints_of(type(part))[field])


def _text(value: Any, hint: Any) -> str:
    """A value without spaces as `read_text` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        try:
            plain = value.split() in ([value], []) and read_text(hint, value) == value
        except ValueError:
            plain = False
        return value if plain and value == value.strip() else repr(value).replace(" ", r"\x20")
    if isinstance(value, tuple):
        items = [repr(one).replace(" ", r"\x20") if not isinstance(one, tuple) else _text(one, hint) for one in value]
        return f"({','.join(items)}{',' * (len(items) == 1)})"
    return repr(value)


def check_change(change: Change[Any], base: Any) -> None:
    """Raise SettingError for a field that the class has not, or a value that its annotation does not take."""
    for name, value in change.values.items():
        part, field = part_of(base, name, change.values)
        hint = hint_of(type(part), field)
        require(fits(value, hint), name, value, spelled(hint))


def read_row(words: str, methods: Mapping[str, Method]) -> Row:
    """The row that the words mean; the first of `methods` is meant when they name none. Of a method with switches, those that are
    not among the words are off.

    SettingError for an unknown word or a value that cannot be.
    """
    settings: dict[str, list[str]] = {}
    for name, equals, text in (word.partition("=") for word in words.split()):
        if equals:
            settings.setdefault(name, []).append(text)
    bare = [word for word in words.split() if "=" not in word]
    named = [word for word in bare if word in methods]
    if len(named) > 1:
        raise SettingError(f"got the methods {', '.join(named)}; allowed: one of them")
    method = methods[named[0]] if named else next(iter(methods.values()))
    switches = [word for word in bare if word not in methods]
    if unknown := sorted(set(switches) - set(method.SWITCHES)):
        allowed = [*method.SWITCHES, *methods, "FIELD=VALUE"]
        raise SettingError(f"no switch or method {unknown}; there are {', '.join(allowed)}")
    values: dict[str, Any] = {name: name in switches for name in method.SWITCHES}
    parts: dict[str, dict[str, Any]] = {"data": {}, "train": {}}
    defaults: dict[str, Any] = {"data": Data(), "train": Train()}
    for name, texts in sorted(settings.items(), key=lambda item: item[0].count(".")):  # a part before its fields
        require(len(texts) == 1, name, texts, "one value")
        head, _, rest = name.partition(".")
        if head in defaults and rest:
            part, field = part_of(defaults[head], rest)
            parts[head][rest] = read_value(type(part), field, texts[0])
        else:
            part, field = part_of(method, name, values)
            values[name] = read_value(type(part), field, texts[0])
    return Row(Change(type(method), values), Change(Data, parts["data"]), Change(Train, parts["train"]))


def write_row(row: Row, methods: Mapping[str, Method]) -> str:
    """The words that mean the row: the method's name, left out where switches of the first of `methods` say it, the switches that
    are on, and what changes."""
    method, default = method_of(row, methods), next(iter(methods.values()))
    values = row.method.values if row.method else {}
    switches = [name for name in method.SWITCHES if values.get(name, getattr(method, name))]
    words = switches if switches and method is default else [name_of(method), *switches]
    for name, value in values.items():
        if name not in method.SWITCHES:
            part, field = part_of(method, name, values)
            words += value_words(name, value, hint_of(type(part), field))
    for head, change in (("data", row.data), ("train", row.train)):
        for name, value in change.values.items():
            part, field = part_of(change.kind(), name)
            words += value_words(f"{head}.{name}", value, hint_of(type(part), field))
    return " ".join(words)


def method_of(row: Row, methods: Mapping[str, Method]) -> Method:
    """The method that a row changes. SettingError when it is none of those."""
    if row.method is None:
        return next(iter(methods.values()))
    kind = row.method.kind
    found = next((one for one in sorted(methods.values(), key=lambda one: type(one) is not kind) if isinstance(one, kind)), None)
    if found is None:
        name = next((name for name, kind in METHODS.items() if kind is row.method.kind), row.method.kind.__name__)
        raise SettingError(f"no method {name!r}; there are {', '.join(methods)}")
    return found


def difference(one: T, base: T) -> Change[T]:
    """The change that makes `one` of `base`, both of one class."""
    return Change(type(one), dict(_differences(one, base)))


def _differences(one: Any, base: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(one):
        value, before, name = getattr(one, field.name), getattr(base, field.name), prefix + field.name
        if value == before:
            continue
        if is_dataclass(value) and type(value) is type(before):
            yield from _differences(value, before, f"{name}.")
        elif isinstance(value, tuple) and any(map(is_dataclass, value)) and list(map(type, value)) == list(map(type, before)):
            for number, (inner, old) in enumerate(zip(value, before, strict=True)):
                yield from _differences(inner, old, f"{name}.{number}.")
        else:
            yield name, value


def to_json(value: Any, hint: Any = None) -> Any:
    """Settings as plain JSON values; of a family's kinds with their name as "type", or their WORD alone."""
    if (word := word_of(value)) is not None:
        return word
    if is_dataclass(value) and not isinstance(value, type):
        base, hints = _family(value, hint), hints_of(type(value))
        inner = {field.name: to_json(getattr(value, field.name), hints[field.name]) for field in fields(value)}
        return inner if base is None else {"type": _named(value, base)} | inner
    if isinstance(value, tuple):
        entry = next((get_args(one)[0] for one in kinds_of(hint) if get_origin(one) is tuple and get_args(one)[-1] is ...), None)
        return [to_json(one, entry) for one in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"no JSON for {value!r}")


def from_json(hint: Any, value: Any) -> Any:
    """A JSON value as an annotation says: lists become tuples, objects settings. TypeError when it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in FAMILIES:
        value = {"type": value} if isinstance(value, str) else value
        if not isinstance(value, dict) or value.get("type") not in FAMILIES[hint]:
            raise TypeError(f"{value!r} has no type among {', '.join(FAMILIES[hint])}")
        return from_json(FAMILIES[hint][value["type"]], {name: one for name, one in value.items() if name != "type"})
    if is_dataclass(hint) and isinstance(hint, type):
        unknown = sorted(set(value) - {field.name for field in fields(hint)})
        if unknown:
            raise TypeError(f"no setting {unknown} in {hint.__name__}")
        return hint(**{name: from_json(hints_of(hint)[name], one) for name, one in value.items()})
    if origin in (Union, types.UnionType):
        for one in inner:
            try:
                return from_json(one, value)
            except TypeError:
                continue
    elif origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(value) == len(kinds):
            return tuple(map(from_json, kinds, value))
    elif isinstance(hint, type) and issubclass(hint, PurePath) and isinstance(value, str):
        return hint(value)
    elif fits(value, hint):
        return float(value) if hint is float else value
    raise TypeError(f"{value!r} is not {spelled(hint)}")
