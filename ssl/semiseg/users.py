"""Which studies use which stages of a store: each notes it there when it is planned, so that the store's care knows them all, wherever
their results are. Imports neither torch nor ray."""

import contextlib
import hashlib
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg.results import write_bytes
from semiseg.results.files import first_line
from semiseg.store import Store

USERS = "users"
"""Folder of the store: one file a results folder."""
SCHEMA = pa.schema([("key", pa.string()), ("name", pa.string()), ("settings", pa.string())])


class Asked(NamedTuple):
    """A stage that a study has asked for."""

    name: str
    """row/seed N/stage."""
    settings: Mapping[str, Any] | None
    """What its key is made of; None where that is not known."""


class User(NamedTuple):
    """A study, as the store knows it."""

    folder: str
    """Its results folder, absolute."""
    host: str
    """The machine that this is on."""
    stages: Mapping[str, Asked]

    @property
    def here(self) -> bool:
        """Whether it was run on this machine."""
        return self.host == socket.gethostname()


def note_user(store: Store, folder: Path, stages: Mapping[str, Asked]) -> None:
    """Note what a study needs, in place of what it needed before; settings that are not known now are kept from then.

    A store that cannot be written is said to stderr, and the study goes on: its results folder names its stages too.
    """
    user = User(str(folder.resolve()), socket.gethostname(), stages)
    path = _file(store, user)
    before: Mapping[str, Asked] = {}
    with contextlib.suppress(ValueError, FileNotFoundError):  # one that is damaged is written anew
        before = _read(path).stages
    lines = [
        {"key": key, "name": asked.name, "settings": None if settings is None else json.dumps(settings, sort_keys=True)}
        for key, asked in sorted(stages.items())
        for settings in (asked.settings or (before[key].settings if key in before else None),)
    ]
    about = {"folder": user.folder, "host": user.host}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(lines, schema=SCHEMA).replace_schema_metadata(about), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    if path.is_file() and path.read_bytes() == content:
        return
    try:
        write_bytes(path, content)
    except OSError as error:
        print(f"store: cannot write to {path} ({error.strerror or error}); gc knows this study by {folder} alone", file=sys.stderr)
        return
    if store.remote is not None:
        store.remote.upload(path, f"{USERS}/{path.name}")


def users_of(store: Store) -> Iterator[User]:
    """All studies that have noted what they need; at a URI those of all machines. ValueError for a note that cannot be read."""
    if store.remote is not None:
        for name in store.remote.holdings().files.get(USERS, {}):
            (store.local / USERS).mkdir(exist_ok=True)
            store.remote.fetch(f"{USERS}/{name}", store.local / USERS / name)
    for path in sorted((store.local / USERS).glob("*.parquet")):
        yield _read(path)


def forget_user(store: Store, user: User) -> None:
    """Remove the note of a study."""
    path = _file(store, user)
    path.unlink(missing_ok=True)
    if store.remote is not None and store.remote.has_file(f"{USERS}/{path.name}"):
        store.remote.delete_file(f"{USERS}/{path.name}")


def _file(store: Store, user: User) -> Path:
    return store.local / USERS / f"{hashlib.sha256(f'{user.host}:{user.folder}'.encode()).hexdigest()[:16]}.parquet"


def _read(path: Path) -> User:
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        about = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
        stages = {
            line["key"]: Asked(line["name"], None if line["settings"] is None else json.loads(line["settings"]))
            for line in table.to_pylist()
        }
        return User(about["folder"], about["host"], stages)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ValueError(
            f"{path}: cannot be read: {first_line(error)}; allowed: a note of what a study needs, or none: its next run writes it"
        ) from error
