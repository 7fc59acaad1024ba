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

from pyarrow import fs

from semiseg.config import SettingError
from semiseg.outside import writable_folder
from semiseg.waiting import LIMIT, Result, wait_for

STAGE_FILE = "stage.json"
"""Written last on a remote store, where a folder cannot be renamed: a key without it is not there."""
HASHED = 1 << 20
"""Bytes up to which the content of a file is compared too: of tables and pictures, not of a large network's weights."""
DAMAGED = "damaged"
"""Folder of the store into which what cannot be read is moved."""


class Store:
    """`location/<key>/` for finished stages and `location/unfinished/<key>.pt` for checkpoints of running ones.

    `location` is a folder or a URI that `pyarrow.fs` opens (s3://, gs://, file://...). With a URI every folder is first made in
    `mirror` on this machine, then copied; reading copies it back once. A remote store that does not answer within `limit` seconds is
    given up.

    What is damaged (an unreadable stage.json, a file that is not what it says) is moved to `location/damaged/`, named by `say`, and
    counts as not there, so that it is made again.
    """

    def __init__(self, location: str, mirror: Path, *, limit: float = LIMIT, say: Callable[[str], None] = print) -> None:
        self.location, self.limit, self.say = location, limit, say
        self.sound: set[str] = set()
        """Keys whose folder was found whole."""
        self.remote: tuple[fs.FileSystem, str] | None = None
        self.local = Path(location)
        if "://" in location:
            try:
                self.remote = self._wait(lambda: fs.FileSystem.from_uri(location))
            except (ValueError, OSError) as error:
                reason = str(error).splitlines()[0]
                raise SettingError(
                    f"store: cannot open {location!r} ({reason}); allowed: a folder or a URI of pyarrow.fs"
                ) from None
            self.local = mirror / hashlib.sha256(location.encode()).hexdigest()[:16]
        writable_folder(self.local, "store")
        if self.remote is not None:
            self._probe_remote()

    def has(self, key: str) -> bool:
        """Whether the stage is finished, and whole as far as `as_described` tells."""
        if key in self.sound:
            return True
        if (self.local / key).is_dir() and self._whole(key):
            self.sound.add(key)
            return True
        return self.remote is not None and self._remote_whole(key)

    def folder(self, key: str) -> Path:
        """The stage's folder on this machine. Raises KeyError when the store does not hold the stage."""
        path = self.local / key
        if key in self.sound or (path.is_dir() and self._whole(key)):
            return path
        if self.remote is None or not self._remote_whole(key):
            raise KeyError(key)
        filesystem, base = self.remote
        with self._aside(path) as aside:
            self._wait(
                lambda: fs.copy_files(
                    f"{base}/{key}", str(aside), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem()
                )
            )
        return path

    def info(self, key: str) -> dict[str, Any]:
        """`stage.json` of a finished stage."""
        return json.loads((self.folder(key) / STAGE_FILE).read_text())

    def publish(self, key: str, write: Callable[[Path], None], info: dict[str, Any]) -> None:
        """Make the stage's folder by `write(folder)`, add `stage.json`, and let it appear at once. Drops the stage's checkpoint.

        When another process published the same key meanwhile, its folder stays: equal keys mean equal content.
        """
        with self._aside(self.local / key) as aside:
            write(aside)
            files = {str(path.relative_to(aside)): describe(path) for path in sorted(aside.rglob("*")) if path.is_file()}
            (aside / STAGE_FILE).write_text(json.dumps(info | {"files": files}, indent=1, sort_keys=True))
        if self.remote is not None:
            names = sorted(str(path.relative_to(self.local / key)) for path in (self.local / key).rglob("*") if path.is_file())
            for name in sorted(names, key=lambda name: name == STAGE_FILE):
                self._upload(self.local / key / name, f"{key}/{name}")
        self.drop_checkpoint(key)

    def add(self, key: str, name: str, write: Callable[[Path], None]) -> Path:
        """Add a file that follows from a finished stage (its pseudo-masks) unless it is there; returns its path."""
        path = self.folder(key) / name
        if not path.is_file():
            aside = path.with_name(f".{name}-{uuid.uuid4().hex}")
            try:
                write(aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
        return path

    def read_checkpoint(self, key: str) -> Path | None:
        """File of the stage's latest checkpoint, if there is one."""
        path, name = self._checkpoint(key)
        if self.remote is not None and self._remote_file(name):  # every checkpoint goes there, so it is the newest
            filesystem, base = self.remote
            path.parent.mkdir(exist_ok=True)
            local = fs.LocalFileSystem()
            self._wait(
                lambda: fs.copy_files(f"{base}/{name}", str(path), source_filesystem=filesystem, destination_filesystem=local)
            )
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
            self._upload(path, name)

    def drop_checkpoint(self, key: str) -> None:
        """Remove the stage's checkpoint, here and at the URI."""
        path, name = self._checkpoint(key)
        path.unlink(missing_ok=True)
        if self.remote is not None and self._remote_file(name):
            filesystem, base = self.remote
            self._wait(lambda: filesystem.delete_file(f"{base}/{name}"))

    def set_aside(self, path: Path, why: str) -> None:
        """Move what cannot be read out of the way and say so; a remote copy is deleted, as it is the same."""
        place = self.local / DAMAGED / f"{path.name}-{uuid.uuid4().hex[:8]}"
        place.parent.mkdir(exist_ok=True)
        try:
            path.rename(place)
        except FileNotFoundError:  # another process has done so
            return
        self.sound.discard(path.name)
        self.say(f"store: {path} is damaged ({why}); moved to {place}, it is made again")
        if self.remote is not None:
            filesystem, base = self.remote
            name = path.relative_to(self.local).as_posix()
            with contextlib.suppress(OSError):
                self._wait(lambda: (filesystem.delete_dir if place.is_dir() else filesystem.delete_file)(f"{base}/{name}"))

    def _whole(self, key: str) -> bool:
        """Whether a folder holds what its stage.json says; otherwise it is set aside."""
        folder = self.local / key
        try:
            files: dict[str, Any] = json.loads((folder / STAGE_FILE).read_text(encoding="utf-8"))["files"]
            wrong = [name for name, said in files.items() if not as_described(folder / name, said)]
        except FileNotFoundError as error:
            wrong = [Path(error.filename).name]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            wrong = [STAGE_FILE]
        if wrong:
            self.set_aside(folder, f"{wrong[0]} is missing, unreadable or cut")
        return not wrong

    def _remote_whole(self, key: str) -> bool:
        """Whether the URI holds what its stage.json says, as far as sizes tell; otherwise it is deleted there."""
        assert self.remote is not None
        filesystem, base = self.remote
        if not self._remote_file(f"{key}/{STAGE_FILE}"):  # nothing, or what is being uploaded
            return False

        def wrong() -> str:
            try:
                with filesystem.open_input_stream(f"{base}/{key}/{STAGE_FILE}") as stream:
                    said = {name: about["bytes"] for name, about in json.loads(stream.read())["files"].items()}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return STAGE_FILE
            found = filesystem.get_file_info([f"{base}/{key}/{name}" for name in said])
            return next((name for name, info in zip(said, found, strict=True) if info.size != said[name]), "")

        if name := self._wait(wrong):
            self.say(f"store: {self.location}/{key} is damaged ({name} is missing, unreadable or cut); it is made again")
            self._wait(lambda: filesystem.delete_dir(f"{base}/{key}"))
        return not name

    def _wait(self, call: Callable[[], Result]) -> Result:
        return wait_for(call, f"store {self.location}", limit=self.limit, allowed="a folder or a URI that answers")

    def _probe_remote(self) -> None:
        assert self.remote is not None
        filesystem, base = self.remote
        probe = f"{base}/.probe-{uuid.uuid4().hex}"

        def write() -> None:
            filesystem.create_dir(base, recursive=True)
            with filesystem.open_output_stream(probe):
                pass
            filesystem.delete_file(probe)

        try:
            self._wait(write)
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise SettingError(f"store: cannot write to {self.location!r} ({reason}); allowed: a URI you may write to") from None

    def _checkpoint(self, key: str) -> tuple[Path, str]:
        return self.local / "unfinished" / f"{key}.pt", f"unfinished/{key}.pt"

    def _remote_file(self, name: str) -> bool:
        assert self.remote is not None
        filesystem, base = self.remote
        return self._wait(lambda: filesystem.get_file_info(f"{base}/{name}").type) == fs.FileType.File

    def _upload(self, path: Path, name: str) -> None:
        assert self.remote is not None
        filesystem, base = self.remote
        target = f"{base}/{name}"

        def send() -> None:
            filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
            fs.copy_files(str(path), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=filesystem)

        self._wait(send)

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
