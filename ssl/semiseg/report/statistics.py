"""Mean, spread and paired differences between rows of a table, and what may be said about them.

Rows are compared seed by seed, because all rows of a seed share their data order, their augmentation and often whole stages. The
interval is Student's t on the paired differences (it assumes they are roughly normal); the p-value is the exact sign-flip test (it
assumes only that a difference and its opposite are equally likely when the part does nothing) and cannot fall below 2 / 2**n.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import (
    fdtri,
    stdtrit,
)  # quantiles of F and Student's t; those of scipy.stats are the same numbers and import six times slower

LEVEL = 0.05
EXACT_SEEDS = 20  # the sign-flip test lists the sums of two halves, about 2**(n / 2) each
Standing = Literal[
    "earns its place",
    "hurts here",
    "better here",
    "worse here",
    "equivalent",
    "unclear",
    "unclear after Holm",
    "undecided",
    "cannot tell here",
    "one seed only",
    "no result yet",
]
OF_PART: tuple[Standing, Standing] = ("earns its place", "hurts here")
OF_ROW: tuple[Standing, Standing] = ("better here", "worse here")


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1 in the denominator; NaN for n < 2) of the finite values."""

    n: int
    mean: float
    sd: float


class Paired(NamedTuple):
    """Differences between two rows, seed by seed; `low`, `high` are the 95 % interval of their mean (NaN for n < 2)."""

    deltas: dict[int, float]
    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float

    def opposite(self) -> "Paired":
        """The same comparison seen from the other row."""
        flipped = {seed: -delta for seed, delta in self.deltas.items()}
        return Paired(flipped, self.n, -self.mean, self.sd, -self.high, -self.low, self.p)


class Ratio(NamedTuple):
    """A ratio over n seeds; `low`, `high` are its 95 % interval, NaN where that is unbounded or there are too few seeds."""

    n: int
    value: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """n, mean and sample standard deviation of the finite `values`."""
    finite = np.array([value for value in values if math.isfinite(value)], dtype=float)
    if not finite.size:
        return Spread(0, math.nan, math.nan)
    return Spread(finite.size, float(finite.mean()), float(finite.std(ddof=1)) if finite.size > 1 else math.nan)


def half_interval(score: Spread) -> float:
    """Half the 95 % interval of the mean: Student's t with n - 1 degrees of freedom; NaN for n < 2."""
    return float(stdtrit(score.n - 1, 1 - LEVEL / 2)) * score.sd / math.sqrt(score.n) if score.n > 1 else math.nan


def paired(row: Mapping[int, float], reference: Mapping[int, float]) -> Paired:
    """Compare `row` with `reference` (seed -> score) over the seeds at which both have a finite score."""
    seeds = [seed for seed in sorted(row) if math.isfinite(row[seed]) and math.isfinite(reference.get(seed, math.nan))]
    deltas = {seed: row[seed] - reference[seed] for seed in seeds}
    found = n, mean, sd = spread(deltas.values())
    half = half_interval(found)
    return Paired(deltas, n, mean, sd, mean - half, mean + half, sign_flip_p(deltas.values()))


def fieller(row: Mapping[int, float], whole: Mapping[int, float], reference: Mapping[int, float]) -> Ratio:
    """(row - reference) / (whole - reference) in the means over the seeds at which all three have a finite score.

    The interval is Fieller's (1954): all r for which mean(a) - r mean(b), a and b the two differences of each seed, is not t
    standard errors from 0, that is (A - r B)^2 <= t^2 (saa - 2 r sab + r^2 sbb) / n with their variances and covariance. It is bounded
    only where B itself is further than t standard errors from 0.
    """
    tops, bottoms = paired(row, reference).deltas, paired(whole, reference).deltas
    seeds = sorted(tops.keys() & bottoms.keys())
    n, a, b = len(seeds), np.array([tops[seed] for seed in seeds]), np.array([bottoms[seed] for seed in seeds])
    if not n or b.mean() == 0:
        return Ratio(n, math.nan, math.nan, math.nan)
    top, bottom = float(a.mean()), float(b.mean())
    if n < 2:
        return Ratio(n, top / bottom, math.nan, math.nan)
    ((saa, sab), (_, sbb)) = np.cov(a, b) * float(stdtrit(n - 1, 1 - LEVEL / 2)) ** 2 / n
    square, half, rest = bottom**2 - sbb, top * bottom - sab, top**2 - saa  # square r^2 - 2 half r + rest <= 0
    if square <= 0:
        return Ratio(n, top / bottom, math.nan, math.nan)
    width = math.sqrt(max(half**2 - square * rest, 0.0))
    return Ratio(n, top / bottom, float(half - width) / square, float(half + width) / square)


