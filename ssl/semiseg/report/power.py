"""What n paired differences can show: power of the paired t test and of two one-sided tests, and the seeds that 0.8 takes.

Differences are taken as normal with a known standard deviation `sd`, that of the seeds there are; few seeds know it badly, so what is
said here of seeds to come is a plan and no result. Differences, `sd` and margins are in one unit.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

POWER = 0.8
MOST_SEEDS = 1000
"""More seeds than these are not counted: infinity."""
_QUANTILES = (np.arange(500) + 0.5) / 500


def power_to_detect(delta: float, sd: float, n: int, level: float) -> float:
    """That the two-sided paired t test of n >= 2 differences sees a true `delta`: both tails of the noncentral t (Cohen 1988, 2.3)."""
    if sd == 0:
        return float(delta != 0)
    far, shift = float(stdtrit(n - 1, 1 - level / 2)) * _spreads(n), abs(delta) / sd * math.sqrt(n)
    return float(np.mean(np.asarray(ndtr(shift - far)) + np.asarray(ndtr(-shift - far))))


def power_to_equate(delta: float, sd: float, n: int, margin: float, level: float) -> float:
    """That two one-sided t tests of n >= 2 differences (Schuirmann 1987) call a true `delta` equivalent within plus and minus `margin`:
    that the mean lies within margin - t s / sqrt(n), s the sample's standard deviation."""
    if sd == 0:
        return float(abs(delta) < margin)
    error = sd / math.sqrt(n)
    room = margin - float(stdtrit(n - 1, 1 - level)) * error * _spreads(n)
    inside = np.asarray(ndtr((room - delta) / error)) - np.asarray(ndtr((-room - delta) / error))
    return float(np.mean(np.where(room > 0, inside, 0.0)))


@lru_cache
def _spreads(n: int) -> np.ndarray:
    """Equally likely values of sample / true standard deviation of n normal values, which is chi with n - 1 degrees of freedom. Given it
    the mean is normal, so that powers are means over these of the normal law: SciPy's noncentral t fails far out."""
    return np.sqrt(np.asarray(chdtri(n - 1, _QUANTILES)) / (n - 1))


def detectable(sd: float, n: int, level: float) -> float:
    """The smallest true difference that the two-sided paired t test of n differences sees with probability 0.8; NaN for n < 2."""
    if n < 2 or not sd >= 0:
        return math.nan
    low, high = 0.0, sd
    while power_to_detect(high, sd, n, level) < POWER and high > 0:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if power_to_detect(middle, sd, n, level) < POWER else (low, middle)
    return high


def seeds_to_detect(delta: float, sd: float, level: float) -> float:
    """Seeds with which the two-sided paired t test sees `delta` with probability 0.8; infinity beyond MOST_SEEDS, NaN for a NaN."""
    return _fewest(lambda n: power_to_detect(delta, sd, n, level), delta, sd)


def seeds_to_equate(delta: float, sd: float, margin: float, level: float) -> float:
    """Seeds with which `delta` is called equivalent within `margin` with probability 0.8; infinity beyond MOST_SEEDS, NaN where it
    is not within the margin and for a NaN."""
    if abs(delta) >= margin:
        return math.nan
    return _fewest(lambda n: power_to_equate(delta, sd, n, margin, level), delta, sd)


def _fewest(power: Callable[[int], float], delta: float, sd: float) -> float:
    """The smallest n at which a power that grows with n is 0.8."""
    if math.isnan(delta) or math.isnan(sd):
        return math.nan
    if power(MOST_SEEDS) < POWER:
        return math.inf
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return high
