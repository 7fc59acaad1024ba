"""What is damaged in a store is found, named, set aside and made again; and why a stage is there or not."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from care_stores import make_results, make_stage, settings_of
from conftest import TINY, Run
from in_process import without_ray
from test_store import saying

from ablate_three_stage import TABLE
from semiseg.care.checking import check_stage
from semiseg.care.held import stages_in
from semiseg.remote import STAGE_FILE
from semiseg.store import HASHED, SUM, Store
from semiseg.sweep.command import main as sweep
from semiseg.tool.store import main
from semiseg.users import Asked, note_user

Said = pytest.CaptureFixture[str]
SMALL = [*TINY, "--seeds", "0", "--rows", "S1", "--train.steps", "2", "--train.evaluations", "1"]


def flip(file: Path, at: int = -1, bit: int = 1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= bit
    file.write_bytes(content)


def open_at(place: Path) -> Store:
    return Store(str(place / "store"), place / "cache")


def store_command(place: Path, action: str, *words: str) -> int:
    return main([action, *words, "--store", str(place / "store"), "--cache", str(place / "cache")])


def test_a_flipped_byte_is_found_named_and_trained_again_and_another_rate_explains_a_miss(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Said, cache: Path
) -> None:
    without_ray(monkeypatch)
    words = ["--cache", str(cache), *SMALL]
    assert sweep(TABLE, words) == 0
    store = Store("results/store", cache)
    before = {key: (store.folder(key) / "weights.safetensors").read_bytes() for key in stages_in(store)}
    assert main(["verify"]) == 0
    key = next(iter(before))
    flip(store.local / key / "weights.safetensors", len(before[key]) // 2)
    capsys.readouterr()
    assert main(["verify", "--dry-run"]) == 1
    assert store.local.joinpath(key).is_dir()
    assert main(["verify"]) == 1
    said = capsys.readouterr().out
    assert f"damaged: {key[:12]} " in said
    assert "weights.safetensors: another content of the same size" in said
    assert main(["explain", "three_stage"]) == 1
    assert "miss: it was damaged and set aside" in capsys.readouterr().out
    assert sweep(TABLE, words) == 0
    assert ", 1 to train" in capsys.readouterr().out
    assert {one: (store.folder(one) / "weights.safetensors").read_bytes() for one in stages_in(store)} == before
    assert main(["verify"]) == 0
    assert main(["explain", "results/three_stage"]) == 0
    monkeypatch.setattr("semiseg.sweep.study.Study._train", lambda *words: signal.SIGINT)  # stopped before anything is trained
    assert sweep(TABLE, [*words, "--train.learning-rate", "0.123"]) == 130
    capsys.readouterr()
    assert main(["explain", "three_stage"]) == 1
    said = capsys.readouterr().out
    assert ", 0 in the store" in said
    assert re.search(r"nearest: (train\.)?learning_rate [\d.]+ -> 0\.123 \(in the store", said)


def test_every_file_counts_whatever_its_size(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    key = make_stage(store, settings_of(0), bytes(2 * HASHED))
    store.add(key, "masks.planes", saying("masks"))
    assert store_command(tmp_path, "verify") == 0
    assert "no checksum" not in capsys.readouterr().out
    for name, wrong in (("weights.safetensors", HASHED + 7), ("metrics.parquet", 3), (STAGE_FILE, 60), ("masks.planes", 2)):
        path = store.local / key / name
        kept = path.read_bytes()
        flip(path, wrong)
        found = check_stage(store, stages_in(store)[key])
        assert list(found.damaged) == [name], name
        path.write_bytes(kept)
    assert open_at(tmp_path).has(key)
    flip(store.local / key / "weights.safetensors", HASHED + 7)
    assert open_at(tmp_path).has(key), "large files are not read before each study"
    assert store_command(tmp_path, "verify", key[:8]) == 1
    assert not open_at(tmp_path).has(key)


@pytest.mark.parametrize("bit", [1, 4])
def test_a_flipped_bit_anywhere_in_a_stage_is_found(bit: int, tmp_path: Path) -> None:
    store = open_at(tmp_path)
    key = make_stage(store, settings_of(0))
    (held,) = stages_in(store).values()
    for name, size in held.files.items():
        path = store.local / key / name
        kept = path.read_bytes()
        for at in range(0, size, 1 if name == STAGE_FILE else 9):
            flip(path, at, bit)
            assert list(check_stage(store, held).damaged) == [name], (name, at)
            path.write_bytes(kept)
        for at in range(bit, size, 16) if name == STAGE_FILE else ():
            flip(path, at, bit)
            assert not Store(str(store.local), tmp_path, say=lambda text: None).has(key), at
            (damaged,) = (store.local / "damaged").iterdir()
            damaged.rename(store.local / key)
            path.write_bytes(kept)
    assert check_stage(store, held).damaged == {}


def test_a_damaged_file_that_follows_from_weights_goes_alone(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    key = make_stage(store, settings_of(0))
    path = store.add(key, "masks.planes", saying("masks"))
    flip(path)
    assert store_command(tmp_path, "verify") == 1
    assert "masks.planes: another content" in capsys.readouterr().out
    assert not path.exists()
    assert not path.with_name(f"{path.name}{SUM}").exists()
    assert open_at(tmp_path).has(key)
    store.add(key, "masks.planes", saying("again"))
    assert store_command(tmp_path, "verify") == 0


def test_stages_of_earlier_versions_have_no_checksum_and_stay(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    key = make_stage(store, settings_of(0))
    path = store.add(key, "masks.planes", saying("masks"))
    path.with_name(f"{path.name}{SUM}").unlink()
    record = store.local / key / STAGE_FILE
    record.write_text(json.dumps({name: value for name, value in json.loads(record.read_text()).items() if name != "record"}))
    assert open_at(tmp_path).has(key)
    assert store_command(tmp_path, "verify") == 0
    said = capsys.readouterr().out
    assert f"no checksum: {key[:12]} s1 masks.planes, stage.json" in said
    assert "0 damaged, 1 with files that have no checksum" in said


def test_files_without_any_checksum_are_said_and_left(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    key = make_stage(store, settings_of(0))
    record = store.local / key / STAGE_FILE
    record.write_text(
        json.dumps({name: value for name, value in json.loads(record.read_text()).items() if name not in ("record", "files")})
    )
    assert store_command(tmp_path, "verify") == 0
    assert "metrics.parquet, stage.json, weights.safetensors" in capsys.readouterr().out
    assert record.is_file()


def test_settings_under_another_key_are_damage(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    key, other = make_stage(store, settings_of(0)), "f" * 64
    os.rename(store.local / key, store.local / other)
    assert store_command(tmp_path, "verify") == 1
    assert f"damaged: {other[:12]} s1 stage.json: its settings are not those of its key" in capsys.readouterr().out
    assert stages_in(store) == {}


def test_at_a_uri_what_is_damaged_is_removed_and_made_again(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "shared").mkdir()
    uri = (tmp_path / "shared" / "store").as_uri()
    one = Store(uri, tmp_path / "one")
    sound, broken = make_stage(one, settings_of(0)), make_stage(one, settings_of(1))
    flip(tmp_path / "shared" / "store" / broken / "weights.safetensors")
    assert Store(uri, tmp_path / "two").listed()(broken), "of the right size"
    assert main(["verify", "--store", uri, "--cache", str(tmp_path / "three")]) == 1
    assert f"damaged: {broken[:12]} s1 weights.safetensors" in capsys.readouterr().out
    has = Store(uri, tmp_path / "four").listed()
    assert (has(sound), has(broken)) == (True, False)
    make_stage(Store(uri, tmp_path / "four"), settings_of(1))
    assert main(["verify", "--store", uri, "--cache", str(tmp_path / "five")]) == 0


# ---- why


def test_a_miss_names_the_fields_that_differ(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    make_stage(store, settings_of(0))
    make_stage(store, settings_of(3, train={"steps": 99, "rate": 0.5}))
    asked = settings_of(0, train={"steps": 20, "rate": 0.5}, weak={"flip": 0.5})
    note_user(store, tmp_path / "study", {"a" * 64: Asked("full/seed 0/s1", asked)})
    assert store_command(tmp_path, "explain", "aaaa") == 1
    said = capsys.readouterr().out
    assert said.splitlines()[0] == f"{'a' * 64} full/seed 0/s1"
    assert f"used by {(tmp_path / 'study').resolve()}" in said
    assert "nearest: train.steps 10 -> 20, weak.flip nothing -> 0.5 (in the store: s1 " in said
    assert "99" not in said


def test_of_stages_that_are_equally_near_both_are_said_where_other_fields_differ(tmp_path: Path, capsys: Said) -> None:
    store = open_at(tmp_path)
    old = make_stage(store, settings_of(0))
    new = make_stage(store, settings_of(1, train={"steps": 20, "rate": 0.5}))
    make_stage(store, settings_of(2, train={"steps": 20, "rate": 0.5}))
    note_user(store, tmp_path / "s", {"b" * 64: Asked("r", settings_of(0, train={"steps": 20, "rate": 0.5}))})
    store_command(tmp_path, "explain", "bb")
    said = capsys.readouterr().out
    assert f"train.steps 10 -> 20 (in the store: s1 {old[:12]})" in said
    assert said.count("nearest") == 2
    assert f"seed 1 -> 0 (in the store: s1 {new[:12]})" in said or "seed 2 -> 0" in said


def test_a_study_says_it_of_all_its_stages_alike_ones_once(tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_at(tmp_path)
    there = make_stage(store, settings_of(0))
    keys, longer = ["a" * 64, "b" * 64], {"steps": 30, "rate": 0.5}
    lost = [settings_of(0, train=longer), settings_of(1, [keys[0]], train=longer)]
    make_results(Path("results/study"), {"row": [there, *keys]}, "waiting")
    note_user(store, Path("results/study"), {key: Asked(f"row/seed 0/{key[0]}", one) for key, one in zip(keys, lost, strict=True)})
    assert store_command(tmp_path, "explain", "study") == 1
    said = capsys.readouterr().out
    assert "3 stages, 1 in the store, 2 missing" in said
    assert "it learns from row/seed 0/a aaaaaaaaaaaa, which is missing too" in said
    store.write_checkpoint(keys[0], saying("5"))
    store_command(tmp_path, "explain", "aaa")
    assert "begun and not finished" in capsys.readouterr().out
    assert store_command(tmp_path, "explain", there[:6]) == 0
    assert "train.steps = 10" in capsys.readouterr().out


def test_words_that_mean_nothing_are_refused_in_one_line(tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ([], "store: got 'nothing'; allowed: ls, explain, verify, gc"),
        (["rm"], "store: got 'rm'; allowed: ls, explain, verify, gc"),
        (["ls"], "allowed: a folder with finished stages, or a URI"),
        (["gc", "abc"], "what: got ('abc',); allowed: with explain or verify"),
        (["ls", "--dry-run"], "dry_run: got True; allowed: with verify or gc"),
        (["ls", "--wait-seconds", "0"], "wait_seconds: got 0.0; allowed: a number > 0"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert said in err
    assert not (tmp_path / "results").exists()
    make_stage(open_at(tmp_path), settings_of(0))
    for words in (("explain", "results/none"), ("explain", "zzz"), ("explain", "0123456789"), ("explain",), ("gc", "--days", "-1")):
        assert store_command(tmp_path, *words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
