"""What may be said of the comparisons of one table when the number of seeds was fixed beforehand.

A verdict is judged within its table: the p-values of the paired t tests are adjusted after Holm (1979) for all comparisons, so that with
probability 0.95 no row that is worth nothing is called better or worse, however many there are and however they depend on each other.
Equivalence within a margin is two one-sided t tests (TOST, Schuirmann 1987) at 0.05 each, adjusted alike, so that with probability
0.95 no row whose difference is the margin or more is called equivalent. All of it takes paired differences as normal; only the sign-flip
p and the share of seeds do not. Docs: docs/statistics.md.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from scipy.special import betaincinv, stdtr

from semiseg.report.power import detectable, seeds_to_detect, seeds_to_equate
from semiseg.report.statistics import LEVEL, OF_PART, OF_ROW, Paired, Standing

Name = TypeVar("Name")


class Share(NamedTuple):
    """`k` of `n` seeds, and the exact 95 % interval of the probability behind them; NaN without seeds."""

    k: int
    n: int
    low: float
    high: float


class Fixed(NamedTuple):
    """One comparison `among` so many of its table; fractions where it is a difference, NaN where n does not allow a number."""

    delta: Paired
    among: int
    margin: float  # within plus and minus which a difference is called equivalent
    p: float  # two-sided paired t test
    holm: float  # the same, adjusted
    equate_p: float  # the larger of two one-sided tests
    equate_holm: float  # the same, adjusted

    @property
    def differs(self) -> bool:
        """Whether a difference from 0 is shown."""
        return self.holm < LEVEL

    @property
    def equivalent(self) -> bool:
        """Whether a difference below the margin is shown."""
        return self.equate_holm < LEVEL

    @property
    def ahead(self) -> Share:
        """Seeds at which the row is above the other; without an interval where the differences count as fewer independent ones."""
        found = share_interval(sum(delta > 0 for delta in self.delta.deltas.values()), len(self.delta.deltas))
        return found if found.n == self.delta.n else found._replace(low=math.nan, high=math.nan)

    @property
    def level(self) -> float:
        """That of Holm's first step, which is enough whatever the other comparisons show."""
        return LEVEL / self.among

    @property
    def detectable(self) -> float:
        """True difference that these seeds show with probability 0.8."""
        return detectable(self.delta.sd, self.delta.n, self.level)

    @property
    def to_detect(self) -> float:
        """Seeds that show a true difference as large as the one seen."""
        return seeds_to_detect(self.delta.mean, self.delta.sd, self.level)

    @property
    def to_equate(self) -> float:
        """Seeds that show it to be within the margin."""
        return seeds_to_equate(self.delta.mean, self.delta.sd, self.margin, self.level)


def fixed_statistics(deltas: Mapping[Name, Paired], margin: float) -> dict[Name, Fixed]:
    """Of all comparisons of one table by name; `margin` is a fraction > 0. Comparisons without two seeds yet count among those that are
    adjusted for, so that a verdict does not change because another row finishes."""
    ps = [t_test_p(one) for one in deltas.values()]
    equate = [equivalence_p(one, margin) for one in deltas.values()]
    found = zip(deltas.items(), ps, holm(ps), equate, holm(equate), strict=True)
    return {name: Fixed(one, len(deltas), margin, *numbers) for (name, one), *numbers in found}


def judged(said: Standing, fixed: Fixed | None, doubtful: bool = False) -> Standing:
    """What `standing` says of an interval that stands alone, judged within its table; `fixed` is None where there are no fixed-n
    statistics, `doubtful` where there may be nothing to gain, as in `standing`."""
    if fixed is None or fixed.delta.n < 2:
        return said
    if fixed.equivalent and not doubtful:
        return "equivalent"
    if said not in (*OF_PART, *OF_ROW) or fixed.differs:
        return said
    return "cannot tell here" if doubtful else "unclear after Holm"


def t_test_p(delta: Paired) -> float:
    """Two-sided p of the paired t test; NaN for n < 2, and where all seeds agree 1 or 0: whether they agree on 0."""
    if delta.n < 2:
        return math.nan
    return 2 * float(stdtr(delta.n - 1, -abs(_steps(delta.mean, delta))))


def equivalence_p(delta: Paired, margin: float) -> float:
    """The larger p of two one-sided paired t tests, of the difference being at most -margin and at least margin; NaN for n < 2."""
    if delta.n < 2:
        return math.nan
    return float(stdtr(delta.n - 1, _steps(abs(delta.mean) - margin, delta)))


def probability_better(delta: Paired, next_seed: bool = False) -> float:
    """Posterior probability that the mean difference is above 0, or that the difference at one more seed is; NaN for n < 2.

    Normal differences, and the reference prior 1 / variance, of which the mean's posterior is t with n - 1 degrees of freedom about the
    seen mean, with the scale sd / sqrt(n), and the next difference's the same with sd sqrt(1 + 1/n) (Gelman et al. 2013, 3.2).
    """
    if delta.n < 2:
        return math.nan
    steps = _steps(delta.mean, delta)
    return float(stdtr(delta.n - 1, steps / math.sqrt(delta.n + 1) if next_seed else steps))


def _steps(value: float, delta: Paired) -> float:
    """A value in standard errors of the mean difference; infinite where all seeds agree."""
    error = delta.sd / math.sqrt(delta.n)
    return value / error if error else math.copysign(math.inf, value) if value else 0.0


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down method (1979); NaN stays NaN but counts as a comparison."""
    found, worst = [math.nan] * len(ps), 0.0
    known = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    for step, i in enumerate(known):
        found[i] = worst = max(worst, min(1.0, (len(ps) - step) * ps[i]))
    return found


def share_interval(k: int, n: int) -> Share:
    """k of n with the exact 95 % interval of Clopper and Pearson (1934): all probabilities at which neither as few nor as many as k
    has a probability below 2.5 %."""
    if not n:
        return Share(k, n, math.nan, math.nan)
    low = float(betaincinv(k, n - k + 1, LEVEL / 2)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - LEVEL / 2)) if k < n else 1.0
    return Share(k, n, low, high)
