"""Comparisons of methods, continued: the table of all metrics, the curve, names of stages, and the page."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from test_report_comparisons import METHODS, ROWS, SCORES, make_comparison
from test_report_page import browse
from test_report_studies import key_of, make_study

from semiseg.measures import METRICS
from semiseg.report import text_table, write_report
from semiseg.report.answer import sharing
from semiseg.report.curve import curve_figure, curve_info, tick
from semiseg.report.metrics import metrics_grid, metrics_info, pretty
from semiseg.report.scores import score_table
from semiseg.report.training import selection_info, stage_labels
from semiseg.results import Results, read, write_study, write_table
from semiseg.results.records import CurveRecord


def curve_of(results: Results) -> CurveRecord:
    assert results.study.curve is not None
    return results.study.curve


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read(make_comparison(tmp_path_factory.mktemp("comparison")))


@pytest.fixture(scope="module")
def table(results):
    return score_table(results)


# ---- all metrics


def test_all_metrics_are_of_the_scored_role_with_the_papers_numbers_below(results, table):
    info = metrics_info(results, table)
    assert info.names == ("foreground_iou", "image_dice", "image_precision")
    made = metrics_grid(info)
    assert made is not None
    assert made.title == "All metrics, test, %: mean (sd)"
    assert made.head == ("row", "foreground IoU", "Dice per image", "precision per image")
    assert made.lines[:4] == (
        ("supervised, 5 %", "61.00 (1.00)", "66.00 (1.00)", "63.00 (1.00)"),
        ("paper", "67.80", "80.10", ""),
        ("mean teacher, 5 %", "64.50 (1.50)", "69.50 (1.50)", "66.50 (1.50)"),
        ("paper", "68.50", "82.40", ""),
    )
    assert len(made.lines) == len(ROWS) + 2


def test_heads_lose_what_is_said_of_every_metric(tmp_path):
    results = read(make_comparison(tmp_path, metrics=["image_dice", "image_precision", "image_recall"]))
    made = metrics_grid(metrics_info(results, score_table(results)))
    assert made is not None
    assert made.title == "All metrics per image, test, %: mean (sd)"
    assert made.head == ("row", "Dice", "precision", "recall")
    assert made.lines[0][3] == "-"  # no stage wrote image_recall


def test_a_metric_with_fewer_seeds_says_so(tmp_path):
    make_comparison(tmp_path)
    lines = [
        line
        for line in read(tmp_path).metrics.to_pylist()
        if (line["key"], line["metric"]) != (key_of("all labels", 1), "image_dice")
    ]
    write_table(tmp_path, "metrics", lines)
    results = read(tmp_path)
    made = metrics_grid(metrics_info(results, score_table(results)))
    assert made is not None
    assert made.lines[-1] == ("all labels", "78.50 (0.50)", "83.25 (0.35) n = 2", "80.50 (0.50)")


def test_the_second_table_is_in_every_format_and_absent_without_other_metrics(tmp_path):
    write_report(make_comparison(tmp_path))
    for name in ("table.md", "table.tex", "report.html"):
        assert "All metrics" in (tmp_path / name).read_text(encoding="utf-8"), name
    assert "All metrics, test" in text_table(read(tmp_path))
    write_report(make_comparison(tmp_path, metrics=["foreground_iou"]))
    for name in ("table.md", "table.tex", "report.html"):
        assert "All metrics" not in (tmp_path / name).read_text(encoding="utf-8"), name
    assert "All metrics" not in text_table(read(tmp_path))


def test_every_metric_has_a_name_of_its_own():
    assert len({pretty(name) for name in METRICS}) == len(METRICS)
    assert pretty("of_a_later_version") == "of a later version"


def with_metrics(folder, names: dict[str, dict[str, tuple[float, ...]]]) -> Results:
    """The comparison with further metrics: by name and row a number per seed; rows that are not named have none."""
    results = read(make_comparison(folder, metrics=["image_dice", *names]))
    lines = results.metrics.to_pylist()
    score = results.study.score
    place = {"split": score.split, "weights": score.weights, "step": 1, "class": ""}
    roles = {stage["key"]: stage["evaluated"] for stage in results.stages.to_pylist()}
    for name, rows in names.items():
        for row, values in rows.items():
            for seed, value in enumerate(values):
                key = key_of(row, seed)
                lines.append(place | {"key": key, "role": roles[key], "metric": name, "value": value})
    write_table(folder, "metrics", lines)
    return read(folder)


def test_distances_stand_in_their_unit_and_less_of_them_is_better(tmp_path):
    """The teacher's surfaces are nearer and its calibration worse than those of the row that it is compared with."""
    names = {
        "hd95": {"supervised, 5 %": (8.0, 9.0, 10.0), "mean teacher, 5 %": (4.0, 5.1, 6.0)},
        "ece": {"supervised, 5 %": (0.03, 0.04, 0.05), "mean teacher, 5 %": (0.13, 0.141, 0.15)},
    }
    results = with_metrics(tmp_path, names)
    info = metrics_info(results, score_table(results))
    made = metrics_grid(info)
    assert made is not None
    assert made.title == "All metrics, test: mean (sd); ↓: lower is better"
    assert made.head == ("row", "Dice per image, %", "HD95, pixels ↓", "calibration error, % ↓")
    lines = {line[0]: line[2:] for line in made.lines}
    assert lines["mean teacher, 5 %"] == ("5.03 (1.00)", "14.03 (1.00)")
    standings = {line.row: line.standings for line in info.lines}
    assert standings["supervised, 5 %"] == ()
    assert standings["mean teacher, 5 %"][1:] == ("better here", "worse here")
    assert standings["mean teacher, 10 %"][1:] == ("no result yet", "no result yet")
    page = write_report(tmp_path).read_text(encoding="utf-8").split("<script>")[0]
    assert '<td class="number good">5.03 (1.00)</td>' in page
    assert '<td class="number bad">14.03 (1.00)</td>' in page
    assert r"HD95, pixels $\downarrow$" in (tmp_path / "table.tex").read_text()
    table = (tmp_path / "table.csv").read_text().splitlines()
    head, teacher = table[0].split(","), next(line for line in table if line.startswith('"mean teacher, 5 %"'))
    assert head[-6:] == ["hd95 n", "hd95 mean", "hd95 sd", "ece n", "ece mean", "ece sd"]
    assert teacher.split(",")[-6:] == ["3", "5.03", "1.00", "3", "14.03", "1.00"]


