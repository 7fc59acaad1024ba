"""What no study on disk refers to goes, and nothing else."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from care_stores import make_results, make_stage, settings_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store import saying

from semiseg.care.held import stages_in
from semiseg.care.references import references_of
from semiseg.care.removal import unreferenced
from semiseg.store import LIGHT, Store
from semiseg.tool.store import main
from semiseg.users import Asked, note_user, users_of

Said = pytest.CaptureFixture[str]


def gc(place: Path, *words: str) -> int:
    return main(
        [
            "gc",
            "--store",
            str(place / "store"),
            "--cache",
            str(place / "cache"),
            "--out",
            str(place / "results"),
            "--days",
            "0",
            *words,
        ]
    )


def open_at(place: Path) -> Store:
    return Store(str(place / "store"), place / "cache")


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Stages that learn from earlier ones, studies that refer to some of them by one of four ways, and which are there no more."""
    count = draw(st.integers(1, 7))
    teachers = [draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set() for number in range(count)]
    numbers = st.sets(st.integers(0, count - 1), min_size=1, max_size=3)
    ways = st.sampled_from(("rows", "nested", "journal", "noted", "noted elsewhere", "noted and gone", "linked"))
    studies = draw(st.lists(st.tuples(ways, numbers), max_size=4))
    return {"teachers": teachers, "studies": studies, "light": draw(st.sets(st.integers(0, count - 1), max_size=2))}


def learned(teachers: list[set[int]], wanted: set[int]) -> set[int]:
    """With all that they learn from: a slow loop."""
    found = set(wanted)
    for _ in teachers:
        found |= {one for number in found for one in teachers[number]}
    return found


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_a_study_on_disk_refers_to_stays_whole_and_all_else_goes(world: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "results").mkdir()
        store = open_at(place)
        keys: list[str] = []
        for number, teachers in enumerate(world["teachers"]):
            keys.append(make_stage(store, settings_of(number, [keys[one] for one in sorted(teachers)])))
        for number in world["light"]:
            (place / "store" / LIGHT).mkdir(exist_ok=True)
            (place / "store" / keys[number]).rename(place / "store" / LIGHT / keys[number])
        wanted: set[int] = set()
        for number, (way, some) in enumerate(world["studies"]):
            named = [keys[one] for one in sorted(some)]
            out = place / "results" / f"study {number}"
            wanted |= set() if way == "noted and gone" else learned(world["teachers"], some)
            if way == "rows":
                make_results(out, {"row": named})
            elif way == "nested":
                make_results(out / "deep" / "final", {"row": named})
            elif way == "linked":
                make_results(place / f"other disk {number}", {"row": named})
                out.parent.mkdir(exist_ok=True)
                out.symlink_to(place / f"other disk {number}")
            elif way == "journal":
                out.mkdir(parents=True)
                (out / "search.journal").write_text(
                    "".join(json.dumps({"user_attr": {f"paid:{key}": 1.0}}) + "\n" for key in named)
                )
            else:
                elsewhere = place / ("elsewhere" if way == "noted elsewhere" else "gone") / f"study {number}"
                elsewhere.mkdir(parents=True)
                note_user(store, elsewhere, {key: Asked("row/seed 0/s1", None) for key in named})
                if way == "noted and gone":
                    elsewhere.rmdir()
                elif way == "noted":
                    make_results(elsewhere, {"row": named[:1]})
        before = {key: sorted(path.name for path in (place / "store").glob(f"**/{key}/*")) for key in keys}
        assert gc(place, "--dry-run", "--all") == 0
        assert stages_in(open_at(place)).keys() == set(keys)
        assert gc(place, "--all") == 0
        left = stages_in(open_at(place))
        assert left.keys() == {keys[number] for number in wanted}
        assert {key: sorted(held.files) for key, held in left.items()} == {key: before[key] for key in left}


def test_a_store_without_any_study_is_not_emptied(tmp_path: Path, capsys: Said) -> None:
    key = make_stage(open_at(tmp_path), settings_of(0))
    assert gc(tmp_path.resolve(), "--out", str(tmp_path)) == 2
    assert "as all stages would go; or --all" in capsys.readouterr().err
    assert open_at(tmp_path).has(key)


def test_a_study_that_cannot_be_read_stops_everything(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    kept, free = make_stage(store, settings_of(0)), make_stage(store, settings_of(1))
    make_results(tmp_path / "results" / "study", {"row": [kept]})
    (tmp_path / "results" / "study" / "rows.parquet").write_bytes(b"PAR1 but no more")
    assert gc(tmp_path) == 2
    said = capsys.readouterr().err
    assert "rows.parquet: cannot be read" in said
    assert len(said.splitlines()) == 1
    (tmp_path / "results" / "study" / "rows.parquet").unlink()
    (tmp_path / "results" / "study" / "stages.parquet").unlink()
    (tmp_path / "results" / "study" / "study.json").write_text("{}")
    assert gc(tmp_path) == 2
    assert stages_in(store).keys() == {kept, free}


def test_what_is_young_stays_whoever_needs_it(tmp_path: Path) -> None:
    store = open_at(tmp_path)
    make_results(tmp_path / "results" / "study", {"row": [make_stage(store, settings_of(0))]})
    young, old = make_stage(store, settings_of(1)), make_stage(store, settings_of(2))
    for path in (tmp_path / "store" / old, tmp_path / "store" / old / "stage.json"):
        os.utime(path, (time.time() - 90000, time.time() - 90000))
    assert main(["gc", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "results"), "--cache", str(tmp_path)]) == 0
    assert (store.local / young).is_dir()
    assert not (store.local / old).is_dir()


