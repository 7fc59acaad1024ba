"""Lines of measured tables on made-up results: what a row stands beside, and how every cell ends."""

from pathlib import Path

from scipy import stats
from test_report_headroom import EVERY, FEW, SMALL, WIDE, Scores, around, made
from test_report_studies import make_study
from test_report_until import scores, until

from semiseg.report.data import report_data
from semiseg.report.measured import beside_rows, claims, course_grid, measured_grid, plus_or_minus, pseudo_grid
from semiseg.report.statistics import Spread
from semiseg.results import Results, read, write_table


def lines(results: Results) -> dict[str, dict[str, str]]:
    """Cells of the table by row and head."""
    grid = measured_grid(report_data(results))
    return {cells[0]: dict(zip(grid.head, cells, strict=True)) for cells in grid.lines}


def test_of_an_ablation_the_reference_stands_beside_its_anchor_and_parts_beside_it(tmp_path: Path) -> None:
    helps: Scores = WIDE | {"no S2": around(0.55, -0.5, 0.0, 0.5)}
    found = lines(made(tmp_path, helps | {"no S2": (0.545, 0.551, 0.554)}))
    low, high = stats.ttest_rel((0.545, 0.551, 0.554), WIDE["full"]).confidence_interval()
    assert found["full"]["against"] == FEW
    assert found["full"]["verdict"] == "helps"
    assert found["no S2"]["delta [95 % interval]"] == f"-3.00 [{100 * low:+.2f}, {100 * high:+.2f}]"
    assert found["no S2"]["verdict"] == "S2: helps"
    assert [found[row]["verdict"] for row in (FEW, EVERY)] == ["-", "-"]


def test_of_a_comparison_every_row_has_a_verdict_on_itself(tmp_path: Path) -> None:
    found = lines(made(tmp_path, WIDE | {"no S2": around(0.45)}, comparison=True))
    assert [found[row]["verdict"] for row in ("full", "no S2")] == ["helps", "hurts"]
    assert {found[row]["against"] for row in ("full", "no S2")} == {FEW}


def test_a_row_without_room_cannot_tell_and_shows_no_share(tmp_path: Path) -> None:
    found = lines(made(tmp_path, SMALL, comparison=True))
    assert found["full"]["verdict"] == "cannot tell: all labels add only 0.9 points"
    assert "of the gap" not in found["full"]
    assert claims(report_data(read(tmp_path)))[0][4] == "-"


def test_what_is_open_at_fixed_n_says_how_many_seeds_it_takes(tmp_path: Path) -> None:
    found = lines(made(tmp_path, WIDE))
    gain = [full - less for full, less in zip(WIDE["full"], WIDE["no S2"], strict=True)]
    table = report_data(read(tmp_path)).table
    fixed = table.fixed["no S2", "full"]
    assert fixed.delta.n == len(gain)
    assert found["no S2"]["verdict"] == f"S2: undecided, about {int(fixed.to_detect) - 3} more seeds"


def test_one_seed_is_undecided_and_has_no_interval(tmp_path: Path) -> None:
    found = lines(made(tmp_path, {name: values[:1] for name, values in WIDE.items()}))
    assert found["full"]["verdict"] == "undecided"
    assert found["full"]["delta [95 % interval]"] == "+7.90 (one seed)"


def test_seeds_that_were_added_until_all_was_decided(tmp_path: Path) -> None:
    words = {FEW: "supervised train.batch_labelled=4 train.steps=0", EVERY: "supervised train.batch_labelled=4 train.steps=1"}
    rows = {"full": "S1 S2 CR N2", "no S2": "S1 CR N2", "no CR": "S1 S2 N2"}
    results = made(tmp_path, scores(S2=4.0, CR=0.02), rows=rows | words, until=until())
    found = lines(results)
    assert {name: one["verdict"] for name, one in found.items() if one["verdict"] != "-"} == {
        "full": "helps",
        "no S2": "S2: helps",
        "no CR": "CR: equivalent within 1 point",
    }
    said = " ".join(beside_rows(report_data(results)))
    assert "differences are decided, after" in said
    assert "anytime-valid" in said


