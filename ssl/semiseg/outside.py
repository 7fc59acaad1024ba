"""Paths as people write them on a command line, read in one place: `~`, URIs where a folder is meant, folders to write to; and what they
type to run this again."""

import os
import re
import shlex
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from semiseg.refusals import SettingError

URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
"""Path() has made one slash out of two by the time it is seen."""


DOORS = ("semiseg", "python -m semiseg")
"""What sys.argv[0] begins with, before a name, where no script was called."""


def command_line(words: Sequence[str]) -> str:
    """What a person types to run this with these words: `semiseg NAME WORDS`, or Python and the script, from this folder."""
    door, _, name = sys.argv[0].rpartition(" ")
    called = [*door.split(), name] if door in DOORS else ["python", os.path.relpath(sys.argv[0])]
    return shlex.join([*called, *words])


def local_path(path: Path, name: str) -> Path:
    """An absolute path on this machine, `~` expanded. SettingError naming the setting for a URI, or a `~` that means nobody's home."""
    if URI.match(str(path)):
        raise SettingError(f"{name}: got {str(path)!r}; allowed: a folder on this machine (only --store may be a URI)")
    try:
        return path.expanduser().resolve()
    except RuntimeError:
        raise SettingError(f"{name}: got {str(path)!r}, where ~ is nobody's home; allowed: a folder on this machine") from None


def local_folder(path: Path, name: str) -> Path:
    """`local_path` of a folder that is there afterwards and can be written to; SettingError where that is not so."""
    folder = local_path(path, name)
    writable_folder(folder, name)
    return folder


def store_location(text: str) -> str:
    """A store's folder made absolute, or a URI as it is."""
    return text if "://" in text else str(local_path(Path(text), "store"))


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


def temporary_place() -> str:
    """The system's folder for temporary files. SettingError where there is none to write to."""
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise SettingError(f"TMPDIR: {error.strerror or error}; allowed: a folder with room") from None


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder that goes when the block ends. SettingError where it cannot be made."""
    place = temporary_place()
    try:
        made = tempfile.TemporaryDirectory(prefix="semiseg-", dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise SettingError(f"TMPDIR: cannot write to {place!r} ({error.strerror}); allowed: a folder with room") from None
    with made as folder:
        yield folder
