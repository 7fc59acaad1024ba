"""Crossed designs: components against statsmodels and known truth, coverage of both kinds of intervals, and the page of such a study."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import statsmodels.formula.api as formula
from crossed_studies import crossed_study
from scipy import stats
from test_report_studies import ROWS, make_study

from semiseg.report import text_table, write_report
from semiseg.report.crossed import Cells, Components, Crossing, complete_part, components, error_of_mean, grid_of, in_design, shares
from semiseg.report.data import report_data
from semiseg.report.scores import score_table
from semiseg.report.sources import SourceLine, advice, source_lines
from semiseg.report.statistics import paired
from semiseg.results import read


def drawn(seed: int, a: int, b: int, of: Components, mean: float = 0.5) -> Cells:
    """Scores of a grid with these variances."""
    rng = np.random.default_rng([seed, a, b])
    y = mean + math.sqrt(of.training) * rng.standard_normal((a, 1)) + math.sqrt(of.subset) * rng.standard_normal((1, b))
    y = y + math.sqrt(of.together) * rng.standard_normal((a, b))
    return {(i, j): float(y[i, j]) for i in range(a) for j in range(b)}


def crossing(cells: Cells) -> Crossing:
    found = grid_of(cells)
    assert found is not None
    return found


def of_squares(rng: np.random.Generator, a: int, b: int, of: Components, mean: float = 0.0) -> Crossing:
    """A grid with these variances, drawn as what it is judged by."""
    expected = of.together + b * of.training, of.together + a * of.subset, of.together
    free = a - 1, b - 1, (a - 1) * (b - 1)
    squares = [one * rng.chisquare(n) for one, n in zip(expected, free, strict=True)]
    spread = math.sqrt(of.training / a + of.subset / b + of.together / (a * b))
    return Crossing(a, b, mean + spread * rng.standard_normal(), (squares[0], squares[1], squares[2]))


def test_sums_of_squares_are_those_of_the_analysis_of_variance_by_hand() -> None:
    """Columns differ by 2, rows by 4; one cell is 1 off, which the rest has and rows and columns have a part of."""
    found = crossing({(0, 0): 0.0, (0, 1): 2.0, (1, 0): 4.0, (1, 1): 7.0})
    assert (found.mean, found.squares) == (3.25, pytest.approx((20.25, 6.25, 0.25)))
    assert components(found) == pytest.approx((10.0, 3.0, 0.25))
    assert error_of_mean(found) == pytest.approx(math.sqrt((20.25 + 6.25 - 0.25) / 4))


def likelihood(cells: Cells, a: int, b: int, of: Components) -> float:
    """Restricted log-likelihood but for a constant, with the covariance of all cells written out."""
    y, one = np.array([cells[i, j] for i in range(a) for j in range(b)]), np.ones(a * b)
    covariance = of.training * np.kron(np.eye(a), np.ones((b, b))) + of.subset * np.kron(np.ones((a, a)), np.eye(b))
    covariance += of.together * np.eye(a * b)
    inverse = np.linalg.inv(covariance)
    rest = y - (one @ inverse @ y) / (one @ inverse @ one)
    return float(-(np.linalg.slogdet(covariance)[1] + math.log(one @ inverse @ one) + rest @ inverse @ rest) / 2)


@pytest.mark.parametrize(
    ("a", "b", "of"), [(4, 5, (1.0, 2.0, 0.5)), (6, 3, (0.0, 1.0, 1.0)), (5, 5, (0.3, 0.0, 1.0)), (3, 6, (0, 0, 1.0))]
)
def test_components_are_those_of_a_mixed_model(a: int, b: int, of: tuple[float, float, float]) -> None:
    """MixedLM of statsmodels with crossed variance components, restricted likelihood. Where a variance is at its bound, 0, its search
    ends before the maximum: then ours is as likely at least, and nothing near it is more likely."""
    for seed in range(3):
        cells = drawn(seed, a, b, Components(*of))
        ours = components(crossing(cells))
        frame = pandas.DataFrame([{"y": y, "seed": i, "subset": j, "all": 1} for (i, j), y in cells.items()])
        variances = {"seed": "0 + C(seed)", "subset": "0 + C(subset)"}
        model = formula.mixedlm("y ~ 1", frame, groups="all", vc_formula=variances, re_formula="0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a variance at its bound
            fitted = model.fit(reml=True, method=["lbfgs"])
        training, subset = map(float, fitted.vcomp)
        theirs = Components(training, subset, float(fitted.scale))
        if min(ours) > 0:
            assert tuple(ours) == pytest.approx(tuple(theirs), abs=1e-3 * theirs.total)
        best = likelihood(cells, a, b, ours)
        assert best >= likelihood(cells, a, b, theirs) - 1e-6
        for i in range(3):
            for step in (-0.02, 0.02):
                moved = [max(value + step * (j == i), 0) for j, value in enumerate(ours)]
                assert best >= likelihood(cells, a, b, Components(*moved)) - 1e-9


def test_known_components_are_recovered() -> None:
    """Means over many grids: unbiased but for the negative ones that are set to 0, which are rare with these."""
    of, rng = Components(2.0, 3.0, 0.5), np.random.default_rng(1)
    found = np.mean([components(of_squares(rng, 6, 6, of)) for _ in range(4000)], axis=0)
    assert found == pytest.approx(of, rel=0.05)


def test_drawn_squares_are_those_of_drawn_grids() -> None:
    """What the simulations here draw, against grids drawn cell by cell."""
    of, rng = Components(0.5, 1.0, 2.0), np.random.default_rng(0)
    quick = np.array([of_squares(rng, 3, 4, of).squares for _ in range(4000)])
    whole = np.array([crossing(drawn(seed, 3, 4, of)).squares for seed in range(2000)])
    for i in range(3):
        found: Any = stats.ks_2samp(quick[:, i], whole[:, i])
        assert found.pvalue > 0.001


TRUTHS = [Components(1, 1, 1), Components(1, 0, 0.2), Components(0, 1, 0.2), Components(0.2, 1, 0.5), Components(0, 0, 1)]


@pytest.mark.parametrize("of", TRUTHS)
@pytest.mark.parametrize(("a", "b"), [(3, 3), (5, 3)])
def test_the_interval_of_a_mean_covers_and_that_of_independent_runs_does_not(a: int, b: int, of: Components) -> None:
    rng, covered, runs = np.random.default_rng(2), 0, 2000
    quantile = stats.t.ppf(0.975, min(a, b) - 1)
    for _ in range(runs):
        found = of_squares(rng, a, b, of)
        covered += abs(found.mean) <= quantile * error_of_mean(found)
    assert covered / runs >= 0.94
    if of == TRUTHS[0]:
        naive = 0
        for seed in range(400):
            y = np.array(list(drawn(seed, a, b, of, mean=0.0).values()))
            naive += abs(y.mean()) <= stats.t.ppf(0.975, a * b - 1) * y.std(ddof=1) / math.sqrt(a * b)
        assert naive / 400 < 0.85


@pytest.mark.parametrize("of", TRUTHS[:4])
def test_intervals_of_shares_cover(of: Components) -> None:
    rng, runs = np.random.default_rng(3), 200
    covered = np.zeros(3)
    for _ in range(runs):
        found = shares(of_squares(rng, 4, 4, of))
        covered += [one.low - 1e-12 <= value / of.total <= one.high + 1e-12 for one, value in zip(found, of, strict=True)]
    assert (covered / runs >= 0.92).all(), covered / runs


def test_shares_add_up_and_lie_in_their_intervals() -> None:
    found = shares(crossing(drawn(0, 5, 5, Components(1.0, 2.0, 0.5))))
    assert sum(one.value for one in found) == pytest.approx(1)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found)
    nothing = shares(crossing({(i, j): 0.5 for i in range(3) for j in range(3)}))
    assert all(math.isnan(one.value) for one in nothing)


def test_missing_runs_leave_the_largest_complete_part() -> None:
    cells = dict(drawn(0, 3, 3, Components(1, 1, 1)))
    del cells[2, 2]
    assert complete_part(cells).shape in ((2, 3), (3, 2))
    del cells[2, 0]
    np.testing.assert_array_equal(complete_part(cells), [[cells[i, j] for j in range(3)] for i in range(2)])
    assert grid_of({(0, 0): 1.0, (1, 1): 2.0}) is None
    assert grid_of({}) is None
    assert complete_part({}).shape == (0, 0)


# ---- a study


def test_a_difference_of_a_crossed_study_has_the_interval_of_its_design(tmp_path: Path) -> None:
    results = read(crossed_study(tmp_path))
    table = score_table(results)
    row = table.row("S1")
    assert row.delta is not None
    assert len(row.delta.deltas) == 9
    assert (row.delta.n, math.isnan(row.delta.p)) == (3, True)
    found = crossing({divmod(seed, 3): delta for seed, delta in row.delta.deltas.items()})
    error = error_of_mean(found)
    assert row.delta.high - row.delta.mean == pytest.approx(stats.t.ppf(0.975, 2) * error)
    assert row.delta.sd / math.sqrt(3) == pytest.approx(error)
    plain = paired({0: 0.5, 1: 0.7}, {0: 0.4, 1: 0.5})
    assert in_design(read(make_study(tmp_path / "plain")).study, plain) == plain


def test_two_runs_that_share_nothing_give_no_interval(tmp_path: Path) -> None:
    study = read(crossed_study(tmp_path)).study
    found = in_design(study, paired({0: 0.5, 4: 0.7}, {0: 0.4, 4: 0.5}))
    assert found.n == 1
    assert math.isnan(found.low)


def test_the_page_says_where_the_spread_comes_from_and_what_to_vary(tmp_path: Path) -> None:
    page = write_report(crossed_study(tmp_path)).read_text(encoding="utf-8")
    assert '<section id="sources"' in page
    assert '<section id="components"' in page
    assert "3 seeds x 3 subsets" in page
    assert "h0, h1, h2" in page
    data = report_data(read(tmp_path))
    lines = source_lines(data)
    assert [line.name for line in lines] == [*ROWS, *(f"{row} − full" for row in ROWS if row != "full")]
    scores, differences = lines[: len(ROWS)], lines[len(ROWS) :]
    assert all(line.shares[1].value > 0.5 for line in scores)
    assert all(line.shares[1].value < 0.3 for line in differences)
    assert advice(lines).startswith("To shorten the intervals of differences vary the training seeds")
    assert advice(scores).startswith("To shorten the intervals of scores vary the labelled subsets")
    assert "n = 3" in text_table(read(tmp_path))


def test_standard_errors_after_more_runs_are_those_of_such_a_grid() -> None:
    found = crossing(drawn(0, 3, 4, Components(1.0, 2.0, 0.5)))
    line, of = SourceLine("a", None, found, shares(found)), components(found)
    assert line.error(seeds=2) == pytest.approx(math.sqrt(of.training / 6 + of.subset / 4 + of.together / 24))
    assert line.error(subsets=2) == pytest.approx(math.sqrt(of.training / 3 + of.subset / 8 + of.together / 24))
    assert line.apart <= line.error()


def test_a_study_that_is_not_crossed_has_no_such_sections(tmp_path: Path) -> None:
    page = write_report(make_study(tmp_path)).read_text(encoding="utf-8")
    assert '<section id="sources"' not in page
    assert '<section id="components"' not in page


def test_one_that_has_hardly_begun_says_what_is_missing(tmp_path: Path) -> None:
    states = {
        (stage, seed): "waiting"
        for stage in ("s1", "s2", "s3", "s2-CR", "s2-T2", "s2-SA", "s3-CR", "s3-T2", "s3-SA", "s3-N2")
        for seed in range(1, 9)
    }
    page = write_report(crossed_study(tmp_path, states=states)).read_text(encoding="utf-8")
    assert "No row has finished with two training seeds and two labelled subsets yet." in page
