"""Numbers, paths, addresses, disks and pipes that a stranger's machine may bring: one line and status 2, or the right result."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import SCRIPT, TINY, Run, command, environment, finish, refuses
from test_address import free_port

from semiseg import machine
from semiseg.config import SettingError
from semiseg.sweep.command import FULL, guarded

QUICK = [*TINY, "--seeds", "0", "--rows", "mine=S1", "full", "--train.steps", "4"]
HUGE = [
    ("--train.crop 1000000 1000000", ("train.crop", "(1000000, 1000000)", "of memory", "what fits")),
    ("--train.crop 8 99999999999", ("train.crop", "of memory")),
    ("--data.size 1000000 1000000", ("data.size", "(1000000, 1000000)", "allowed")),
    ("--net.width 1000000", ("net.width", "1000000", "of memory", "what fits")),
    ("--train.batch-labelled 100000000", ("train.crop", "100000004 images", "of memory")),
    ("--data.split-seed -1", ("data.split_seed", "-1")),
    ("--data.selection nan", ("data.selection", "nan")),
    ("--data.labelled nan", ("data.labelled", "nan")),
    ("--data.labelled 1.5", ("data.labelled", "1.5")),
    ("--train.weak.scale 0 1", ("train.weak.scale", "0 < low")),
    ("--train.threshold 1", ("train.threshold",)),
    ("--train.score iou", ("train.score", "'iou'", "miou")),
    ("--method.ema.decay 2", ("ema.decay", "(2.0,)", "[0, 1]")),
    ("--method.perturbation.levels 5 2", ("randaugment.levels", "(5, 2)")),
    ("--method.perturbation blur", ("perturbation", "'blur'", "gentle")),
    ("--net.weights /no/such/file.pth", ("net.weights", "/no/such/file.pth", "cannot be read")),
    ("--train.weak.scale 1 inf", ("train.weak.scale", "(1.0, inf)")),
    ("--train.steps 99999999999", ("train.steps", "99999999999", "2147483647")),
    ("--seeds 2147483648", ("seeds", "(2147483648,)", "from -2147483647 to 2147483647")),
    ("--seeds 1 1", ("seeds", "(1, 1)", "distinct")),
    ("--wait-seconds nan", ("wait_seconds", "nan")),
    ("--wait-seconds 0", ("wait_seconds", "0")),
    ("--checkpoint-seconds -1", ("checkpoint_seconds", "-1")),
    ("--store=", ("store", "''")),
    ("--store hdfs://nowhere/x", ("store", "hdfs://nowhere/x", "allowed")),
    ("--rows mine=S1 mine=S2", ("rows", "'mine=S2'", "each name once")),
    ("--rows full=S1 full", ("rows", "'full'", "each name once")),
    ("--rows =S1", ("rows", "'=S1'", "a name that can be printed")),
    ("--config /no/such/best.json", ("config", "/no/such/best.json")),
]


@pytest.mark.parametrize(("words", "said"), HUGE)
def test_numbers_and_names_that_cannot_be_are_refused(run: Run, words: str, said: tuple[str, ...]) -> None:
    refuses(run, words.split(), *said)


@pytest.mark.parametrize("flag", ["--out", "--cache", "--data.root"])
@pytest.mark.parametrize("place", ["s3://bucket/r", "gs://b/r", "file:///tmp/r", "~nobody-of-that-name/r"])
def test_a_place_that_is_no_folder_here_is_refused(run: Run, flag: str, place: str) -> None:
    words = ["--data.name", "folder"] if flag == "--data.root" else []
    refuses(run, [*words, f"{flag}={place}"], flag.removeprefix("--"), "allowed: a folder on this machine")
    assert not [path for path in Path().rglob("*") if path.name.startswith(("~", "s3", "gs", "file"))]


GARBAGE = (
    "",
    "[]",
    "null",
    "3",
    "{}",
    '{"method": 3, "settings": {}}',
    '{"method": "three_stage", "settings": [3]}',
    "[" * 100_000,
    "\0",
)


@pytest.mark.parametrize("content", GARBAGE)
def test_a_configuration_that_is_none_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "best.json").write_text(content)
    refuses(run, ["--config", str(tmp_path / "best.json")], "config: ", "best.json", "allowed: a best.json that a search wrote")


def test_places_may_have_spaces_and_other_letters_in_their_names(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "Größe 3 Ω"
    status, _, err = run("--dry-run", "--out", f"{place}/o", "--store", f"{place}/s", "--cache", f"{place}/c")
    assert (status, err) == (0, "")
    assert (place / "c").is_dir()


def test_a_row_may_be_named_twice_but_not_mean_two_things(run: Run) -> None:
    status, _, err = run("--dry-run", "--rows", "mine=S1", "mine=S1", "full", "full")
    assert (status, err) == (0, "")


def test_a_home_written_as_a_tilde_is_the_home(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    status, _, err = run("--dry-run", "--out=~/r", "--store=~/s", "--cache=~/c")
    assert status == 0, err
    assert (tmp_path / "home" / "c").is_dir()
    assert not list(Path().rglob("~*"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("Expected more than 1 value per channel when training, got input size [1, 64, 1, 1]"), "more than 1 value"),
        (RuntimeError("not enough memory: you tried to allocate 4 bytes"), "not enough memory"),
    ],
)
def test_a_step_that_fails_while_its_cost_is_measured_is_one_line(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    def fails(*_: object) -> float:
        raise error

    monkeypatch.setattr("semiseg.sweep.study.stage_costs", fails)
    refuses(run, [], "a training step fails here", said, "allowed")


def test_what_was_understood_of_the_data_is_said_before_anything_trains(run: Run, folder: Path) -> None:
    status, out, err = run(
        "--data.name", "folder", "--data.root", str(folder), "--data.labelled", "1", "--data.size", "16", "16", "--dry-run"
    )
    assert status == 0, err
    assert out.startswith("folder: 4 training (1 labelled), 1 selection, 1 test images; 16x16 pixels; ")
    assert "2 classes: class 0 " in out.splitlines()[0]


def test_memory_that_a_setting_needs_is_compared_with_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_memory", lambda: 10**9)
    machine.need_memory("net.width", 8, 10**8, "the network")
    with pytest.raises(
        SettingError, match=r"^net.width: got 9, with which the network takes 2 GB of memory; allowed: what fits the "
    ):
        machine.need_memory("net.width", 9, 2 * 10**9, "the network")


# ---- clusters


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_dead_address_ends_a_study_with_one_line(cache: Path, tmp_path: Path, scheme: str) -> None:
    ran = finish(tmp_path, cache, *QUICK, "--ray.address", f"{scheme}127.0.0.1:{free_port()}", timeout=120)
    assert ran.returncode == 2, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert "ray.address: nothing answers at" in line
    assert "Traceback" not in ran.stderr


def test_auto_without_a_cluster_is_one_line(cache: Path, tmp_path: Path) -> None:
    ran = finish(tmp_path, cache, *QUICK, "--ray.address", "auto", timeout=120, RAY_TMPDIR=str(tmp_path))
    assert ran.returncode == 2, ran.stderr
    assert [line for line in ran.stderr.splitlines() if line.startswith("error: ray.address: Ray cannot join auto (")]
    assert "Traceback" not in ran.stderr


# ---- disks and pipes


FULL_DISK = f"""
import errno, sys
import semiseg.results as results
from semiseg.results import files, tables