def test_the_unit_of_distances_is_that_of_the_data(tmp_path):
    results = with_metrics(tmp_path, {"asd": {"all labels": (1.5, 2.5, 3.5)}})
    study = replace(results.study, data=replace(results.study.data, length="mm"))
    write_study(tmp_path, study)
    results = read(tmp_path)
    made = metrics_grid(metrics_info(results, score_table(results)))
    assert made is not None
    assert made.head[-1] == "surface distance, mm ↓"
    assert made.lines[-1][-1] == "2.50 (1.00)"


# ---- curve


def test_the_curve_holds_percent_by_place_and_the_papers_numbers(results, table):
    info = curve_info(curve_of(results), table)
    assert [one.name for one in info.series] == list(METHODS)
    teacher = info.series[1]
    assert [point.x for point in teacher.points] == [0.05, 0.1, 0.25]
    assert teacher.points[0].score == (3, pytest.approx(64.5), pytest.approx(1.5))
    assert teacher.points[0].seeds == pytest.approx({0: 63.0, 1: 66.0, 2: 64.5})
    assert teacher.paper == ((0.05, 68.5),)
    assert info.levels == (("all labels", (3, pytest.approx(78.5), pytest.approx(0.5))),)


def test_the_curve_is_drawn_with_dots_hollow_marks_and_readable_ticks(results, table):
    drawn: Any = curve_figure(curve_info(curve_of(results), table), "test IoU")
    assert [trace.name for trace in drawn.data if trace.showlegend is not False] == [
        "supervised", "supervised, paper", "mean teacher", "mean teacher, paper"
    ]  # fmt: skip
    assert drawn.data[0].error_y.array == pytest.approx((1.0, 1.0, 1.0))
    assert drawn.data[2].marker.symbol.endswith("-open")
    assert drawn.layout.xaxis.type == "log"
    assert drawn.layout.xaxis.ticktext == ("5 %", "10 %", "25 %")
    assert drawn.layout.shapes[0].line.dash == "dash"
    label = drawn.layout.annotations[0]
    assert (label.text, label.x) == ("all labels: 78.50 ± 0.50", 0)  # the series end nearer to it than they begin
    assert drawn.data[0].x[0] < 0.05 < drawn.data[3].x[0]  # side by side


