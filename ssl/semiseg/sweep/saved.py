"""Settings of a configuration in a file: what a search writes as best.json and `--config` reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semiseg.codec import from_json, to_json
from semiseg.config import Data, Net, SettingError, Train
from semiseg.methods import Method


@dataclass(frozen=True)
class Saved:
    """A configuration: everything that decides the stages of a seed, but the place of the data."""

    data: Data
    net: Net
    train: Train
    method: Method


def write_config(file: Path, saved: Saved, about: Mapping[str, Any]) -> None:
    """Write a configuration and, beside it, what is to be said `about` it."""
    values = to_json(saved, Saved)
    for name in ("root", "download"):
        del values["data"][name]
    method = values.pop("method")
    values = {"method": method.pop("type"), "settings": method} | values
    aside = file.with_name(f".{file.name}")
    aside.write_text(json.dumps(values | dict(about), indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


WEAK = ("scale", "scale_law", "flip")
"""Settings of the weak augmentation that were fields of Train before they had a place of their own."""
DELAYED = {True: "delayed", False: "independent"}
"""What `delayed` of a mean teacher is called since there are three."""


def read_config(file: Path) -> Saved:
    """What `write_config` wrote, now or when WEAK were fields of Train and DELAYED was true or false. SettingError, one line, for
    anything else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        method = {"type": values["method"], **values["settings"]}
        if isinstance(method.get("delayed"), bool):
            method["delayed"] = DELAYED[method["delayed"]]
        train = dict(values["train"])
        if moved := {name: train.pop(name) for name in WEAK if name in train}:
            train["weak"] = moved | train.get("weak", {})
        return from_json(Saved, {"data": values["data"], "net": values["net"], "train": train, "method": method})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingError(f"config: {file} cannot be used ({reason}); allowed: a best.json that a search wrote") from None
