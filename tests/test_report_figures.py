"""The plain data behind every figure (never pixels), over complete, partial and empty made-up studies; and that each can be
drawn."""

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_report_studies import CLASSES, PALETTE, SCORES, key_of, make_study, study_of, write_json

from semiseg.report.classes import classes_figure, classes_info
from semiseg.report.deltas import forest_figure, forest_info
from semiseg.report.roles import roles_info
from semiseg.report.samples import samples_info
from semiseg.report.scores import score_table
from semiseg.report.style import CYCLE, faded
from semiseg.report.timeline import timeline_info
from semiseg.report.training import POINTS, losses_info, selection_info, training_figure
from semiseg.results import read, write_table


def traces(drawn) -> Any:
    """The traces of a figure; plotly's own type says that a figure iterates over names."""
    return drawn.data


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    return read(make_study(tmp_path_factory.mktemp("complete")))


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """A study whose stages all wait."""
    kinds = ("s1", "s2", "s3", "s2-CR", "s3-CR", "s2-T2", "s3-T2", "s2-SA", "s3-SA", "s3-N2")
    waiting = {(name, seed): "waiting" for name in kinds for seed in range(3)}
    return read(make_study(tmp_path_factory.mktemp("nothing"), states=waiting, samples=False))


def test_forest_holds_points_seeds_and_the_papers_deltas(complete):
    info = forest_info(score_table(complete))
    assert [delta.row for delta in info.deltas] == ["S1", "S1+S2", "no CR", "no T2", "no SA", "no N2"]
    delta = info.deltas[2]
    assert (delta.mean, delta.low, delta.high) == pytest.approx((-4.6, -6.32106, -2.87894), abs=1e-5)
    assert delta.seeds == pytest.approx({0: -5.0, 1: -3.8, 2: -5.0})
    assert delta.paper == pytest.approx((-4.65, -10.95))
    assert [delta.standing for delta in info.deltas][-3:] == ["unclear", "earns its place", "hurts here"]
    drawn = forest_figure(info)
    assert [trace.name for trace in traces(drawn) if trace.showlegend is not False][1:] == [
        "each seed", "paper: Cityscapes, 100 labels", "paper: VOC, 212 labels"
    ]  # fmt: skip


def test_forest_of_one_seed_has_no_interval(tmp_path):
    info = forest_info(score_table(read(make_study(tmp_path, seeds=(0,), samples=False, paper=None))))
    assert all(math.isnan(delta.low) for delta in info.deltas)
    assert info.paper_columns == ()
    assert all(trace.error_x.array is None for trace in traces(forest_figure(info)))


def test_classes_are_averaged_over_seeds_in_the_studys_order(complete):
    info = classes_info(complete, score_table(complete))
    assert info.classes == tuple(CLASSES)
    assert info.rows == tuple(SCORES)
    assert info.values[0] == pytest.approx((75.0, 63.0, 51.0, 39.0, 27.0))  # 51 is the mean of S1's seeds
    assert set(info.counts[0]) == {3}


def test_a_class_without_a_value_stays_blank(complete, tmp_path):
    lines = [line | {"value": math.nan if line["class"] == "ring" else line["value"]} for line in complete.metrics.to_pylist()]
    make_study(tmp_path, samples=False)
    write_table(tmp_path, "metrics", lines)
    results = read(tmp_path)
    info = classes_info(results, score_table(results))
    assert all(math.isnan(line[-1]) for line in info.values)
    assert {line[-1] for line in traces(classes_figure(info))[0].z} == {None}


def test_roles_hold_student_and_teacher_of_the_scored_weights(complete):
    info = roles_info(complete, score_table(complete))
    assert info.values["teacher"]["full"] == pytest.approx({0: 60.0, 1: 61.0, 2: 60.8})
    assert info.values["student"]["full"] == pytest.approx({0: 59.0, 1: 60.0, 2: 59.8})
    assert "S1" not in info.values["teacher"]
    assert info.values["student"]["S1"] == pytest.approx({0: 50.0, 1: 52.0, 2: 51.0})


def test_selection_curves_are_of_the_role_that_counts_and_averaged_over_seeds(complete):
    info = selection_info(complete)
    assert info.panels == ("stage 1", "stage 2", "stage 3")
    assert (len(info.seeds), len(info.means)) == (30, 10)
    lines = [curve for curve in info.seeds if curve.stage == "s3"]
    mean = next(curve for curve in info.means if curve.stage == "s3")
    assert mean.values == pytest.approx(np.mean([curve.values for curve in lines], axis=0))
    raw = {
        line["step"]: 100 * line["value"]
        for line in complete.curves.to_pylist()
        if line["key"] == key_of("s3", 1) and line["name"] == "selection/teacher/miou"
    }
    assert dict(zip(lines[1].steps, lines[1].values, strict=True)) == pytest.approx(raw)


def test_a_mean_curve_stops_where_a_seed_stops(tmp_path):
    make_study(tmp_path, samples=False)
    lines = [line for line in read(tmp_path).curves.to_pylist() if line["key"] != key_of("s1", 2) or line["step"] <= 100]
    write_table(tmp_path, "curves", lines)
    info = selection_info(read(tmp_path))
    assert next(curve for curve in info.means if curve.stage == "s1").steps == (20, 40, 60, 80, 100)


