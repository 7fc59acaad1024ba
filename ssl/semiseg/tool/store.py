"""What lies in a store, who needs it, whether it is whole, and what may go: ls, explain, verify, gc."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from semiseg.care.archive import labels_in
from semiseg.care.checking import Checked, check_stage, set_aside_damaged
from semiseg.care.explain import Known, why_missing, why_there
from semiseg.care.held import Held, asides_in, one_stage, record_in, spoken_size, stages_in
from semiseg.care.references import KEY, Reference, keys_in, references_of, studies_below, with_all_teachers
from semiseg.care.removal import remove, teachers_in, unreferenced
from semiseg.config import SettingError, require
from semiseg.outside import local_path
from semiseg.remote import STAGE_FILE
from semiseg.store import Store
from semiseg.sweep.bench import DONE, FAILED
from semiseg.sweep.command import guarded
from semiseg.sweep.words import read_words
from semiseg.tool.stored import RESULTS, Stored, results_named
from semiseg.users import Asked, User, users_of


@dataclass(frozen=True, kw_only=True)
class StoreArguments(Stored):
    """What is done with a store.

    ls: what each study keeps in it, and what is of no study. explain: why stages of studies, or of keys, are in it or not, and in which fields the
    nearest stages differ. verify: read every file and compare it with its checksum; what is damaged is set aside, and made again by its study's
    next run. gc: remove stages that no study on disk refers to, their checkpoints, what was set aside as damaged, and what crashes left.
    """

    action: tyro.conf.Positional[str] = ""
    """ls, explain, verify or gc."""
    what: tyro.conf.Positional[tuple[str, ...]] = ()
    """Of explain and verify: results folders of studies, or first letters of keys; verify without: the whole store."""
    out: tuple[Path, ...] = (RESULTS,)
    """Folders below which studies are looked for, beside those that the store knows."""
    stages: bool = False
    """Of ls: a line for each stage, the largest first."""
    dry_run: bool = False
    """Of verify and gc: say what is damaged, or would go, and leave it."""
    days: float = 1.0
    """Of gc: younger stages stay, as a study that has just begun may need them."""
    forget: tuple[Path, ...] = ()
    """Of gc: results folders of other machines or disks that are gone, and count no more."""
    all: bool = False
    """Of gc: even where not one study is found."""


OF: Mapping[str, tuple[str, ...]] = {
    "what": ("explain", "verify"),
    "stages": ("ls",),
    "dry_run": ("verify", "gc"),
    "days": ("gc",),
    "forget": ("gc",),
    "all": ("gc",),
}
"""StoreArguments that some actions have no use for, and those that have."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done; 1 something damaged was found, or missing (explain), or a disk is full; 2 unusable arguments, no store."""

    def run(words: list[str]) -> int:
        a = read_words(StoreArguments, StoreArguments(), words, __doc__ or "")
        require(a.action in ACTIONS, "store", a.action or "nothing", ", ".join(ACTIONS))
        for name, actions in OF.items():
            given = getattr(a, name)
            require(given == getattr(StoreArguments, name) or a.action in actions, name, given, f"with {' or '.join(actions)}")
        try:
            return ACTIONS[a.action](a, a.open())
        except SettingError:
            raise
        except ValueError as error:  # of results that cannot be read
            raise SettingError(str(error)) from None
        except PermissionError as error:
            raise SettingError(f"store: cannot use {error.filename} ({error.strerror}); allowed: as a user who may") from None

    return guarded(run, argv)


def _ls(a: StoreArguments, store: Store) -> int:
    stages, (references, gone) = stages_in(store), _references(store, a)
    teachers = teachers_in(store, stages)
    needed = {one.folder: with_all_teachers(one.keys, teachers) & stages.keys() for one in references}
    users: dict[str, list[str]] = {key: [] for key in stages}
    for folder, keys in needed.items():
        for key in keys:
            users[key].append(folder)
    print(f"{store.location}: {len(stages)} stages, {spoken_size(sum(one.bytes for one in stages.values()))}\n")
    lines = [("study", "stages", "size", "its alone")]
    for one in sorted(references, key=lambda one: one.folder):
        keys = needed[one.folder]
        alone = [key for key in keys if users[key] == [one.folder]]
        lines.append(
            (one.folder if one.seen else f"{one.folder} (not here)", str(len(keys)), _size(stages, keys), _size(stages, alone))
        )
    free = [key for key, some in users.items() if not some]
    lines.append(("no study", str(len(free)), _size(stages, free), ""))
    _table(lines)
    for kind in ("checkpoint", "damaged", "leftover"):
        if some := [one for one in asides_in(store) if one.kind == kind]:
            print(
                f"{kind}{'s' * (len(some) > 1 and kind != 'damaged')}: {len(some)}, {spoken_size(sum(one.bytes for one in some))}"
            )
    for user in gone:
        print(f"gone: {user.folder}")
    if a.stages:
        print()
        found = [("key", "stage", "size", "used by")]
        for held in sorted(stages.values(), key=lambda one: (-one.bytes, one.key)):
            name = str(record_in(store, held).get("name", "unreadable"))
            found.append(
                (held.key[:12], name + " without weights" * held.light, spoken_size(held.bytes), ", ".join(users[held.key]) or "-")
            )
        _table(found)
    return DONE


