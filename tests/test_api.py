"""The public API: what a program says does what the command line does; the examples of docs/api.md run."""

import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from in_process import without_ray

from ablate_three_stage import TABLE
from semiseg import api
from semiseg.api import Options, RunError, SettingError, change, plan_study, read, run_study, study_numbers, study_scores
from semiseg.config import Data, Train
from semiseg.losses import Dice
from semiseg.methods import MeanTeacher, Supervised, ThreeStage
from semiseg.nets import SwiftNet, UNet
from semiseg.runner import run_stage
from semiseg.sweep.arguments import Arguments
from semiseg.sweep.bench import Bench
from semiseg.sweep.command import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"


def test_options_are_the_flags_that_are_no_settings() -> None:
    flags = {field.name for field in fields(Arguments)} - {"data", "net", "train", "method", "dry_run"}
    assert set(Options.__annotations__) == flags


def test_neither_declaring_nor_reading_loads_torch_or_ray() -> None:
    code = "import sys\nsys.modules['torch'] = sys.modules['ray'] = None\nfrom semiseg.api import *\n"
    code += "results = read('tests/data_report')\nprint(study_scores(results).num_rows, 'plotly' in sys.modules)\n"
    code += "print(study_numbers(results).num_rows)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"[1-9]\d* False\n\d\d+\n", ran.stdout)


# ---- running

