"""What tables and page say of a study that added seeds until all was decided, on made-up results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report_headroom import EVERY, FEW, Scores, made

from semiseg.report import tables, text_table, write_report
from semiseg.report.answer import answer, gaps
from semiseg.report.data import report_data
from semiseg.report.decisions import decisions, quantities
from semiseg.report.deltas import forest_figure, forest_info
from semiseg.report.scores import score_table
from semiseg.report.sequential import intervals
from semiseg.results import Results, read, write_table

SPREAD = np.array([0.3, -0.2, 0.1, -0.3, 0.2, -0.1, 0.05, -0.05, 0.25, -0.25]) / 100
BASE = np.array([0.1, 0.5, -0.3, 0.2, -0.4, 0.3, 0.0, 0.4, -0.2, 0.1]) / 100


def scores(**worth: float) -> Scores:
    """Ten seeds; `worth` in points is what each row lacks of the full method."""
    lines = {
        "full": 0.58 + BASE,
        **{f"no {name}": 0.58 + BASE - points / 100 + np.roll(SPREAD, i) for i, (name, points) in enumerate(worth.items())},
    }
    lines |= {FEW: 0.5 + BASE + np.roll(SPREAD, 3), EVERY: 0.7 + BASE + np.roll(SPREAD, 4)}
    return {name: tuple(map(float, line)) for name, line in lines.items()}


def until(**changes: Any) -> dict[str, Any]:
    return {"comparisons": 4, "max_seeds": 20, "reason": "decided", "order": [], "spent_seconds": 60.0} | changes


def shortened(results: Results, **most: int) -> Results:
    """The same folder without later seeds of some rows ("no_S2=7")."""
    few = {name.replace("_", " "): count for name, count in most.items()}
    lines = [line for line in results.rows.to_pylist() if line["seed"] < few.get(line["row"], 99)]
    write_table(results.folder, "rows", lines)
    return read(results.folder)


ROWS = {"full": "S1 S2 CR N2", "no S2": "S1 CR N2", "no CR": "S1 S2 N2"}


@pytest.fixture
def study(tmp_path: Path) -> Results:
    """S2 is worth 4 points and CR nothing; seven seeds of the row without S2, ten of the others."""
    words = {FEW: "supervised train.batch_labelled=4 train.steps=0", EVERY: "supervised train.batch_labelled=4 train.steps=1"}
    return shortened(made(tmp_path, scores(S2=4.0, CR=0.02), rows=ROWS | words, until=until()), no_S2=7)


def ends(results: Results, row: str, other: str, seeds: int) -> tuple[float, float]:
    """The interval of the definition, of scores as they stand in the tables."""
    table = score_table(results)
    line = [table.row(row).cells[seed].value - table.row(other).cells[seed].value for seed in range(seeds)]
    low, high = intervals(line, 0.05 / 4)[-1]
    return float(low), float(high)


def test_comparisons_are_the_rows_the_anchor_and_the_gap(study: Results) -> None:
    assert list(quantities(study.study, {})) == ["no S2 - full", "no CR - full", f"full - {FEW}", f"{EVERY} - {FEW}"]
    assert {one.gap for one in quantities(study.study, {}).values()} == {f"{EVERY} - {FEW}", ""}


def test_deltas_have_the_anytime_interval_and_no_test(study: Results) -> None:
    table = score_table(study)
    delta = table.row("no S2").delta
    assert delta is not None
    assert (delta.low, delta.high) == ends(study, "no S2", "full", 7)
    assert np.isnan(delta.p)
    room = table.headrooms["full"]
    assert (room.gap.low, room.gap.high) == ends(study, EVERY, FEW, 10)
    assert np.isnan(room.share.low)


def test_the_answer_says_after_how_many_seeds_what_was_decided(study: Results) -> None:
    said = answer(score_table(study), "test mIoU")
    low, high = (100 * -one for one in reversed(ends(study, "no S2", "full", 7)))
    clause, other = said.sentences[-1].removesuffix(".").split("; ")
    assert clause.startswith(f"Dropping S2 costs 4.0 points [{low:.1f}, {high:.1f}], decided after ")
    assert other.startswith("CR is equivalent within 1 point [")
    assert said.caveat.startswith("All 3 differences are decided, after ")
    assert "level 0.05/4 each" in said.caveat


def test_seeds_that_were_not_needed_are_no_gaps(study: Results) -> None:
    table = score_table(study)
    assert gaps(study, table) == []
    assert {table.row("no S2").cells[seed].state for seed in (7, 8, 9)} == {"not needed"}
    grid = tables.text(table, "test mIoU", "rule")
    line = next(one for one in grid.splitlines() if one.startswith("no S2"))
    assert "(n = 7)" in line
    assert "of 10" not in grid
    assert "Student" not in grid
    assert "anytime-valid" in grid
    assert "sign-flip" not in grid + text_table(study)


def test_what_is_open_says_how_many_seeds_it_will_probably_take(tmp_path: Path) -> None:
    wide = scores(S2=4.0)
    wide["no S2"] = tuple(one + 0.1 * (-1) ** i for i, one in enumerate(wide["no S2"]))
    results = made(tmp_path, wide, until=until(comparisons=3, reason="budget", budget_seconds=1800.0))
    (decision,) = [
        one
        for name, one in decisions(results.study, {k: dict(enumerate(v)) for k, v in wide.items()}).items()
        if name == "no S2 - full"
    ]
    said = answer(score_table(results), "test mIoU")
    assert f"S2 is undecided, about {decision.more} more seeds (" in said.sentences[-1]
    assert said.caveat.startswith("1 of 2 differences are decided; the budget of 30 min is spent.")


def test_no_headroom_is_shown_by_its_own_interval(tmp_path: Path) -> None:
    lines = scores(S2=0.0)
    lines[EVERY] = tuple(one + 0.001 for one in lines[FEW])
    lines["no S2"] = tuple(one + 0.1 * (-1) ** i for i, one in enumerate(lines["full"]))
    said = answer(score_table(made(tmp_path, lines, until=until(comparisons=3))), "test mIoU")
    assert said.parts[0].standing == "cannot tell here"
    assert "annot tell here whether S2 helps: all labels add less than 2 points [0.1, 0.1]" in said.sentences[-1]


def test_a_comparison_says_which_row_is_better(tmp_path: Path) -> None:
    lines = scores(one=-3.0)
    results = made(tmp_path, lines, comparison=True, until=until(comparisons=3))
    said = answer(score_table(results), "test mIoU").sentences[-1]
    assert f"'no one' is better than '{FEW}' by 11.0 points [" in said
    assert "decided after" in said


def test_seeds_behind_one_that_is_still_trained_are_not_looked_at(study: Results) -> None:
    stages = study.stages.to_pylist()
    final = {(line["row"], line["seed"]): line["key"] for line in study.rows.to_pylist()}
    for line in stages:
        line["state"] = "waiting" if line["key"] == final["no CR", 5] else line["state"]
    write_table(study.folder, "stages", stages)
    delta = score_table(read(study.folder)).row("no CR").delta
    assert delta is not None
    assert sorted(delta.deltas) == [0, 1, 2, 3, 4]


def test_page_and_figure_show_the_decisions(study: Results) -> None:
    info = forest_info(report_data(study).table)
    drawn: Any = forest_figure(info)
    bars = {bar.hovertemplate.split(":")[0]: bar.error_x for bar in drawn.data if bar.error_x.array is not None}
    for delta in info.deltas:
        assert bars[delta.row].array[0] == pytest.approx(delta.high - delta.mean)
        assert bars[delta.row].arrayminus[0] == pytest.approx(delta.mean - delta.low)
    page = write_report(study.folder).read_text()
    assert "decided after" in page
    assert "equivalent" in page
