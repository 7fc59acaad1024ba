"""Figures of pseudo-masks and of student and teacher apart: the numbers behind them, over whole studies and those of before."""

import math
from pathlib import Path
from typing import Any

import pytest
from test_report_studies import CLASSES, key_of, make_study

from semiseg.report.data import ReportData, report_data
from semiseg.report.disagreement import disagreement_info, draw_disagreement
from semiseg.report.pseudo import draw_pseudo, pseudo_info
from semiseg.report.style import Drawn
from semiseg.results import read, write_table


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return report_data(read(make_study(tmp_path_factory.mktemp("complete"), samples=False)))


def test_lines_say_stage_and_teacher_and_are_means_over_seeds(complete: ReportData) -> None:
    info = pseudo_info(complete.results)
    names = [line.name for line in info.lines]
    assert names[:4] == ["s2 ← s1, student", "s2, own teacher", "s2-CR ← s1, student", "s2-CR, own teacher"]
    assert "s2-T2, own teacher" in names
    assert "s2-T2 ← s1, student" not in names  # it learns no masks
    assert "s3-T2 ← s2-T2, teacher" in names
    learned = next(line for line in info.lines if line.name == "s3 ← s2, teacher")
    assert (learned.seeds, learned.images) == (3, 88)
    assert learned.values["", "miou"] == pytest.approx(61)  # 60, 61, 62
    assert learned.values["", "entropy"] == 25
    assert learned.values[CLASSES[1], "iou"] == pytest.approx(51)
    assert math.isnan(learned.values[CLASSES[-1], "iou"])
    assert info.classes == tuple(CLASSES[:-1])
    assert info.without_mask == 0


def test_the_figures_hold_the_numbers_and_what_is_not_measured_is_said(complete: ReportData, tmp_path: Path) -> None:
    drawn: Any = draw_pseudo(complete)
    over_all, by_class = drawn.figures[0].data
    assert list(over_all.x) == ["mIoU", "accuracy", "kept", "mIoU of kept", "accuracy of kept", "confidence", "entropy"]
    assert over_all.z[0] == [61, 61, 61, 61, 61, 61, 25]
    assert by_class.z[0] == [61, 51, 41, 31]
    assert by_class.customdata[0][0].startswith("IoU 61.00 %, precision 61.00 %, kept 61.00 %")
    assert "no mask" not in drawn.note
    make_study(tmp_path, samples=False)
    lines = read(tmp_path).pseudo.to_pylist()
    some = [line | {"value": 7.0} if line["metric"] == "without_mask" else line for line in lines]
    write_table(tmp_path, "pseudo", some)
    drawn = draw_pseudo(report_data(read(tmp_path)))
    assert "7 unlabelled images have no mask and are not measured." in drawn.note
    write_table(tmp_path, "pseudo", [line for line in some if line["metric"] in ("images", "without_mask")])
    assert draw_pseudo(report_data(read(tmp_path))) == (
        "The 7 unlabelled images have no masks that pseudo-masks could be compared with."
    )


def test_disagreement_is_in_percent_by_seed_with_a_mean_where_all_have_a_point(complete: ReportData, tmp_path: Path) -> None:
    lines = {line.name: line for line in disagreement_info(complete.results)}
    assert "s1" not in lines
    assert list(lines["s3"].seeds) == [0, 1, 2]
    assert lines["s3"].seeds[1][100] == pytest.approx(30 * math.exp(-1))
    assert lines["s3"].mean[100] == pytest.approx(30 * math.exp(-1))  # of 20, 30 and 40
    make_study(tmp_path, samples=False)
    curves = [
        line | {"name": line["name"].replace("disagreement/teacher", "disagreement/average")}
        for line in read(tmp_path).curves.to_pylist()
        if line["key"] != key_of("s2", 2) or line["step"] <= 40
    ]
    write_table(tmp_path, "curves", curves)
    lines = {line.name: line for line in disagreement_info(read(tmp_path))}
    assert list(lines["s2, average"].mean) == [20, 40]
    assert len(lines["s3, average"].mean) == 15


def test_results_of_before_are_drawn_without(tmp_path: Path) -> None:
    make_study(tmp_path, samples=False)
    (tmp_path / "pseudo.parquet").unlink()
    plain = [line for line in read(tmp_path).curves.to_pylist() if not line["name"].startswith(("disagreement", "unlabelled"))]
    write_table(tmp_path, "curves", plain)
    data = report_data(read(tmp_path))
    assert draw_pseudo(data) == "No pseudo-masks of unlabelled images have been measured."
    assert not isinstance(draw_disagreement(data), Drawn)
