"""Scores of rows, the tables in four formats, and the words of the answer, over complete and partial made-up studies."""

import csv
import io
import math
import re
from pathlib import Path

import pytest
from test_report_studies import CHAINS, ROWS, SCORES, make_study

from semiseg.report import tables, text_table
from semiseg.report.answer import answer, gaps, sharing
from semiseg.report.data import report_data
from semiseg.report.grid import escape_latex
from semiseg.report.markup import dotted
from semiseg.report.scores import part_deltas, score_table, unfinished
from semiseg.results import read

DATA = Path(__file__).parent / "data_report"
RULE = "best step on selection."


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    return read(make_study(tmp_path_factory.mktemp("complete")))


def partial(folder, **states):
    return read(make_study(folder, samples=False, states={(name.replace("_", "-"), 0): state for name, state in states.items()}))


def test_scores_are_of_the_final_stage_and_its_role(complete):
    table = score_table(complete)
    for row in table.rows:
        assert tuple(cell.value for cell in row.cells.values()) == SCORES[row.name]
        assert row.role == ("student" if row.name == "S1" else "teacher")
    assert table.switches == ("S1", "S2", "S3", "CR", "T2", "SA", "N2")


def test_mean_spread_and_delta_by_hand(complete):
    row = score_table(complete).row("S1")  # 50, 52, 51 against 60, 61, 60.8: deltas -10, -9, -9.8
    assert tables.line(row, score_table(complete)).score == "51.00 ± 1.00 (n = 3)"
    assert row.delta is not None
    assert row.delta.mean == pytest.approx(-0.096)
    assert row.paper == (46.91, 55.20)
    assert row.paper_delta == pytest.approx((-7.94, -15.57))


@pytest.mark.parametrize("name", ["table.md", "table.tex", "table.csv", "table.txt"])
def test_a_stored_results_folder_gives_the_stored_tables(name):
    """Golden. After a wanted change: python tests/test_report_tables.py, and read the difference."""
    assert printed(DATA)[name] == (DATA / name).read_text(encoding="utf-8")


def printed(folder):
    results = read(folder)
    _, table, label, _ = report_data(results)
    rule = results.study.score.rule
    made = {"table.md": tables.markdown(table, label, rule), "table.tex": tables.latex(table, label, rule)}
    return made | {"table.csv": tables.comma_separated(table), "table.txt": text_table(results)}


def test_csv_parses_and_has_every_seed(complete):
    lines = list(csv.DictReader(io.StringIO(tables.comma_separated(score_table(complete)))))
    assert [line["row"] for line in lines] == list(ROWS)
    for line in lines:
        assert [float(line[f"seed {seed}"]) / 100 for seed in range(3)] == pytest.approx(SCORES[line["row"]])
        assert [name for name in ("S1", "S2", "S3", "CR", "T2", "SA", "N2") if line[name] == "1"] == [
            name for name in ("S1", "S2", "S3", "CR", "T2", "SA", "N2") if name in ROWS[line["row"]].split()
        ]


def test_latex_is_balanced_and_every_line_has_every_column(complete):
    made = tables.latex(score_table(complete), "test mIoU", "50% of R&D_x #1 {}~^\\")
    body = [line for line in made.splitlines() if line.endswith(r"\\")]
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {13}
    assert len(body) == 8
    assert made.count(r"\begin{tabular}") == made.count(r"\end{tabular}") == 1
    for line in made.splitlines():
        if not line.startswith("%"):
            assert re.sub(r"\\[{}]", "", line).count("{") == re.sub(r"\\[{}]", "", line).count("}")
            assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0


def test_latex_escapes_what_it_must():
    assert escape_latex("a_b & 5% #1 {x} ~^\\ -3 no-go") == (
        r"a\_b \& 5\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{} $-$3 no-go"
    )


def test_markdown_escapes_pipes(tmp_path):
    rows = {"a|b": "S1", "full": "S1 S2"}
    results = read(make_study(tmp_path, samples=False, rows=rows, baseline=None, paper=None))
    made = tables.markdown(score_table(results), "test mIoU", RULE).splitlines()
    assert {len(re.split(r"(?<!\\)\|", line)) for line in made[:4]} == {8}


def test_a_failed_stage_costs_only_its_descendants(tmp_path):
    results = partial(tmp_path, s2_CR="failed", s3_CR="skipped")
    table = score_table(results)
    assert [(row, seed) for row, seed, _ in unfinished(table)] == [("no CR", 0)]
    one = tables.line(table.row("no CR"), table)
    assert (one.score, one.delta) == (
        "56.50 ± 0.99 (n = 2 of 3, 1 failed)",
        "-4.40 [-12.02, +3.22] (n = 2)",
    )  # 57.2, 55.8; half 12.706 * 0.6
    assert gaps(results, table) == [
        "no CR/seed 0/s2-CR failed: loss 'consistency' is NaN at step 17",
        "Skipped, a teacher failed: no CR (seed 0)",
    ]


