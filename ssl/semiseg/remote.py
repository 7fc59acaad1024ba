"""A store's copy at a URI that `pyarrow.fs` opens (s3://, gs://, file://...). A folder there is whole when its stage.json is, which is
written last, because folders cannot be renamed there. Imports neither torch nor ray."""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import fs

from semiseg.config import SettingError
from semiseg.waiting import Result, wait_for

STAGE_FILE = "stage.json"
"""Written last: a key without it is not there."""
WHOLE = "whole"
"""Folder with an empty file `KEY-DIGEST` for every stage that was uploaded: a listing alone then tells what is whole."""
_OPENED: dict[str, tuple[fs.FileSystem, str]] = {}
"""File systems and paths of the URIs to which this process has written a probe."""


class Holdings(NamedTuple):
    """What lies at a URI at a moment."""

    files: dict[str, dict[str, int]]
    """Bytes of every stage's files, by key and name."""
    marks: frozenset[str]
    """Names of the files in WHOLE."""

    def whole(self, key: str) -> bool:
        """Whether all files of a stage are there as they were uploaded; False for one that was uploaded by an earlier version, too."""
        return key in self.files and f"{key}-{_digest(self.files[key])}" in self.marks


class Remote:
    """Files at a URI by their name below it. Every call is given up, by SettingError, after `limit` seconds without an answer.

    Raises SettingError for what is no URI of a place that can be written to; that is tried once in a process.
    """

    def __init__(self, location: str, limit: float) -> None:
        self.location, self.limit = location, limit
        if location in _OPENED:
            self.filesystem, self.base = _OPENED[location]
            return
        try:
            self.filesystem, self.base = self._wait(lambda: fs.FileSystem.from_uri(location))
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise SettingError(f"store: cannot open {location!r} ({reason}); allowed: a folder or a URI of pyarrow.fs") from None
        self._probe()
        _OPENED[location] = self.filesystem, self.base

    def has_file(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return self._wait(lambda: self.filesystem.get_file_info(f"{self.base}/{name}").type) == fs.FileType.File

    def read(self, name: str) -> bytes:
        """Content of a small file. OSError where there is none."""

        def get() -> bytes:
            with self.filesystem.open_input_stream(f"{self.base}/{name}") as stream:
                return stream.read()

        return self._wait(get)

    def describe(self, name: str) -> dict[str, Any]:
        """Size in bytes and sha256 of a file, read anew. OSError where there is none."""
        digest, size = hashlib.sha256(), 0
        with self._wait(lambda: self.filesystem.open_input_stream(f"{self.base}/{name}")) as stream:
            while block := self._wait(lambda: stream.read(1 << 22)):
                digest.update(block)
                size += len(block)
        return {"bytes": size, "sha256": digest.hexdigest()}

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine."""
        target = f"{self.base}/{name}"

        def send() -> None:
            self.filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
            fs.copy_files(str(path), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=self.filesystem)

        self._wait(send)

    def upload_stage(self, folder: Path, key: str) -> None:
        """Copy a stage's folder, stage.json last, and mark it."""
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
        for name in sorted(sizes, key=lambda name: name == STAGE_FILE):
            self.upload(folder / name, f"{key}/{name}")

        def mark() -> None:
            self.filesystem.create_dir(f"{self.base}/{WHOLE}")
            with self.filesystem.open_output_stream(f"{self.base}/{WHOLE}/{key}-{_digest(sizes)}"):
                pass

        self._wait(mark)

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file or a folder to this machine."""
        local = fs.LocalFileSystem()
        self._wait(
            lambda: fs.copy_files(f"{self.base}/{name}", str(path), source_filesystem=self.filesystem, destination_filesystem=local)
        )

    def delete_file(self, name: str) -> None:
        """Remove a file. OSError where it cannot be removed."""
        self._wait(lambda: self.filesystem.delete_file(f"{self.base}/{name}"))

    def delete_folder(self, name: str) -> None:
        """Remove a folder. OSError where it cannot be removed."""
        self._wait(lambda: self.filesystem.delete_dir(f"{self.base}/{name}"))

    def holdings(self) -> Holdings:
        """Everything that is there, by one call: on S3 a request a thousand files."""
        files: dict[str, dict[str, int]] = {}
        marks = set()
        for info in self._wait(lambda: self.filesystem.get_file_info(fs.FileSelector(self.base, recursive=True))):
            top, _, name = info.path.removeprefix(self.base).lstrip("/").partition("/")
            if info.type == fs.FileType.File and top == WHOLE:
                marks.add(name)
            elif info.type == fs.FileType.File and name:
                files.setdefault(top, {})[name] = info.size
        return Holdings(files, frozenset(marks))

    def delete_stage(self, key: str) -> None:
        """Remove a stage and what marks it as whole."""
        with contextlib.suppress(FileNotFoundError):
            self.delete_folder(key)
        selector = fs.FileSelector(f"{self.base}/{WHOLE}", allow_not_found=True)
        for info in self._wait(lambda: self.filesystem.get_file_info(selector)):
            if info.base_name.startswith(f"{key}-"):
                self.delete_file(f"{WHOLE}/{info.base_name}")

    def damage(self, key: str) -> str:
        """Name of a file of the stage that is missing, unreadable or cut, as far as sizes tell; "" where there is none."""

        def look() -> str:
            try:
                with self.filesystem.open_input_stream(f"{self.base}/{key}/{STAGE_FILE}") as stream:
                    said = {name: about["bytes"] for name, about in json.loads(stream.read())["files"].items()}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return STAGE_FILE
            found = self.filesystem.get_file_info([f"{self.base}/{key}/{name}" for name in said])
            return next((name for name, info in zip(said, found, strict=True) if info.size != said[name]), "")

        return self._wait(look)

    def _probe(self) -> None:
        probe = f"{self.base}/.probe-{uuid.uuid4().hex}"

        def write() -> None:
            self.filesystem.create_dir(self.base, recursive=True)
            with self.filesystem.open_output_stream(probe):
                pass
            self.filesystem.delete_file(probe)

        try:
            self._wait(write)
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise SettingError(f"store: cannot write to {self.location!r} ({reason}); allowed: a URI you may write to") from None

    def _wait(self, call: Callable[[], Result]) -> Result:
        return wait_for(call, f"store {self.location}", limit=self.limit, allowed="a folder or a URI that answers")


def _digest(sizes: dict[str, int]) -> str:
    """Of names and sizes of files, in any order."""
    return hashlib.sha256(json.dumps(sorted(sizes.items())).encode()).hexdigest()[:16]
