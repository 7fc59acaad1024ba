"""Anchors and headroom on made-up results: the words of verdicts, classes that nobody learned, the page.

`python tests/test_report_headroom.py <folder>` writes a comparison, to look at.
"""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_report_studies import CLASSES, key_of, study_of, write_json

from semiseg.report import tables, text_table, write_report
from semiseg.report.answer import answer
from semiseg.report.deltas import forest_info
from semiseg.report.scores import score_table
from semiseg.report.statistics import paired, standing
from semiseg.results import Results, read, write_table

FEW, EVERY = "labels only: 900 x 4", "all labels"
ANCHORS = {"row": FEW, "all_labels": EVERY}
Scores = dict[str, tuple[float, ...]]


def made(folder: Path, scores: Scores, zero: tuple[str, ...] = (), comparison: bool = False, **changes: Any) -> Results:
    """Results in which every row is one stage; classes in `zero` score 0, the others their row's score times what makes the mean
    that."""
    methods = [row for row in scores if row not in (FEW, EVERY)]
    rows = {row: "S1 S2" if row == "full" else "S1" if row.startswith("no") else "mean_teacher" for row in methods}
    added = [row for row in scores if row not in methods]
    study = study_of(
        range(len(next(iter(scores.values())))),
        rows=rows | {row: f"supervised train.batch_labelled=4 train.steps={i}" for i, row in enumerate(added)},
        reference=methods[0],
        baseline=None,
        paper=None,
        methods=["supervised", "mean_teacher"],
        anchors=dict.fromkeys(methods if comparison else methods[:1], ANCHORS) if added else {},
        added=added,
        against={**dict.fromkeys(methods, FEW), **dict.fromkeys(added)} if comparison else None,
    )
    stages, metrics, lines = [], [], []
    for row, values in scores.items():
        for seed, value in enumerate(values):
            key = key_of(row, seed)
            stages.append(
                {"key": key, "name": "one", "number": 1, "seed": seed, "state": "done", "error": "", "teachers": [], "steps": 9}
                | {"evaluated": "student", "seconds": 2.0, "images_per_second": 9.0, "device": "cpu", "precision": "fp32"}
                | {"chosen_step": 9, "started": 1e9 + 3 * seed, "ended": 1e9 + 3 * seed + 2}
            )
            lines.append({"row": row, "seed": seed, "position": 1, "stage": "one", "key": key, "final": True})
            where = {"key": key, "role": "student", "weights": "best", "split": "test", "step": 9}
            metrics.append({**where, "class": "", "metric": "miou", "value": value})
            others = value * len(CLASSES) / (len(CLASSES) - len(zero))
            metrics += [{**where, "class": name, "metric": "iou", "value": 0.0 if name in zero else others} for name in CLASSES]
    write_json(folder, study | changes)
    for name, found in {"stages": stages, "metrics": metrics, "curves": [], "rows": lines}.items():
        write_table(folder, name, found)
    return read(folder)


def span(row: tuple[float, ...], other: tuple[float, ...]) -> str:
    """Mean difference and its interval in points, by scipy."""
    low, high = stats.ttest_rel(row, other).confidence_interval()
    return f"{100 * (np.mean(row) - np.mean(other)):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def around(mean: float, *steps: float) -> tuple[float, ...]:
    """Scores at three seeds."""
    return tuple(mean + step / 100 for step in (steps or (-0.5, 0.0, 0.5)))


WIDE: Scores = {
    "full": around(0.58),
    "no S2": around(0.57, -1.5, 0.0, 1.0),
    FEW: around(0.5, -0.4, 0.1, 0.3),
    EVERY: around(0.7, -0.2, 0.3, 0.1),
}
SMALL: Scores = {**WIDE, "full": around(0.503, -1, 0.5, 0.5), "no S2": around(0.502), EVERY: around(0.509, -0.4, 0.2, 0.2)}
UNSURE: Scores = {**WIDE, "full": around(0.503, -1, 0.5, 0.5), "no S2": around(0.502), EVERY: around(0.56, -6, 1, 5)}
HARM: Scores = {**SMALL, "full": around(0.40)}


