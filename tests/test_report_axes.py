"""Curves of several metrics over step, epoch or share of the stage; best against last weights."""

import csv
import html
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from scipy import stats
from sklearn.metrics import accuracy_score, jaccard_score
from test_report_page import browse
from test_report_studies import SCORES, key_of, make_study

from semiseg.ema import Ema
from semiseg.evaluate import predict
from semiseg.methods import MeanTeacher
from semiseg.report import write_report
from semiseg.report.data import report_data
from semiseg.report.scores import score_table
from semiseg.report.training import AXES, draw_losses, draw_selection, selection_info, traced
from semiseg.report.weights import weights_cells, weights_grid, weights_info
from semiseg.results import read, write_table
from semiseg.results.records import ReportOptions

EPOCH_STEPS = {"s1": 25, "s2": 40, "s3": 50}


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
    names = {point["name"] for point in curves if point["name"].startswith(("selection/", "epoch"))}
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
    assert cells["full"] == (
        "60.60 ± 0.53",
        "57.60 ± 0.53",
        "+3.00 [+3.00, +3.00]",
        "280",
        "5.6",
        "93 %",
        "+4.00 [+4.00, +4.00]",
        "-1.00 [-1.00, -1.00]",
    )


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
    assert lines["no CR"][7:10] == ("280", "-", "93.33")
    write_report(tmp_path)
    written = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    by_row = {line["row"]: line for line in written}
    assert (by_row["no CR"]["best - last"], by_row["no CR"]["best step"]) == ("+3.00", "280")
    assert by_row["full"]["best"] == by_row["full"]["best step"] == "-"
    assert "Best and last weights, test mIoU" in (tmp_path / "table.md").read_text()
