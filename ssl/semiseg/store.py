"""Finished stages on disk, one folder a key; a folder that exists is complete. Imports neither torch nor ray."""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semiseg.outside import writable_folder
from semiseg.remote import STAGE_FILE, Remote
from semiseg.waiting import LIMIT

HASHED = 1 << 20
"""Bytes up to which the content of a file is compared too: of tables and pictures, not of a large network's weights."""
DAMAGED = "damaged"
"""Folder of the store into which what cannot be read is moved."""
LIGHT = "without_weights"
"""Folder of the store with stages whose weights an archive left out: their results can be read, nothing can learn from them."""
UNFINISHED = "unfinished"
"""Folder of the store with checkpoints."""
SUM = ".sum.json"
"""Ends the name of a file that says what the file beside it is, which was added to a finished stage."""
RECORD = "record"
"""Field of stage.json: sha256 of all its other fields."""


class Store:
    """`location/<key>/` for finished stages, `location/unfinished/<key>.pt` for checkpoints of running ones, `location/without_weights/<key>/`
    on this machine for stages that came without.

    `location` is a folder or a URI that `pyarrow.fs` opens (s3://, gs://, file://...). With a URI every folder is first made in
    `mirror` on this machine, then copied; reading copies it back once. A remote store that does not answer within `limit` seconds is
    given up.

    What is damaged (an unreadable stage.json, a file that is not what it says) is moved to `location/damaged/`, named by `say`, and
    counts as not there, so that it is made again.
    """

    def __init__(self, location: str, mirror: Path, *, limit: float = LIMIT, say: Callable[[str], None] = print) -> None:
        self.location, self.limit, self.say = location, limit, say
        self.sound: set[str] = set()
        """Keys whose folder on this machine was found whole."""
        self.there: set[str] = set()
        """Keys that the URI was found to hold."""
        self.remote = Remote(location, limit) if "://" in location else None
        digest = hashlib.sha256(location.encode()).hexdigest()[:16]
        self.local = Path(location) if self.remote is None else mirror / digest
        writable_folder(self.local, "store")

    def has(self, key: str) -> bool:
        """Whether the stage is finished, and whole as far as `as_described` tells."""
        return self._here(key) or (self.remote is not None and self._whole_at(self.remote, key))

    def listed(self) -> Callable[[str], bool]:
        """`has` for a moment: a URI is listed now, once, in place of some requests for every key that is asked for."""
        if self.remote is None:
            return self.has
        remote, listing = self.remote, self.remote.holdings()

        def has(key: str) -> bool:
            if self._here(key):
                return True
            if listing.whole(key):
                self.there.add(key)
                return True
            return STAGE_FILE in listing.files.get(key, ()) and self._whole_at(remote, key)  # of an earlier version, or damaged

        return has

    def _here(self, key: str) -> bool:
        """Whether the stage is known to be finished, or lies whole on this machine."""
        if key not in self.sound and (self.local / key).is_dir() and self._whole(self.local / key):
            self.sound.add(key)
        return key in self.sound or key in self.there

    def folder(self, key: str) -> Path:
        """The stage's folder on this machine. Raises KeyError when the store does not hold the stage."""
        path = self.local / key
        if key in self.sound or (path.is_dir() and self._whole(path)):
            return path
        if self.remote is None or not self._whole_at(self.remote, key):
            raise KeyError(key)
        with self._aside(path) as aside:
            self.remote.fetch(key, aside)
        return path

    def results(self, key: str) -> Path:
        """`folder`, or that of a stage without its weights, where the store holds no more."""
        return self.local / LIGHT / key if self.has_light(key) and not self.has(key) else self.folder(key)

    def has_light(self, key: str) -> bool:
        """Whether the stage lies here without its weights."""
        path = self.local / LIGHT / key
        return path.is_dir() and self._whole(path)

    def info(self, key: str) -> dict[str, Any]:
        """`stage.json` of a finished stage."""
        return json.loads((self.results(key) / STAGE_FILE).read_text(encoding="utf-8"))

    def publish(self, key: str, write: Callable[[Path], None], info: dict[str, Any]) -> None:
        """Make the stage's folder by `write(folder)`, add `stage.json`, and let it appear at once. Drops the stage's checkpoint.

        When another process published the same key meanwhile, its folder stays: equal keys mean equal content.
        """
        with self._aside(self.local / key) as aside:
            write(aside)
            files = {str(path.relative_to(aside)): describe(path) for path in sorted(aside.rglob("*")) if path.is_file()}
            (aside / STAGE_FILE).write_text(recorded(info | {"files": files}), encoding="utf-8")
        if self.remote is not None:
            self.remote.upload_stage(self.local / key, key)
        self._drop_light(key)
        self.drop_checkpoint(key)

    def adopt(self, key: str, write: Callable[[Path], None], *, light: bool = False) -> None:
        """Make the folder of a stage that another store has finished by `write(folder)`, stage.json included; `light`: without its weights,
        on this machine alone."""
        path = self.local / LIGHT / key if light else self.local / key
        path.parent.mkdir(exist_ok=True)
        with self._aside(path) as aside:
            write(aside)
        if self.remote is not None and not light:
            self.remote.upload_stage(path, key)
        if not light:
            self._drop_light(key)

    def add(self, key: str, name: str, write: Callable[[Path], None]) -> Path:
        """Add a file that follows from a finished stage (its pseudo-masks) unless it is there; returns its path."""
        path = self.folder(key) / name
        if not path.is_file():
            aside = path.with_name(f".{name}-{uuid.uuid4().hex}")
            try:
                write(aside)
                aside.replace(path)
                aside.write_text(json.dumps(describe(path)), encoding="utf-8")
                aside.replace(sum_file(path))
            finally:
                aside.unlink(missing_ok=True)
        return path

    def read_checkpoint(self, key: str) -> Path | None:
        """File of the stage's latest checkpoint, if there is one."""
        path, name = self._checkpoint(key)
        if self.remote is not None and self.remote.has_file(name):  # every checkpoint goes there, so it is the newest
            path.parent.mkdir(exist_ok=True)
            self.remote.fetch(name, path)
        return path if path.is_file() else None

    def write_checkpoint(self, key: str, write: Callable[[Path], None]) -> None:
        """Replace the stage's checkpoint by what `write(file)` writes; a crash in the middle leaves the old one."""
        path, name = self._checkpoint(key)
        path.parent.mkdir(exist_ok=True)
        aside = path.with_name(f".{key}-{uuid.uuid4().hex}")
        try:
            write(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        if self.remote is not None:
            self.remote.upload(path, name)

    def drop_checkpoint(self, key: str) -> None:
        """Remove the stage's checkpoint, here and at the URI."""
        path, name = self._checkpoint(key)
        path.unlink(missing_ok=True)
        if self.remote is not None and self.remote.has_file(name):
            self.remote.delete_file(name)

    def set_aside(self, path: Path, why: str) -> None:
        """Move what cannot be read out of the way and say so; a remote copy is deleted, as it is the same."""
        place = self.local / DAMAGED / f"{path.name}-{uuid.uuid4().hex[:8]}"
        place.parent.mkdir(exist_ok=True)
        try:
            path.rename(place)
        except FileNotFoundError:  # another process has done so
            return
        self.sound.discard(path.name)
        self.there.discard(path.name)
        self.say(f"store: {path} is damaged ({why}); moved to {place}, it is made again")
        if self.remote is not None:
            name = path.relative_to(self.local).as_posix()
            with contextlib.suppress(OSError):
                (self.remote.delete_folder if place.is_dir() else self.remote.delete_file)(name)

    def _whole(self, folder: Path) -> bool:
        """Whether a folder holds what its stage.json says; otherwise it is set aside."""
        try:
            info: dict[str, Any] = json.loads((folder / STAGE_FILE).read_text(encoding="utf-8"))
            files: dict[str, Any] = info["files"]
            wrong = [STAGE_FILE] if record_holds(info) is False else []
            wrong += [name for name, said in files.items() if not as_described(folder / name, said)]
        except FileNotFoundError as error:
            wrong = [Path(error.filename).name]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            wrong = [STAGE_FILE]
        if wrong:
            self.set_aside(folder, f"{wrong[0]} is missing, unreadable or cut")
        return not wrong

    def _whole_at(self, remote: Remote, key: str) -> bool:
        """Whether the URI holds what its stage.json says, as far as sizes tell; otherwise it is deleted there."""
        if key in self.there:
            return True
        if not remote.has_file(f"{key}/{STAGE_FILE}"):  # nothing, or what is being uploaded
            return False
        if name := remote.damage(key):
            self.say(f"store: {self.location}/{key} is damaged ({name} is missing, unreadable or cut); it is made again")
            remote.delete_folder(key)
            return False
        self.there.add(key)
        return True

    def _drop_light(self, key: str) -> None:
        shutil.rmtree(self.local / LIGHT / key, ignore_errors=True)

    def _checkpoint(self, key: str) -> tuple[Path, str]:
        return self.local / UNFINISHED / f"{key}.pt", f"{UNFINISHED}/{key}.pt"

    @contextmanager
    def _aside(self, path: Path) -> Iterator[Path]:
        aside = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        aside.mkdir()
        try:
            yield aside
            # renaming onto a folder that another process put there raises OSError (ENOTEMPTY): then theirs is complete
            with contextlib.suppress(OSError):
                os.rename(aside, path)
            if not (path / STAGE_FILE).is_file():
                raise OSError(f"store: could not publish {path}")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def as_described(path: Path, said: dict[str, Any]) -> bool:
    """Whether a file is what `describe` said: of its size and, up to HASHED bytes, of its content; a power cut may leave zeros."""
    size = path.stat().st_size
    return size == said["bytes"] and (size > HASHED or describe(path) == said)


def describe(path: Path) -> dict[str, Any]:
    """Size in bytes and sha256 of a file, as stage.json notes them."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def recorded(info: dict[str, Any]) -> str:
    """stage.json of these fields."""
    info = json.loads(json.dumps(info))  # as it will be read: keys are texts
    return json.dumps(info | {RECORD: record_of(info)}, indent=1, sort_keys=True)


def record_of(info: dict[str, Any], field: str = RECORD) -> str:
    """sha256 of all fields of a stage.json but one."""
    fields = {name: value for name, value in info.items() if name != field}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def record_holds(info: dict[str, Any]) -> bool | None:
    """Whether a stage.json says what was written; None where an earlier version noted no checksum of it."""
    if RECORD in info:
        return info[RECORD] == record_of(info)
    renamed = any(name not in ("key", "files") and value == record_of(info, name) for name, value in info.items())
    return False if renamed else None  # a damaged letter in its very name


def sum_file(path: Path) -> Path:
    """Where it is noted what a file is that was added to a finished stage: of its weights follow other files, of which stage.json cannot
    know."""
    return path.with_name(f"{path.name}{SUM}")
