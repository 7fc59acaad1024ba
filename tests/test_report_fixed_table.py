"""The section of statistics on made-up studies: in page, Markdown, LaTeX and CSV; failed seeds; none where seeds are added until decided.

`python tests/test_report_fixed_table.py <folder>` writes a study with failures and a row that is equivalent, to look at.
"""

import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from test_report_headroom import SMALL, WIDE, made
from test_report_studies import SCORES, make_study

from semiseg.report import tables, write_report
from semiseg.report.answer import answer
from semiseg.report.deltas import forest_info
from semiseg.report.fixed_table import CELLS, fixed_cells, fixed_grid, fixed_lines, fixed_notes
from semiseg.report.scores import comparisons, part_deltas, score_table
from semiseg.results import Results, read
from semiseg.results.until import UntilRecord

SAME = SCORES | {"no T2": (0.6001, 0.6102, 0.6081)}
FAILED = {("s2-CR", 0): "failed", ("s3-CR", 0): "skipped", ("s3-SA", 1): "failed", ("s3", 2): "waiting"}


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """`no T2` is as good as `full`."""
    return read(make_study(tmp_path_factory.mktemp("same"), samples=False, scores=SAME))


def test_a_line_per_comparison_and_the_verdict_is_that_of_the_answer(same: Results) -> None:
    table = score_table(same)
    lines = {line.row: line for line in fixed_lines(table)}
    assert list(lines) == [row for row in SCORES if row != "full"]
    truth = stats.ttest_rel(SAME["no SA"], SAME["full"])
    assert lines["no SA"].fixed.p == pytest.approx(truth.pvalue)
    standings = {part.row: part.standing for part in part_deltas(table)}
    assert standings["no T2"] == "equivalent"
    assert lines["no T2"].verdict == "T2: equivalent within 1 point"
    assert lines["no SA"].verdict == f"SA: {standings['no SA']}"
    assert "T2 is equivalent within 1 point" in " ".join(answer(table, "test mIoU").sentences)
    assert next(one.standing for one in forest_info(table).deltas if one.row == "no T2") == "equivalent"


def test_the_margin_is_that_of_the_study(tmp_path: Path) -> None:
    table = score_table(read(make_study(tmp_path, samples=False, scores=SAME, margin=0.02)))
    assert "equivalent" not in {part.standing for part in part_deltas(table)}
    grid = fixed_grid(table)
    assert grid is not None
    assert "within 0.02 points: p, Holm" in grid.head


def test_one_of_many_is_not_shown_by_its_own_interval(tmp_path: Path) -> None:
    """4.4 points with an interval above 0 alone, p = 0.018; six times that is no proof."""
    scores = SCORES | {"no CR": (0.55, 0.58, 0.56), "no SA": (0.6, 0.6, 0.61), "no N2": (0.59, 0.63, 0.6), "S1": (0.6, 0.6, 0.62)}
    table = score_table(read(make_study(tmp_path, samples=False, scores=scores)))
    row = next(one for one in comparisons(table) if one.row == "no CR")
    assert row.delta.high < 0
    assert row.standing == "unclear after Holm"
    said = " ".join(answer(table, "test mIoU").sentences)
    assert "CR is unclear after Holm's adjustment (its own interval leaves out 0)" in said


def test_the_reference_is_judged_beside_its_anchor_and_where_nothing_is_to_gain_nothing_is_equivalent(tmp_path: Path) -> None:
    lines = {line.row: line for line in fixed_lines(score_table(made(tmp_path, WIDE)))}
    assert list(lines) == ["full", "no S2"]
    assert lines["full"].against == "labels only: 900 x 4"
    assert lines["full"].verdict == "better here"
    said = {line.row: line.verdict for line in fixed_lines(score_table(made(tmp_path, SMALL, margin=5.0)))}
    assert said == {
        "full": "cannot tell here: all labels add only 0.9 points",
        "no S2": "S2: cannot tell here: all labels add only 0.9 points",
    }


def test_page_and_tables_have_the_section(same: Results) -> None:
    page = write_report(same.folder).read_text(encoding="utf-8")
    section = re.sub(r"&nbsp;", " ", page.split('<section id="statistics"')[1].split("</section>")[0])
    assert section.count("<tr>") == 1 + 6
    assert "T2: equivalent within 1 point" in section
    assert "adjusted by Holm&#x27;s method for 6 comparisons" in section
    grid = fixed_grid(score_table(same))
    assert grid is not None
    for name in ("table.md", "table.tex"):
        text = (same.folder / name).read_text(encoding="utf-8")
        assert "Statistics, each row minus 'full'" in text
        assert "T2: equivalent within 1 point" in text
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO((same.folder / "table.csv").read_text(encoding="utf-8")))}
    fixed = score_table(same).fixed["no CR", "full"]
    assert float(lines["no CR"]["p t Holm"]) == pytest.approx(fixed.holm, rel=1e-3)
    assert float(lines["no CR"]["smallest detectable"]) == pytest.approx(100 * fixed.detectable, abs=0.005)
    assert (lines["no CR"]["seeds better"], lines["no N2"]["seeds better"]) == ("0", "3")
    assert {lines["full"][name] for name in CELLS} == {"-"}


def test_where_seeds_are_added_until_decided_nothing_of_it_is_shown(same: Results) -> None:
    study = replace(same.study, until=UntilRecord(comparisons=2, max_seeds=20))
    table = score_table(replace(same, study=study))
    assert table.fixed == {}
    assert fixed_grid(table) is fixed_cells(table) is None
    assert "Holm" not in " ".join(tables.notes(table, "rule"))


def test_failed_seeds_are_called_failed_with_their_error(tmp_path: Path) -> None:
    results = read(make_study(tmp_path, states=FAILED, samples=False))
    table = score_table(results)
    assert table.row("no CR").cells[0].error == "s2-CR failed: loss 'consistency' is NaN at step 17"
    assert tables.line(table.row("no CR"), table).score.endswith("(n = 2 of 3, 1 failed)")
    assert tables.line(table.row("full"), table).score.endswith("(n = 2 of 3)")
    note = "Failed: 2 of 21 results, which are in no mean and no difference: no CR (seed 0); no SA (seed 1)."
    assert note in tables.notes(table, "rule")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.count('<span class="failed"') == 2
    assert '<span class="failed" title="s2-CR failed: loss &#x27;consistency&#x27; is NaN at step 17">failed</span>' in page
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8")))}
    assert [lines["no CR"][f"seed {seed}"] for seed in range(3)] == ["failed", "57.20", "55.80"]
    assert lines["full"]["seed 2"] == "-"


def test_one_seed_has_a_section_without_numbers(tmp_path: Path) -> None:
    table = score_table(read(make_study(tmp_path, seeds=(0,), samples=False)))
    grid = fixed_grid(table)
    assert grid is not None
    assert grid.lines[0][1:] == (
        "1",
        "-10.00 (one seed)",
        "1.000",
        "-",
        "-",
        "-",
        "-",
        "-",
        "0 of 1 [0, 98] %",
        "-",
        "-",
        "-",
        "one seed only",
    )
    assert len(fixed_notes(table)) == 3


if __name__ == "__main__":
    print(write_report(make_study(Path(sys.argv[1]), scores=SAME, states=FAILED)))
