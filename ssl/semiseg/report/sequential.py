"""Intervals of a mean that hold for all numbers of seeds at once, so that one may look after every seed and stop when one likes.

Differences d_1, d_2, ... are taken as independent and normal with unknown mean mu and standard deviation sigma. For a mean m that is
asked about, the effect (mu - m) / sigma has the prior N(0, SCALE) and sigma the right-Haar prior 1 / sigma. The ratio of the marginal
likelihoods of d_1 ... d_n under that prior and under mu = m is, with t = sqrt(n) (mean - m) / sd and r = 1 + n SCALE,

    E_n(m) = r^(-1/2) ((1 + t^2 / (n - 1)) / (1 + t^2 / ((n - 1) r)))^(n / 2).

It depends on the data only by ratios of differences (d_i - m) / (d_1 - m), whose law does not know sigma, and is a martingale of mean 1
when mu = m: Ville's inequality bounds the chance that it ever reaches 1 / level by level. All m that it has not refused are the interval

    mean +- sd sqrt((n - 1) / n * r (a - 1) / (r - a)),  a = (r / level^2)^(1 / n),  unbounded while a >= r;

and as the bound is of all n together, the intersection of the intervals of 1 ... n is one too. (Wang & Ramdas 2023, "Anytime-valid
t-tests and confidence sequences for Gaussian means with unknown variance", section 4, after Lai 1976, "On confidence sequences"; that
the right-Haar prior makes a martingale of mean 1 also for composite sigma is in Perez-Ortiz et al. 2022, "E-statistics, group
invariance and anytime-valid testing".)
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

SCALE = 8.0
"""Variance of the prior of effects. Fixed before any data: at the levels of 2 to 12 comparisons the interval is then narrowest for 5 to 7
seeds, where most are decided, and within 10 % of the narrowest for 5 to 12."""
FARTHEST = 100_000
"""Seeds beyond which no forecast looks."""


def log_e_value(n: int, t: float) -> float:
    """Logarithm of E_n of a mean that is t standard errors away; 0 for n < 2, where nothing is known of the spread."""
    if n < 2:
        return 0.0
    r, squared = 1 + n * SCALE, t * t / (n - 1)
    return n / 2 * (math.log1p(squared) - math.log1p(squared / r)) - math.log(r) / 2


def half_width(n: int, sd: float, level: float) -> float:
    """Half the interval of n differences with this standard deviation; infinite where it is unbounded."""
    r = 1 + n * SCALE
    log_a = (math.log(r) - 2 * math.log(level)) / n
    if n < 2 or log_a >= math.log(r):
        return math.inf
    return sd * math.sqrt((n - 1) / n * r * math.expm1(log_a) / (r - math.exp(log_a)))


def intervals(deltas: Sequence[float], level: float) -> np.ndarray:
    """Float (n, 2): lower and upper ends after 1 ... n differences, each the intersection of those up to it; infinite while unbounded.

    Where they have nothing in common, which happens with a chance below `level` or where differences are not normal, the last
    intersection that is not empty stays.
    """
    values = np.asarray(deltas, dtype=float)
    found, low, high = np.empty((len(values), 2)), -math.inf, math.inf
    if not len(values):
        return found
    n, moved = np.arange(1, len(values) + 1), values - values[0]  # so that nothing cancels
    means = moved.cumsum() / n
    sds = np.sqrt(np.maximum((moved**2).cumsum() - n * means**2, 0.0) / np.maximum(n - 1, 1))
    for i, (mean, sd) in enumerate(zip((values[0] + means).tolist(), sds.tolist(), strict=True)):
        unit = _unit(i + 1, level)
        half = sd * unit if unit < math.inf else math.inf
        if max(low, mean - half) <= min(high, mean + half):
            low, high = max(low, mean - half), min(high, mean + half)
        found[i] = low, high
    return found


@cache
def _unit(n: int, level: float) -> float:
    """Half the interval of n differences with standard deviation 1."""
    return half_width(n, 1.0, level)


def seeds_until(half: float, sd: float, level: float) -> int:
    """The smallest number of seeds whose interval is narrower than plus and minus `half`, at most FARTHEST."""
    few, many = 1, 2
    while many < FARTHEST and half_width(many, sd, level) >= half:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if half_width(middle, sd, level) >= half else (few, middle)
    return min(many, FARTHEST)
