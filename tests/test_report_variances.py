"""Ratios of variances against the test that their interval turns round, a slow search and a simulation; and what the page says."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_report_comparisons import PAPER, make_comparison
from test_report_headroom import seeded

from semiseg.report.data import report_data
from semiseg.report.statistics import printed_variance_ratio, variance_ratio
from semiseg.report.variances import draw_variances, variance_lines
from semiseg.results import read

PAGE = Path(__file__).parents[1] / "docs" / "methods" / "perone2018.md"
SD = {  # perone2018, Table 1: supervised, semi-supervised, of 10 runs each
    "Dice": (0.313, 0.229),
    "mIoU": (0.327, 0.253),
    "accuracy": (0.005, 0.003),
    "precision": (0.788, 0.773),
    "recall": (0.907, 0.936),
    "specificity": (0.010, 0.006),
}


@pytest.mark.parametrize("n", [3, 4, 10])
def test_the_interval_holds_the_ratios_that_the_correlation_test_does_not_reject(n: int) -> None:
    """Pitman 1939: x / s + y and x / s - y are uncorrelated where s^2 is the ratio of the variances."""
    x, y = np.random.default_rng(n).multivariate_normal([0.5, 0.6], [[4e-4, 1e-4], [1e-4, 1e-4]], n).T
    found = variance_ratio(seeded(x), seeded(y))
    assert (found.n, found.value) == (n, pytest.approx(x.var(ddof=1) / y.var(ddof=1)))
    for edge, inwards in ((found.low, 1.01), (found.high, 0.99)):
        inside, on, outside = (p_value(x / math.sqrt(edge * factor), y) for factor in (inwards, 1.0, 1 / inwards))
        assert on == pytest.approx(0.05, abs=1e-6)
        assert inside > 0.05 > outside


def p_value(x: np.ndarray, y: np.ndarray) -> float:
    """That the variances of both are one."""
    found: Any = stats.pearsonr(x + y, x - y)
    return found.pvalue


def test_without_correlation_it_is_close_to_the_f_interval() -> None:
    """Of two rows of 200 seeds that share nothing."""
    x, y = np.random.default_rng(1).normal(0.5, [[0.02], [0.01]], (2, 200))
    found, ratio = variance_ratio(seeded(x), seeded(y)), x.var() / y.var()
    low, high = (ratio / stats.f.ppf(level, 199, 199) for level in (0.975, 0.025))
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_it_covers_the_true_ratio_as_often_as_it_says(correlation: float) -> None:
    rng, hits = np.random.default_rng(3), 0
    covariance = [[4.0, 2 * correlation], [2 * correlation, 1.0]]
    for pairs in rng.multivariate_normal([0, 0], covariance, (2000, 5)):
        found = variance_ratio(seeded(pairs[:, 0]), seeded(pairs[:, 1]))
        hits += found.low <= 4 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_too_few_seeds_or_scores_that_do_not_vary_have_no_ratio() -> None:
    two = variance_ratio(seeded([0.1, 0.2, math.nan]), seeded([0.1, 0.3, 0.2]))
    assert two.n == 2
    for found in (two, variance_ratio(seeded([0.1] * 3), seeded([0.1, 0.3, 0.2])), variance_ratio({0: 0.1}, {1: 0.1})):
        assert all(map(math.isnan, found[1:]))


def test_the_page_draws_every_row_that_is_compared_and_says_n_and_what_is_assumed(tmp_path: Path) -> None:
    data = report_data(read(make_comparison(tmp_path)))
    lines = variance_lines(data.results, data.table)
    compared = {(row.name, row.against) for row in data.table.rows if row.against is not None}
    assert {(line.row, line.against) for line in lines} == compared
    for line in lines:
        if line.metric == data.study.score.metric:
            values = [[cell.value for cell in data.table.row(name).cells.values()] for name in (line.row, line.against)]
            assert line.ratio.value == pytest.approx(np.var(values[0], ddof=1) / np.var(values[1], ddof=1))
    drawn = draw_variances(data)
    assert drawn is not None
    assert "n = 3, " in drawn.note
    assert "normal" in drawn.note
    (made,) = drawn.figures
    assert sum(len(trace.x) for trace in made.data) == len(lines)  # type: ignore[attr-defined]


def test_what_a_paper_prints_behind_its_numbers_is_drawn_beside_with_its_f_interval(tmp_path: Path) -> None:
    def behind(kind: str, *values: float) -> list[dict[str, Any]]:
        return [{"kind": kind, "value": value, "n": n} for value, n in zip(values, (10, 5, 2), strict=True)]

    spreads = {"supervised, 5 %": behind("sd", 0.4, 0.6, 1.0), "mean teacher, 5 %": behind("se", 0.2, 0.3, 2.0)}
    data = report_data(read(make_comparison(tmp_path, paper=PAPER | {"spreads": spreads})))
    stated = {line.metric: (line.row, line.paper) for line in variance_lines(data.results, data.table) if line.paper is not None}
    row, found = stated.pop("foreground_iou")
    ratio = 10 * 0.2**2 / 0.4**2  # the standard error is that of the mean of ten
    assert (row, found) == (
        "mean teacher, 5 %",
        pytest.approx((10, ratio, *(ratio / stats.f.ppf(p, 9, 9) for p in (0.975, 0.025)))),
    )
    assert stated.keys() <= {"image_dice"}
    drawn = draw_variances(data)
    assert drawn is not None
    assert "independent runs (n = " in drawn.note
    (made,) = drawn.figures
    assert [trace.name for trace in made.data][-1] == "paper"  # type: ignore[attr-defined]


def test_of_two_runs_nothing_is_said() -> None:
    for found in (
        printed_variance_ratio(1.0, 2, 1.0, 9),
        printed_variance_ratio(0.0, 9, 1.0, 9),
        printed_variance_ratio(1.0, 9, 0.0, 9),
    ):
        assert all(map(math.isnan, found[1:]))


def test_with_two_seeds_nothing_is_drawn(tmp_path: Path) -> None:
    scores = {
        row: (0.5, 0.6 + i / 100, math.nan) for i, row in enumerate(report_data(read(make_comparison(tmp_path / "a"))).study.rows)
    }
    assert draw_variances(report_data(read(make_comparison(tmp_path / "b", scores)))) is None


@pytest.mark.parametrize("metric", SD)
def test_what_the_paper_prints_is_undecided_in_every_metric(metric: str) -> None:
    """The F interval of its own deviations, as docs/methods/perone2018.md says them."""
    supervised, semi = SD[metric]
    ratio = (semi / supervised) ** 2
    low, high = (ratio / stats.f.ppf(level, 9, 9) for level in (0.975, 0.025))
    assert printed_variance_ratio(semi, 10, supervised, 10) == (10, *(pytest.approx(one) for one in (ratio, low, high)))
    assert low < 1 < high
    assert re.search(rf"\b{metric} {ratio:.2f} \[{low:.2f}, {high:.2f}\]", PAGE.read_text(encoding="utf-8")), (ratio, low, high)