def test_checkpoints_of_no_study_damaged_files_and_halves_of_a_crash_go_too(tmp_path: Path) -> None:
    store = open_at(tmp_path)
    kept, lost = make_stage(store, settings_of(0)), "a" * 64
    waiting = "b" * 64
    make_results(tmp_path / "results" / "study", {"row": [kept, waiting]}, "waiting")
    for key in (kept, lost, waiting):
        store.write_checkpoint(key, saying("step 5"))
    (store.local / f".{lost}-{'0' * 32}").mkdir()
    damaged = make_stage(store, settings_of(1))
    (store.local / damaged / "metrics.parquet").unlink()
    assert not store.has(damaged)
    (store.local / "notes.txt").write_text("mine")
    assert gc(tmp_path) == 0
    left = sorted(path.relative_to(store.local).as_posix() for path in store.local.rglob("*") if path.parent.name != kept)
    assert left == sorted([kept, "damaged", "notes.txt", "unfinished", f"unfinished/{waiting}.pt"])


def test_only_stages_are_removed_where_a_store_was_meant_to_be(tmp_path: Path) -> None:
    make_results(tmp_path / "store" / "study", {"row": ["c" * 64]})
    assert gc(tmp_path, "--out", str(tmp_path / "store")) == 0
    assert (tmp_path / "store" / "study" / "rows.parquet").is_file()


def test_a_study_of_another_machine_or_of_a_disk_that_is_not_there_keeps_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    store = open_at(tmp_path)
    there, unmounted, free = (make_stage(store, settings_of(number)) for number in range(3))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "another")
        note_user(store, Path("/of/another/results/study"), {there: Asked("a", None)})
    note_user(store, tmp_path / "disk" / "study", {unmounted: Asked("b", None)})
    assert gc(tmp_path, "--out", str(tmp_path)) == 0
    assert stages_in(store).keys() == {there, unmounted}
    assert "kept for another:/of/another/results/study" in capsys.readouterr().out
    assert (
        gc(tmp_path, "--out", str(tmp_path), "--all", "--forget", "/of/another/results/study", str(tmp_path / "disk" / "study"))
        == 0
    )
    assert stages_in(store) == {}
    assert list(users_of(store)) == []
    assert free not in stages_in(store)


def test_at_a_uri_the_same(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    uri = (tmp_path / "shared" / "store").as_uri()
    store = Store(uri, tmp_path / "cache" / "mirror")
    kept, free = make_stage(store, settings_of(0)), make_stage(store, settings_of(1))
    note_user(store, tmp_path / "results" / "study", {kept: Asked("a", None)})
    make_results(tmp_path / "results" / "study", {"row": [kept]})
    assert {one.folder for one in users_of(Store(uri, tmp_path / "two"))} == {str((tmp_path / "results" / "study").resolve())}
    assert main(["gc", "--store", uri, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "results"), "--days", "0"]) == 0
    again = Store(uri, tmp_path / "three")
    assert again.has(kept)
    assert not again.has(free)
    assert not list((tmp_path / "shared").rglob(f"*{free}*"))


def test_a_study_that_is_deleted_gives_its_stages_free(tmp_path: Path) -> None:
    store = open_at(tmp_path)
    first, second = make_stage(store, settings_of(0)), make_stage(store, settings_of(1))
    for name, keys in (("one", [first]), ("two", [first, second])):
        make_results(tmp_path / "results" / name, {"row": keys})
        note_user(store, tmp_path / "results" / name, {key: Asked("a", None) for key in keys})
    shutil.rmtree(tmp_path / "results" / "two")
    references, gone = references_of(store, [tmp_path / "results"])
    found = unreferenced(store, references, gone, days=0, now=time.time() + 1)
    assert [held.key for held in found.stages] == [second]
    assert [user.folder for user in found.users] == [str((tmp_path / "results" / "two").resolve())]


def test_ls_says_what_each_study_keeps_and_what_is_its_alone(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    shared, own, free = (make_stage(store, settings_of(number), bytes(1000 * (number + 1))) for number in range(3))
    make_results(tmp_path / "results" / "one", {"row": [shared, own]})
    make_results(tmp_path / "results" / "two", {"row": [shared]})
    words = ["ls", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "results"), "--cache", str(tmp_path), "--stages"]
    assert main(words) == 0
    said = capsys.readouterr().out
    sizes = {key: sum(path.stat().st_size for path in (store.local / key).iterdir()) for key in (shared, own, free)}
    lines = {line.split("  ")[0].rsplit("/", 1)[-1]: line.split() for line in said.splitlines() if line}
    assert lines["one"][1:] == ["2", f"{(sizes[shared] + sizes[own]) / 1024:.1f}", "KiB", f"{sizes[own] / 1024:.1f}", "KiB"]
    assert lines["two"][1:] == ["1", f"{sizes[shared] / 1024:.1f}", "KiB", "0", "B"]
    assert lines["no study"][2:] == ["1", f"{sizes[free] / 1024:.1f}", "KiB"]
    assert [line.split()[0] for line in said.splitlines()[-3:]] == [free[:12], own[:12], shared[:12]]
    assert said.splitlines()[-3].endswith("-")
