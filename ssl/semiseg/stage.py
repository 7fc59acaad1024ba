"""A stage: one training run, named by a hash of everything that can change its weights."""

import dataclasses
import hashlib
import json
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import PurePath
from typing import Any, Union, get_args, get_origin, get_type_hints

from semiseg.config import AS_BEFORE, IN_KEYS, Net, Train

FORMAT = 2
"""Goes into every key: raised when the meaning of a setting, a random stream or the training loop changes."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The images a stage trains on and is scored on, by content: no path and no draw of the split enters a key."""

    fingerprint: str
    """sha256 over the decoded images and masks."""
    classes: tuple[str, ...]
    labelled: int
    """Number of labelled training images."""
    labelled_hash: str
    training: int
    """Number of all training images, the labelled ones among them."""
    training_hash: str
    selection_hash: str
    test_hash: str
    normalise: str = field(default="", metadata={AS_BEFORE: ""})
    """How stored values become what a network sees (`Pack.normalise`); "" is "dataset"."""
    scored: str = field(default="", metadata={AS_BEFORE: ""})
    """Fingerprint of the data whose masks are scored, where a row learns others; "": the same."""
    opened: tuple[tuple[str, Any], ...] = field(default=(), compare=False, metadata={AS_BEFORE: ()})
    """Values of Data with which a place that has the study's opens these images (`Place.reopen`); in no key."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training run from initial weights to final weights.

    `name` is for people and not part of the key. `number` (1, 2, ...) is the place in the chain and seeds the random streams with
    `seed`. `rule` is a frozen dataclass of hyper-parameters, `teachers` the stages it learns from.
    """

    name: str
    number: int
    rule: Any
    split: Split
    net: Net
    train: Train
    seed: int
    teachers: tuple["Stage", ...] = ()

    @cached_property
    def key(self) -> str:
        """sha256 hex digest of the resolved settings and of the teachers' keys."""
        return hash_of(self.settings())

    def settings(self) -> dict[str, Any]:
        """What the key is made of, as plain JSON values; a name says every default that was in force."""
        return {
            "format": FORMAT,
            "number": self.number,
            "seed": self.seed,
            "rule": {"type": type(self.rule).__name__, **for_key(self.rule)},
            "split": for_key(dataclasses.replace(self.split, opened=())),
            "net": by_content(self.net),
            "train": of_training(self.train),
            "teachers": [teacher.key for teacher in self.teachers],
        }


def by_content(net: Net) -> dict[str, Any]:
    """The network's settings as plain values with the names of files, not their places: what the files hold is in `digest`."""
    return for_key(net) | {"name": PurePath(net.name).name, "weights": PurePath(net.weights).name}


def of_training(train: Train) -> dict[str, Any]:
    """Training settings as they enter keys: those of the weak augmentation among the others, as when they were fields of Train."""
    found = for_key(train)
    return found | found.pop("weak")


def hash_of(value: Any) -> str:
    """sha256 hex digest of plain JSON values; the same on every machine and for every order of a dict's entries."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def for_key(value: Any) -> Any:
    """`plain` without the fields that have the value which means "as before they were there" (AS_BEFORE), and with what values were
    called before (IN_KEYS)."""
    return plain(value, keyed=True)


def plain(value: Any, keyed: bool = False) -> Any:
    """Dataclasses, tuples and paths as JSON values; raises TypeError for what could not be read back the same.

    Where a field is declared as a base and holds one of several kinds, such as a perturbation, "type" names the kind. A WORD stands
    for the defaults of its class (`word_of`).
    """
    if (word := word_of(value)) is not None:
        return word
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints, found = _hints(type(value)), {}
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if keyed and AS_BEFORE in field.metadata and field.metadata[AS_BEFORE] == held:
                continue
            held = field.metadata[IN_KEYS].get(held, held) if keyed and IN_KEYS in field.metadata else held
            found[field.name] = tagged(_as_declared(held, hints[field.name]), hints[field.name], keyed)
        return found
    if isinstance(value, list | tuple):
        return [plain(item, keyed) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item, keyed) for name, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"no plain form for {value!r}")


def tagged(value: Any, hint: Any, keyed: bool) -> Any:
    """`plain` of what a field holds, with its kind where the declaration leaves that open."""
    if isinstance(value, tuple) and any(_is_settings(item) for item in value):
        kinds = get_args(hint)
        return [
            tagged(item, kinds[min(i, len(kinds) - 2)] if kinds[-1] is ... else kinds[i], keyed) for i, item in enumerate(value)
        ]
    found = plain(value, keyed)
    open_kind = isinstance(found, dict) and _is_settings(value) and type(value) not in (hint, *get_args(hint))
    return {"type": type(value).__name__, **found} if open_kind else found


def word_of(value: Any) -> str | None:
    """The word of settings that were one before they had fields, such as "ce", if these are its defaults; None for others."""
    word = getattr(type(value), "WORD", "") if _is_settings(value) else ""
    return word if word and value == type(value)() else None


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Annotations of a class, worked out once: a plan asks for them some dozens of times a stage."""
    return get_type_hints(kind)


def _is_settings(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _as_declared(value: Any, hint: Any) -> Any:
    """A whole number where a float is declared becomes one: equal settings must have equal keys."""
    inner = get_args(hint)
    optional = get_origin(hint) in (Union, types.UnionType) and float in inner and int not in inner
    if (hint is float or optional) and isinstance(value, int):
        return float(value)
    if get_origin(hint) is tuple and isinstance(value, tuple) and float in inner:
        return tuple(float(item) for item in value)
    return value


def with_teachers(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Every distinct stage among `stages` and their teachers by key, each after its teachers; none is visited twice."""
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key in found:
            return
        for teacher in stage.teachers:
            visit(teacher)
        found[stage.key] = stage

    for stage in stages:
        visit(stage)
    return found


def stream(seed: int, name: str, *numbers: int) -> int:
    """Seed in 0..2^63-1 of a named random stream: independent for every (seed, name, numbers), the same on every machine."""
    text = ":".join([str(seed), name, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
