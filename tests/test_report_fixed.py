"""Statistics at a fixed number of seeds against statsmodels, SciPy, simulation and slow loops; verdicts judged within a table."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from semiseg.report.fixed import (
    equivalence_p,
    fixed_statistics,
    holm,
    judged,
    probability_better,
    share_interval,
    t_test_p,
)
from semiseg.report.power import detectable, power_to_detect, power_to_equate, seeds_to_detect, seeds_to_equate
from semiseg.report.statistics import OF_ROW, Paired, paired, standing

POWER: Any = TTestPower()


def of(*deltas: float) -> Paired:
    return paired(dict(enumerate(deltas)), dict.fromkeys(range(len(deltas)), 0.0))


def adjusted(ps: list[float]) -> list[float]:
    return list(np.asarray(multipletests(ps, method="holm")[1]))


def drawn(n: int, seed: int = 0) -> Paired:
    return of(*np.random.default_rng(seed).normal(0.004, 0.01, n))


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_p_of_difference_and_of_equivalence_are_those_of_the_libraries(n: int) -> None:
    delta = drawn(n, n)
    values = np.array(list(delta.deltas.values()))
    assert t_test_p(delta) == pytest.approx(stats.ttest_1samp(values, 0)[1])
    for margin in (0.001, 0.01, 0.05):
        assert equivalence_p(delta, margin) == pytest.approx(ttost_paired(values, np.zeros(n), -margin, margin)[0])


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed: int) -> None:
    ps = list(np.random.default_rng(seed).uniform(0, 0.2, 7))
    assert holm(ps) == pytest.approx(adjusted(ps))
    assert holm(ps * 2) == pytest.approx(adjusted(ps * 2))


def test_a_comparison_that_is_not_there_yet_counts_as_one_that_shows_nothing() -> None:
    found = holm([0.01, math.nan, 0.03])
    truth = adjusted([0.01, 1.0, 0.03])
    assert (found[0], found[2]) == (pytest.approx(truth[0]), pytest.approx(truth[2]))
    assert math.isnan(found[1])
    assert holm([]) == []


def test_probability_that_a_row_is_better_is_that_of_draws_from_the_posterior() -> None:
    delta, rng = drawn(5), np.random.default_rng(1)
    variance = 4 * delta.sd**2 / rng.chisquare(4, 400_000)
    mean = rng.normal(delta.mean, np.sqrt(variance / 5))
    assert probability_better(delta) == pytest.approx(np.mean(mean > 0), abs=0.003)
    assert probability_better(delta, next_seed=True) == pytest.approx(np.mean(rng.normal(mean, np.sqrt(variance)) > 0), abs=0.003)
    assert probability_better(delta.opposite()) == pytest.approx(1 - probability_better(delta))


def test_seeds_that_agree_leave_no_doubt_and_too_few_leave_nothing_but_doubt() -> None:
    same, none, one = of(0.02, 0.02), of(0.0, 0.0, 0.0), of(0.3)
    assert (t_test_p(none), probability_better(none), equivalence_p(none, 0.01)) == (1, 0.5, 0)
    exact = same._replace(sd=0.0)
    assert (t_test_p(exact), probability_better(exact), equivalence_p(exact, 0.01)) == (0, 1, 1)
    for delta in (one, of()):
        found = fixed_statistics({"row": delta}, 0.01)["row"]
        assert all(
            map(math.isnan, (found.p, found.holm, found.equate_holm, probability_better(delta), found.detectable, found.to_detect))
        )
        assert not found.differs
        assert not found.equivalent


@pytest.mark.parametrize(("k", "n"), [(k, n) for n in (1, 3, 8, 20) for k in range(n + 1)])
def test_the_share_of_seeds_has_the_interval_of_clopper_and_pearson(k: int, n: int) -> None:
    assert share_interval(k, n)[2:] == pytest.approx(proportion_confint(k, n, 0.05, "beta"), nan_ok=False)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20, 100])
@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
def test_power_to_detect_is_that_of_statsmodels(n: int, level: float) -> None:
    for effect in (0.1, 0.5, 1.0, 3.0):
        truth = POWER.power(effect, n, level)
        if math.isfinite(truth):  # it is not everywhere far out
            assert power_to_detect(0.01 * effect, 0.01, n, level) == pytest.approx(truth, abs=1e-3)


def test_smallest_difference_and_seeds_are_those_of_statsmodels() -> None:
    for n in (2, 3, 5, 20):
        assert detectable(0.02, n, 0.05) == pytest.approx(0.02 * POWER.solve_power(None, n, 0.05, 0.8), rel=1e-3)
    for effect in (0.2, 0.5, 1.0, 2.0):
        truth = POWER.solve_power(effect, None, 0.05 / 6, 0.8)
        assert seeds_to_detect(effect, 1.0, 0.05 / 6) == math.ceil(float(np.squeeze(truth)) - 1e-3)
    assert math.isinf(seeds_to_detect(0.0, 1.0, 0.05))
    assert math.isinf(seeds_to_detect(0.01, 1.0, 0.05))
    assert math.isnan(seeds_to_detect(0.1, math.nan, 0.05))
    assert (detectable(0.0, 3, 0.05), seeds_to_detect(0.1, 0.0, 0.05), seeds_to_equate(0.001, 0.0, 0.01, 0.05)) == (0, 2, 2)


@pytest.mark.parametrize(("n", "true"), [(2, 0.0), (3, 0.0), (5, 0.3), (10, 0.5)])
def test_power_to_equate_is_the_share_of_simulated_tables(n: int, true: float) -> None:
    draws = np.random.default_rng(n).normal(true, 0.8, (100_000, n))
    half = stats.t.ppf(0.95, n - 1) * stats.sem(draws, axis=1)
    mean = draws.mean(1)
    share = np.mean((mean + half < 1) & (mean - half > -1))
    assert power_to_equate(true, 0.8, n, 1, 0.05) == pytest.approx(share, abs=0.006)


def test_seeds_to_equate_are_the_fewest_with_that_power() -> None:
    n = seeds_to_equate(0.3, 0.8, 1.0, 0.05)
    assert power_to_equate(0.3, 0.8, int(n), 1.0, 0.05) >= 0.8 > power_to_equate(0.3, 0.8, int(n) - 1, 1.0, 0.05)
    assert math.isnan(seeds_to_equate(1.0, 0.8, 1.0, 0.05))
    assert math.isinf(seeds_to_equate(0.99, 0.8, 1.0, 0.05))


def test_differences_that_count_as_fewer_seeds_have_a_share_without_an_interval() -> None:
    crossed = of(0.1, 0.2, -0.1, 0.2)._replace(n=2)
    share = fixed_statistics({"row": crossed}, 0.01)["row"].ahead
    assert share[:2] == (3, 4)
    assert math.isnan(share.low)


# ---- verdicts


def test_a_difference_that_is_seen_alone_is_not_one_among_six() -> None:
    seen, clear, zero = of(0.03, 0.05, 0.04, 0.01, 0.06), of(0.1, 0.11, 0.105, 0.1, 0.11), of(0.08, -0.08, 0.0, 0.05, -0.05)
    said = standing(seen, OF_ROW)
    assert said == "better here"
    alone = fixed_statistics({"a": seen}, 0.01)["a"]
    among = fixed_statistics({"a": seen, "clear": clear} | {str(i): zero for i in range(4)}, 0.01)
    assert alone.p == alone.holm == among["a"].p
    assert among["a"].holm == pytest.approx(5 * alone.p)
    assert judged(said, alone) == "better here"
    assert judged(said, among["a"]) == "unclear after Holm"
    assert judged(said, among["a"], doubtful=True) == "cannot tell here"
    assert judged(standing(clear, OF_ROW), among["clear"]) == "better here"
    assert judged("unclear", among["0"]) == "unclear"
    assert judged("one seed only", None) == "one seed only"


def test_equivalent_is_said_within_the_margin_where_there_was_something_to_gain() -> None:
    small = of(0.001, 0.002, 0.0015, 0.001, 0.002)
    found = fixed_statistics({"a": small}, 0.01)["a"]
    assert found.differs
    assert judged("better here", found) == "equivalent"
    assert judged("better here", found, doubtful=True) == "better here"
    assert (
        judged("cannot tell here", fixed_statistics({"a": of(0.001, -0.001, 0.0)}, 0.01)["a"], doubtful=True) == "cannot tell here"
    )
    assert judged("better here", fixed_statistics({"a": small}, 0.001)["a"]) == "better here"
