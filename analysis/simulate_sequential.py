"""What `--until decided` promises, with known truth and no training: coverage, false verdicts, seeds spent, heavy tails.

Every study has a reference and rows whose paired differences to it are drawn independently; the engine's own order (SeedOrder) decides
which row gets which seed and when it stops. Takes about 11 CPU seconds. The numbers of docs/until.md come from

    python analysis/simulate_sequential.py --studies 2000
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import nct, t

from semiseg.report.decisions import Quantity, Scores
from semiseg.report.sequential import half_width
from semiseg.sweep.until import Limits, SeedOrder, seeds_to

LEVEL, MARGIN = 0.05, 1.0
"""Points here, not fractions."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
LAWS: Mapping[str, Draw] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "t3": lambda draw, shape: draw.standard_t(3, size=shape) / math.sqrt(3),
    "lognormal": lambda draw, shape: (draw.lognormal(0, 1, size=shape) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e),
}
"""Of mean 0 and variance 1."""


VERDICTS = ("undecided", "helps", "hurts", "equivalent")


class Outcome(NamedTuple):
    """How simulated studies ended, (studies, rows) each."""

    verdicts: np.ndarray
    """Places in VERDICTS."""
    after: np.ndarray
    """Seeds until the decision; all that were allowed where there is none."""
    held: np.ndarray
    """Whether the interval at the end, the intersection of all up to it, holds the true value."""


def student_width(n: int, sd: float, level: float) -> float:
    """Half of Student's interval, from three values on."""
    return float(t.ppf(1 - level / 2, n - 1)) * sd / math.sqrt(n) if n > 2 else math.inf


def miss_rate(
    law: str,
    sequences: int,
    most: int,
    level: float = LEVEL,
    width: Callable[[int, float, float], float] = half_width,
    seed: int = 0,
    chunk: int = 20_000,
) -> float:
    """Share of sequences whose true mean is outside the interval of any number of values from 2 to `most`."""
    draw, missed = np.random.default_rng(seed), 0
    n = np.arange(1, most + 1)
    unit = np.array([width(int(k), 1.0, level) for k in n[1:]])
    for start in range(0, sequences, chunk):
        values = LAWS[law](draw, (min(chunk, sequences - start), most))
        means = values.cumsum(1) / n
        sds = np.sqrt(np.maximum((values**2).cumsum(1) - n * means**2, 0)[:, 1:] / (n[1:] - 1))
        missed += int((np.abs(means[:, 1:]) > np.where(np.isinf(unit), np.inf, unit * sds)).any(axis=1).sum())
    return missed / sequences


def differences(effects: Sequence[float], sd: float, law: str, most: int, seed: int, studies: int) -> np.ndarray:
    """Float (studies, rows, most): paired differences of rows with these true values to a reference."""
    return np.asarray(effects)[None, :, None] + sd * LAWS[law](np.random.default_rng(seed), (studies, len(effects), most))


def outcomes(effects: Sequence[float], values: np.ndarray, level: float) -> Outcome:
    """Every row on its own, after every seed, until it is decided; a row's verdict does not depend on when others get their seeds."""
    most = values.shape[2]
    low, high = np.full(values.shape[:2], -np.inf), np.full(values.shape[:2], np.inf)
    verdicts, after = np.zeros(values.shape[:2], int), np.full(values.shape[:2], most)
    for n in range(2, most + 1):
        seen, open_ = values[..., :n], verdicts == 0
        unit = half_width(n, 1.0, level)
        if unit == math.inf:
            continue
        mean, half = seen.mean(-1), unit * seen.std(-1, ddof=1)
        ends = np.maximum(low, mean - half), np.minimum(high, mean + half)
        moves = open_ & (ends[0] <= ends[1])
        low, high = np.where(moves, ends[0], low), np.where(moves, ends[1], high)
        said = np.select([low > 0, high < 0, (low > -MARGIN) & (high < MARGIN)], [1, 2, 3], 0)
        verdicts, after = np.where(open_, said, verdicts), np.where(open_ & (said > 0), n, after)
    true = np.asarray(effects)[None]
    return Outcome(verdicts, after, (low <= true) & (true <= high))


def by_engine(values: np.ndarray, level: float, ahead: int = 2) -> tuple[list[str], list[int], int]:
    """One study, (rows, most), decided by the engine: verdicts, seeds after which, differences that were seen in all."""
    rows, most = tuple(f"row {i}" for i in range(len(values))), values.shape[1]

    def quantities(scores: Scores) -> dict[str, Quantity]:
        seen = scores.get("reference", {})
        return {
            row: Quantity((row, "reference"), {at: float(values[i, at]) for at in scores.get(row, {}) if at in seen})
            for i, row in enumerate(rows)
        }

    def cost(row: str, at: int) -> Mapping[str, float]:
        return {f"{row} {at}": 1.0}

    limits = Limits(level, MARGIN, seeds_to((0, 1, 2), most), 3, ahead)
    order = SeedOrder(("reference", *rows), limits, quantities, cost)
    waiting = order.cells(0)
    while waiting and not order.reason:
        for cell in waiting:
            order.end(*cell, 0.0)
        waiting = [(row, one.seed) for one in order.go_on() for row in one.rows]
    found = order.decided(len(order.additions)).values()
    return [one.verdict for one in found], [one.after or most for one in found], sum(one.paired.n for one in found)


