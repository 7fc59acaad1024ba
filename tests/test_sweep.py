"""A whole study through the front door: what it trains, prints and leaves behind, and what it does the next time."""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from conftest import TINY, command, finish, results_bytes
from safetensors import safe_open

from ablate_three_stage import TABLE
from semiseg import results
from semiseg.sweep.command import main

STAGES = {"s1", "s2", "s2-CR", "s2-T2", "s2-SA", "s3", "s3-CR", "s3-T2", "s3-SA", "s3-N2"}
FILES = [
    "study.json",
    "stages.parquet",
    "metrics.parquet",
    "curves.parquet",
    "pseudo.parquet",
    "rows.parquet",
    "report.html",
    "table.md",
    "table.tex",
    "table.csv",
]


class Ran(NamedTuple):
    place: Path
    status: int
    out: str
    err: str
    about: dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Ran:
    """All rows, one seed, six steps a stage, on two slots."""
    place = tmp_path_factory.mktemp("study")
    process = finish(place, cache, *TINY, "--seeds", "0")
    about = json.loads((place / "out" / "study.json").read_text())
    return Ran(place, process.returncode, process.stdout, process.stderr, about)


def test_a_study_succeeds_without_a_word_on_stderr(study: Ran) -> None:
    assert study.status == 0
    assert study.err == ""


def test_the_plan_comes_first_and_every_stage_is_told_once(study: Ran) -> None:
    understood, first, *lines = study.out.splitlines()
    assert understood.startswith(
        "synthetic: 256 training (8 labelled), 48 selection, 128 test images; 64x64 pixels; 5 classes: background "
    )
    assert first.startswith("7 rows x 1 seeds: 18 stages, 10 distinct, 0 done, 10 to train, about ")
    done = [match for line in lines if (match := re.fullmatch(r"\[(\d+)/10\] done (.+)/seed 0/(\S+): selection mIoU .*", line))]
    assert [int(match[1]) for match in done] == list(range(1, 11))
    assert {match[3] for match in done} == STAGES
    assert "FAILED" not in study.out


def test_the_last_lines_are_the_table_and_the_path_of_the_report(study: Ran) -> None:
    lines = study.out.rstrip().splitlines()
    assert lines[-1] == f"report: {study.place / 'out' / 'report.html'}"
    header = next(i for i, line in enumerate(lines) if line.startswith("row "))
    rows = ["S1", "S1 + S2", "full without CR", "full without T2", "full without SA", "full without N2", "full"]
    assert [re.split(r"\s{2,}", line)[0] for line in lines[header + 2 : header + 9]] == rows
    assert all("(n = 1)" in line for line in lines[header + 2 : header + 9])
    after_training = max(i for i, line in enumerate(lines) if line.startswith("[10/10]"))
    assert header > after_training


def test_the_results_folder_is_complete_and_readable(study: Ran) -> None:
    folder = study.place / "out"
    missing = [name for name in FILES if not (folder / name).is_file()]
    assert not missing
    read = results.read(folder)
    assert set(read.stages["state"].to_pylist()) == {"done"}
    assert set(read.stages["name"].to_pylist()) == STAGES
    assert read.rows.num_rows == 18
    assert sum(read.rows["final"].to_pylist()) == 7
    assert {path.name for path in (folder / "samples").iterdir() if path.is_dir()} == set(read.stages["key"].to_pylist())
    ends = {line["key"] for line in read.rows.to_pylist() if line["final"]}
    assert {path.parent.name for path in (folder / "samples").glob("*/seen_3.png")} == ends


def test_the_store_holds_each_stage_once_and_no_checkpoint(study: Ran) -> None:
    store = study.place / "store"
    keys = set(pq.read_table(study.place / "out" / "stages.parquet")["key"].to_pylist())
    assert {path.name for path in store.iterdir()} - {"unfinished", "users"} == keys
    assert not list((store / "unfinished").glob("*"))
    for key in keys:
        assert json.loads((store / key / "stage.json").read_text())["key"] == key
        with safe_open(store / key / "weights.safetensors", "pt") as weights:
            assert list(weights.keys())


def test_a_stage_starts_after_its_teachers_have_ended(study: Ran) -> None:
    lines = {line["key"]: line for line in pq.read_table(study.place / "out" / "stages.parquet").to_pylist()}
    pairs = [(line, lines[teacher]) for line in lines.values() for teacher in line["teachers"]]
    assert len(pairs) == 8  # all but s1 and s2-T2 learn from a stage
    for line, teacher in pairs:
        assert line["started"] >= teacher["ended"], (line["name"], teacher["name"])