def seeded(values: Any) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


# ---- words


def test_doubt_changes_what_an_interval_that_crosses_0_says_and_nothing_else() -> None:
    def said(*values: float) -> tuple[str, str]:
        one = paired(seeded(values), seeded(np.zeros(len(values))))
        return standing(one), standing(one, doubtful=True)

    assert said(0.01, 0.012, 0.011) == ("earns its place", "earns its place")
    assert said(-0.01, -0.012, -0.011) == ("hurts here", "hurts here")
    assert said(-0.01, 0.012, 0.001) == ("unclear", "cannot tell here")
    assert said(0.01) == ("one seed only", "cannot tell here")
    assert said() == ("no result yet", "no result yet")


def test_a_wide_gap_is_said_with_its_interval_and_the_share_that_the_method_closes(tmp_path: Path) -> None:
    table = score_table(made(tmp_path, WIDE))
    room = table.headroom
    assert room is not None
    assert not room.doubtful
    gap = paired(seeded(WIDE[EVERY]), seeded(WIDE[FEW]))
    assert (room.gap.mean, room.gap.low, room.gap.high) == pytest.approx((gap.mean, gap.low, gap.high))
    first, second, third = answer(table, "test mIoU").sentences
    assert (
        first
        == f"'full' reaches 58.00 % test mIoU (n = 3), {span(WIDE['full'], WIDE[FEW])} points against its anchor '{FEW}': better here."
    )
    assert second.startswith(f"All labels add {span(WIDE[EVERY], WIDE[FEW])} points to '{FEW}', of which 'full' closes 40 % [")
    assert third == "S2 is unclear (the interval crosses 0)."


def test_a_small_gap_is_no_place_to_tell_a_method(tmp_path: Path) -> None:
    table = score_table(made(tmp_path, SMALL))
    first, second, third = answer(table, "test mIoU").sentences
    assert first.endswith("points against its anchor 'labels only: 900 x 4': cannot tell here: all labels add only 0.9 points.")
    assert second == f"All labels add {span(SMALL[EVERY], SMALL[FEW])} points to 'labels only: 900 x 4'."
    assert third == "Cannot tell here whether S2 helps: all labels add only 0.9 points."
    assert [one.standing for one in forest_info(table).deltas] == ["cannot tell here"]
    wanted = score_table(made(tmp_path, SMALL, headroom=0.5))
    assert wanted.headroom is not None
    assert not wanted.headroom.doubtful


def test_a_gap_that_may_be_nothing_is_none_either(tmp_path: Path) -> None:
    first, *_ = answer(score_table(made(tmp_path, UNSURE)), "test mIoU").sentences
    reason = "cannot tell here: what all labels add, 6.0 points [-6.9, +18.9], may be nothing."
    assert first.endswith(reason)


def test_harm_is_said_whatever_the_gap(tmp_path: Path) -> None:
    first, _, third = answer(score_table(made(tmp_path, HARM)), "test mIoU").sentences
    assert first.endswith("points against its anchor 'labels only: 900 x 4': worse here.")
    assert third == "S2 hurts here."


def test_without_all_labels_nothing_is_doubted(tmp_path: Path) -> None:
    """The gap is absent: of a row that has all labels, or before that stage is finished."""
    scores = {name: values for name, values in SMALL.items() if name != EVERY}
    found = made(tmp_path, scores, anchors={"full": {"row": FEW}})
    table = score_table(found)
    assert table.headroom is not None
    assert not table.headroom.doubtful
    first, second = answer(table, "test mIoU").sentences
    assert first.endswith("': unclear.")
    assert second == "S2 is unclear (the interval crosses 0)."


