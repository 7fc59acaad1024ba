"""A study in one file: its results, its report and its stages with their settings, with or without weights; a ZIP that any program opens.

| name in it | what |
| --- | --- |
| `archive.json` | `format`, `name` of the study, `weights` (true or false), `made` (time, versions), `files`: bytes and sha256 of every other file |
| `results/...` | the results folder as it was, report.html among it |
| `stages/KEY/...` | the stages that it refers to, as the store had them; files that follow from weights (pseudo-masks) are made again where needed |
"""

import hashlib
import json
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import pyarrow.parquet as pq

from semiseg.care.checking import check_stage
from semiseg.care.held import Held, held_folder, record_in, stages_in
from semiseg.care.references import KEY, is_study, keys_in, studies_below, with_all_teachers
from semiseg.care.removal import teachers_in
from semiseg.config import SettingError, require
from semiseg.provenance import versions
from semiseg.published import WEIGHTS_FILE
from semiseg.remote import STAGE_FILE
from semiseg.results.files import first_line
from semiseg.stage import hash_of
from semiseg.store import RECORD, SUM, Store, recorded
from semiseg.users import Asked, note_user

ARCHIVE_FORMAT = 1
MANIFEST = "archive.json"
LEFT_OUT = "left_out"
"""Field of stage.json: files that an archive left out."""
PACKED = (".safetensors", ".png", ".parquet", ".planes", ".gz")
"""Files that do not get smaller."""
BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What zipfile raises for damaged bytes: of its own structure, in a compressed file, and, where a header is hit, of a compression or an
encryption that it does not know."""
FIXED = (1980, 1, 1, 0, 0, 0)
"""Time of all files in an archive, so that equal studies give equal archives but for `made`."""


class Imported(NamedTuple):
    """What an archive brought."""

    folder: Path
    stages: int
    """In the archive."""
    new: int
    """Of them those that the store did not have."""
    weights: bool


def write_archive(study: Path, file: Path, store: Store, *, weights: bool) -> tuple[int, int]:
    """Write a study's archive; how many stages it has and its bytes.

    SettingError for a folder without results, for stages that its results have and the store does not, or that are damaged there, and for a file
    that is there.
    """
    require(study.is_dir() and is_study(path.name for path in study.iterdir()), "study", str(study), "a results folder")
    require(not file.exists(), "archive", str(file), "a file that is not there yet")
    stages = _stages_of(study, store, weights)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(aside, "w", allowZip64=True) as archive:
            said: dict[str, dict[str, Any]] = {}
            for path in _results_of(study, store):
                _add(archive, f"results/{path.relative_to(study).as_posix()}", path.read_bytes(), said)
            for held in stages:
                _add_stage(archive, store, held, weights, said)
            made = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
            about = {"format": ARCHIVE_FORMAT, "name": study.resolve().name, "weights": weights, "made": made, "files": said}
            _write(archive, MANIFEST, json.dumps(about, indent=1, sort_keys=True).encode())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return len(stages), file.stat().st_size


def read_archive(file: Path, store: Store, out: Path | None = None) -> Imported:
    """Put a study's stages into the store and its results into `out` (None: results/NAME); the same command then trains nothing.

    Each file is held to its checksum and each stage to its key. What the store has stays. SettingError for what is no archive, for a damaged one,
    and for a folder that holds other results.
    """
    with _opened(file) as (archive, about):
        said: dict[str, dict[str, Any]] = about["files"]
        folder = out or Path("results") / about["name"]
        ours = {name.removeprefix("results/"): one for name, one in said.items() if name.startswith("results/")}
        there = folder.is_dir() and any(folder.iterdir())
        same = there and all(_is_file(folder / name, one) for name, one in ours.items())
        allowed = "a folder that is not there (--out), or one with the results of this archive"
        require(same or not (there or folder.is_file()), "out", str(folder), allowed)
        keys = sorted({name.split("/")[1] for name in said if name.startswith("stages/")})
        new = [key for key in keys if not store.has(key) and not (not about["weights"] and store.has_light(key))]
        for key in new:
            store.adopt(key, lambda aside, key=key: _extract_stage(archive, file, key, said, aside), light=not about["weights"])
        if not same:
            _extract_results(archive, file, ours, folder)
    held = stages_in(store)
    labels = labels_in(folder)
    records = {key: record_in(store, held[key]) for key in keys}
    note_user(
        store, folder, {key: Asked(labels.get(key, str(one.get("name", ""))), one.get("settings")) for key, one in records.items()}
    )
    return Imported(folder, len(keys), len(new), about["weights"])


def labels_in(study: Path) -> dict[str, str]:
    """row/seed N/stage of the stages of a results folder, by key: the first row that has each; of a search its comparison's."""
    found: dict[str, str] = {}
    for folder in studies_below(study):
        if (folder / "rows.parquet").is_file():
            for line in pq.read_table(folder / "rows.parquet").to_pylist():
                found.setdefault(line["key"], f"{line['row']}/seed {line['seed']}/{line['stage']}")
    return found