def test_claims_are_those_of_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    data = report_data(made(tmp_path, WIDE | {"no S2": around(0.45)}, comparison=True))
    assert [(one[0], one[1], one[3], one[5]) for one in claims(data)] == [("full", FEW, "helps", "3"), ("no S2", FEW, "hurts", "3")]
    assert [one[0] for one in claims(data, ["no S2"])] == ["no S2"]


def test_a_row_that_stands_beside_another_one_than_its_anchor_has_the_verdict_on_that(tmp_path: Path) -> None:
    against = {"full": FEW, "no S2": "full", FEW: None, EVERY: None}
    data = report_data(made(tmp_path, WIDE | {"no S2": around(0.45)}, comparison=True, against=against))
    assert [(one[1], one[3]) for one in claims(data)] == [(FEW, "helps"), (FEW, "not judged; beside 'full': hurts")]


def test_claims_of_a_study_without_anchors_are_against_what_rows_are_compared_with(tmp_path: Path) -> None:
    less = (0.545, 0.551, 0.554)
    data = report_data(made(tmp_path, {"full": WIDE["full"], "no S2": less}))
    low, high = stats.ttest_rel(less, WIDE["full"]).confidence_interval()
    assert claims(data) == [("no S2", "full", f"-3.00 [{100 * low:+.2f}, {100 * high:+.2f}]", "worse", "-", "3")]
    assert claims(data, ["full"]) == []


def test_the_course_is_the_mean_over_seeds_at_shares_of_a_stage(tmp_path: Path) -> None:
    results = made(tmp_path, {name: values[:2] for name, values in WIDE.items()})
    keys = [line["key"] for line in results.rows.to_pylist() if line["row"] == "full"]
    points = [
        {"key": key, "step": step, "name": "selection/student/miou", "value": value / 100}
        for key, values in zip(keys, ((10, 20, 40), (14, 20, 44)), strict=True)
        for step, value in zip((3, 6, 9), values, strict=True)
    ]
    write_table(tmp_path, "curves", points)
    grid = course_grid(report_data(read(tmp_path)))
    assert grid is not None
    assert dict(zip(grid.head, grid.lines[0], strict=True)) == {
        "stage": "full",
        "steps": "9",
        "n": "2",
        "at 25 %": "12.00 ± 2.83",
        "at 50 %": "20.00 ± 0.00",
        "at 75 %": "20.00 ± 0.00",
        "at 100 %": "42.00 ± 2.83",
    }


def test_a_stage_of_no_steps_has_no_course(tmp_path: Path) -> None:
    results = made(tmp_path, {name: values[:1] for name, values in WIDE.items()})
    key = next(line["key"] for line in results.rows.to_pylist() if line["row"] == "full")
    stages = results.stages.to_pylist()
    write_table(tmp_path, "stages", [stage | ({"steps": 0} if stage["key"] == key else {}) for stage in stages])
    name = "selection/student/miou"
    points = [{"key": stage["key"], "step": 0 if stage["key"] == key else 9, "name": name, "value": 0.5} for stage in stages]
    write_table(tmp_path, "curves", points)
    grid = course_grid(report_data(read(tmp_path)))
    assert grid is not None
    assert sorted(line[0] for line in grid.lines) == sorted(set(WIDE) - {"full"})


def test_nothing_recorded_is_no_table(tmp_path: Path) -> None:
    data = report_data(made(tmp_path, WIDE))
    assert course_grid(data) is None
    assert pseudo_grid(data) is None


def test_pseudo_masks_have_a_line_per_stage_and_maker(tmp_path: Path) -> None:
    grid = pseudo_grid(report_data(read(make_study(tmp_path))))
    assert grid is not None
    assert grid.head[:3] == ("stage ← maker", "n", "mIoU")
    assert any(cells[0] == "s2 ← s1, student" for cells in grid.lines)


def test_a_score_without_spread_or_seeds() -> None:
    assert [plus_or_minus(Spread(*one)) for one in ((1, 0.5, float("nan")), (0, float("nan"), float("nan")))] == ["50.00", "-"]
