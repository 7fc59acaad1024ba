"""The anytime-valid interval against numerical integration, its own definition and draws with a known mean."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad

from semiseg.report.sequential import FARTHEST, SCALE, half_width, intervals, log_e_value, seeds_until


def marginal_ratio(values: np.ndarray, mean: float) -> float:
    """E_n by integration over sigma and the effect: prior N(0, SCALE) x d sigma / sigma above, effect 0 below."""
    d = values - mean
    n, scale = len(d), float(np.sqrt(np.mean(d**2)))

    def density(log_sigma: float, effect: float) -> float:
        sigma = scale * math.exp(log_sigma)
        return math.exp(-n * log_sigma - float(np.sum((d / sigma - effect) ** 2)) / 2)

    def prior(effect: float) -> float:
        return math.exp(-(effect**2) / (2 * SCALE)) / math.sqrt(2 * math.pi * SCALE)

    above = dblquad(lambda effect, s: density(s, effect) * prior(effect), -5, 6, -16, 16, epsabs=1e-12, epsrel=1e-8)[0]
    below = quad(lambda s: density(s, 0.0), -5, 6, epsabs=1e-12, epsrel=1e-10)[0]
    return above / below


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_closed_form_is_the_ratio_of_marginal_likelihoods(n: int) -> None:
    values = np.random.default_rng(n).normal(0.7, 1.3, n)
    for mean in (0.0, 1.0):
        t = math.sqrt(n) * (values.mean() - mean) / values.std(ddof=1)
        assert math.exp(log_e_value(n, t)) == pytest.approx(marginal_ratio(values, mean), rel=1e-4)


def test_one_value_says_nothing() -> None:
    assert log_e_value(1, 5.0) == 0
    assert half_width(1, 1.0, 0.05) == math.inf


@given(n=st.integers(2, 200), sd=st.floats(1e-3, 1e3), level=st.floats(1e-4, 0.2))
def test_the_ends_are_where_the_e_value_reaches_one_over_the_level(n: int, sd: float, level: float) -> None:
    half = half_width(n, sd, level)
    if half == math.inf:
        assert log_e_value(n, 1e9) < -math.log(level)  # no mean is ever refused
    else:
        assert log_e_value(n, math.sqrt(n) * half / sd) == pytest.approx(-math.log(level), abs=1e-6)


def test_two_seeds_have_no_bounds_and_more_seeds_make_it_narrower() -> None:
    widths = [half_width(n, 1.0, 0.05 / 7) for n in range(2, 300)]
    assert widths[0] == math.inf
    finite = [width for width in widths if width < math.inf]
    assert finite == sorted(finite, reverse=True)


@pytest.mark.parametrize("comparisons", [2, 4, 7, 12])
def test_the_scale_is_as_its_docstring_says(comparisons: int) -> None:
    """Narrowest for some n of 5 to 7, and within 10 % of what the best scale for each n of 5 to 12 gives."""

    def with_scale(n: int, scale: float) -> float:
        r, level = 1 + n * scale, 0.05 / comparisons
        a = (r / level**2) ** (1 / n)
        return math.sqrt((n - 1) / n * r * (a - 1) / (r - a)) if a < r else math.inf

    ratios = {
        n: half_width(n, 1.0, 0.05 / comparisons) / min(with_scale(n, s) for s in np.geomspace(0.1, 1000, 400))
        for n in range(4, 13)
    }
    assert min(ratios, key=lambda n: ratios[n]) in (5, 6, 7)
    assert all(ratios[n] < 1.1 for n in range(5, 13)), ratios


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_intervals_are_the_intersections_of_those_of_each_number(values: list[float]) -> None:
    found, low, high = intervals(values, 0.05), -math.inf, math.inf
    for n in range(1, len(values) + 1):
        half = half_width(n, float(np.std(values[:n], ddof=1)), 0.05) if n > 1 else math.inf
        mean = float(np.mean(values[:n]))
        ends = max(low, mean - half), min(high, mean + half)
        if ends[0] <= ends[1]:
            low, high = ends
        assert found[n - 1] == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("half", "sd"), [(1.0, 0.5), (1.0, 1.0), (0.5, 2.0), (0.01, 0.0)])
def test_the_forecast_is_the_first_number_that_is_narrow_enough(half: float, sd: float) -> None:
    slow = next(n for n in range(2, 10_000) if half_width(n, sd, 0.05 / 7) < half)
    assert seeds_until(half, sd, 0.05 / 7) == slow
    assert seeds_until(1e-9, 1.0, 0.05) == FARTHEST


def test_all_intervals_to_fifty_seeds_hold_together() -> None:
    """2,000 sequences of 50 normal values: the share whose true mean is outside any interval is at most the level, and not far below
    what an interval that wastes nothing would leave."""
    draws = np.random.default_rng(3).normal(0.4, 2.0, (2000, 50))
    n = np.arange(1, 51)
    means = draws.cumsum(1) / n
    sds = np.sqrt(np.maximum((draws**2).cumsum(1) - n * means**2, 0) / np.maximum(n - 1, 1))
    halves = np.array([half_width(int(k), 1.0, 0.05) for k in n[1:]]) * sds[:, 1:]
    missed = float(np.mean((np.abs(means[:, 1:] - 0.4) > halves).any(axis=1)))
    assert missed <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)
    assert missed > 0.01