def _stages_of(study: Path, store: Store, weights: bool) -> list[Held]:
    """The stages that go into the archive, whole."""
    there, folders = stages_in(store), list(studies_below(study))
    done: set[str] = set()
    for folder in folders:
        if (folder / "stages.parquet").is_file():
            lines = pq.read_table(folder / "stages.parquet", columns=["key", "state"]).to_pylist()
            done |= {line["key"] for line in lines if line["state"] == "done"}
    missing = sorted(done - there.keys())
    allowed = "all stages of the study; its command again makes those that are missing"
    require(not missing, "store", f"none of {', '.join(key[:12] for key in missing[:3])} ({len(missing)} missing)", allowed)
    wanted = with_all_teachers({key for folder in folders for key in keys_in(folder)}, teachers_in(store, there))
    found = [there[key] for key in sorted(wanted & there.keys())]
    light = sum(held.light for held in found)
    require(not (weights and light), "weights", f"{light} stages that came without", "an archive without weights (--no-weights)")
    for held in found:
        wrong = check_stage(store, held).damaged
        require(
            not wrong,
            "store",
            f"{held.key[:12]}, damaged ({', '.join(wrong)})",
            "whole stages: `semiseg store verify`, then the study's command",
        )
    return found


def _results_of(study: Path, store: Store) -> Iterator[Path]:
    """Files of the results, without what is of a moment, and without a store inside."""
    for path in sorted(study.rglob("*")):
        of_a_moment = any(part.startswith(".") for part in path.relative_to(study).parts) or path.suffix in (".driver", ".lock")
        if path.is_file() and not of_a_moment and store.local.resolve() not in path.resolve().parents:
            yield path


def _add_stage(archive: zipfile.ZipFile, store: Store, held: Held, weights: bool, said: dict[str, dict[str, Any]]) -> None:
    folder = held_folder(store, held) if held.light else store.folder(held.key)
    info = json.loads((folder / STAGE_FILE).read_bytes())
    noted = info["files"] if "files" in info else {name: {} for name in held.files if name != STAGE_FILE and not name.endswith(SUM)}
    left = {} if weights else {name: about for name, about in noted.items() if name == WEIGHTS_FILE}
    if left:
        info = {name: value for name, value in info.items() if name != RECORD}
        info |= {"files": {name: about for name, about in noted.items() if name not in left}, LEFT_OUT: left}
    content = recorded(info).encode() if left else (folder / STAGE_FILE).read_bytes()
    _add(archive, f"stages/{held.key}/{STAGE_FILE}", content, said)
    for name in sorted(noted.keys() - left.keys()):
        _add(archive, f"stages/{held.key}/{name}", (folder / name).read_bytes(), said)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, said: dict[str, dict[str, Any]]) -> None:
    said[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _write(archive, name, content)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, FIXED)
    info.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """The archive and what its manifest says. SettingError for what is none."""
    allowed = "a file that `semiseg export STUDY --archive` wrote"
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise SettingError(f"archive: got {str(file)!r} ({first_line(error)}); allowed: {allowed}") from None
    with archive:
        try:
            about = json.loads(archive.read(MANIFEST))
            _check(about)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, *BROKEN) as error:
            raise SettingError(f"archive: got {str(file)!r} ({first_line(error)}); allowed: {allowed}") from None
        yield archive, about


def _check(about: dict[str, Any]) -> None:
    """Raise ValueError for a manifest of another version, or with names that no export writes."""
    if about["format"] != ARCHIVE_FORMAT:
        raise ValueError(f"format {about['format']!r} in place of {ARCHIVE_FORMAT}")
    for name in (about["name"], *about["files"]):
        if not _safe(name):
            raise ValueError(f"a file named {name!r}")
    known = all(name.startswith("results/") or KEY.fullmatch(name.removeprefix("stages/").split("/")[0]) for name in about["files"])
    if "/" in about["name"] or not known:
        raise ValueError("names that no export writes")


def _safe(name: str) -> bool:
    """Whether a name stays inside the folder that it is put into."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and not {"\\", "\0"} & set(name)


def _is_file(path: Path, said: Mapping[str, Any]) -> bool:
    return (
        path.is_file() and path.stat().st_size == said["bytes"] and hashlib.sha256(path.read_bytes()).hexdigest() == said["sha256"]
    )


def _extract_results(archive: zipfile.ZipFile, file: Path, ours: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        for name, one in ours.items():
            _extract(archive, file, f"results/{name}", one, aside / name)
        if folder.is_dir():  # it is empty
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _extract_stage(archive: zipfile.ZipFile, file: Path, key: str, said: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Write a stage's files into a folder that nobody sees yet."""
    base = f"stages/{key}/"
    for name, one in said.items():
        if name.startswith(base):
            _extract(archive, file, name, one, folder / name.removeprefix(base))
    info = json.loads((folder / STAGE_FILE).read_bytes())
    _whole(hash_of(info["settings"]) == key, file, f"{base}{STAGE_FILE}")
    for name, one in info["files"].items():
        _whole(said.get(f"{base}{name}") == one, file, f"{base}{name}")


def _extract(archive: zipfile.ZipFile, file: Path, name: str, said: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(name) as stream, path.open("wb") as target:
            size, digest = _copy(stream, target, said["bytes"])
    except (KeyError, EOFError, *BROKEN):
        size, digest = -1, ""
    _whole((size, digest) == (said["bytes"], said["sha256"]), file, name)


def _copy(stream: IO[bytes], target: IO[bytes], most: int) -> tuple[int, str]:
    """Bytes and sha256 of what was copied; little more than `most` of what should be less."""
    digest, size = hashlib.sha256(), 0
    while size <= most and (block := stream.read(1 << 20)):
        target.write(block)
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _whole(holds: bool, file: Path, name: str) -> None:
    if not holds:
        raise SettingError(f"archive: got {str(file)!r}, in which {name} is damaged; allowed: a whole copy of it")
