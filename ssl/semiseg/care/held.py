"""What lies in a store: stages with their sizes and records, checkpoints, what was set aside."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from semiseg.care.references import KEY
from semiseg.config import require
from semiseg.outside import local_path, store_location
from semiseg.remote import STAGE_FILE
from semiseg.store import DAMAGED, LIGHT, UNFINISHED, Store

LEFTOVER = re.compile(rf"\.{KEY.pattern}-[0-9a-f]{{32}}")
"""Name of a folder that a crash has left half written."""


class Held(NamedTuple):
    """A stage in a store."""

    key: str
    files: dict[str, int]
    """Bytes by name."""
    light: bool = False
    """Without its weights."""

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


class Aside(NamedTuple):
    """What lies in a store beside its stages."""

    kind: str
    """checkpoint, damaged or leftover."""
    path: Path
    key: str
    """Of the stage that it is of."""
    bytes: int
    seconds: float
    """Age."""


def open_store(location: str, cache: Path, wait_seconds: float, say: Callable[[str], None] = print) -> Store:
    """A store that is there. SettingError for a folder that is none."""
    location = store_location(location)
    if "://" not in location:
        require(Path(location).is_dir(), "store", location, "a folder with finished stages, or a URI")
    return Store(location, local_path(cache, "cache") / "mirror", limit=wait_seconds, say=say)


def stages_in(store: Store) -> dict[str, Held]:
    """All stages of the store by key; those that came without weights where there is no whole one."""
    found = {key: Held(key, files, light=True) for key, files in _folders(store.local / LIGHT)}
    if store.remote is None:
        return found | {key: Held(key, files) for key, files in _folders(store.local)}
    files_of = store.remote.holdings().files
    return found | {key: Held(key, files) for key, files in files_of.items() if KEY.fullmatch(key)}


def held_folder(store: Store, held: Held) -> Path:
    """Where the stage lies on this machine, or would."""
    return (store.local / LIGHT if held.light else store.local) / held.key


def record_in(store: Store, held: Held) -> dict[str, Any]:
    """stage.json as it stands, without looking whether the stage is whole; empty where it cannot be read."""
    try:
        if held.light or store.remote is None:
            text = (held_folder(store, held) / STAGE_FILE).read_bytes()
        else:
            text = store.remote.read(f"{held.key}/{STAGE_FILE}")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def asides_in(store: Store) -> list[Aside]:
    """Checkpoints, what was set aside as damaged, and what crashes left half written, on this machine."""
    places = (
        ("checkpoint", (store.local / UNFINISHED).glob("*")),
        ("damaged", (store.local / DAMAGED).glob("*")),
        ("leftover", (path for path in store.local.glob(".*") if LEFTOVER.fullmatch(path.name))),
    )
    now, found = time.time(), []
    for kind, paths in places:
        for path in sorted(paths):
            match = KEY.search(path.name)
            with contextlib.suppress(FileNotFoundError):  # of a study that runs
                found.append(Aside(kind, path, match[0] if match else "", bytes_on_disk(path), now - path.stat().st_mtime))
    return found


def bytes_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum(_files(path).values())


def one_stage(keys: Iterable[str], prefix: str) -> str:
    """The only key that begins so. SettingError for none and for several."""
    found = sorted(key for key in set(keys) if key.startswith(prefix))
    some = ", ".join(key[:12] for key in found[:5])
    require(
        len(found) == 1,
        "key",
        prefix,
        f"more letters of one of {some}" if found else "a study's folder or the first letters of a key",
    )
    return found[0]


def spoken_size(count: int) -> str:
    """Bytes as people say them, in powers of 1,024.

    >>> spoken_size(900), spoken_size(5_000_000), spoken_size(30_000_000_000)
    ('900 B', '4.8 MiB', '28 GiB')
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit != "B" and size < 10 else f"{size:.0f} {unit}"


def _folders(place: Path) -> Iterator[tuple[str, dict[str, int]]]:
    for path in sorted(place.glob("*")) if place.is_dir() else ():
        if KEY.fullmatch(path.name) and path.is_dir():
            yield path.name, _files(path)


def _files(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # of a study that runs
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found
