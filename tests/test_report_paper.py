"""The paper's numbers with the spread and the runs that it prints: in tables, in curves, beside ours, and as declared in the sweeps.

`python tests/test_report_paper.py <folder>` writes such a study, to look at.
"""

import csv
import io
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from declared import TABLES
from scipy import stats
from test_report_comparisons import CURVE, PAPER, ROWS, SCORES, make_comparison
from test_report_studies import make_study

from semiseg.report import tables, write_report
from semiseg.report.beside import beside_figure, beside_info, draw_beside
from semiseg.report.curve import curve_figure, curve_info
from semiseg.report.data import report_data
from semiseg.report.metrics import metrics_grid, plus_minus
from semiseg.report.scores import score_table
from semiseg.results import read
from semiseg.results.printed import PrintedSpread
from semiseg.results.records import PaperRecord
from semiseg.sweep.record import curve_record, paper_record

METHODS_TEXT = Path(__file__).parents[2] / "shared" / "methods.md"
SD, SE = ({"kind": "sd", "value": 0.313, "n": 10}, {"kind": "se", "value": 0.2, "n": 3})
SPREADS = {"supervised, 5 %": [SD, SD | {"value": 0.9}, None], "mean teacher, 5 %": [SE, None, None]}
DRAWN = CURVE | {"spreads": {"supervised": {"0.1": SD}, "mean teacher": {"0.05": SE}}}


