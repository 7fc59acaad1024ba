"""Which stages the studies on disk refer to, by their files and by what they have noted in the store."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg.results.files import first_line
from semiseg.results.records import STUDY_FILE
from semiseg.store import Store
from semiseg.users import User, users_of

KEY = re.compile(r"[0-9a-f]{64}")
SEARCH_JOURNAL = "search.journal"
"""Optuna's journal, in which a search writes the keys of its stages."""
TABLES_OF_KEYS = ("stages.parquet", "rows.parquet")
PASSED_BY = ("samples", "figures")
"""Folders in which no study can be."""


class Reference(NamedTuple):
    """A study and the stages that it refers to."""

    folder: str
    keys: frozenset[str]
    noted: User | None = None
    """What the store knows of it."""
    seen: bool = True
    """Whether its folder was looked at; otherwise it is on another machine or on a disk that is not there."""


def studies_below(root: Path) -> Iterator[Path]:
    """Results folders at and below a folder, those of searches too, each once; links are followed. Raises OSError for a folder that
    cannot be read."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in PASSED_BY and not KEY.fullmatch(name) and name[0] != ".")
        if is_study(files):
            yield Path(place)


def is_study(files: Iterable[str]) -> bool:
    """Whether a folder with these files holds results."""
    return not {STUDY_FILE, SEARCH_JOURNAL, *TABLES_OF_KEYS}.isdisjoint(files)


def keys_in(folder: Path) -> frozenset[str]:
    """Keys of all stages that the results of a folder refer to. ValueError naming a file that cannot be read."""
    found: set[str] = set()
    tables = [folder / name for name in TABLES_OF_KEYS if (folder / name).is_file()]
    journal = folder / SEARCH_JOURNAL
    if not tables and not journal.is_file():
        raise ValueError(
            f"{folder}: has {STUDY_FILE} but not {' or '.join(TABLES_OF_KEYS)}; allowed: a whole results folder, or none"
        )
    for path in tables:
        try:
            table = pq.read_table(pa.BufferReader(path.read_bytes()))
            found.update(table["key"].to_pylist())
            if "teachers" in table.schema.names:
                found.update(key for some in table["teachers"].to_pylist() for key in some or ())
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ValueError(f"{path}: cannot be read: {first_line(error)}; allowed: a whole results folder, or none") from error
    if journal.is_file():
        found.update(KEY.findall(journal.read_text(encoding="utf-8", errors="replace")))
    return frozenset(found)


def references_of(store: Store, roots: Iterable[Path], forget: Iterable[Path] = ()) -> tuple[list[Reference], list[User]]:
    """All studies below the folders, and those that the store knows of; apart from them the known ones whose results are gone.

    A study of another machine, or below a folder that is not there, cannot be looked at and counts as it noted itself. `forget` are
    folders whose studies count no more, unless they are there.
    """
    found: dict[str, Reference] = {}
    for root in roots:
        for folder in studies_below(root):
            real = os.path.realpath(folder)
            found[real] = Reference(str(folder), keys_in(folder))
    gone, dropped = [], {os.path.abspath(os.path.expanduser(path)) for path in forget}
    for user in users_of(store):
        folder, noted = Path(user.folder), frozenset(user.stages)
        known = found.get(os.path.realpath(folder)) if user.here else None
        if known is not None:
            found[os.path.realpath(folder)] = known._replace(keys=known.keys | noted, noted=user)
        elif user.here and folder.is_dir():
            keys = keys_in(folder) if is_study(os.listdir(folder)) else frozenset()
            found[user.folder] = Reference(user.folder, keys | noted, user)
        elif user.folder in dropped or (user.here and folder.parent.is_dir()):
            gone.append(user)
        else:
            found[f"{user.host}:{user.folder}"] = Reference(f"{user.host}:{user.folder}", noted, user, seen=False)
    return list(found.values()), gone


def with_all_teachers(keys: Iterable[str], teachers_of: Callable[[str], Iterable[str]]) -> set[str]:
    """The keys and those of all stages that they learned from, directly or not."""
    found, waiting = set(keys), list(keys)
    while waiting:
        more = set(teachers_of(waiting.pop())) - found
        found |= more
        waiting += more
    return found
