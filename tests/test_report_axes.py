"""Curves of several metrics over step, epoch or share of the stage; best against last weights; which rows are shown and what their
student sees; the flags that say so."""

import csv
import html
import io
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
from scipy import stats
from sklearn.metrics import accuracy_score, jaccard_score
from test_report_page import browse
from test_report_studies import SCORES, key_of, make_study, study_of, write_json

import ablation_report
from semiseg.augment import PERTURBATIONS, CutMix, Gentle
from semiseg.config import Weak
from semiseg.ema import Ema
from semiseg.evaluate import predict
from semiseg.methods import METHODS, MeanTeacher, OneWay, Supervised, ThreeStage
from semiseg.report import write_report
from semiseg.report.data import report_data
from semiseg.report.samples import samples_info
from semiseg.report.scores import score_table
from semiseg.report.training import AXES, draw_losses, draw_selection, selection_info, traced
from semiseg.report.weights import weights_cells, weights_grid, weights_info
from semiseg.results import read, write_table
from semiseg.results.records import ReportOptions
from semiseg.sweep.pictures import student_views, write_views

EPOCH_STEPS = {"s1": 25, "s2": 40, "s3": 50}
STILL = Weak(scale=(1.0, 1.0), flip=0.0)


def make_traced(folder: Path, **changes: Any) -> Path:
    """The made-up study as this version records it: accuracy beside the score, and epochs."""
    make_study(folder, **changes)
    results = read(folder)
    names = {stage["key"]: stage["name"] for stage in results.stages.to_pylist()}
    lines = results.curves.to_pylist()
    scored = [line for line in lines if line["name"].startswith("selection/")]
    more = [line | {"name": line["name"].replace("miou", "accuracy"), "value": line["value"] / 2} for line in scored]
    found = {(line["key"], line["step"]): line["step"] / EPOCH_STEPS[names[line["key"]][:2]] for line in scored}
    epochs = [{"key": key, "step": step, "name": "epoch", "value": value} for (key, step), value in found.items()]
    write_table(folder, "curves", lines + more + epochs)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_traced(tmp_path_factory.mktemp("traced"))


def drawn_of(drawn) -> Any:
    """The only figure of what is drawn; plotly's own types say little."""
    assert drawn is not None
    assert not isinstance(drawn, str)
    return drawn.figures[0]


# ---- what is recorded


def test_curves_record_accuracy_and_iou_beside_the_score_and_the_epoch() -> None:
    (stage,) = MeanTeacher(ema=Ema(decay=(0.5,)), draw="mixed").stages(
        tiny.chain()[0].split, tiny.NET, replace(tiny.TRAIN, score="image_dice", weights="last"), 0
    )
    finished = tiny.run(stage)
    curves = finished.progress.curves
    names = {point["name"] for point in curves if not point["name"].startswith("loss/")}
    metrics = ("image_dice", "miou", "accuracy", "foreground_iou")
    assert names == {f"selection/{role}/{metric}" for role in ("student", "teacher") for metric in metrics} | {"epoch"}
    # 24 training images, 2 unlabelled ones a step: an epoch is 12 steps
    assert [(point["step"], point["value"]) for point in curves if point["name"] == "epoch"] == [(4, 4 / 12), (8, 8 / 12)]
    pack, splits = tiny.opened()
    truth, guess = [], []
    for row, _, probs in predict(finished.state.student, pack, splits.selection, stage.train, batch=4, device=tiny.CPU):
        mask = pack.mask(row)
        assert mask is not None
        truth.append(mask.ravel())
        guess.append(probs.argmax(0).numpy().ravel())
    known, found = np.concatenate(truth), np.concatenate(guess)
    last = {point["name"]: point["value"] for point in curves if point["step"] == 8}
    assert last["selection/student/accuracy"] == pytest.approx(accuracy_score(known, found))
    assert last["selection/student/miou"] == pytest.approx(jaccard_score(known, found, average="macro"))


# ---- the figure


def test_the_figure_has_every_metric_and_begins_with_the_score(folder):
    data = report_data(read(folder))
    assert traced(data.results) == ("accuracy",)
    made = drawn_of(draw_selection(data))
    metrics, axes = made.layout.updatemenus
    assert [button.label for button in metrics.buttons] == ["mIoU", "accuracy"]
    score, accuracy = (button.args[0]["visible"] for button in metrics.buttons)
    assert [trace.visible is not False for trace in made.data] == score
    assert [not one for one in score] == accuracy
    assert sum(score) == sum(accuracy) == 40  # 30 stages and the means of 10 kinds
    assert metrics.buttons[1].args[1] == {"yaxis.title.text": "selection accuracy, %"}
    shown, other = (next(t for t, on in zip(made.data, which, strict=True) if on) for which in (score, accuracy))
    assert [2 * value for value in other.y] == pytest.approx(list(shown.y), abs=1e-4)
    assert [button.label for button in axes.buttons] == list(AXES)


