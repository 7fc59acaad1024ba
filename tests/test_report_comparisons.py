"""Comparisons of methods: words of rows, opponents, all metrics, curves and the page, over a made-up study of label shares.

`python tests/test_report_comparisons.py <folder>` writes the study, to look at.
"""

import csv
import io
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_report_studies import CLASSES, key_of, make_study, pseudo_lines, study_of, write_json

from semiseg.report import tables
from semiseg.report.answer import answer
from semiseg.report.data import report_data
from semiseg.report.deltas import forest_figure, forest_info
from semiseg.report.grid import as_text
from semiseg.report.metrics import metrics_info
from semiseg.report.scores import comparisons, part_deltas, score_table
from semiseg.results import read, write_table

SHARES = {"0.05": "5 %", "0.1": "10 %", "0.25": "25 %"}
METHODS = {"supervised": "supervised", "mean teacher": "mean_teacher"}
ROWS = {f"{name}, {said}": f"{word} data.labelled={x}" for x, said in SHARES.items() for name, word in METHODS.items()}
ROWS["all labels"] = "supervised data.labelled=all"
AGAINST = {row: row.replace("mean teacher", "supervised") for row in ROWS} | {"all labels": None}
# Foreground IoU by row at seeds 0, 1, 2.
SCORES: dict[str, tuple[float, ...]] = {
    "supervised, 5 %": (0.60, 0.62, 0.61),
    "mean teacher, 5 %": (0.63, 0.66, 0.645),
    "supervised, 10 %": (0.65, 0.66, 0.67),
    "mean teacher, 10 %": (0.655, 0.652, 0.672),
    "supervised, 25 %": (0.72, 0.71, 0.73),
    "mean teacher, 25 %": (0.70, 0.691, 0.709),
    "all labels": (0.78, 0.79, 0.785),
}
OTHERS = {"image_dice": 0.05, "image_precision": 0.02}  # above the score
CURVE: dict[str, Any] = {
    "x": "labelled share",
    "log": True,
    "series": {name: {x: f"{name}, {said}" for x, said in SHARES.items()} for name in METHODS},
    "levels": ["all labels"],
    "paper": {"supervised": {"0.05": 67.8, "0.1": 70.5, "0.25": 73.0}, "mean teacher": {"0.05": 68.5}},
}
PAPER: dict[str, Any] = {
    "title": "Mean teacher on pets",
    "url": "arXiv:0000.00001",
    "table": "Table 1",
    "columns": ["IOU", "Dice", "best epoch"],
    "metrics": ["foreground_iou", "image_dice", None],
    "rows": {"supervised, 5 %": [67.8, 80.1, 45], "mean teacher, 5 %": [68.5, 82.4, 80]},
}