def _explain(a: StoreArguments, store: Store) -> int:
    require(bool(a.what), "explain", "nothing", "results folders of studies, or first letters of keys")
    stages = stages_in(store)
    known, asides = Known(store, stages), asides_in(store)
    noted: dict[str, Asked] = {}
    folders: dict[str, list[str]] = {}
    for user in users_of(store):
        for key, asked in user.stages.items():
            folders.setdefault(key, []).append(user.folder)
            noted[key] = asked if key not in noted or asked.settings is not None else noted[key]
    names = {key: asked.name for key, asked in noted.items()}
    missing = 0
    for word in a.what:
        study = _study(word, a)
        if study is not None:
            missing += _explain_study(
                study, stages, known, lambda key: why_missing(_settings(noted, key), key, known, asides, names), names
            )
            continue
        key = one_stage({*stages, *noted, *(one.key for one in asides)}, word)
        name = names.get(key) or known.records.get(key, {}).get("name", "")
        print(f"{key} {name}")
        for folder in folders.get(key, ()):
            print(f"  used by {folder}")
        if key in stages:
            print(*why_there(store, stages[key], known.records[key]), sep="\n")
        else:
            missing += 1
            print(*why_missing(_settings(noted, key), key, known, asides, names), sep="\n")
    return FAILED if missing else DONE


def _explain_study(
    study: Path, stages: Mapping[str, Held], known: Known, why: Callable[[str], Iterable[str]], names: Mapping[str, str]
) -> int:
    """Say it of all stages of a study, alike ones once; how many are missing."""
    wanted = sorted({key for folder in studies_below(study) for key in keys_in(folder)})
    lost = [key for key in wanted if key not in stages]
    light = sum(stages[key].light for key in wanted if key in stages)
    print(
        f"{study}: {len(wanted)} stages, {len(wanted) - len(lost)} in the store{f' ({light} without weights)' if light else ''}, {len(lost)} missing"
    )
    names, alike = {**labels_in(study), **names}, dict[str, list[str]]()
    for key in lost:
        said = "\n".join(why(key))
        alike.setdefault(said, []).append(key)
    for said, keys in alike.items():
        some = ", ".join(f"{names.get(key, 'stage')} {key[:12]}" for key in keys[:3])
        print(f"\n{some}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}\n{said}")
    return len(lost)


def _verify(a: StoreArguments, store: Store) -> int:
    stages = stages_in(store)
    wanted: set[str] = set()
    for word in a.what:
        study = _study(word, a)
        found = {key for folder in studies_below(study) for key in keys_in(folder)} if study else {one_stage(stages, word)}
        wanted |= found & stages.keys()
    damaged = unknown = count = size = 0
    for held in stages.values() if not a.what else [stages[key] for key in sorted(wanted)]:
        try:
            found_there = check_stage(store, held)
        except FileNotFoundError:  # another process has removed it meanwhile
            continue
        count, size, damaged = count + 1, size + found_there.bytes, damaged + bool(found_there.damaged)
        unknown += bool(found_there.unknown)
        _say_checked(store, held, found_there, a.dry_run)
    said = f"{count} stages, {spoken_size(size)}: {damaged} damaged"
    print(said + (f", {unknown} with files that have no checksum, as earlier versions wrote none" if unknown else ""))
    return FAILED if damaged else DONE


def _say_checked(store: Store, held: Held, found: Checked, dry_run: bool) -> None:
    name = record_in(store, held).get("name", "")
    for file, wrong in found.damaged.items():
        print(f"damaged: {held.key[:12]} {name} {file}: {wrong}")
    if set(found.unknown) - {STAGE_FILE}:  # whose settings are held to its key
        print(f"no checksum: {held.key[:12]} {name} {', '.join(found.unknown)}")
    if found.damaged and not dry_run:
        set_aside_damaged(store, held, found)


def _gc(a: StoreArguments, store: Store) -> int:
    require(0 <= a.days < float("inf"), "days", a.days, "a number >= 0")
    references, gone = _references(store, a, a.forget)
    looked = ", ".join(map(str, a.out))
    require(bool(references) or a.all, "out", looked, "folders below which there are studies, as all stages would go; or --all")
    found = unreferenced(store, references, gone, days=a.days, now=time.time())
    for held in found.stages:
        record = record_in(store, held)
        print(f"{held.key[:12]} {record.get('name', 'unreadable')} {spoken_size(held.bytes)}")
    for one in found.asides:
        print(f"{one.kind} {one.path.name[:24]} {spoken_size(one.bytes)}")
    for user in found.users:
        print(f"study that is gone: {user.folder}")
    for reference in references:
        if not reference.seen:
            print(f"kept for {reference.folder}, which is not here (--forget PATH, if it is gone)")
    if not a.dry_run:
        remove(store, found)
    what = f"{len(found.stages)} stages and {len(found.asides)} other files, {spoken_size(found.bytes)}"
    print(f"{len(references)} studies; {'would go' if a.dry_run else 'removed'}: {what}")
    return DONE


ACTIONS: Mapping[str, Callable[[StoreArguments, Store], int]] = {"ls": _ls, "explain": _explain, "verify": _verify, "gc": _gc}


def _references(store: Store, a: StoreArguments, forget: Sequence[Path] = ()) -> tuple[list[Reference], list[User]]:
    roots = [local_path(path, "out") for path in a.out]
    for root in roots:
        require(root.is_dir() or a.out == (RESULTS,), "out", str(root), "a folder below which there are studies")
    return references_of(store, [root for root in roots if root.is_dir()], forget)


def _study(word: str, a: StoreArguments) -> Path | None:
    """The results folder that a word means; None where it must be a key."""
    if (folder := results_named(word, a.out)) is not None:
        return folder
    require(bool(KEY.fullmatch(word.ljust(64, "0"))), "what", word, "a results folder, or the first letters of a key")
    return None


def _settings(noted: Mapping[str, Asked], key: str) -> Mapping[str, object] | None:
    return noted[key].settings if key in noted else None


def _size(stages: Mapping[str, Held], keys: Collection[str]) -> str:
    return spoken_size(sum(stages[key].bytes for key in keys))


def _table(lines: Sequence[tuple[str, ...]]) -> None:
    """Print columns, as wide as what is in them."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