@pytest.mark.parametrize("axis", AXES)
def test_the_axis_is_the_step_the_epoch_or_the_share_of_the_stage(folder, tmp_path, axis):
    results = read(folder)
    results = replace(results, study=replace(results.study, report=ReportOptions(axis=axis)))
    for draw in (draw_selection, draw_losses):
        made = drawn_of(draw(report_data(results)))
        menu = made.layout.updatemenus[-1]
        assert (menu.active, menu.buttons[menu.active].label) == (list(AXES).index(axis), axis)
        assert made.layout.xaxis.title.text in (None, AXES[axis])
        for number, trace in enumerate(made.data):
            steps, epochs, shares = (button.args[0]["x"][number] for button in menu.buttons)
            assert list(trace.x) == {"step": steps, "epoch": epochs, "share": shares}[axis]
            assert shares == pytest.approx([step / 3 for step in steps], abs=1e-3)  # of 300
            stage = trace.hovertemplate[:2]
            assert epochs == pytest.approx([step / EPOCH_STEPS[stage] for step in steps], abs=1e-3)


CLICK = """<script>
const plot = document.querySelector('[data-plot="data-training"]');
const button = name => [...plot.querySelectorAll(".updatemenu-button")].find(one => one.textContent === name);
for (const name of ["accuracy", "epoch"]) button(name).dispatchEvent(new MouseEvent("click"));
const shown = plot.data.filter(trace => trace.visible !== false);
document.title = JSON.stringify([shown.length, plot.layout.yaxis.title.text, plot.layout.xaxis3.title.text, shown[0].x[0], shown[0].y[0]]);
</script></body>"""


def test_buttons_change_metric_and_axis_in_a_browser(folder, tmp_path):
    page = tmp_path / "clicked.html"
    page.write_text(write_report(folder).read_text(encoding="utf-8").replace("</body>", CLICK), encoding="utf-8")
    document, console = browse(page, tmp_path / "profile")
    assert console == ""
    line = next(line for line in selection_info(read(folder), "accuracy").seeds if line.stage == "s1")
    title = html.unescape(document.split("<title>")[1].split("</title>")[0])
    assert json.loads(title) == [40, "selection accuracy, %", "epoch", 20 / 25, pytest.approx(line.values[0], abs=1e-4)]


def test_curves_of_before_have_no_epochs_and_no_switch_of_metrics(tmp_path):
    results = read(make_study(tmp_path, samples=False, report={"axis": "epoch"}))
    drawn: Any = draw_selection(report_data(results))
    assert "Epoch not recorded: the axis is the step." in drawn.note
    (menu,) = drawn.figures[0].layout.updatemenus
    assert [button.label for button in menu.buttons] == ["step", "share"]
    assert list(drawn.figures[0].data[0].x) == list(selection_info(results).seeds[0].steps)


# ---- best and last weights


def test_best_against_last_weights_by_hand(folder):
    results = read(folder)
    table = score_table(results)
    line = next(line for line in weights_info(results, table) if line.row == "full")
    best = [100 * value for value in SCORES["full"]]
    last = [value - 3 for value in best]  # make_study: a point less for what does not count, two less for the last weights
    assert (100 * line.best.mean, 100 * line.last.mean) == pytest.approx((np.mean(best), np.mean(last)))
    assert 100 * line.delta.mean == pytest.approx(3)
    assert (line.step, line.epoch, line.share) == pytest.approx((280, 280 / 50, 280 / 300))
    made = weights_grid(weights_info(results, table), "test mIoU")
    assert made is not None
    cells = {cells[0]: cells[1:] for cells in made.lines}
    assert cells["full"] == ("60.60 ± 0.53", "57.60 ± 0.53", "+3.00 [+3.00, +3.00]", "280", "5.6", "93 %")


def test_means_over_seeds_of_differences_and_of_the_best_epoch(tmp_path):
    make_traced(tmp_path, samples=False)
    lines = read(tmp_path).metrics.to_pylist()
    drop, at = {0: 0.01, 1: 0.05, 2: 0.03}, {0: 100, 1: 200, 2: 300}
    for seed in range(3):
        for line in lines:
            if line["key"] == key_of("s3", seed) and (line["role"], line["split"], line["class"]) == ("teacher", "test", ""):
                best = line["weights"] == "best"
                line |= {"step": at[seed] if best else 300}
                if line["metric"] == "miou":
                    line["value"] = SCORES["full"][seed] - (0 if best else drop[seed])
    write_table(tmp_path, "metrics", lines)
    results = read(tmp_path)
    line = next(line for line in weights_info(results, score_table(results)) if line.row == "full")
    low, high = stats.t.interval(0.95, 2, loc=0.03, scale=stats.sem(list(drop.values())))
    assert (line.delta.mean, line.delta.low, line.delta.high) == pytest.approx((0.03, low, high))
    assert (line.step, line.epoch, line.share) == pytest.approx((200, 4, 2 / 3))


def test_studies_of_before_and_unfinished_ones_leave_gaps(tmp_path):
    results = read(make_study(tmp_path, samples=False, states={("s3", seed): "waiting" for seed in range(3)}))
    made = weights_cells(weights_info(results, score_table(results)))
    assert made is not None
    lines = {line[0]: line[1:] for line in made.lines}
    assert "full" not in lines
    assert lines["no CR"][-3:] == ("280", "-", "93.33")
    write_report(tmp_path)
    written = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    by_row = {line["row"]: line for line in written}
    assert (by_row["no CR"]["best - last"], by_row["no CR"]["best step"]) == ("+3.00", "280")
    assert by_row["full"]["best"] == by_row["full"]["best step"] == "-"
    assert "Best and last weights, test mIoU" in (tmp_path / "table.md").read_text()


# ---- sample rows


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