def make_spread(folder: Path) -> Path:
    return make_comparison(folder, paper=PAPER | {"spreads": SPREADS}, curve=DRAWN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_spread(tmp_path_factory.mktemp("spread"))


@pytest.fixture(scope="module")
def data(folder):
    return report_data(read(folder))


def traces(drawn) -> Any:
    return drawn.data


# ---- tables


def test_a_number_stands_with_its_spread_kind_and_runs(tmp_path):
    study = make_study(
        tmp_path,
        samples=False,
        paper={
            "title": "A paper",
            "table": "Table 1",
            "columns": ["Dice"],
            "rows": {"S1": [67.915], "full": [70.209], "no N2": [69.0]},
            "spreads": {"S1": [SD], "full": [SE]},
        },
    )
    table = score_table(read(study))
    cells = {row.name: tables.line(row, table).paper[0] for row in table.rows}
    assert cells["S1"] == "67.92 ± 0.31 (sd, n = 10) (-2.29)"
    assert cells["full"] == "70.21 ± 0.20 (se, n = 3)"
    assert cells["no N2"] == "69.00 (-1.21)"
    assert cells["no SA"] == "-"
    page = write_report(study).read_text(encoding="utf-8").split("<script>")[0]
    assert "67.92 ± 0.31 (sd, n = 10) (−2.29)" in page
    assert "In brackets its own delta, and behind ± its standard deviation (sd) or standard error (se) of n runs." in page


def test_all_metrics_say_once_what_is_behind_the_papers_numbers(data):
    made = metrics_grid(data.metrics)
    assert made is not None
    lines = {made.lines[i][0]: made.lines[i + 1] for i in range(len(made.lines) - 1)}
    assert lines["supervised, 5 %"] == ("paper (sd, n = 10)", "67.80 ± 0.31", "80.10 ± 0.90", "")
    assert lines["mean teacher, 5 %"] == ("paper (se, n = 3)", "68.50 ± 0.20", "82.40", "")


def test_csv_has_columns_of_spreads_only_where_there_are_some(data, tmp_path):
    lines = list(csv.DictReader(io.StringIO(tables.comma_separated(data.table))))
    first = lines[0]
    assert (first["paper spread: IOU"], first["paper spread is: IOU"], first["paper n: IOU"]) == ("0.313", "sd", "10")
    assert lines[-1]["paper spread: IOU"] == "-"
    assert "paper spread: best epoch" not in first
    without = report_data(read(make_comparison(tmp_path)))
    assert "spread" not in tables.comma_separated(without.table)


@pytest.mark.parametrize(
    ("value", "behind", "said"),
    [(99.745, 0.005, "99.745 ± 0.005"), (99.775, 0.01, "99.78 ± 0.01"), (1.6, 1.0, "1.60 ± 1.00"), (5.0, 0.0, "5.00 ± 0.00")],
)
def test_a_spread_shows_its_first_digit(value, behind, said):
    assert plus_minus(value, PrintedSpread("sd", behind, 5)) == said


# ---- figures


def test_our_interval_stands_beside_the_papers_spread(data):
    panels = beside_info(data)
    assert [(panel.label, panel.columns) for panel in panels] == [
        ("test foreground IoU, %", ("IOU",)),
        ("test Dice per image, %", ("Dice",)),
    ]
    assert [line.row for line in panels[0].lines] == ["supervised, 5 %", "mean teacher, 5 %"]
    ours, paper = traces(beside_figure(panels[0]))
    values = [100 * value for value in SCORES["supervised, 5 %"]]
    low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert ours.x[0] - ours.error_x.array[0] == pytest.approx(low)
    assert ours.x[0] + ours.error_x.array[0] == pytest.approx(high)
    assert (list(paper.x), list(paper.error_x.array)) == ([67.8, 68.5], [0.313, 0.2])
    assert paper.text[1] == "mean teacher, 5 %, paper, IOU: 68.50 ± 0.20 (se, n = 3)"
    dice = panels[1].lines[0]
    assert dice.ours.mean == pytest.approx(sum(values) / 3 + 5)  # make_comparison has 5 points more there
    assert draw_beside(data) is not None


def test_an_interval_of_few_seeds_does_not_stretch_the_axis_beyond_percent(tmp_path):
    scores = SCORES | {"supervised, 5 %": (0.2, 0.9, 0.9)}  # 67 ± 100
    (panel, _) = beside_info(report_data(read(make_comparison(tmp_path, scores=scores))))
    drawn: Any = beside_figure(panel)
    low, high = drawn.layout.xaxis.range
    assert (low, high) == pytest.approx((0, 100), abs=5)
    assert low < 0
    assert high > 100


def test_columns_of_one_metric_share_a_panel_and_none_has_bars_without_spreads(tmp_path):
    data = report_data(read(make_study(tmp_path, samples=False)))
    (panel,) = beside_info(data)
    drawn = traces(beside_figure(panel))
    assert [trace.name for trace in drawn] == [
        "ours, mean and 95 % interval", "paper: Cityscapes, 100 labels", "paper: VOC, 212 labels"
    ]  # fmt: skip
    assert drawn[1].error_x.array is None
    assert max(drawn[1].y) > max(drawn[2].y)
    said = draw_beside(data)
    assert said is not None
    assert not isinstance(said, str)
    assert "it prints no spread" in said.note


def test_there_is_no_comparison_without_a_paper_or_without_a_number_of_ours(tmp_path):
    assert draw_beside(report_data(read(make_study(tmp_path / "a", samples=False, paper=None)))) is None
    other = PAPER | {"rows": {"row of another table": [1.0, 2.0, 3.0]}}
    assert draw_beside(report_data(read(make_comparison(tmp_path / "b", paper=other)))) is None
    nothing = make_comparison(tmp_path / "c", scores=dict.fromkeys(ROWS, (math.nan,) * 3))
    assert draw_beside(report_data(read(nothing))) == "No row that the paper states has a score yet."


def test_curves_have_the_papers_spread_where_it_is_printed(data):
    drawn = traces(curve_figure(curve_info(data.study.curve, data.table), "IoU"))
    marks = {trace.name: trace for trace in drawn if trace.name and trace.name.endswith(", paper")}
    assert list(marks["supervised, paper"].error_y.array) == [0, 0.313, 0]
    assert list(marks["mean teacher, paper"].error_y.array) == [0.2]
    assert marks["mean teacher, paper"].text[0] == "mean teacher at 5 %, paper (± 0.20, se, n = 3)"


# ---- what the sweeps declare


@pytest.mark.parametrize("name", TABLES)
def test_every_declared_paper_is_one_that_a_study_can_hold(name):
    table = TABLES[name]
    record = paper_record(table.paper)
    assert isinstance(record, PaperRecord)
    assert set(record.rows) | set(record.spreads) <= set(table.rows)
    every = dict.fromkeys(table.rows, "words")
    for preset in table.presets.values():
        made = curve_record(table.curve, every, preset.curve_paper)
        assert made is None or set(made.spreads) <= set(made.paper)


def printed_pairs(heading: str) -> list[list[tuple[float, float]]]:
    """Numbers with a spread in brackets, by line of a table of ../shared/methods.md."""
    if not METHODS_TEXT.is_file():
        pytest.skip("../shared/methods.md is not here")
    text = METHODS_TEXT.read_text(encoding="utf-8").split(heading)[1].split("###")[0]
    found = [re.findall(r"(\d+\.\d+) \(([\d.]+)\)", line) for line in text.splitlines() if line.startswith("|")]
    return [[(float(value), float(spread)) for value, spread in line] for line in found if line]


def declared_pairs(name: str, column: int | None = None) -> dict[str, list[tuple[float, float]]]:
    """Numbers with spreads of a declared paper, by row; of one column or all."""
    paper = TABLES[name].paper
    assert paper is not None
    found = {}
    for row, spreads in paper.spreads.items():
        pairs = list(zip(paper.rows[row], spreads, strict=True))
        pairs = pairs if column is None else pairs[column : column + 1]
        found[row] = [(value, one.value) for value, one in pairs if value is not None and one is not None]
    return found


def test_the_spreads_of_perone2018_are_those_of_its_table():
    supervised, semi = printed_pairs("### Seed 001")
    declared = declared_pairs("ablate_mean_teacher_mri")
    assert declared["supervised"] == supervised
    assert declared["mean teacher"] == semi


def test_the_spreads_of_grubisic2021_are_those_of_the_slides():
    cifar_simple, cifar_mean, city_simple, city_mean = printed_pairs("### Seed 003")
    for column, simple, mean in ((0, city_simple, city_mean), (1, cifar_simple, cifar_mean)):
        declared = {row: pairs[0] for row, pairs in declared_pairs("compare_consistency_directions", column).items() if pairs}
        rows = ("supervised", "1w-ps simple", "1w-pt simple", "2w-p1 simple", "1w-p2 simple")
        assert [declared[row] for row in rows] == simple
        assert [declared[row] for row in ("supervised", "1w-ps MT", "1w-pt MT, as coded", "1w-p2 MT")] == mean


def test_the_standard_errors_of_feng2020_are_those_of_its_table():
    if not METHODS_TEXT.is_file():
        pytest.skip("../shared/methods.md is not here")
    text = METHODS_TEXT.read_text(encoding="utf-8").split("### Seed 002")[1].split("###")[0]
    stated = {name: (float(value), float(error)) for name, value, error in re.findall(r"([\w-]+) (\.\d+) \+- (\.\d+)", text)}
    paper = TABLES["compare_dmt"].paper
    assert paper is not None
    for row, (value, error) in stated.items():
        (number,), (behind,) = paper.rows[row], paper.spreads[row]
        assert number == pytest.approx(100 * value)
        assert behind is not None
        assert (behind.kind, behind.value, behind.n) == ("se", pytest.approx(100 * error), 3 if row == "DMT" else 5)
    assert set(stated) == {"Oracle", "DMT", "Pseudo-Label", "Baseline"}


if __name__ == "__main__":
    print(write_report(make_spread(Path(sys.argv[1]))))