def make_comparison(folder: Path, scores: dict[str, tuple[float, ...]] = SCORES, **changes: Any) -> Path:
    """Write a results folder in which every row is one stage of its own; `changes` go into study.json."""
    study = study_of(
        rows=ROWS, reference="supervised, 5 %", baseline=None, paper=PAPER, methods=["supervised", "mean_teacher", "dmt"]
    )
    study |= {
        "title": "Mean teacher over label shares",
        "question": "From how few labels does mean teacher help? (made-up numbers)",
    }
    study |= {"against": AGAINST, "metrics": ["foreground_iou", *OTHERS], "curve": CURVE, "method": "mean_teacher"}
    study["score"] = study["score"] | {"metric": "foreground_iou"}
    stages, metrics, curves, pseudo, rows = [], [], [], [], []
    for i, (row, values) in enumerate(scores.items()):
        teacher = row.startswith("mean")
        for seed, value in enumerate(values):
            key = key_of(row, seed)
            name = "mean_teacher" if teacher else "supervised"
            started = 1e9 + 21.0 * (i // 2) + 140 * seed
            stage = {"key": key, "name": name, "number": 1, "seed": seed, "state": "done", "error": "", "teachers": []}
            stage |= {"evaluated": "teacher" if teacher else "student", "steps": 300, "seconds": 20.0, "images_per_second": 210.0}
            stages.append(
                stage | {"device": "cpu", "precision": "float32", "chosen_step": 280, "started": started, "ended": started + 20}
            )
            rows.append({"row": row, "seed": seed, "position": 1, "stage": name, "key": key, "final": True})
            for role in ("student", "teacher") if teacher else ("student",):
                for weights, split in (("best", "test"), ("last", "test"), ("best", "selection")):
                    counts = (role, weights, split) == (stage["evaluated"], "best", "test")
                    shift = 0.0 if counts else -0.03  # every other combination is another number, to catch a mixed-up choice
                    where = {"key": key, "role": role, "weights": weights, "split": split, "step": 280}
                    numbers = {"foreground_iou": value} | {metric: value + more for metric, more in OTHERS.items()}
                    metrics += [{**where, "class": "", "metric": one, "value": number + shift} for one, number in numbers.items()]
                    metrics += [{**where, "class": label, "metric": "iou", "value": value + shift} for label in CLASSES]
            for step in range(20, 301, 20):
                score = value * (1 - math.exp(-step / 60))
                line = {"key": key, "step": step}
                curves.append(line | {"name": f"selection/{stage['evaluated']}/foreground_iou", "value": score})
                curves.append(line | {"name": "loss/segmentation", "value": 1 - score})
                curves += [line | {"name": "disagreement/teacher", "value": 0.3 - step / 1000}] * teacher
            if teacher:
                where = {"key": key, "teacher": key, "role": "teacher", "weights": "last", "step": 300}
                pseudo += pseudo_lines(where, value, 64)
    write_json(folder, study | changes)
    for table, lines in {"stages": stages, "metrics": metrics, "curves": curves, "pseudo": pseudo, "rows": rows}.items():
        write_table(folder, table, lines)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read(make_comparison(tmp_path_factory.mktemp("comparison")))


@pytest.fixture(scope="module")
def table(results):
    return score_table(results)


# ---- words of rows


def test_words_become_columns_of_method_and_settings(table):
    assert table.switches == ()
    assert table.columns == ("method", "data.labelled")
    assert table.row("mean teacher, 10 %").facts == ("mean_teacher", "0.1")
    assert table.row("all labels").facts == ("supervised", "all")


def test_switches_settings_and_methods_stand_side_by_side(tmp_path):
    rows = {"S1": "S1 variant=1w-ps", "S1+S2": "S1 S2 train.steps=40 net=a=b", "full": "dmt"}
    study = {"rows": rows, "baseline": None, "paper": None, "methods": ["dmt", "supervised"], "method": "three_stage"}
    table = score_table(read(make_study(tmp_path, samples=False, **study)))
    assert table.switches == ("S1", "S2")
    assert table.columns == ("method", "variant", "train.steps", "net")
    assert [row.facts for row in table.rows] == [
        ("three_stage", "1w-ps", "", ""), ("three_stage", "", "40", "a=b"), ("dmt", "", "", "")
    ]  # fmt: skip
    made = tables.table_grid(table, "mIoU")
    assert made.head[:7] == ("row", "S1", "S2", "method", "variant", "train.steps", "net")
    assert made.kinds == ("row", "tick", "tick", *["fact"] * 4, "number", "number", "text")
    assert made.lines[1][:7] == ("S1+S2", "✓", "✓", "three_stage", "", "40", "a=b")


def test_without_a_methods_name_there_is_no_such_column(tmp_path):
    study = {"methods": ["dmt"], "method": "three_stage"}
    assert score_table(read(make_study(tmp_path, samples=False, **study))).columns == ()


def test_every_table_has_every_column(results, table):
    label, rule, more = "test mIoU", "best.", metrics_info(results, table)
    assert report_data(results).label == "test foreground IoU"
    head = tables.table_grid(table, label).head
    assert head == (
        "row", "method", "data.labelled", "test mIoU, %: mean ± sd", "delta [95 % interval]", "against", "scored",
        "paper: IOU", "paper: best epoch",
    )  # fmt: skip
    lines = tables.markdown(table, label, rule, more).splitlines()
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines[: len(ROWS) + 2]} == {len(head) + 2}
    body = [line for line in tables.latex(table, label, rule, more).splitlines() if line.endswith(r"\\")]
    assert [len(line.split(" & ")) for line in body] == [9] * 8 + [4] * 10
    lines = list(csv.DictReader(io.StringIO(tables.comma_separated(table, more))))
    one = lines[1]
    assert [one[name] for name in ("row", "method", "data.labelled", "against")] == [
        "mean teacher, 5 %", "mean_teacher", "0.05", "supervised, 5 %"
    ]  # fmt: skip
    assert [one[f"image_dice {what}"] for what in ("n", "mean", "sd")] == ["3", "69.50", "1.50"]


def test_a_narrow_terminal_loses_the_papers_columns_then_the_facts(table):
    made = tables.table_grid(table, "test mIoU")
    widths = {len(as_text(made, width).splitlines()[1]) for width in (None, 130, 40)}
    assert len(widths) == 3
    assert "paper" not in as_text(made, 130)
    assert "mean_teacher" in as_text(made, 130)
    assert "mean_teacher" not in as_text(made, 40)


# ---- opponents


def test_rows_are_compared_with_their_opponents(table):
    for row in table.rows:
        other = AGAINST[row.name]
        if other in (None, row.name):
            assert row.delta is None
            assert row.against is None
        else:
            truth = stats.ttest_rel(SCORES[row.name], SCORES[other])
            assert row.delta.mean == pytest.approx(np.mean(np.subtract(SCORES[row.name], SCORES[other])))
            assert (row.delta.low, row.delta.high) == pytest.approx(tuple(truth.confidence_interval(0.95)))
    assert table.row("mean teacher, 5 %").paper_delta[0] == pytest.approx(0.7)
    assert table.row("supervised, 5 %").paper_delta[0] == 0