def full(path, content):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))

for module in (files, tables, results):
    module.write_bytes = full
sys.argv[0] = {str(SCRIPT)!r}
sys.path.insert(0, {str(SCRIPT.parent)!r})
from ablate_three_stage import TABLE
from semiseg.sweep.command import main
sys.exit(main(TABLE))
"""
"""The front door on a machine whose results folder cannot take a byte."""


def test_a_full_disk_damage_and_a_closed_pipe_cost_nothing(cache: Path, tmp_path: Path) -> None:
    script = tmp_path / "full_disk.py"
    script.write_text(FULL_DISK)
    ran = finish(tmp_path, cache, *QUICK, script=script)
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    assert ran.stderr.count("training goes on") == 1
    assert f"out: cannot write to {tmp_path / 'out'} (No space left on device); allowed: the same command again" in ran.stderr
    assert "FAILED" not in ran.stdout
    one, two, three = sorted((tmp_path / "store").glob("*/stage.json"))
    weights = {path.parent.name: path.read_bytes() for path in (tmp_path / "store").glob("*/weights.safetensors")}

    # garbage where stages, their metrics and checkpoints were
    one.write_text("")
    metrics = two.parent / "metrics.parquet"
    metrics.write_bytes(metrics.read_bytes()[:100])
    (tmp_path / "store" / "unfinished").mkdir(exist_ok=True)
    (tmp_path / "store" / "unfinished" / f"{one.parent.name}.pt").write_bytes(b"garbage")
    again = finish(tmp_path, cache, *QUICK)
    said = again.stdout + again.stderr
    assert again.returncode == 0, said
    assert "1 done, 2 to train" in said
    assert said.count("is damaged (") == 3, said
    assert "Traceback" not in said
    found = {path.parent.name: path.read_bytes() for path in (tmp_path / "store").glob("*/weights.safetensors")}
    assert {key: found[key] == content for key, content in weights.items()} == dict.fromkeys(weights, True)
    assert three.parent.name in found

    # the finished study once more, into a pipe that closes, on a terminal that knows no "±"
    (tmp_path / "out" / "report.html").unlink()
    words = " ".join(map(repr, command(tmp_path, cache, *QUICK)))
    shell = f"set -o pipefail; {words} 2> {tmp_path / 'errors'} | head -1"
    piped = subprocess.run(
        ["bash", "-c", shell],
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = (tmp_path / "errors").read_text()
    assert (piped.returncode, len(piped.stdout.splitlines())) == (0, 1), said
    assert "Traceback" not in said
    assert "Broken" not in said
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("number", FULL)
def test_a_disk_that_fills_up_at_any_place_is_one_line(capsys: pytest.CaptureFixture[str], number: int) -> None:
    def fails(_: list[str]) -> int:
        raise OSError(number, os.strerror(number), "/disk/search.journal")

    assert guarded(fails, []) == 1
    said = f"error: cannot write to /disk/search.journal ({os.strerror(number)}); allowed: the same command again, "
    assert capsys.readouterr().err.startswith(said)
    with pytest.raises(FileNotFoundError):  # a mistake of ours keeps its traceback
        guarded(lambda _: len(Path("/no/such").read_text()), [])
