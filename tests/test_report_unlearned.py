"""Runs that lose a class which most hold: named beside the table, whose mean over seeds would hide them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from test_report_headroom import FEW, WIDE, made
from test_report_studies import CLASSES, key_of

from semiseg.report import text_table, write_report
from semiseg.report.scores import score_table
from semiseg.results import Results, read, write_table

At = tuple[str, int, str]


def with_ious(folder: Path, ious: Mapping[At, float | None]) -> Results:
    """The study of four rows and three seeds, with the IoU of single classes changed."""
    found = made(folder, WIDE)
    wanted = {(key_of(row, seed), name): value for (row, seed, name), value in ious.items()}
    lines = found.metrics.to_pylist()
    for line in lines:
        if line["metric"] == "iou":
            line["value"] = wanted.get((line["key"], line["class"]), line["value"])
    write_table(folder, "metrics", lines)
    return read(folder)


def notes_of(results: Results) -> list[str]:
    return [line for line in text_table(results).splitlines() if " a class (" in line]


def test_a_run_that_loses_a_class_is_named_with_its_score(tmp_path: Path) -> None:
    results = with_ious(tmp_path, {("no S2", 1, "disc"): 0.0264, ("no S2", 1, "ring"): 0.0})
    note = "1 of 12 results loses a class (IoU below 10 %, where most hold it): no S2 (seed 1: disc 2.64 %, ring 0.00 %)."
    assert notes_of(results) == [note]
    write_report(tmp_path)
    assert note in (tmp_path / "table.md").read_text()
    assert note.replace(" %", "&nbsp;%") in (tmp_path / "report.html").read_text()


def test_nothing_is_said_where_every_class_is_held(tmp_path: Path) -> None:
    assert notes_of(with_ious(tmp_path, {("full", 0, "disc"): 0.1})) == []


@pytest.mark.parametrize(("lost", "named"), [(5, 5), (6, 0), (12, 0)])
def test_a_class_that_half_of_the_runs_lose_is_hard_and_no_run_is_named(tmp_path: Path, lost: int, named: int) -> None:
    runs = [(row, seed) for row in WIDE for seed in range(3)]
    table = score_table(with_ious(tmp_path, {(*run, "disc"): 0.05 for run in runs[:lost]}))
    assert [(one.row, one.seed) for one in table.lost] == runs[:named]


def test_a_class_that_is_absent_is_not_lost_and_does_not_count(tmp_path: Path) -> None:
    runs = [(row, seed) for row in WIDE for seed in range(3)]
    absent: dict[At, float | None] = {(*run, "disc"): None for run in runs[3:]}
    table = score_table(with_ious(tmp_path, absent | {("full", 0, "disc"): 0.01}))
    assert [(one.row, one.seed, one.name) for one in table.lost] == [("full", 0, "disc")]
    table = score_table(with_ious(tmp_path, absent | {("full", seed, "disc"): 0.01 for seed in (0, 1)}))
    assert table.lost == ()


def test_many_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    names = CLASSES[:4]
    lost = {(row, seed, name): 0.01 for name, row in zip(names, WIDE, strict=False) for seed in (0, 1)}
    (note,) = notes_of(with_ious(tmp_path, lost))
    assert note.startswith("8 of 12 results lose a class")
    assert note.endswith(f"{FEW} (seed 1: {names[2]} 1.00 %); and 2 more.")