SMALL: tuple[Any, ...] = (change(Train, steps=6, evaluations=2), UNet(width=2), change(Data, labelled=8))
"""TINY as values."""


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the packed images of all tests; stages are trained in this process."""
    without_ray(monkeypatch)
    monkeypatch.setattr(Bench, "cost", lambda self, measure: "planned")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cache").symlink_to(cache)
    return tmp_path


def test_values_train_the_stages_of_the_same_flags(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rows", "S1", "mine=S1 S2 CR", "--seeds", "0", "1", "--method.lambda1", "0.25", "--train.steps", "3"]
    assert main(TABLE, [*TINY, *words, "--out", "typed"]) == 0
    trained = len(list(Path("results/store").glob("*/weights.safetensors")))
    method = change(ThreeStage, lambda1=0.25)
    rows = ["S1", "mine=S1 S2 CR"]
    made = run_study(TABLE, *SMALL, change(Train, steps=3), method, rows=rows, seeds=range(2), anchors=["none"], out="called")
    assert "0 to train" in capsys.readouterr().out
    assert len(list(Path("results/store").glob("*/weights.safetensors"))) == trained
    assert Path("called/rows.parquet").read_bytes() == Path("typed/rows.parquet").read_bytes()
    assert made.study.settings == read(Path("typed")).study.settings
    assert made.study.seeds == (0, 1)
    assert (
        made.study.provenance.command == "run_study(three_stage, change(Train, steps=6, evaluations=2), "
        "UNet(width=2), change(Data, labelled=8), change(Train, steps=3), change(ThreeStage, lambda1=0.25), "
        f"rows={rows!r}, seeds=range(0, 2), anchors=['none'], out='called')"
    )
    scores = study_scores(made).to_pylist()
    numbers = [one for one in study_numbers(made).to_pylist() if one["where"] == "table" and one["seed"] is not None]
    assert {(one["row"], one["seed"]): one["score"] for one in scores} == {
        (one["row"], one["seed"]): one["value"] for one in numbers
    }
    assert {one["state"] for one in scores} == {"done"}


def test_a_plan_is_printed_and_nothing_is_trained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_study(TABLE, *SMALL, quick=True, out=place / "out", store=place / "store")
    assert ", planned" in capsys.readouterr().out
    assert not (place / "out").exists()


def test_a_stage_that_fails_ends_in_one_line_and_leaves_results(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(self: Bench, feed: Any, slots: int) -> int:
        with feed.monitor:
            while (stage := feed.take()) is not None:
                if stage.name == "s1":
                    feed.fail(stage.key, "the loss is nan")
                else:
                    run_stage(stage, self.place)
                    feed.finish(stage.key)
        return 0

    monkeypatch.setattr(Bench, "feed", feed)
    with pytest.raises(
        RunError, match=r"three_stage: 1 stages failed \(s1, seed 0: the loss is nan\); what there is: read\('"
    ) as raised:
        run_study(TABLE, *SMALL, rows=["S1", "full"], seeds=[0], anchors=["none"])
    assert "\n" not in str(raised.value)
    states = {one["row"]: one["state"] for one in study_scores(read(Path("results/three_stage"))).to_pylist()}
    assert states == {"S1": "failed", "full": "skipped"}


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ((), {"steps": 3}, "options: got 'steps'; allowed: rows, seeds, vary"),
        ((), {"seeds": 3}, "seeds: got 3; allowed: tuple[int, ...]"),
        ((), {"seeds": "01"}, "seeds: got '01'; allowed: tuple[int, ...]"),
        ((), {"seeds": []}, "seeds: got (); allowed: distinct whole numbers"),
        ((), {"quick": 1}, "quick: got 1; allowed: bool"),
        ((), {"preset": "none"}, "preset: got 'none'; allowed: demo"),
        ((), {"rows": ["none"]}, "rows: no row 'none'; there are S1"),
        ((), {"out": 3}, "out: got 3; allowed: Path or None"),
        ((), {"until": "bored"}, "until: got 'bored'; allowed: decided or None"),
        ((3,), {}, "settings: got 3; allowed: changes or values of Data, Train, a network or a method"),
        ((change(SwiftNet),), {}, "settings: got 'a change of SwiftNet'; allowed: one of UNet, which the preset has, or SwiftNet"),
        ((MeanTeacher(),), {}, "settings: got 'mean_teacher'; allowed: three_stage, supervised"),
        ((change(MeanTeacher),), {}, "no method 'mean_teacher'; there are three_stage, supervised"),
        ((change(ThreeStage, S1=False),), {}, "method: the switches belong to the rows of the table"),
        ((change(Train, steps=0.5),), {}, "steps: got 0.5; allowed: int"),  # type: ignore[arg-type]
        ((change(Train, steps=-1),), {}, "train.steps: got -1; allowed: a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: Any, options: Any, said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as raised:
        run_study(TABLE, *settings, **options)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_other_methods_of_the_preset_change_too(place: Path) -> None:
    def keys(*settings: Any, row: str) -> dict[str, str]:
        made = run_study(TABLE, *SMALL, *settings, rows=["S1", row], seeds=[0], anchors=["none"])
        return {one["row"]: one["key"] for one in study_scores(made).to_pylist()}

    changed, said = keys(change(Supervised, objective=Dice()), row="one=supervised"), keys(row="one=supervised objective=dice")
    assert changed == said
    assert changed["one"] != changed["S1"]


# ---- the page


def test_the_examples_of_the_page_run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    (place / "page.py").write_text("\n".join(blocks), encoding="utf-8")  # one after the other, as cells of a notebook
    runpy.run_path(str(place / "page.py"))
    said = capsys.readouterr().out
    assert "rows: no row 'no such row'" in said
    assert "teachers run_study(teachers, change(Train, steps=8, evaluations=2)" in said
    assert "report: " in said
    assert "three_stage" in said


@pytest.mark.slow
def test_the_examples_run_with_ray_and_again_train_nothing(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    said = []
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
        )
        assert ran.returncode == 0, ran.stderr
        said.append(ran.stdout)
    assert "8 distinct, 0 done, 8 to train" in said[0]
    assert "8 distinct, 8 done, 0 to train" in said[1]


def test_every_import_on_the_page_is_public() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = [name for line in re.findall(r"^from semiseg\.api import (.*)$", text, re.MULTILINE) for name in line.split(", ")]
    assert set(found) <= set(api.__all__)
    assert [name for name in ("run_study", "plan_study", "read", "study_scores", "study_numbers") if name not in found] == []
