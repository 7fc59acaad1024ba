"""A study in one file: opened elsewhere the same command trains nothing; what is damaged or another's is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from care_stores import make_results, make_stage, settings_of
from conftest import TINY, Run
from in_process import without_ray
from test_store import saying

from ablate_three_stage import TABLE
from semiseg.care.archive import read_archive, write_archive
from semiseg.care.held import record_in, stages_in
from semiseg.config import SettingError
from semiseg.report import write_report
from semiseg.results import read
from semiseg.store import LIGHT, STAGE_FILE, Store
from semiseg.sweep.command import main
from semiseg.tool.export import main as export_
from semiseg.tool.import_ import main as import_

SMALL = [*TINY, "--seeds", "0", "--rows", "S1", "S1 + S2", "--train.steps", "2", "--train.evaluations", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with a small study and its store."""
    place = tmp_path_factory.mktemp("a study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        without_ray(patch)
        assert main(TABLE, ["--cache", str(cache), *SMALL]) == 0
    return place


def export(study: Path, file: Path, *words: str) -> None:
    """`semiseg export STUDY --archive FILE`, whose store lies beside the study."""
    assert export_([str(study), "--archive", str(file), "--store", str(study.parent / "store"), *words]) == 0


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("weights", [True, False])
def test_opened_elsewhere_the_same_command_trains_nothing(
    trained: Path, weights: bool, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """In another folder with another store, where Ray cannot be imported."""
    file = tmp_path / "to take home.zip"
    export(trained / "results" / "three_stage", file, *["--no-weights"] * (not weights))
    sweep = ["--store", "other store", *SMALL]
    status, out, _ = run(*sweep, "--dry-run")
    assert status == 0
    assert "0 done, 3 to train" in out
    assert import_([str(file), "--store", "other store"]) == 0
    assert "3 stages, 3 of them new" in capsys.readouterr().out
    taken = Path("results/three_stage")
    assert files_of(taken) == files_of(trained / "results" / "three_stage")
    assert len(list(Path("other store").rglob("weights.safetensors"))) == 3 * weights
    status, out, err = run(*sweep)
    assert status == 0, err
    assert "3 done, 0 to train" in out
    same = ("rows", "stages", "metrics", "curves", "pseudo", "counts")
    assert all((taken / f"{name}.parquet").read_bytes() == (trained / taken / f"{name}.parquet").read_bytes() for name in same)
    assert read(taken).study.rows == read(trained / taken).study.rows
    assert "mIoU" in out


def test_without_weights_what_learns_from_a_stage_trains_it_again(
    trained: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(trained / "results" / "three_stage", tmp_path / "a.zip", "--no-weights")
    assert import_([str(tmp_path / "a.zip")]) == 0
    longer = [*SMALL, "--rows", "S1", "S1 + S2", "pseudo=S1 S2 CR T2"]
    status, out, _ = run(*longer, "--dry-run")
    assert status == 0
    assert ", 2 to train" in out, "the new row's last stage and what it learns from"
    without_ray(monkeypatch)
    status, out, err = run(*longer)
    assert status == 0, err
    status, out, err = run(*longer)
    assert ", 0 to train" in out
    left = {path.name for path in (Path("results/store") / LIGHT).iterdir()}
    whole = {path.parent.name for path in Path("results/store").glob("*/weights.safetensors")}
    assert not left & whole
    assert left


def small_study(place: Path) -> tuple[Path, Store, list[str]]:
    """Results of two made-up stages, the second of which learned from the first."""
    store = Store(str(place / "store"), place / "cache")
    first = make_stage(store, settings_of(0))
    keys = [first, make_stage(store, settings_of(1, [first]))]
    make_results(place / "study", {"row": keys})
    (place / "study" / "report.html").write_text("<p>" + "a page " * 100)
    (place / "study" / ".of a moment").write_text("x")
    return place / "study", store, keys


def other_store(place: Path) -> Store:
    return Store(str(place / "other"), place / "cache")


def test_an_archive_holds_results_and_stages_and_what_follows_from_weights_is_left_out(tmp_path: Path) -> None:
    study, store, keys = small_study(tmp_path)
    make_stage(store, settings_of(7))
    store.add(keys[0], "masks.planes", saying("masks"))
    assert write_archive(study, tmp_path / "a.zip", store, weights=True)[0] == 2
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = set(archive.namelist())
    inner = ("stage.json", "weights.safetensors", "metrics.parquet")
    results = {f"results/{name}" for name in ("rows.parquet", "stages.parquet", "report.html")}
    assert names == {"archive.json"} | results | {f"stages/{key}/{name}" for key in keys for name in inner}
    found = read_archive(tmp_path / "a.zip", other_store(tmp_path), tmp_path / "taken")
    assert (found.stages, found.new) == (2, 2)
    for key in keys:
        ours, theirs = (files_of(one.folder(key)) for one in (store, other_store(tmp_path)))
        assert theirs == {name: content for name, content in ours.items() if not name.startswith("masks")}


def test_what_is_there_stays_and_importing_twice_changes_nothing(tmp_path: Path) -> None:
    study, store, keys = small_study(tmp_path)
    write_archive(study, tmp_path / "a.zip", store, weights=True)
    other = other_store(tmp_path)
    make_stage(other, settings_of(0), b"w" * 64)
    before = (other.local / keys[0] / STAGE_FILE).stat().st_mtime_ns
    assert read_archive(tmp_path / "a.zip", other, tmp_path / "taken").new == 1
    assert read_archive(tmp_path / "a.zip", other, tmp_path / "taken").new == 0
    assert (other.local / keys[0] / STAGE_FILE).stat().st_mtime_ns == before
    (tmp_path / "taken" / "report.html").write_text("mine")
    with pytest.raises(SettingError, match=r"out: got .*taken.*; allowed: a folder that is not there \(--out\)"):
        read_archive(tmp_path / "a.zip", other, tmp_path / "taken")
    assert (tmp_path / "taken" / "report.html").read_text() == "mine"


def test_weights_that_come_later_take_the_place_of_none(tmp_path: Path) -> None:
    study, store, keys = small_study(tmp_path)
    write_archive(study, tmp_path / "light.zip", store, weights=False)
    write_archive(study, tmp_path / "whole.zip", store, weights=True)
    other = other_store(tmp_path)
    assert read_archive(tmp_path / "light.zip", other, tmp_path / "taken").new == 2
    assert not other.has(keys[0])
    assert {held.light for held in stages_in(other).values()} == {True}
    assert record_in(other, stages_in(other)[keys[0]])["left_out"].keys() == {"weights.safetensors"}
    with pytest.raises(SettingError, match=r"weights: got '2 stages that came without'; allowed: .*--no-weights"):
        write_archive(tmp_path / "taken", tmp_path / "again.zip", other, weights=True)
    write_archive(tmp_path / "taken", tmp_path / "again.zip", other, weights=False)
    assert read_archive(tmp_path / "whole.zip", other, tmp_path / "taken").new == 2
    assert other.has(keys[0])
    assert {held.light for held in stages_in(other).values()} == {False}
    assert not list((other.local / LIGHT).iterdir())
    assert read_archive(tmp_path / "again.zip", other, tmp_path / "taken").new == 0


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_a_flipped_byte_anywhere_in_an_archive_never_gets_into_a_store(tmp_path: Path) -> None:
    study, store, _ = small_study(tmp_path)
    write_archive(study, tmp_path / "a.zip", store, weights=True)
    size, refused = (tmp_path / "a.zip").stat().st_size, 0
    for number, at in enumerate(range(0, size, max(size // 60, 1))):
        broken = tmp_path / f"broken {number}.zip"
        broken.write_bytes((tmp_path / "a.zip").read_bytes())
        flip(broken, at)
        other = Store(str(tmp_path / f"other {number}"), tmp_path / "cache")
        try:
            read_archive(broken, other, tmp_path / f"taken {number}")
        except SettingError:
            refused += 1
            assert not (tmp_path / f"taken {number}").exists()
        for key in stages_in(other):
            assert files_of(store.folder(key)) == files_of(other.folder(key))
    assert refused > 40


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def add_outside(files: dict[str, bytes]) -> None:
    about = json.loads(files["archive.json"])
    about["files"]["results/../../evil"] = {"bytes": 1, "sha256": "0"}
    files["archive.json"] = json.dumps(about).encode()


def name_outside(files: dict[str, bytes]) -> None:
    files["archive.json"] = json.dumps(json.loads(files["archive.json"]) | {"name": "../up"}).encode()


def newer(files: dict[str, bytes]) -> None:
    files["archive.json"] = json.dumps(json.loads(files["archive.json"]) | {"format": 9}).encode()


def no_manifest(files: dict[str, bytes]) -> None:
    del files["archive.json"]


@pytest.mark.parametrize("change", [add_outside, name_outside, newer, no_manifest])
def test_what_no_export_wrote_is_refused_in_one_line(change: Callable[[dict[str, bytes]], None], tmp_path: Path) -> None:
    study, store, _ = small_study(tmp_path)
    write_archive(study, tmp_path / "a.zip", store, weights=True)
    rewritten(tmp_path / "a.zip", change)
    with pytest.raises(SettingError, match="^archive: got .*; allowed: a file that `semiseg export STUDY --archive` wrote$"):
        read_archive(tmp_path / "a.zip", other_store(tmp_path), tmp_path / "taken")
    assert stages_in(other_store(tmp_path)) == {}


def test_a_stage_under_the_key_of_another_is_refused(tmp_path: Path) -> None:
    study, store, keys = small_study(tmp_path)
    make_results(study, {"row": [keys[0]]})
    write_archive(study, tmp_path / "a.zip", store, weights=True)

    def disguise(files: dict[str, bytes]) -> None:
        about = json.loads(files["archive.json"].replace(keys[0].encode(), keys[1].encode()))
        for name in [name for name in files if keys[0] in name]:
            files[name.replace(keys[0], keys[1])] = files.pop(name)
        files["archive.json"] = json.dumps(about).encode()

    rewritten(tmp_path / "a.zip", disguise)
    with pytest.raises(SettingError, match=f"stages/{keys[1]}/stage.json is damaged"):
        read_archive(tmp_path / "a.zip", other_store(tmp_path), tmp_path / "taken")


def test_a_study_whose_stages_are_lost_or_damaged_is_not_exported(tmp_path: Path) -> None:
    study, store, keys = small_study(tmp_path)
    flip(store.local / keys[1] / "weights.safetensors", 5)
    with pytest.raises(SettingError, match=rf"store: got '{keys[1][:12]}, damaged \(weights.safetensors\)'; allowed: whole stages"):
        write_archive(study, tmp_path / "a.zip", store, weights=True)
    (store.local / keys[1]).rename(tmp_path / "lost")
    with pytest.raises(SettingError, match=rf"store: got 'none of {keys[1][:12]} \(1 missing\)'"):
        write_archive(study, tmp_path / "a.zip", store, weights=True)
    with pytest.raises(SettingError, match="study: got .*; allowed: a results folder"):
        write_archive(tmp_path / "store", tmp_path / "a.zip", store, weights=True)
    assert not list(tmp_path.glob("*.zip"))
    make_results(study, {"row": keys}, "waiting")
    assert write_archive(study, tmp_path / "a.zip", store, weights=True)[0] == 1, "of an unfinished study what is there"


def test_words_that_mean_no_archive_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (([], "import: got 'nothing'"), (["none.zip"], "none.zip' (no such file)"), (["--what"], "arguments: got")):
        assert import_(words) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1


def test_the_report_of_an_imported_study_can_be_made_anew(trained: Path, tmp_path: Path) -> None:
    export(trained / "results" / "three_stage", tmp_path / "a.zip", "--no-weights")
    read_archive(tmp_path / "a.zip", other_store(tmp_path), tmp_path / "taken")
    assert write_report(tmp_path / "taken").is_file()


def test_a_search_goes_with_the_stages_of_its_trials_and_of_its_comparison(tmp_path: Path) -> None:
    _, store, keys = small_study(tmp_path)
    trial = make_stage(store, settings_of(5))
    make_stage(store, settings_of(6))
    search = tmp_path / "search"
    make_results(search / "final", {"best": keys})
    (search / "search.journal").write_text(json.dumps({"user_attr": {"stages": [trial, "d" * 64]}}) + "\n")
    (search / "search.journal.driver").write_text("")
    export(search, tmp_path / "a.zip")
    assert read_archive(tmp_path / "a.zip", other_store(tmp_path), tmp_path / "taken").new == 3
    assert stages_in(other_store(tmp_path)).keys() == {*keys, trial}
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["final", "search.journal"]