def test_one_seed_says_how_much_and_judges_a_small_gap_alone(tmp_path: Path) -> None:
    first, second, _ = answer(
        score_table(made(tmp_path, {name: values[:1] for name, values in WIDE.items()})), "test mIoU"
    ).sentences
    assert first.endswith("+7.90 points against its anchor 'labels only: 900 x 4': one seed only.")
    assert second == "All labels add +20.20 points to 'labels only: 900 x 4' (one seed), of which 'full' closes 39 %."
    first, *_ = answer(score_table(made(tmp_path, {name: values[:1] for name, values in SMALL.items()})), "test mIoU").sentences
    assert first.endswith("cannot tell here: all labels add only 0.9 points.")


def test_in_a_comparison_each_row_has_its_share(tmp_path: Path) -> None:
    scores = {"mean teacher": WIDE["full"], "other": around(0.46, -0.7, 0.1, 0.6), FEW: WIDE[FEW], EVERY: WIDE[EVERY]}
    results = made(tmp_path, scores, comparison=True)
    table = score_table(results)
    room, third, _ = answer(table, "test mIoU").sentences
    first, second = room.split(". ")
    assert first == f"All labels add {span(WIDE[EVERY], WIDE[FEW])} points to '{FEW}'"
    assert second.startswith("Of that gap, from its own anchor, 'mean teacher' closes 40 % [")
    assert "'other' closes -20 % [" in second
    assert third == f"'mean teacher' is {span(WIDE['full'], WIDE[FEW])} points against '{FEW}': better here."
    lines = list(csv.DictReader(io.StringIO(tables.comma_separated(table))))
    assert [line["anchor"] for line in lines] == [FEW, FEW, "-", "-"]
    assert float(lines[0]["of the gap"]) == pytest.approx(100 * table.headrooms["mean teacher"].share.value, abs=0.01)
    text = text_table(results)
    assert text.startswith("All labels add ")
    head = next(line for line in text.splitlines() if line.startswith("row "))
    assert "of the gap [95 % interval]" in head


# ---- classes that nobody learned, anchors as rows


def test_classes_that_score_0_everywhere_are_named_and_left_out_beside_the_score(tmp_path: Path) -> None:
    results = made(tmp_path, WIDE, zero=("ring", "disc"))
    table = score_table(results)
    assert table.zeros.classes == ("disc", "ring")
    assert table.zeros.scores["full"].mean == pytest.approx(0.58 * 5 / 3)
    said = answer(table, "test mIoU").sentences[2]
    assert said.startswith(
        "The classes disc and ring score 0 in every row; the mean over the other 3: 'full' 96.67 %, 'labels only: 900 x 4' 83.33 %"
    )
    line = next(one for one in text_table(results).splitlines() if one.startswith("full "))
    assert "96.67" in line
    assert score_table(made(tmp_path, WIDE)).zeros.classes == ()


def test_anchors_are_rows_that_are_no_part_of_the_ablation(tmp_path: Path) -> None:
    results = made(tmp_path, WIDE)
    table = score_table(results)
    assert [row.added for row in table.rows] == [False, False, True, True]
    assert table.columns == ()
    assert [part.removed for part in answer(table, "mIoU").parts] == [("S2",)]
    assert [one.row for one in forest_info(table).deltas] == ["no S2"]
    assert "unadjusted for 2 comparisons" in text_table(results)
    page = write_report(tmp_path).read_text()
    assert page.count('<tr class="anchor">') == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"anchors": {"none": ANCHORS}}, "anchors: got 'none'"),
        ({"anchors": {"full": {"row": "none"}}}, "anchors\\['full'\\]: got 'none'"),
        ({"added": ["none"]}, "added: got "),
        ({"anchors": {"full": {}}}, "anchors\\['full'\\]: fields missing: row"),
    ],
)
def test_anchors_that_are_no_rows_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(tmp_path, WIDE, **changes)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    made(place / "wide", WIDE, zero=("ring",))
    made(place / "small", SMALL)
    made(
        place / "comparison",
        {"mean teacher": WIDE["full"], "other": around(0.46), FEW: WIDE[FEW], EVERY: WIDE[EVERY]},
        comparison=True,
    )
    print(*(write_report(place / name) for name in ("wide", "small", "comparison")))
