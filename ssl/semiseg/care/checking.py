"""Is every file of a store what it was when it was written?"""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from semiseg.care.held import Held, held_folder, record_in
from semiseg.remote import STAGE_FILE
from semiseg.stage import hash_of
from semiseg.store import SUM, Store, describe, record_holds, sum_file


class Checked(NamedTuple):
    """What was found in a stage."""

    key: str
    damaged: dict[str, str]
    """What is wrong by the name of a file."""
    unknown: tuple[str, ...]
    """Files without a checksum, written by an earlier version."""
    files: int
    bytes: int


def check_stage(store: Store, held: Held) -> Checked:
    """Read every file of a stage and compare it with its checksum, whatever its size. Changes nothing.

    stage.json is held to its own checksum and to the key, which is that of the settings in it.
    """
    read = _reader(store, held)
    said = record_in(store, held)
    if not isinstance(said.get("settings"), dict):
        return Checked(held.key, {STAGE_FILE: "missing or unreadable"}, (), len(held.files), held.bytes)
    damaged, unknown = dict[str, str](), list[str]()
    if hash_of(said["settings"]) != held.key:
        damaged[STAGE_FILE] = "its settings are not those of its key"
    elif (holds := record_holds(said)) is None:
        unknown.append(STAGE_FILE)
    elif not holds:
        damaged[STAGE_FILE] = "not what was written"
    noted = _dict(said.get("files"))
    for name in {*noted, *held.files} - {STAGE_FILE} if not damaged else ():  # else its checksums say nothing
        if name not in noted and name.endswith(SUM):
            continue
        if name not in held.files:
            damaged[name] = "missing"
            continue
        about = noted[name] if name in noted else _added(store, held, name)
        if about is None or not {"bytes", "sha256"} <= about.keys():
            unknown.append(name)
            continue
        try:
            found = read(name)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            damaged[name] = error.strerror or "cannot be read"
            continue
        if found["bytes"] != about["bytes"]:
            damaged[name] = f"{found['bytes']} bytes in place of {about['bytes']}"
        elif found["sha256"] != about["sha256"]:
            damaged[name] = "another content of the same size"
    return Checked(held.key, dict(sorted(damaged.items())), tuple(sorted(unknown)), len(held.files), held.bytes)


def set_aside_damaged(store: Store, held: Held, found: Checked) -> None:
    """Move what is damaged out of the way, so that it is made again: a file that was added to a stage alone, otherwise the stage."""
    folder = held_folder(store, held)
    noted = _dict(record_in(store, held).get("files"))
    why = "; ".join(f"{name}: {wrong}" for name, wrong in found.damaged.items())
    if not any(name == STAGE_FILE or name in noted for name in found.damaged):
        for name, wrong in found.damaged.items():
            store.set_aside(folder / name, wrong)
            sum_file(folder / name).unlink(missing_ok=True)
        return
    if folder.is_dir():
        store.set_aside(folder, why)
    else:
        store.say(f"store: {store.location}/{held.key} is damaged ({why}); removed, it is made again")
    if store.remote is not None and not held.light:
        store.remote.delete_stage(held.key)


def _reader(store: Store, held: Held) -> Callable[[str], dict[str, Any]]:
    if held.light or store.remote is None:
        folder = held_folder(store, held)
        return lambda name: describe(folder / name)
    remote = store.remote
    return lambda name: remote.describe(f"{held.key}/{name}")


def _added(store: Store, held: Held, name: str) -> dict[str, Any] | None:
    """What is noted of a file that was added to a stage on this machine."""
    path: Path = sum_file(store.local / held.key / name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _dict(value: Any) -> dict[str, Any]:
    return {name: one for name, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}