def variance_ratio(row: Mapping[int, float], other: Mapping[int, float]) -> Ratio:
    """Variance of `row` / that of `other` over the seeds at which both have a finite score, with the interval of Pitman and Morgan (1939).

    It takes scores as normal, and as pairs, because rows of a seed share data and initial weights: x + c y and x - c y are
    uncorrelated where c^2 is the ratio of the variances, so it holds all c at which the t test of their correlation, of n - 2 degrees
    of freedom, does not reject that. NaN below 3 seeds and where a row does not vary.
    """
    seeds = sorted(paired(row, other).deltas)
    x, y = (np.array([line[seed] for seed in seeds]) for line in (row, other))
    n = len(seeds)
    if n < 3 or not np.ptp(x) or not np.ptp(y):
        return Ratio(n, math.nan, math.nan, math.nan)
    ratio, r = float(x.var() / y.var()), float(np.corrcoef(x, y)[0, 1])
    middle = 1 + 2 * max(1 - r**2, 0.0) * float(stdtrit(n - 2, 1 - LEVEL / 2)) ** 2 / (n - 2)
    factor = middle + math.sqrt(middle**2 - 1)
    return Ratio(n, ratio, ratio / factor, ratio * factor)


def printed_variance_ratio(sd: float, n: int, other_sd: float, other_n: int) -> Ratio:
    """The variance of n runs / that of other_n runs, of which only the standard deviations are known, with the F interval: runs are
    normal and those of both sides independent. NaN below 3 runs and where one side does not vary."""
    if min(n, other_n) < 3 or not sd or not other_sd:
        return Ratio(min(n, other_n), math.nan, math.nan, math.nan)
    ratio = (sd / other_sd) ** 2
    low, high = (ratio / float(fdtri(n - 1, other_n - 1, level)) for level in (1 - LEVEL / 2, LEVEL / 2))
    return Ratio(min(n, other_n), ratio, low, high)


def sign_flip_p(deltas: Iterable[float]) -> float:
    """Exact two-sided p of the sign-flip test: the share of all 2**n sign patterns whose sum is at least as far from 0.

    NaN without values and for more than EXACT_SEEDS values.
    """
    values = np.array(list(deltas), dtype=float)
    if not 0 < values.size <= EXACT_SEEDS:
        return math.nan
    # Sums that are equal on paper differ in the last bits; without the tolerance such a tie would lower p.
    far = abs(float(values.sum())) - 1e-9 * float(np.abs(values).sum())
    if far <= 0:
        return 1.0
    # A pattern and its opposite are equally far from 0, so the first sign is kept; of two halves the sums are counted, not listed.
    half = (values.size + 1) // 2
    firsts, others = _signed_sums(values[1:half]) + values[0], np.sort(_signed_sums(values[half:]))
    count = others.size - np.searchsorted(others, far - firsts) + np.searchsorted(others, -far - firsts, side="right")
    return float(count.sum() / (firsts.size * others.size))


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """The sums of all sign patterns."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n paired differences can reach in the sign-flip test: 2 / 2**n."""
    return 2.0 / 2**n


def needed_seeds(level: float = LEVEL) -> int:
    """How many seeds it takes before the sign-flip test can fall below `level`: 6 for 0.05."""
    return math.floor(math.log2(2 / level)) + 1


def standing(gain: Paired, words: tuple[Standing, Standing] = OF_PART, doubtful: bool = False) -> Standing:
    """What an interval says, of a part (gain: full minus 'without the part') or, with OF_ROW, of a row; it never speaks of
    significance.

    `words` are those for an interval above and below 0. Where it is `doubtful` that there is anything to gain, no difference says
    nothing; one that is seen does.
    """
    if gain.n == 0:
        return "no result yet"
    if gain.n > 1 and gain.low > 0:
        return words[0]
    if gain.n > 1 and gain.high < 0:
        return words[1]
    if doubtful:
        return "cannot tell here"
    return "one seed only" if gain.n == 1 else "unclear"


def verdict(n: int, p: float = math.nan) -> str:
    """What n seeds allow to be said, in one sentence; with enough of them, what the sign-flip test says."""
    if n == 0:
        return "No seed has finished in both rows: nothing to compare."
    if n < needed_seeds():
        return f"n = {n}: the smallest possible two-sided p is {smallest_p(n):g}; at least {needed_seeds()} seeds are needed for p < {LEVEL:g}."
    if math.isnan(p):
        return f"n = {n}: the smallest possible two-sided p is {smallest_p(n):.2g}."
    return f"n = {n}: exact two-sided sign-flip p = {p:.2g}, {'below' if p < LEVEL else 'not below'} {LEVEL:g}."