def test_the_papers_columns_of_other_metrics_have_no_delta(table):
    assert [math.isnan(delta) for delta in table.row("mean teacher, 5 %").paper_delta] == [False, True, True]
    assert forest_info(table).paper_columns == ("IOU",)


def test_scores_are_of_the_split_that_the_study_names(tmp_path):
    score = {"metric": "foreground_iou", "split": "selection", "weights": "best", "rule": "x."}
    row = score_table(read(make_comparison(tmp_path, score=score))).row("mean teacher, 5 %")
    assert row.score.mean == pytest.approx(0.645 - 0.03)


def test_a_row_that_is_compared_with_none_says_whether_others_are_compared_with_it(table):
    said = {row.name: tables.line(row, table).delta for row in table.rows}
    assert said["supervised, 5 %"] == "reference"
    assert said["all labels"] == "-"
    assert said["mean teacher, 5 %"] == "+3.50 [+2.26, +4.74]"  # 3, 4, 3.5: half 4.302653 * 0.5 / sqrt(3)


def test_rows_that_are_not_named_are_compared_with_the_reference(tmp_path):
    table = score_table(read(make_comparison(tmp_path, against={"all labels": None})))
    assert table.opponent == "supervised, 5 %"
    assert {row.name for row in table.rows if row.against is None} == {"supervised, 5 %", "all labels"}
    assert tables.table_grid(table, "mIoU").head[4:6] == ("delta to supervised, 5 % [95 % interval]", "scored")


def test_a_comparison_says_better_worse_or_unclear(table):
    said = answer(table, "test mIoU")
    assert said.parts == part_deltas(table) == ()
    assert said.compared == comparisons(table)
    assert said.sentences == (
        "'mean teacher, 5 %' is +3.50 [+2.26, +4.74] points against 'supervised, 5 %': better here.",
        "'mean teacher, 10 %' is -0.03 [-1.72, +1.66] points against 'supervised, 10 %': unclear.",
        "'mean teacher, 25 %' is -2.00 [-2.25, -1.75] points against 'supervised, 25 %': worse here.",
    )
    assert "smallest possible two-sided p is 0.25" in said.caveat


def test_many_rows_are_grouped_by_what_is_said_of_them(tmp_path):
    scores = SCORES | {"mean teacher, 10 %": (0.60, 0.63, 0.60)}
    (said,) = answer(score_table(read(make_comparison(tmp_path, scores, against={}))), "mIoU").sentences
    better = "'mean teacher, 5 %', 'supervised, 10 %', 'supervised, 25 %', 'mean teacher, 25 %' and 'all labels' are better here"
    assert said == f"Against 'supervised, 5 %': {better}; 'mean teacher, 10 %' is unclear (the interval crosses 0)."


def test_one_seed_and_no_seed_are_not_judged(tmp_path):
    scores = {row: values[:1] for row, values in SCORES.items()} | {"mean teacher, 5 %": (math.nan,)}
    table = score_table(read(make_comparison(tmp_path, scores, seeds=[0])))
    assert answer(table, "mIoU").sentences[:2] == (
        "'mean teacher, 5 %' has no result yet.",
        "'mean teacher, 10 %' is +0.50 points against 'supervised, 10 %': one seed only.",
    )
    scores |= {row: (math.nan,) for row in SCORES if row.startswith("mean")}
    table = score_table(read(make_comparison(tmp_path, scores, seeds=[0])))
    assert "nothing can be compared yet" in answer(table, "mIoU").sentences[0]


def test_a_table_without_parts_and_opponents_compares_with_its_reference(tmp_path):
    table = score_table(read(make_comparison(tmp_path, against=None, baseline="all labels")))
    said = answer(table, "test IoU").sentences
    assert said[0].startswith("'supervised, 5 %' reaches 61.00 % test IoU (n = 3), -17.50 [")
    assert said[1].startswith("Against 'supervised, 5 %': 'mean teacher, 5 %'")
    assert "all labels" not in said[1]


def test_the_forest_names_both_rows_and_colours_the_better_one(table):
    info = forest_info(table)
    assert [(delta.row, delta.against, delta.standing) for delta in info.deltas] == [
        ("mean teacher, 5 %", "supervised, 5 %", "better here"),
        ("mean teacher, 10 %", "supervised, 10 %", "unclear"),
        ("mean teacher, 25 %", "supervised, 25 %", "worse here"),
    ]
    assert info.deltas[0].paper[0] == pytest.approx(0.7)
    axis: Any = forest_figure(info).layout
    assert axis.yaxis.ticktext[0] == "mean teacher, 5 %<br>− supervised, 5 %"
    assert "its counterpart" in axis.xaxis.title.text


if __name__ == "__main__":
    print(make_comparison(Path(sys.argv[1])))