def test_points_stand_from_left_to_right(tmp_path):
    series = {"teacher": {"0.25": "mean teacher, 25 %", "0.05": "mean teacher, 5 %", "0.1": "mean teacher, 10 %"}}
    results = read(make_comparison(tmp_path, curve={"x": "share", "series": series}))
    info = curve_info(curve_of(results), score_table(results))
    assert [point.row for point in info.series[0].points] == [f"mean teacher, {said}" for said in ("5 %", "10 %", "25 %")]
    assert (info.log, info.levels, info.series[0].paper) == (False, (), ())


def test_ticks_are_percent_for_shares_only():
    assert [tick(0.05, "labelled share"), tick(0.125, "lambda1"), tick(36.0, "labelled images")] == ["5 %", "0.125", "36"]


def test_rows_without_a_score_leave_the_curve(tmp_path):
    scores = SCORES | {"mean teacher, 10 %": (math.nan,) * 3, "all labels": (math.nan,) * 3}
    results = read(make_comparison(tmp_path, scores))
    info = curve_info(curve_of(results), score_table(results))
    assert [point.x for point in info.series[1].points] == [0.05, 0.25]
    assert info.levels == ()
    scores = dict.fromkeys(SCORES, (math.nan,) * 3)
    results = read(make_comparison(tmp_path, scores))
    assert curve_info(curve_of(results), score_table(results)).series == ()
    assert "No row of the curve has a score yet." in write_report(tmp_path).read_text(encoding="utf-8")


# ---- stages and the page


def test_stages_of_one_name_are_told_apart_by_their_rows(results):
    labels = {label for label, _ in stage_labels(results).values()}
    assert labels == set(ROWS)
    info = selection_info(results)
    assert len(info.means) == len(ROWS)
    line = next(curve for curve in info.means if curve.stage == "mean teacher, 5 %")
    assert line.values[-1] == pytest.approx(100 * 0.645 * (1 - math.exp(-5)))


def test_stages_with_names_of_their_own_keep_them(tmp_path):
    results = read(make_study(tmp_path, samples=False))
    assert stage_labels(results)[key_of("s2-CR", 1)] == ("s2-CR", "CR")
    assert stage_labels(results)[key_of("s3", 1)] == ("s3", "")


def test_panels_of_stages_are_in_the_order_of_their_numbers(tmp_path):
    make_study(tmp_path, samples=False)
    stages = [stage | {"number": {3: 10}.get(stage["number"], stage["number"])} for stage in read(tmp_path).stages.to_pylist()]
    write_table(tmp_path, "stages", stages)
    assert selection_info(read(tmp_path)).panels == ("stage 1", "stage 2", "stage 10")


def test_rows_that_share_stages_are_warned_of(tmp_path, results):
    assert (sharing(results).first, sharing(results).some) == (False, False)
    make_comparison(tmp_path)
    lines = read(tmp_path).rows.to_pylist()
    first = {
        "row": "supervised, 5 %",
        "seed": 0,
        "position": 0,
        "stage": "supervised",
        "key": key_of("all labels", 0),
        "final": False,
    }
    write_table(tmp_path, "rows", [*lines, first])
    assert (sharing(read(tmp_path)).first, sharing(read(tmp_path)).some) == (False, True)
    assert "Some rows of a seed share stages" in write_report(tmp_path).read_text(encoding="utf-8")
    whole = sharing(read(make_study(tmp_path / "ablation", samples=False)))
    assert (whole.first, whole.some) == (True, True)


def test_the_page_of_a_comparison(tmp_path):
    text = write_report(make_comparison(tmp_path)).read_text(encoding="utf-8").split("<script>")[0]
    places = re.findall(r'<section id="(\w+)"', text)
    assert places[:7] == ["answer", "table", "curve", "statistics", "metrics", "weights", "beside"]
    assert re.findall(r'<li><a href="#(\w+)"', text) == places
    for words in ("What helped", "against: supervised, 5&nbsp;%", "+3.50", "better here", "worse here", "<h2>Table</h2>"):
        assert words in text, words
    for words in ("earn their place", "share their stage-1 run", "Ablation table"):
        assert words not in text, words


def test_a_browser_draws_the_curve_and_logs_nothing(tmp_path):
    document, console = browse(write_report(make_comparison(tmp_path / "study")), tmp_path / "profile")
    assert console == ""
    holder = document.partition('data-plot="data-curve"')[2].partition("</section>")[0]
    assert 'class="main-svg"' in holder
    assert "all labels: 78.50" in holder