def test_long_curves_are_averaged_in_bins(tmp_path):
    make_study(tmp_path, samples=False)
    long = [{"key": key_of("s1", 0), "step": step, "name": "loss/total", "value": float(step)} for step in range(16_000)]
    write_table(tmp_path, "curves", long)
    curve = losses_info(read(tmp_path)).seeds[0]
    assert len(curve.steps) == POINTS
    assert curve.values[:2] == curve.steps[:2] == (49.5, 149.5)


def test_loss_panels_put_the_total_last_and_hide_seeds(complete):
    info = losses_info(complete)
    assert info.panels == ("consistency", "pseudo", "segmentation", "total")
    drawn = training_figure({"": info}, {"": "loss"}, False)
    assert len(traces(drawn)) == len(info.means)
    assert {trace.name for trace in traces(drawn) if trace.showlegend} == {
        "s1, s2, s3", "s2-CR, s3-CR", "s2-SA, s3-SA", "s2-T2, s3-T2", "s3-N2"
    }  # fmt: skip


def test_a_variant_has_one_colour_in_every_panel(complete):
    drawn = training_figure({"": selection_info(complete)}, {"": "score"}, True)
    colours = {trace.line.color for trace in traces(drawn) if trace.legendgroup == "CR"}
    assert colours == {CYCLE[1], faded(CYCLE[1], 0.35)}
    assert faded("#ff8000", 0.5) == "rgba(255,128,0,0.5)"


def test_timeline_measures_the_busy_share(tmp_path):
    stages = read(make_study(tmp_path, samples=False)).stages.to_pylist()[:4]
    for stage, (start, end) in zip(stages, [(0, 10), (0, 4), (5, 9), (500, 510)], strict=True):
        stage |= {"started": 1e9 + start, "ended": 1e9 + end, "seconds": float(end - start)}
    write_table(tmp_path, "stages", stages[:3])
    info = timeline_info(read(tmp_path))
    assert [(bar.slot, bar.start, bar.end) for bar in info.bars] == [(0, 0, 10), (1, 0, 4), (1, 5, 9)]
    assert (info.wall, info.busy, info.earlier) == (10, pytest.approx(0.9), 0)  # 18 stage-seconds on 2 slots in 10 s
    write_table(tmp_path, "stages", stages)
    later = timeline_info(read(tmp_path))
    assert (later.wall, later.busy, later.earlier) == (10, 0.5, 3)  # the fourth stage ran in a later run, alone


def test_timeline_of_a_study_that_trained_nothing_counts_the_slots_that_its_stages_had(tmp_path):
    stages = read(make_study(tmp_path, samples=False)).stages.to_pylist()[:2]
    for stage in stages:
        stage |= {"started": 1e9, "ended": 1e9 + 10, "seconds": 10.0}
    write_table(tmp_path, "stages", stages)
    write_json(tmp_path, study_of(slots=0))
    info = timeline_info(read(tmp_path))
    assert (info.slots, info.busy) == (2, 1.0)


def test_figures_of_an_empty_study_hold_nothing(nothing):
    table = score_table(nothing)
    assert forest_info(table).deltas == ()
    assert classes_info(nothing, table).rows == ()
    assert roles_info(nothing, table).rows == ()
    assert selection_info(nothing) == losses_info(nothing) == ((), (), ())
    assert timeline_info(nothing).bars == ()
    assert samples_info(nothing).lines == ()


def test_samples_show_each_stage_and_its_share_of_matching_pixels(complete):
    info = samples_info(complete)
    assert info.columns == ("image", "truth", "s1", "s2", "s3")
    assert len(info.lines) == 4
    assert [name for name, _ in info.classes] == [*CLASSES, "ignored"]
    folder = complete.folder / "samples"
    truth, made = (np.array(Image.open(path)) for path in (folder / "truth_0.png", folder / key_of("s3", 0) / "prediction_0.png"))
    share = sum(a == b for a, b in zip(truth.flat, made.flat, strict=True) if a != 255) / int((truth != 255).sum())
    assert info.lines[0][4].agreement == pytest.approx(share)
    assert all(picture.source.startswith("data:image/png;base64,") for line in info.lines for picture in line)


def test_a_prediction_that_is_not_there_yet_leaves_a_gap(tmp_path):
    make_study(tmp_path)
    (tmp_path / "samples" / key_of("s3", 0) / "prediction_1.png").unlink()
    (tmp_path / "samples" / key_of("s2", 0) / "prediction_1.png").write_bytes(b"half a fi")
    line = samples_info(read(tmp_path)).lines[1]
    assert [bool(picture.source) for picture in line] == [True, True, True, False, False]


def test_grey_masks_are_coloured_with_the_studys_palette(tmp_path):
    make_study(tmp_path)
    path = tmp_path / "samples" / "truth_0.png"
    Image.fromarray(np.array([[0, 1], [4, 255]], np.uint8)).save(path)
    source = samples_info(read(tmp_path)).lines[0][1].source
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))
    assert shown.tolist() == [[PALETTE[0], PALETTE[1]], [PALETTE[4], [128, 128, 128]]]
