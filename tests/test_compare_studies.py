"""Several made-up results folders side by side: matching, pairing, Welch's interval, ranks, files, one line for what cannot be used."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crossed_studies import crossed_study
from scipy import stats
from test_report_headroom import made
from test_report_studies import make_study

import compare_studies
from semiseg.api import study_scores
from semiseg.report.across import Difference, across, across_text, folder_difference
from semiseg.report.crossed import error_of_mean, grid_of
from semiseg.results import Results, read, write_study

ROOT = Path(__file__).parents[1]
FIRST = {"full": (0.60, 0.62, 0.61), "no S2": (0.58, 0.59, 0.6), "no S3": (0.5, 0.52, 0.54)}
SECOND = {"full": (0.61, 0.64, 0.62), "no S2": (0.63, 0.6, 0.62), "no S3": (0.5, 0.51, 0.5), "no S4": (0.4, 0.4, 0.4)}
THIRD = {"full": (0.8, 0.82), "no S2": (0.7, 0.75), "no S3": (0.75, 0.73)}


def about(name: str) -> dict[str, Any]:
    """Data of a study of another data set."""
    record: dict[str, Any] = {
        "name": name,
        "labelled": 8,
        "labelled_hash": "0",
        "train": 96,
        "selection": 24,
        "test": 64,
        "size": "48 x 64",
    }
    return record | {"fingerprint": name}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("studies")
    made(place / "first", FIRST)
    made(place / "second", SECOND)
    made(place / "third", THIRD, data=about("other"))
    return [place / name for name in ("first", "second", "third")]


def test_folders_of_the_same_data_are_paired_by_seed_and_others_are_not(folders: list[Path]) -> None:
    found = {(line.row, line.folder): line.difference for line in across([read(folder) for folder in folders]).lines}
    one, other = found["no S3", "second"], found["no S3", "third"]
    assert one is not None
    assert other is not None
    truth = stats.ttest_rel(SECOND["no S3"], FIRST["no S3"]).confidence_interval()
    assert one.how == "paired, 3 seeds"
    assert (one.low, one.high) == pytest.approx((truth.low, truth.high))
    welch = stats.ttest_ind(THIRD["no S3"], FIRST["no S3"], equal_var=False).confidence_interval()
    assert other.how == "unpaired (Welch): other data"
    assert (other.mean, other.low, other.high) == pytest.approx((0.74 - 0.52, welch.low, welch.high))
    assert found["no S4", "second"] is None
    assert found["full", "first"] is None


def test_other_seeds_and_too_few_of_them_are_said(folders: list[Path]) -> None:
    study = read(folders[0]).study

    def difference(row: dict[int, float], other: dict[int, float]) -> Difference:
        return folder_difference(row, other, study, study)

    one = difference({3: 0.5, 4: 0.6}, {0: 0.4, 1: 0.5})
    assert one.how == "unpaired (Welch): no shared seeds"
    assert np.isfinite(one.low)
    single = difference({3: 0.5}, {0: 0.4, 1: 0.5})
    assert single.how.endswith("no shared seeds, too few seeds for an interval")
    assert np.isnan(single.low)
    assert difference({0: 0.5, 7: 0.6}, {0: 0.4, 1: 0.5}).how == "unpaired (Welch): one shared seed"


def test_studies_whose_seeds_draw_other_things_are_not_paired_and_marked(folders: list[Path], tmp_path: Path) -> None:
    draws = [{"seed": seed, "training": seed, "subset": seed, "labelled_hash": f"{seed}"} for seed in range(3)]
    made(tmp_path / "drawn", SECOND, vary="both", draws=draws)
    found = across([read(folders[0]), read(tmp_path / "drawn")])
    (line,) = [line for line in found.lines if (line.row, line.folder) == ("no S3", "drawn")]
    assert line.difference is not None
    welch = stats.ttest_ind(SECOND["no S3"], FIRST["no S3"], equal_var=False).confidence_interval()
    assert line.difference.how == "unpaired (Welch): seeds draw other things (both, training)"
    assert (line.difference.low, line.difference.high) == pytest.approx((welch.low, welch.high))
    assert "Seeds draw different things (first: training; drawn: both): with vary training all runs" in across_text(found)
    assert "Seeds draw different things" not in across_text(across([read(folder) for folder in folders]))


def test_crossed_studies_are_paired_by_run_with_the_interval_of_their_design(tmp_path: Path) -> None:
    first = crossed_study(tmp_path / "first")
    record, scores = read(first).study, row_scores(read(first))
    turned = [replace(draw, seed=8 - draw.seed) for draw in record.draws]  # other numbers, the same runs
    write_study(crossed_study(tmp_path / "turned"), replace(record, draws=tuple(turned)))
    found = {(line.row, line.folder): line.difference for line in across([read(first), read(tmp_path / "turned")]).lines}
    row = "full"
    at = {(draw.training, draw.subset): scores[row][draw.seed] for draw in record.draws}
    deltas = np.array([[at[2 - i, 2 - j] - at[i, j] for j in range(3)] for i in range(3)])
    grid = grid_of({(i, j): float(deltas[i, j]) for i in range(3) for j in range(3)})
    assert grid is not None
    half = stats.t.ppf(0.975, 2) * error_of_mean(grid)
    one = found[row, "turned"]
    assert one is not None
    assert one.how == "paired, 3 seeds or subsets"
    assert (one.mean, one.low, one.high) == pytest.approx((deltas.mean(), deltas.mean() - half, deltas.mean() + half))


def test_a_crossed_study_beside_another_one_has_no_interval(tmp_path: Path) -> None:
    other = make_study(tmp_path / "other", range(3))
    found = across([read(crossed_study(tmp_path / "crossed")), read(other)])
    (line,) = [line for line in found.lines if (line.row, line.folder) == ("full", "other")]
    assert line.difference is not None
    assert line.difference.how.startswith("unpaired: seeds draw other things (training, crossed); no interval")
    assert np.isnan(line.difference.low)
    assert np.isfinite(line.difference.mean)


def row_scores(results: Results) -> dict[str, dict[int, float]]:
    """By row and seed."""
    found: dict[str, dict[int, float]] = {}
    for one in study_scores(results).to_pylist():
        found.setdefault(one["row"], {})[one["seed"]] = one["score"]
    return found


def test_ranks_of_rows_that_all_have_and_the_test_of_scipy(folders: list[Path]) -> None:
    found = across([read(folder) for folder in folders])
    assert found.ranks == pytest.approx({"full": 1, "no S2": 7 / 3, "no S3": 8 / 3})  # 1 2 3, 1 2 3, 1 3 2
    means = [[np.mean(scores[row]) for scores in (FIRST, SECOND, THIRD)] for row in FIRST]
    assert found.friedman == pytest.approx(tuple(stats.friedmanchisquare(*means)))
    said = across_text(found)
    assert "Friedman test of 3 rows over 3 folders" in said
    assert "Without a rank, as not all folders have a score of them, second: no S4." in said
    assert "The same data: first, second; their ranks are not independent." in said
    assert across([read(folder) for folder in folders[:2]]).friedman is None


def test_equal_scores_share_a_rank(tmp_path: Path) -> None:
    made(tmp_path / "a", {"full": (0.5,), "no S2": (0.5,)})
    made(tmp_path / "b", {"full": (0.5,), "no S2": (0.6,)})
    found = across([read(tmp_path / "a"), read(tmp_path / "b")])
    assert found.ranks == {"full": 1.75, "no S2": 1.25}


def test_the_command_writes_text_markdown_and_csv(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_studies.main([*map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "studies.txt").read_text() in capsys.readouterr().out
    assert "| no S4 | - | 40.00 ± 0.00 (n = 3) | - |" in (tmp_path / "out" / "studies.md").read_text()
    lines = list(csv.DictReader((tmp_path / "out" / "studies.csv").open()))
    assert len(lines) == 4 * 3
    line = next(line for line in lines if (line["row"], line["folder"]) == ("full", "second"))
    assert (line["n"], line["mean"], line["difference"], line["how"], line["rank"]) == (
        "3",
        "62.33",
        "+1.33",
        "paired, 3 seeds",
        "1",
    )


def test_what_cannot_be_compared_gives_one_line(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = {"metric": "accuracy", "split": "test", "weights": "best", "rule": "best"}
    made(tmp_path / "other", FIRST, score=score)
    for given, said in (
        ([folders[0]], "FOLDER: got 1 folder; allowed: two or more"),
        ([folders[0], tmp_path / "none"], "study.json: cannot be read"),
        ([folders[0], folders[0]], "got the same folder twice"),
        ([folders[0], tmp_path / "other"], "score: got test accuracy; allowed: test miou, as "),
    ):
        assert compare_studies.main(list(map(str, given))) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    (tmp_path / "file").touch()
    assert compare_studies.main([*map(str, folders), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_neither_torch_nor_ray_is_needed(folders: list[Path]) -> None:
    code = f"import sys\nsys.path.insert(0, 'analysis')\nimport compare_studies\nassert compare_studies.main({list(map(str, folders))!r}) == 0\n"
    code += "print(sorted({'torch', 'ray', 'plotly', 'statsmodels'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
    assert "mean rank" in ran.stdout
