"""Settings of a configuration in a file: what a search writes as best.json and `--config` reads."""

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semiseg.augment import PERTURBATIONS, Chain, Perturbation
from semiseg.config import Data, Net, SettingError, Train
from semiseg.methods import METHODS, Method, name_of
from semiseg.nets import net_kind
from semiseg.stage import plain
from semiseg.sweep.ablation import Preset


@dataclass(frozen=True)
class Saved:
    """A configuration: everything that decides the stages of a seed, but the place of the data."""

    data: Data
    net: Net
    train: Train
    method: Method


def write_config(file: Path, saved: Saved, about: Mapping[str, Any]) -> None:
    """Write a configuration and, beside it, what is to be said `about` it."""
    values = {
        "method": name_of(saved.method),
        "settings": plain(saved.method),
        "train": plain(saved.train),
        "net": plain(saved.net),
        "data": {name: value for name, value in plain(saved.data).items() if name not in ("root", "download")},
    }
    aside = file.with_name(f".{file.name}")
    aside.write_text(json.dumps(values | dict(about), indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


def read_config(file: Path) -> Saved:
    """What `write_config` wrote. SettingError, one line, for anything else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        method = METHODS[values["method"]]
        return Saved(
            typed(Data, values["data"]),
            typed(net_kind(values["net"]["name"]), values["net"]),
            typed(Train, values["train"]),
            typed(method, values["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingError(f"config: {file} cannot be used ({reason}); allowed: a best.json that a search wrote") from None


def with_config(preset: Preset, saved: Saved, file: Path) -> Preset:
    """The preset with a saved configuration as its own, where it knows the method. SettingError where it does not."""
    name = name_of(saved.method)
    if name not in preset.methods():
        raise SettingError(f"config: {file} is of the method {name}; allowed: {', '.join(preset.methods())}")
    changed = replace(preset, data=saved.data, net=saved.net, train=saved.train)
    if name_of(preset.method) == name:
        return replace(changed, method=saved.method)
    others = [one for one in preset.others if name_of(one) != name]
    return replace(changed, others=(*others, saved.method))


def typed(hint: Any, value: Any) -> Any:
    """A JSON value as an annotation says: lists become tuples, objects dataclasses. TypeError when it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Perturbation:
        kinds = {kind.__name__: kind for kind in (*PERTURBATIONS.values(), Chain)}
        if not isinstance(value, dict) or value.get("type") not in kinds:
            raise TypeError(f"{value!r} is none of {', '.join(kinds)}")
        return typed(kinds[value["type"]], {name: one for name, one in value.items() if name != "type"})
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        unknown = sorted(set(value) - {field.name for field in fields(hint)})
        if unknown:
            raise TypeError(f"no setting {unknown} in {hint.__name__}")
        return hint(**{name: typed(hints[name], one) for name, one in value.items()})
    if origin in (Union, types.UnionType):
        for one in inner:
            try:
                return typed(one, value)
            except TypeError:
                continue
        raise TypeError(f"{value!r} is not {hint}")
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, list) and inner[-1] is ... else inner
        if not isinstance(value, list) or len(value) != len(kinds):
            raise TypeError(f"{value!r} is not {hint}")
        return tuple(typed(kind, one) for kind, one in zip(kinds, value, strict=True))
    if origin is Literal:
        if value not in inner:
            raise TypeError(f"{value!r} is none of {inner}")
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None):
        if value is not None:
            raise TypeError(f"{value!r} is not None")
        return value
    kind: Any = hint
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool)):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value
