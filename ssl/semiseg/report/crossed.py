"""Statistics of a crossed design: every training seed with every labelled subset, one run each.

The model of a score, or of a difference between rows, is y_ij = m + t_i + s_j + e_ij with independent normal effects of the training
seed i, of the subset j and of the two together. As a run gives the same number whenever it is repeated, e is their interaction and
nothing else. Where runs are missing, the largest complete part of the grid that is found by leaving out seeds and subsets is used.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from semiseg.report.statistics import LEVEL, Paired, Ratio, Spread, half_interval
from semiseg.results import StudyRecord

Cells = Mapping[tuple[int, int], float]
"""A finite number by training seed and subset."""
DRAWS = 20_000
"""Of the generalised pivotal quantities; their quantiles move by about 0.005."""


class Components(NamedTuple):
    """Variances >= 0 of the three effects."""

    training: float
    subset: float
    together: float

    @property
    def total(self) -> float:
        return sum(self)


class Crossing(NamedTuple):
    """A complete grid (seeds, subsets) by its mean and sums of squares, of seeds, subsets and the rest."""

    seeds: int
    subsets: int
    mean: float
    squares: tuple[float, float, float]

    @property
    def freedom(self) -> tuple[int, int, int]:
        """Degrees of freedom of the sums of squares."""
        a, b = self.seeds - 1, self.subsets - 1
        return a, b, a * b


def complete_part(cells: Cells) -> np.ndarray:
    """The grid of numbers (seeds, subsets) without the seeds and subsets that, one after the other, lack the largest share of runs;
    (0,0) without cells."""
    seeds, subsets = (sorted({at[axis] for at in cells}) for axis in (0, 1))
    there = np.array([[(seed, subset) in cells for subset in subsets] for seed in seeds], bool).reshape(len(seeds), len(subsets))
    while not there.all():
        by_seed, by_subset = there.mean(1), there.mean(0)
        if by_seed.min() <= by_subset.min():
            at = len(seeds) - 1 - int(by_seed[::-1].argmin())  # of equal ones the last
            del seeds[at]
            there = np.delete(there, at, 0)
        else:
            at = len(subsets) - 1 - int(by_subset[::-1].argmin())
            del subsets[at]
            there = np.delete(there, at, 1)
    return np.array([[cells[seed, subset] for subset in subsets] for seed in seeds], float).reshape(len(seeds), len(subsets))


def grid_of(cells: Cells) -> Crossing | None:
    """The complete part by its sums of squares; None without two seeds and two subsets."""
    y = complete_part(cells)
    a, b = y.shape
    if min(a, b) < 2:
        return None
    mean, rows, columns = y.mean(), y.mean(1), y.mean(0)
    rest = y - rows[:, None] - columns[None, :] + mean
    squares = b * np.sum((rows - mean) ** 2), a * np.sum((columns - mean) ** 2), np.sum(rest**2)
    return Crossing(a, b, float(mean), (float(squares[0]), float(squares[1]), float(squares[2])))


def components(grid: Crossing) -> Components:
    """Variances by restricted maximum likelihood, which for a complete grid are those of the analysis of variance, E(MS_t) =
    var_e + b var_t and so on; where one would be negative it is 0 and its sum of squares joins the rest, the smallest first
    (pool the minimum violator: Thompson 1962, Annals of Mathematical Statistics 33)."""
    sums, free = list(grid.squares), list(grid.freedom)
    apart = {0: grid.subsets, 1: grid.seeds}
    for axis in sorted(apart, key=lambda one: sums[one] / free[one]):
        if sums[axis] / free[axis] <= sums[2] / free[2]:
            sums[2], free[2] = sums[2] + sums[axis], free[2] + free[axis]
            del apart[axis]
    rest = sums[2] / free[2]
    found = {axis: (sums[axis] / free[axis] - rest) / count for axis, count in apart.items()}
    return Components(found.get(0, 0.0), found.get(1, 0.0), rest)


def shares(grid: Crossing) -> tuple[Ratio, Ratio, Ratio]:
    """The share of each variance in their sum, with 95 % intervals by generalised pivotal quantities (Weerahandi 1993; for this
    design Burdick, Borror and Montgomery 2005, section 3): sums of squares are divided by draws of their chi-square, and the variances
    of the analysis of variance are made of that, 0 where negative. NaN where nothing varies."""
    at, n = components(grid), min(grid.seeds, grid.subsets)
    if not at.total:
        none = Ratio(n, math.nan, math.nan, math.nan)
        return none, none, none
    rng = np.random.default_rng(0)
    expected = [total / rng.chisquare(free, DRAWS) for total, free in zip(grid.squares, grid.freedom, strict=True)]
    training, subset = (
        np.maximum(one - expected[2], 0) / count for one, count in zip(expected, (grid.subsets, grid.seeds), strict=False)
    )
    drawn = np.stack([training, subset, expected[2]])
    low, high = np.quantile(drawn / drawn.sum(0), (LEVEL / 2, 1 - LEVEL / 2), axis=1)
    found = [Ratio(n, value / at.total, float(low[i]), float(high[i])) for i, value in enumerate(at)]
    return found[0], found[1], found[2]


def error_of_mean(grid: Crossing) -> float:
    """Standard error of the mean. Its square is (MS_t + MS_s - MS_e) / (a b), which is unbiased, but no less than with the larger of the
    first two alone, which that exceeds in expectation."""
    training, subset, rest = (total / free for total, free in zip(grid.squares, grid.freedom, strict=True))
    return math.sqrt(max(training + subset - rest, training, subset) / (grid.seeds * grid.subsets))


def cells_of(study: StudyRecord, values: Mapping[int, float]) -> dict[tuple[int, int], float]:
    """Finite numbers by run as those of a crossed design."""
    drawn = {draw.seed: (draw.training, draw.subset) for draw in study.draws}
    return {drawn[seed]: value for seed, value in values.items() if math.isfinite(value)}


def in_design(study: StudyRecord, delta: Paired) -> Paired:
    """A difference as the study's design has it: of a crossed one with the interval that two samples, of seeds and of subsets, allow.

    Its runs are no independent ones. It counts as n independent seeds, n the smaller number of seeds or subsets, with the sd that gives
    the design's standard error of the mean; Student's t with n - 1 degrees of freedom then covers at least 95 % whatever the components
    (tests/test_report_crossed.py). There is no p. The mean is over the complete part of the grid.
    """
    if study.vary != "crossed" or not delta.n:
        return delta
    grid = grid_of(cells_of(study, delta.deltas))
    if grid is None:
        return delta._replace(n=1, sd=math.nan, low=math.nan, high=math.nan, p=math.nan)
    n = min(grid.seeds, grid.subsets)
    found = Spread(n, grid.mean, error_of_mean(grid) * math.sqrt(n))
    half = half_interval(found)
    return Paired(delta.deltas, *found, grid.mean - half, grid.mean + half, math.nan)
