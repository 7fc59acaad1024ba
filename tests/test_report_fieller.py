"""Fieller's interval of the share of a gap, against its definition, a closed form, Student's t and a simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from test_report_headroom import Scores, seeded

from semiseg.report.statistics import fieller, paired


def grid_interval(row: Scores, seeds: int) -> tuple[float, float]:
    """All ratios on a fine grid whose residual a - r b is not rejected by a paired t test: the definition, without a formula."""
    a, b = np.array(row["a"]), np.array(row["b"])
    ratios = np.linspace(-5, 5, 200_001)
    rest = a[None] - ratios[:, None] * b[None]
    t = rest.mean(1) / (rest.std(1, ddof=1) / math.sqrt(seeds))
    kept = ratios[np.abs(t) <= stats.t.ppf(0.975, seeds - 1)]
    return float(kept.min()), float(kept.max())


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
def test_fieller_holds_the_ratios_that_a_t_test_does_not_reject(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    b = 0.2 + 0.004 * rng.standard_normal(seeds)
    a = 0.4 * b + 0.01 * rng.standard_normal(seeds)
    found = fieller(seeded(a + 0.3), seeded(b + 0.3), seeded(np.full(seeds, 0.3)))
    assert found.value == pytest.approx(a.mean() / b.mean())
    assert (found.low, found.high) == pytest.approx(grid_interval({"a": tuple(a), "b": tuple(b)}, seeds), abs=1e-4)


def test_with_a_gap_that_does_not_vary_it_is_students_t_over_the_gap() -> None:
    a = seeded([0.51, 0.55, 0.53])
    found, plain = fieller(a, dict.fromkeys(range(3), 0.7), dict.fromkeys(range(3), 0.5)), paired(a, dict.fromkeys(range(3), 0.5))
    assert (found.value, found.low, found.high) == pytest.approx((plain.mean / 0.2, plain.low / 0.2, plain.high / 0.2))


def test_the_covariance_counts() -> None:
    """A row that always does exactly half of the gap, however large that is, has no interval to speak of."""
    gap, nothing = np.array([0.20, 0.30, 0.25]), seeded(np.zeros(3))
    found = fieller(seeded(gap / 2), seeded(gap), nothing)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)
    other = fieller(seeded(gap[::-1] / 2), seeded(gap), nothing)
    assert other.low < 0.45
    assert other.high > 0.55


def test_fieller_covers_the_true_share_as_often_as_it_says() -> None:
    rng, seeds, hits, bounded = np.random.default_rng(7), 4, 0, 0
    for _ in range(3000):
        anchor = rng.normal(0.5, 0.02, seeds)  # shared by both differences, so they are correlated
        row, whole = rng.normal(0.58, 0.01, seeds), rng.normal(0.70, 0.01, seeds)
        found = fieller(seeded(row), seeded(whole), seeded(anchor))
        if math.isfinite(found.low):
            bounded += 1
            hits += found.low <= 0.4 <= found.high
    assert bounded > 2900
    assert hits / bounded == pytest.approx(0.95, abs=0.015)


def test_fieller_is_left_out_where_it_is_unbounded() -> None:
    gap = paired(seeded([0.49, 0.56, 0.60]), seeded([0.5, 0.5, 0.5]))
    assert gap.low < 0 < gap.mean
    found = fieller(seeded([0.51, 0.53, 0.52]), seeded([0.49, 0.56, 0.60]), seeded([0.5, 0.5, 0.5]))
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_one_seed_has_a_share_and_no_interval_and_none_has_nothing() -> None:
    one = fieller({0: 0.55}, {0: 0.7, 1: 0.8}, {0: 0.5, 1: math.nan})
    assert (one.n, one.value) == (1, pytest.approx(0.25))
    assert math.isnan(one.low)
    assert fieller({}, {0: 0.7}, {0: 0.5}).n == 0
    assert math.isnan(fieller({0: 0.5}, {0: 0.5}, {0: 0.5}).value)
