"""What no study on disk refers to, and its removal."""

import shutil
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import NamedTuple

from semiseg.care.held import Aside, Held, asides_in, held_folder, record_in, stages_in
from semiseg.care.references import Reference, with_all_teachers
from semiseg.remote import STAGE_FILE
from semiseg.store import Store
from semiseg.users import User, forget_user

DAY = 86400.0


class Unreferenced(NamedTuple):
    """What may go."""

    stages: tuple[Held, ...]
    asides: tuple[Aside, ...]
    users: tuple[User, ...]
    """Notes of studies that are gone."""

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in (*self.stages, *self.asides))


def teachers_in(store: Store, stages: Mapping[str, Held]) -> Callable[[str], list[str]]:
    """Keys of the stages that a stage of the store learned from; each record is read once."""

    @cache
    def teachers(key: str) -> list[str]:
        found = record_in(store, stages[key]).get("teachers") if key in stages else None
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    return teachers


def unreferenced(
    store: Store, references: Collection[Reference], gone: Collection[User], *, days: float, now: float
) -> Unreferenced:
    """Stages that no study refers to, checkpoints of such and of finished stages, what was set aside, what crashes left; all of it older
    than `days`, as a study that has just begun, or a search, may be about to say what it needs."""
    stages = stages_in(store)
    kept = with_all_teachers({key for one in references for key in one.keys}, teachers_in(store, stages))
    old = {key: held for key, held in stages.items() if key not in kept and _age(store, held, now) >= days * DAY}
    whole = {key for key, held in stages.items() if not held.light}
    asides = [
        one
        for one in asides_in(store)
        if one.seconds >= days * DAY and (one.kind != "checkpoint" or one.key not in kept or one.key in whole)
    ]
    return Unreferenced(tuple(old.values()), tuple(asides), tuple(gone))


def remove(store: Store, found: Unreferenced) -> None:
    """Remove it from the store, at its URI too. What a crash leaves of that is a leftover of the next time, never half a stage."""
    for held in found.stages:
        folder, aside = held_folder(store, held), store.local / f".{held.key}-{uuid.uuid4().hex}"
        if folder.is_dir():
            folder.rename(aside)
            shutil.rmtree(aside)
        if store.remote is not None and not held.light:
            store.remote.delete_stage(held.key)
    for one in found.asides:
        shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink(missing_ok=True)
        if one.kind == "checkpoint":
            store.drop_checkpoint(one.key)
    for user in found.users:
        forget_user(store, user)


def _age(store: Store, held: Held, now: float) -> float:
    """Seconds since a stage was published or a file was added to it on this machine; at a URI alone, since its training ended."""
    folder = held_folder(store, held)
    written = [path.stat().st_mtime for path in (folder / STAGE_FILE, folder) if path.exists()]
    ended = record_in(store, held).get("ended") if not written else None
    return now - max(written, default=float(ended) if isinstance(ended, int | float) else 0.0)
