"""Which rows the sample pictures are of, what their student sees, and the flags that say so."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import Run, refuses
from PIL import Image
from test_report_axes import make_traced
from test_report_studies import SCORES, key_of, make_study, study_of, write_json

import ablation_report
from semiseg.augment import PERTURBATIONS, CutMix, Gentle
from semiseg.config import Weak
from semiseg.ema import Ema
from semiseg.methods import METHODS, MeanTeacher, OneWay, Supervised, ThreeStage
from semiseg.report import write_report
from semiseg.report.samples import samples_info
from semiseg.results import read
from semiseg.sweep.pictures import student_views, write_views

STILL = Weak(scale=(1.0, 1.0), flip=0.0)


def seen_pictures(folder: Path) -> Path:
    for name in ("s1", "s3"):
        for i in range(4):
            Image.new("RGB", (6, 5), (10 * i, 0, 99)).save(folder / "samples" / key_of(name, 0) / f"seen_{i}.png")
    return folder


def test_the_panel_shows_the_rows_that_are_asked_for(tmp_path):
    seen_pictures(make_study(tmp_path))
    alone = samples_info(read(tmp_path))
    assert alone.columns == ("image", "truth", "student's view", "s1", "s2", "s3")
    write_json(tmp_path, study_of(report={"sample_rows": ["S1", "S1+S2", "full"]}))
    several = samples_info(read(tmp_path))
    assert several.columns == ("image", "truth", "S1: student's view", "S1", "S1+S2", "full: student's view", "full")
    assert [one.agreement for one in several.lines[0][3:5]] == [one.agreement for one in alone.lines[0][3:5]]
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Rows &#x27;S1&#x27;, &#x27;S1+S2&#x27;, &#x27;full&#x27;, seed 0" in text
    assert "Student&#x27;s view: the image as training shows it" in text


def test_results_of_before_are_drawn_without_the_students_view(tmp_path):
    info = samples_info(read(make_study(tmp_path)))
    assert (info.columns, info.seen) == (("image", "truth", "s1", "s2", "s3"), False)
    assert "Student&#x27;s view" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_the_report_script_takes_axis_and_rows_and_refuses_others_in_one_line(tmp_path, capsys):
    seen_pictures(make_traced(tmp_path))
    words = [str(tmp_path), "--report.axis", "share", "--report.sample-rows", "no N2", "full"]
    assert ablation_report.main(words) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Rows &#x27;no N2&#x27;, &#x27;full&#x27;" in text
    assert '"text":"share of the stage, %"' in text
    assert json.loads((tmp_path / "study.json").read_text()) == study_of()
    capsys.readouterr()
    assert ablation_report.main([str(tmp_path), "--report.sample-rows", "ful"]) == 2
    assert capsys.readouterr().err == f"report.sample_rows: got 'ful'; allowed: {', '.join(SCORES)}\n"


def test_a_sweep_refuses_rows_that_it_does_not_train(run: Run) -> None:
    refuses(run, ["--rows", "S1", "--report.sample-rows", "S2"], "report.sample_rows: got 'S2'; allowed: S1, full")
    status, out, _ = run("--rows", "S1", "--report.sample-rows", "S1", "--report.axis", "epoch", "--dry-run")
    assert status == 0, out


# ---- what the student sees


def stage_of(method: Any, **train: Any) -> Any:
    return method.stages(tiny.chain()[0].split, tiny.NET, replace(tiny.TRAIN, **train), 0)[-1]


def test_without_augmentation_the_student_sees_the_image() -> None:
    pack, splits = tiny.opened()
    rows = splits.test[:4].tolist()
    for method in (Supervised(), OneWay(direction="1w-pt")):
        views = student_views(stage_of(method, weak=STILL), pack, rows)
        assert all((view == pack.picture(row)).all() for view, row in zip(views, rows, strict=True))


def test_the_perturbation_of_the_row_is_seen_after_a_weak_augmentation_that_rows_share() -> None:
    pack, splits = tiny.opened()
    rows = splits.test[:4].tolist()
    plain = student_views(stage_of(Supervised(), weak=Weak(flip=0.5)), pack, rows)
    noisy = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.02)
    shown = student_views(stage_of(MeanTeacher(perturbation=noisy, ema=Ema()), weak=Weak(flip=0.5)), pack, rows)
    apart = np.abs(np.array(shown, int) - np.array(plain, int))
    assert 0 < apart.mean() < 6  # of 255: noise of 0.02, not another crop
    mixed = student_views(stage_of(OneWay(perturbation=CutMix()), weak=STILL), pack, rows)
    for i, view in enumerate(mixed):
        own, other = pack.picture(rows[i]), pack.picture(rows[i - 1])
        share = (view == own).all(2).mean()
        assert ((view == own) | (view == other)).all()
        assert 0.4 < share < 1


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_can_be_shown_and_twice_the_same(name) -> None:
    pack, splits = tiny.opened()
    stage = stage_of(MeanTeacher(perturbation=PERTURBATIONS[name](), ema=Ema()))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (student_views(stage, pack, splits.test[:4].tolist()) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert [one.shape for one in first] == [(*tiny.SIZE, 3)] * 4
    assert torch.get_rng_state().equal(before)


def test_images_with_one_class_each_are_shown_as_others_are() -> None:
    pack, splits = tiny.opened()
    classes = copy.copy(pack)
    classes.image_level = True
    rows = splits.test[:4].tolist()
    for perturbation in (Gentle(), CutMix()):
        stage = stage_of(OneWay(perturbation=perturbation))
        both = zip(student_views(stage, pack, rows), student_views(stage, classes, rows), strict=True)
        assert all((one == other).all() for one, other in both)


@pytest.mark.parametrize("name", METHODS)
def test_the_student_of_every_method_has_a_view(name, tmp_path) -> None:
    pack, splits = tiny.opened()
    method = METHODS[name](**({"ema": Ema()} if name == "mean_teacher" else {}))
    stage = stage_of(method, batch_labelled=2, batch_unlabelled=2)
    write_views(tmp_path, [stage], pack, splits)
    paths = sorted((tmp_path / stage.key).iterdir())
    assert [path.name for path in paths] == [f"seen_{i}.png" for i in range(4)]
    paths[0].write_bytes(b"kept")
    write_views(tmp_path, [stage], pack, splits)
    assert paths[0].read_bytes() == b"kept"


def test_the_last_stage_of_a_chain_shows_its_own_perturbation() -> None:
    pack, splits = tiny.opened()
    first, *_, last = ThreeStage().with_switches(tiny.FULL).stages(tiny.chain()[0].split, tiny.NET, tiny.TRAIN, 0)
    assert first.rule.student_perturbation is None
    rows = splits.test[:4].tolist()
    assert not math.isclose(np.mean(student_views(first, pack, rows)), np.mean(student_views(last, pack, rows)), abs_tol=0.01)
