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

STAGE_FILE = "stage.json"
"""Written last on a remote store, where a folder cannot be renamed: a key without it is not there."""


class Store:
    """`location/<key>/` for finished stages and `location/unfinished/<key>.pt` for checkpoints of running ones.

    `location` is a folder or a URI that `pyarrow.fs` opens (s3://, gs://, file://...). With a URI every folder is first made in
    `mirror` on this machine, then copied; reading copies it back once.
    """

    def __init__(self, location: str, mirror: Path) -> None:
        self.location = location
        self.remote: tuple[fs.FileSystem, str] | None = None
        self.local = Path(location)
        if "://" in location:
            try:
                self.remote = fs.FileSystem.from_uri(location)
            except (ValueError, OSError) as error:
                raise SettingError(f"store: cannot open {location!r} ({error}); allowed: a folder or a URI of pyarrow.fs") from None
            self.local = mirror / hashlib.sha256(location.encode()).hexdigest()[:16]
        writable_folder(self.local, "store")
        if self.remote is not None:
            self._probe_remote()

    def has(self, key: str) -> bool:
        """Whether the stage is finished."""
        if (self.local / key / STAGE_FILE).is_file():
            return True
        return self.remote is not None and self._remote_file(f"{key}/{STAGE_FILE}")

    def folder(self, key: str) -> Path:
        """The stage's folder on this machine. Raises KeyError when the store does not hold the stage."""
        path = self.local / key
        if (path / STAGE_FILE).is_file():
            return path
        if self.remote is None or not self._remote_file(f"{key}/{STAGE_FILE}"):
            raise KeyError(key)
        filesystem, base = self.remote
        with self._aside(path) as aside:
            fs.copy_files(f"{base}/{key}", str(aside), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem())
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
            (aside / STAGE_FILE).write_text(json.dumps(info, indent=1, sort_keys=True))
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
            fs.copy_files(f"{base}/{name}", str(path), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem())
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
            self.remote[0].delete_file(f"{self.remote[1]}/{name}")

    def _probe_remote(self) -> None:
        assert self.remote is not None
        filesystem, base = self.remote
        probe = f"{base}/.probe-{uuid.uuid4().hex}"
        try:
            filesystem.create_dir(base, recursive=True)
            with filesystem.open_output_stream(probe):
                pass
            filesystem.delete_file(probe)
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise SettingError(f"store: cannot write to {self.location!r} ({reason}); allowed: a URI you may write to") from None

    def _checkpoint(self, key: str) -> tuple[Path, str]:
        return self.local / "unfinished" / f"{key}.pt", f"unfinished/{key}.pt"

    def _remote_file(self, name: str) -> bool:
        assert self.remote is not None
        filesystem, base = self.remote
        return filesystem.get_file_info(f"{base}/{name}").type == fs.FileType.File

    def _upload(self, path: Path, name: str) -> None:
        assert self.remote is not None
        filesystem, base = self.remote
        target = f"{base}/{name}"
        filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
        fs.copy_files(str(path), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=filesystem)

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


def writable_folder(path: Path, name: str) -> None:
    """Make the folder and try to write into it. Raises SettingError naming it when that does not work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(
            f"{name}: cannot write to {str(path)!r} ({error.strerror}); allowed: a folder you may write to"
        ) from None
