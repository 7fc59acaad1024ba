"""Spread, paired differences and sign-flip p against hand-computed values, SciPy and a slow loop; and the words allowed for
them."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from semiseg.report.statistics import OF_ROW, needed_seeds, paired, sign_flip_p, smallest_p, spread, standing, verdict

ROW = {0: 0.55, 1: 0.572, 2: 0.558}
FULL = {0: 0.60, 1: 0.61, 2: 0.608}


def test_spread_by_hand():
    assert spread([1.0, 2.0, 6.0]) == (3, 3.0, pytest.approx(math.sqrt(7)))  # deviations -2, -1, 3: 14 / 2
    one = spread([0.5])
    assert one[:2] == (1, 0.5)
    assert math.isnan(one.sd)
    assert spread([]).n == 0
    assert spread([1.0, math.nan, 3.0])[:2] == (2, 2.0)


def test_interval_by_hand():
    # -5.0, -3.8, -5.0 points: mean -4.6, sd sqrt((0.16 + 0.64 + 0.16) / 2) = 0.69282, t(2 df) = 4.302653, / sqrt(3): half 1.72106
    delta = paired(ROW, FULL)
    assert delta.mean == pytest.approx(-0.046)
    assert delta.sd == pytest.approx(0.0069282, abs=1e-7)
    assert (delta.low, delta.high) == (pytest.approx(-0.0632106, abs=1e-6), pytest.approx(-0.0287894, abs=1e-6))


@pytest.mark.parametrize("n", [2, 3, 7])
def test_interval_is_scipys_paired_t_interval(n):
    draws = np.random.default_rng(n).normal(0.5, 0.1, (2, n))
    row, full = (dict(enumerate(line)) for line in draws)
    delta, truth = paired(row, full), stats.ttest_rel(*draws).confidence_interval(0.95)
    assert (delta.low, delta.high) == (pytest.approx(truth.low), pytest.approx(truth.high))


def test_a_comparison_turned_round_is_its_opposite():
    one, other = paired(ROW, FULL).opposite(), paired(FULL, ROW)
    assert one.n == other.n
    assert one[2:] == pytest.approx(other[2:])
    assert one.deltas == pytest.approx(other.deltas)


def test_only_seeds_with_both_scores_are_compared():
    delta = paired({0: 0.5, 1: math.nan, 2: 0.7, 5: 0.1}, {0: 0.4, 1: 0.4, 2: 0.4, 3: 0.4})
    assert list(delta.deltas) == [0, 2]
    assert paired({0: 0.5}, {1: 0.5}).n == 0


@pytest.mark.parametrize(
    "deltas", [[1.0], [1.0, 1.0, 1.0], [0.1, 0.2, 0.3], [1.0, -2.0, 3.0, 0.5], [0.0, 0.0], [-0.3, 0.1, 0.2, 0.7, -0.2]]
)
def test_sign_flip_p_is_what_a_slow_loop_counts(deltas):
    sums = [
        abs(sum(sign * delta for sign, delta in zip(signs, deltas, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(deltas))
    ]
    assert sign_flip_p(deltas) == sum(one >= abs(sum(deltas)) - 1e-12 for one in sums) / len(sums)


def test_sign_flip_p_agrees_with_scipys_permutation_test():
    deltas = np.random.default_rng(0).normal(0.4, 1, 8)
    truth = stats.permutation_test((deltas,), np.mean, permutation_type="samples", n_resamples=1000)
    assert sign_flip_p(deltas) == pytest.approx(truth.pvalue)


def test_sign_flip_p_has_limits():
    assert math.isnan(sign_flip_p([]))
    assert math.isnan(sign_flip_p([1.0] * 21))
    assert sign_flip_p([1.0] * 20) == smallest_p(20)


def test_six_seeds_are_needed_for_five_per_cent():
    assert [smallest_p(n) for n in (1, 3, 5, 6)] == [1, 0.25, 0.0625, 0.03125]
    assert needed_seeds() == 6
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 0.03125


def test_the_verdict_never_claims_more_than_n_allows():
    assert verdict(3) == "n = 3: the smallest possible two-sided p is 0.25; at least 6 seeds are needed for p < 0.05."
    assert verdict(6, 0.03125) == "n = 6: exact two-sided sign-flip p = 0.031, below 0.05."
    assert verdict(6, 0.5).endswith("not below 0.05.")
    assert "nothing to compare" in verdict(0)
    assert not any("significant" in verdict(n, smallest_p(n)) for n in range(30))


@pytest.mark.parametrize(
    ("deltas", "said"),
    [
        ([0.05, 0.06, 0.055], "earns its place"),
        ([-0.05, -0.06, -0.055], "hurts here"),
        ([0.05, -0.06, 0.055], "unclear"),
        ([0.0, 0.0, 0.0], "unclear"),
        ([0.3], "one seed only"),
        ([], "no result yet"),
    ],
)
def test_standing_follows_the_interval(deltas, said):
    delta = paired(dict(enumerate(deltas)), dict.fromkeys(range(len(deltas)), 0.0))
    assert standing(delta) == said
    assert standing(delta, OF_ROW) == {"earns its place": "better here", "hurts here": "worse here"}.get(said, said)