@pytest.mark.parametrize(("rows", "first"), [(ROWS, "S1+S2"), (dict(reversed(ROWS.items())), "full")])
def test_a_failed_stage_that_rows_share_is_called_after_the_first_of_them(rows, first, tmp_path):
    """As the monitor does while it trains."""
    results = read(make_study(tmp_path, samples=False, states={("s2", 1): "failed"}, rows=rows))
    assert gaps(results, score_table(results))[0] == f"{first}/seed 1/s2 failed: loss 'consistency' is NaN at step 17"


def test_rows_without_a_score_print_a_dash(tmp_path):
    results = read(make_study(tmp_path, seeds=(0,), samples=False, states={("s3-CR", 0): "failed", ("s3-T2", 0): "waiting"}))
    table = score_table(results)
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(tables.comma_separated(table)))}
    for name, seed in (("no CR", "failed"), ("no T2", "-")):
        columns = ("n", "mean", "seed 0", "delta", "delta n", "p sign flip")
        assert [lines[name][column] for column in columns] == ["0", "-", seed, "-", "0", "-"]
    assert [tables.line(table.row(name), table)[2:4] for name in ("no CR", "no T2", "S1")] == [
        ("failed", "-"),
        ("-", "-"),
        ("50.00 (n = 1)", "-10.00 (one seed)"),
    ]
    assert gaps(results, table)[1:] == ["Failed: no CR (seed 0)", "Not finished: no T2 (seed 0)"]


def test_a_reference_without_a_score_leaves_no_delta(tmp_path):
    table = score_table(partial(tmp_path / "one", s3="failed"))
    assert all(row.delta.n == 2 for row in table.rows if row.delta)
    states = {("s3", seed): "waiting" for seed in range(3)}
    table = score_table(read(make_study(tmp_path / "all", samples=False, states=states)))
    assert {tables.line(row, table).delta for row in table.rows} == {"-", "reference"}
    assert answer(table, "mIoU").sentences == ("No seed of 'full' has finished with a score, so nothing can be compared yet.",)


def test_a_finished_stage_with_nan_counts_as_failed(tmp_path):
    results = read(make_study(tmp_path, samples=False, scores=SCORES | {"no SA": (0.54, math.nan, 0.549)}))
    assert [(row, seed, cell.state) for row, seed, cell in unfinished(score_table(results))] == [("no SA", 1, "failed")]
    assert gaps(results, score_table(results))[0] == "Row 'no SA', seed 1: stage s3-SA finished without a finite score"


def test_parts_are_what_the_reference_has_more(complete):
    found = {part.row: part for part in part_deltas(score_table(complete))}
    assert {row: part.removed for row, part in found.items()} == {
        "S1+S2": ("S3", "N2"), "no CR": ("CR",), "no T2": ("T2",), "no SA": ("SA",), "no N2": ("N2",)
    }  # fmt: skip
    assert found["no CR"].gain.mean == pytest.approx(0.046)
    assert found["no CR"].paper_gain == pytest.approx((4.65, 10.95))


def test_the_answer_says_what_the_intervals_say(complete):
    said = answer(score_table(complete), "test mIoU")
    assert said.sentences == (
        "'full' reaches 60.60 % test mIoU (n = 3), +9.60 [+8.29, +10.91] points against 'S1'.",
        "S3+N2, CR and SA earn their place; N2 hurts here; T2 is unclear (the interval crosses 0).",
    )
    assert "smallest possible two-sided p is 0.25" in said.caveat
    assert "significant" not in " ".join([*said.sentences, said.caveat])


def test_one_seed_is_not_judged(tmp_path):
    said = answer(score_table(read(make_study(tmp_path, seeds=(0,), samples=False))), "test mIoU")
    assert said.sentences[1] == "S3+N2, CR, T2, SA and N2 were seen at one seed only, too few to judge."


def test_six_seeds_may_speak_of_p(tmp_path):
    scores = {row: tuple(values[0] + 0.001 * i * (1 + (row == "full")) for i in range(6)) for row, values in SCORES.items()}
    table = score_table(read(make_study(tmp_path, seeds=range(6), samples=False, scores=scores)))
    assert answer(table, "mIoU").caveat == "n = 6: the smallest possible two-sided p is 0.031."
    assert table.row("S1").delta.p == 0.03125  # type: ignore[union-attr]


def test_shared_stages_are_counted_once(complete):
    shared = sharing(complete)
    assert (shared.asked, shared.distinct) == (54, 30)
    seconds = {name: 8.0 + 4 * int(name[1]) for chain in CHAINS.values() for name in chain}
    assert shared.seconds == 3 * sum(seconds.values())
    assert shared.asked_seconds == 3 * sum(seconds[name] for chain in CHAINS.values() for name in chain)


def test_settings_are_flattened():
    assert dotted({"train": {"steps": 4, "crop": [1, 2]}, "empty": {}}) == {"train.steps": "4", "train.crop": "1, 2", "empty": "{}"}


if __name__ == "__main__":
    make_study(DATA, samples=False)
    for file, content in printed(DATA).items():
        (DATA / file).write_text(content, encoding="utf-8")