def false_verdicts(effects: Sequence[float], found: Outcome) -> np.ndarray:
    """Bool (studies, rows): verdicts that are false of the true difference."""
    true = np.asarray(effects)[None]
    said = found.verdicts
    return ((said == 1) & (true <= 0)) | ((said == 2) & (true >= 0)) | ((said == 3) & (np.abs(true) >= MARGIN))


def fixed_seeds(effect: float, sd: float, level: float, power: float) -> int:
    """The smallest fixed n at which a two-sided t test of this level, for all rows alike, finds the effect with this chance."""
    for n in range(2, 1000):
        critical, shift = t.ppf(1 - level / 2, n - 1), effect / sd * math.sqrt(n)
        if 1 - nct.cdf(critical, n - 1, shift) + nct.cdf(-critical, n - 1, shift) >= power:
            return n
    return 1000


def binomial_margin(rate: float, count: int) -> float:
    """Two standard errors of a share."""
    return 2 * math.sqrt(rate * (1 - rate) / count)


def main() -> None:
    """Print the tables of docs/until.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--sequences", type=int, default=100_000)
    parser.add_argument("--engine", type=int, default=50, help="studies that the engine decides too")
    arguments = parser.parse_args()
    studies, sequences = arguments.studies, arguments.sequences
    print("share of sequences whose mean is outside some interval for n = 2 ... 50: level 0.05, level 0.05/6", flush=True)
    for law in LAWS:
        rates = [miss_rate(law, sequences, 50, level) for level in (LEVEL, LEVEL / 6)]
        print(f"  {law:10}" + "".join(f" {rate:8.4f} ± {binomial_margin(rate, sequences):.4f}" for rate in rates), flush=True)
    naive = miss_rate("normal", sequences, 50, width=student_width)
    print(f"  Student's interval of level 0.05, normal, looked at for n = 3 ... 50: {naive:.4f}", flush=True)
    print("six rows, sd 1 point, until decided: any false verdict; all intervals hold at the end; undecided; median seeds a row")
    tables = {"six null": (0.0,) * 6, "4 2 1 0 0 0 points": (4.0, 2.0, 1.0, 0.0, 0.0, 0.0)}
    for name, effects in tables.items():
        for law in LAWS:
            found = outcomes(effects, differences(effects, 1.0, law, 50, 1, studies), LEVEL / 6)
            false, held = false_verdicts(effects, found).any(1).mean(), found.held.all(1).mean()
            medians = np.median(found.after, axis=0).astype(int).tolist()
            print(
                f"  {name:20} {law:10} {false:.4f} ± {binomial_margin(false, studies):.4f}  {held:.4f}  "
                f"{(found.verdicts == 0).mean():.3f}  {medians}",
                flush=True,
            )
    values = differences(tables["4 2 1 0 0 0 points"], 1.0, "normal", 50, 2, arguments.engine)
    alone = outcomes(tables["4 2 1 0 0 0 points"], values, LEVEL / 6)
    engine = [by_engine(one, LEVEL / 6) for one in values]
    same = np.mean([said == [VERDICTS[i] for i in mine] for (said, _, _), mine in zip(engine, alone.verdicts, strict=True)])
    seen, needed = sum(total for _, _, total in engine), int(alone.after.sum())
    most = int(alone.after.max(1).sum()) * 6
    print(
        f"the engine, two slots, {arguments.engine} studies: same verdicts {same:.0%}; differences seen / needed {seen / needed:.3f}"
    )
    print(f"  if all rows took as many seeds as the slowest: {most / needed:.2f}")
    print("an effect of 2 points among six rows: power, mean and median seeds, fixed n of the same power (t test at 0.05/6)")
    for ratio in (0.75, 1.0, 1.5, 2.0, 4.0):
        found = outcomes((2.0,), differences((2.0,), 2.0 / ratio, "normal", 50, 3, studies), LEVEL / 6)
        power, after = float((found.verdicts == 1).mean()), found.after
        fixed = [fixed_seeds(2.0, 2.0 / ratio, LEVEL / 6, one) for one in (0.8, min(power, 0.999))]
        print(
            f"  effect/sd {ratio:4}: power {power:.3f}, seeds {after.mean():.1f} (median {np.median(after):.0f}), "
            f"fixed n {fixed[1]}, with power 0.8 {fixed[0]}",
            flush=True,
        )


if __name__ == "__main__":
    main()