def test_two_stages_ran_at_the_same_time(study: Ran) -> None:
    lines = pq.read_table(study.place / "out" / "stages.parquet").to_pylist()
    overlaps = [
        (a, b)
        for a in lines
        for b in lines
        if a["key"] < b["key"] and max(a["started"], b["started"]) < min(a["ended"], b["ended"])
    ]
    assert overlaps
    assert study.about["slots"] == 2


def without_ray(place: Path) -> str:
    """A folder for PYTHONPATH in which `import ray` ends the process."""
    (place / "no_ray" / "ray").mkdir(parents=True, exist_ok=True)
    (place / "no_ray" / "ray" / "__init__.py").write_text("raise SystemExit(99)\n")
    return os.pathsep.join([str(place / "no_ray"), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_same_command_again_trains_nothing_and_needs_no_ray(study: Ran, cache: Path, tmp_path: Path) -> None:
    before = results_bytes(study.place)
    again = finish(study.place, cache, *TINY, "--seeds", "0", PYTHONPATH=without_ray(tmp_path))
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1] == "7 rows x 1 seeds: 18 stages, 10 distinct, 10 done, 0 to train"
    assert again.stdout.rstrip().endswith("report.html")
    assert again.stdout[again.stdout.index("row ") :] == study.out[study.out.index("row ") :]
    assert results_bytes(study.place) == before


def test_the_same_command_again_keeps_what_was_measured(study: Ran, cache: Path, tmp_path: Path) -> None:
    """The wall time and the slots of the run that trained are of interest still after one that had nothing to do."""
    finish(study.place, cache, *TINY, "--seeds", "0", PYTHONPATH=without_ray(tmp_path))
    about = json.loads((study.place / "out" / "study.json").read_text())
    assert (about["slots"], about["wall_seconds"]) == (study.about["slots"], study.about["wall_seconds"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0", "1"], "7 rows x 2 seeds: 36 stages, 20 distinct, 10 done, 10 to train"),
        # lambda1 is in every stage 2 and 3 with CR; s1, s2-CR and s3-CR keep their keys
        (["--seeds", "0", "--method.lambda1", "0.3"], "10 distinct, 3 done, 7 to train"),
        # lambda2 is in s2, s2-CR, s2-SA and in every stage 3
        (["--seeds", "0", "--method.lambda2", "0.3"], "10 distinct, 2 done, 8 to train"),
        (["--seeds", "0", "--train.steps", "7"], "10 distinct, 0 done, 10 to train"),
        (
            ["--seeds", "0", "--rows", "S1 + S2", "mine=S1 S2 S3 CR T2 SA"],
            "3 rows x 1 seeds: 8 stages, 4 distinct, 4 done, 0 to train",
        ),
        # where a stage runs is not in its key
        (["--seeds", "0", "--ray.trials", "1", "--ray.cpus-per-trial", "2", "--checkpoint-seconds", "5"], "10 done, 0 to train"),
    ],
)
def test_a_change_trains_what_it_touches(
    study: Ran, cache: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.place)
    assert main(TABLE, [*command(study.place, cache, *TINY, *words, "--dry-run")[2:]]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_one_slot_and_two_slots_give_the_same_bytes(study: Ran, cache: Path, tmp_path: Path) -> None:
    alone = finish(tmp_path, cache, *TINY, "--seeds", "0", "--ray.trials", "1")
    assert alone.returncode == 0, alone.stderr
    assert len(results_bytes(tmp_path)) == 11
    assert results_bytes(tmp_path) == results_bytes(study.place)


@pytest.mark.slow
def test_an_added_seed_trains_ten_stages_and_leaves_the_others_alone(study: Ran, cache: Path, tmp_path: Path) -> None:
    before = results_bytes(study.place)
    more = finish(study.place, cache, *TINY, "--seeds", "0", "1")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count("] done ") == 10
    after = results_bytes(study.place)
    assert len(after) == 21
    assert {name: after[name] for name in before if name.startswith("store")} == {
        k: v for k, v in before.items() if k.startswith("store")
    }


@pytest.mark.slow
def test_relative_paths_are_those_of_the_folder_where_the_command_was_given(cache: Path, tmp_path: Path) -> None:
    there = finish(tmp_path, cache, *TINY, "--rows", "S1", "--seeds", "0", "--out", "o", "--store", "s", "--cache", "c")
    assert there.returncode == 0, there.stderr
    assert (tmp_path / "o" / "report.html").is_file()
    assert len(list((tmp_path / "s").glob("*/stage.json"))) == 3
    assert len(list((tmp_path / "c").glob("*/pack.arrow"))) == 1
