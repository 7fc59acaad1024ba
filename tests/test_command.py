"""The command line without Ray: what it refuses, how it says so, and what a dry run prints."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SCRIPT, Run, environment, refuses
from PIL import Image


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--data.name imagenet", ("data.name", "'imagenet'", "synthetic, folder, camvid")),
        ("--data.name folder", ("data.root", "None", "--data.root")),
        ("--data.name folder --data.root /no/such/place", ("data.root", "'/no/such/place'", "a folder that exists")),
        ("--data.name camvid --data.root /no/such/place", ("data.root", "'/no/such/place'", "a folder that exists")),
        ("--data.labelled 999", ("data.labelled", "999", "at most 256")),
        ("--data.selection 0", ("data.selection", "0", "allowed")),
        ("--preset huge", ("preset", "'huge'", "demo, small")),
        ("--rows oops", ("rows", "'oops'", "full without N2", "NAME=")),
        ("--rows mine=S1_SZ", ("three_stage", "'mine'", "SZ", "S1, S2, S3, CR, T2, SA, N2")),
        ("--rows mine=S3", ("S1 or S2 at least",)),
        ("--rows mine=", ("S1 or S2 at least",)),
        ("--rows mine=S2_T2", ("T2 only together with S1",)),
        ("--net.name vgg", ("net.name", "'vgg'", "unet")),
        ("--net.width 0", ("net.width", "0", ">= 1")),
        ("--net.depth 9", ("net.depth", "9", "1..6")),
        ("--train.steps 0", ("train.steps", "0", "a whole number from 1 to 2147483647")),
        ("--train.batch-unlabelled -1", ("train.batch_unlabelled", "-1", ">= 0")),
        ("--train.learning-rate -0.1", ("train.learning_rate", "-0.1", "> 0")),
        ("--train.learning-rate nan", ("train.learning_rate", "nan", "> 0")),
        ("--train.learning-rate inf", ("train.learning_rate", "inf")),
        ("--method.lambda1 -1", ("method.lambda1", "-1", ">= 0")),
        ("--method.lambda1 nan", ("method.lambda1", "nan", ">= 0")),
        ("--method.no-CR", ("switches", "--rows")),
        ("--seeds", ("seeds", "()", "at least one")),
        ("--seeds 1 1", ("seeds", "(1, 1)", "distinct")),
        ("--ray.cpus-per-trial 0", ("ray.cpus_per_trial", "0", ">= 1")),
        ("--ray.trials 0", ("ray.trials", "0", ">= 1")),
        ("--ray.gpus-per-trial -1", ("ray.gpus_per_trial", "-1", ">= 0")),
        ("--ray.cpus-per-trial 999", ("ray.cpus_per_trial", "999", "at most")),
        ("--ray.gpus-per-trial 9", ("ray.gpus_per_trial", "9", "at most")),
        ("--ray.cpus-per-trial 999 --dry-run", ("ray.cpus_per_trial", "999", "at most")),
        ("--ray.gpus-per-trial 9 --dry-run", ("ray.gpus_per_trial", "9", "at most")),
        ("--store nosuch://bucket/store", ("store", "'nosuch://bucket/store'", "pyarrow.fs")),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Run, words: str, said: tuple[str, ...]) -> None:
    refuses(run, [word.replace("_", " ") if "=" in word else word for word in words.split()], *said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--no-such-flag 1", "arguments: got '--no-such-flag 1'; allowed: what --help shows"),
        ("--train.stepz 1", "arguments: got '--train.stepz 1'; allowed: --train.steps, or what --help shows"),
        ("--train.steps many", "train.steps: got 'many'; allowed: a whole number"),
        ("--train.steps=many --seeds 1", "train.steps: got 'many'; allowed: a whole number"),
        ("--train.decay linear", "train.decay: got 'linear'; allowed: constant, cosine, quarter_cosine, poly, multistep"),
        ("--seeds one", "seeds: got 'one'; allowed: any number of: a whole number"),
        ("--train.crop 8 --seeds 1", "train.crop: got '8'; allowed: None, or a whole number and a whole number"),
        ("--data.labelled many", "data.labelled: got 'many'; allowed: None, or a whole number, or a number, or all"),
        ("--train.learning-rate", "train.learning_rate: got ''; allowed: what --help shows"),
    ],
)
def test_words_that_cannot_be_read_are_refused_in_one_line_too(run: Run, words: str, said: str) -> None:
    status, _, err = run(*words.split())
    assert (status, err) == (2, f"error: {said}\n")


@pytest.mark.parametrize("flag", ["--out", "--store", "--cache"])
def test_a_folder_that_cannot_be_written_is_refused(run: Run, tmp_path: Path, flag: str) -> None:
    (tmp_path / "file").write_text("")
    below = str(tmp_path / "file" / "results")
    refuses(
        run, ["--rows", "S1", "--seeds", "0", flag, below], flag.removeprefix("--"), below, "allowed: a folder you may write to"
    )


@pytest.mark.parametrize("flag", ["--out", "--store", "--cache"])
def test_a_file_in_the_place_of_a_folder_is_refused(run: Run, tmp_path: Path, flag: str) -> None:
    (tmp_path / "file").write_text("")
    refuses(run, ["--rows", "S1", "--seeds", "0", flag, str(tmp_path / "file")], flag.removeprefix("--"), str(tmp_path / "file"))


def unreadable(root: Path) -> tuple[str, ...]:
    (root / "images" / "3.png").write_text("no image")
    return str(root / "images" / "3.png"), "cannot be read", "allowed"


def cut_short(root: Path) -> tuple[str, ...]:
    file = root / "images" / "3.png"
    file.write_bytes(file.read_bytes()[:60])
    return str(file), "cannot be read", "allowed"


def no_mask(root: Path) -> tuple[str, ...]:
    (root / "masks" / "3.png").unlink()
    return str(root / "images" / "3.png"), "without mask", "allowed"


def other_size(root: Path) -> tuple[str, ...]:
    Image.new("L", (20, 16), 1).save(root / "masks" / "3.png")
    return str(root / "masks" / "3.png"), "16x20", "16x16"


def class_outside(root: Path) -> tuple[str, ...]:
    (root / "classes.txt").write_text("ground\nthing\n")
    Image.new("L", (16, 16), 7).save(root / "masks" / "3.png")
    return str(root / "masks" / "3.png"), "7", "allowed: 0, 1, 255"


def empty_split(root: Path) -> tuple[str, ...]:
    (root / "train.txt").write_text("".join(f"{i}\n" for i in range(6)))
    (root / "test.txt").write_text("\n")
    return "'test'", "at least 1"


def no_images(root: Path) -> tuple[str, ...]:
    shutil.rmtree(root / "images")
    (root / "images").mkdir()
    return "folder", "no image", "at least 1"


@pytest.mark.parametrize("fault", [unreadable, cut_short, no_mask, other_size, class_outside, empty_split, no_images])
def test_a_fault_in_the_data_is_refused_in_one_line(run: Run, folder: Path, fault: Callable[[Path], tuple[str, ...]]) -> None:
    said = fault(folder)
    refuses(run, ["--data.name", "folder", "--data.root", str(folder), "--data.size", "16", "16", "--data.labelled", "1"], *said)


def test_more_labels_than_there_are_in_a_folder_are_refused(run: Run, folder: Path) -> None:
    words = ["--data.name", "folder", "--data.root", str(folder), "--data.size", "16", "16", "--data.labelled", "5"]
    refuses(run, words, "data.labelled", "5", "at most 4")  # 6 images, 1 for test, 1 for selection


def test_images_of_several_sizes_need_a_crop(run: Run, folder: Path) -> None:
    for part in ("images", "masks"):
        file = folder / part / "3.png"
        Image.open(file).resize((24, 20), Image.Resampling.NEAREST).save(file)
    words = [
        "--data.name",
        "folder",
        "--data.root",
        str(folder),
        "--data.size",
        "native",
        "--data.labelled",
        "2",
        "--train.crop",
        "None",
    ]
    refuses(run, words, "train.crop", "several sizes")


def test_a_crop_that_a_network_cannot_halve_is_no_traceback(run: Run, folder: Path) -> None:
    """A 6 level network on 16 pixel images: either it works or the line says why not."""
    words = ["--data.name", "folder", "--data.root", str(folder), "--data.size", "16", "16", "--data.labelled", "2"]
    status, _, err = run(*words, "--net.depth", "6", "--dry-run", "--rows", "S1", "--seeds", "0")
    assert status in (0, 2)
    assert len(err.splitlines()) == (1 if status else 0)


def test_a_dry_run_prints_the_plan_and_its_cost_and_writes_no_results(run: Run) -> None:
    status, out, err = run("--dry-run")
    assert status == 0
    assert err == ""
    plan = r"7 rows x 5 seeds: 90 stages, 50 distinct, 0 done, 50 to train, about \d+ (s|min) on \d+ slots?\n"
    *settings, last = out.splitlines(keepends=True)
    assert re.fullmatch(plan, last)
    assert {"[data]\n", "[net]\n", "[train]\n", "[three_stage]\n", "[rows]\n"} <= set(settings)
    for line in ('name = "synthetic"', "width = 2", "steps = 6", "lambda1 = 0.5", '"S1 + S2" = "S1 S2 CR T2 SA"'):
        assert line + "\n" in settings
    assert not Path("results/three_stage").exists()
    assert not [path for path in Path("results/store").iterdir() if len(path.name) == 64]


def test_a_loss_that_overflows_while_the_cost_is_measured_is_no_traceback(run: Run) -> None:
    """lambda1 times a cross-entropy of 1.6 is beyond float32: that stage will fail when it is trained, not the plan."""
    status, out, err = run("--dry-run", "--seeds", "0", "--method.lambda1", "3e38", "--method.ramp", "0")
    assert status == 0
    assert "10 to train" in out
    assert err == ""


def test_named_rows_are_planned_together_with_the_reference(run: Run) -> None:
    _, out, _ = run("--dry-run", "--seeds", "0", "--rows", "S1")
    assert "2 rows x 1 seeds: 4 stages, 3 distinct" in out


def test_a_new_row_is_declared_on_the_command_line(run: Run) -> None:
    _, out, _ = run("--dry-run", "--seeds", "0", "--rows", "only CR=S1 S2 CR SA")
    assert "2 rows x 1 seeds: 5 stages, 4 distinct" in out  # s1, s2-T2 beside s1, s2, s3


def test_a_new_row_with_the_name_of_the_reference_is_not_ignored(run: Run) -> None:
    """Either refused, or it is what is trained: `full` on the command line must not silently be the table's."""
    status, out, err = run("--dry-run", "--seeds", "0", "--rows", "full=S1 S2 CR T2 SA")
    assert status == 2 and "full" in err or "1 rows x 1 seeds: 2 stages, 2 distinct" in out


def test_quick_and_presets_give_other_defaults(run: Run) -> None:
    assert "7 rows x 2 seeds: 36 stages, 20 distinct" in run("--dry-run", "--quick")[1]
    assert "7 rows x 2 seeds: 36 stages, 20 distinct" in run("--dry-run", "--preset", "small", "--net.width", "2")[1]
    assert "7 rows x 1 seeds: 18 stages, 10 distinct" in run("--dry-run", "--preset=small", "--seeds", "5")[1]


def test_help_names_the_flags_of_the_design() -> None:
    said = subprocess.run(
        [sys.executable, SCRIPT, "--help"], check=False, capture_output=True, text=True, timeout=60, env=environment()
    )
    assert said.returncode == 0
    assert said.stderr == ""
    flags = """--data.name --data.root --data.labelled --data.size --net.name --net.width --train.steps --train.batch-labelled
        --train.batch-unlabelled --train.precision --method.lambda1 --seeds --preset --quick --dry-run --out --store --ray.address
        --ray.cpus-per-trial --ray.gpus-per-trial --ray.dashboard"""
    missing = [flag for flag in flags.split() if not re.search(rf"{re.escape(flag)}\b", said.stdout)]
    assert not missing
