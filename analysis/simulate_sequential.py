"""What `--until decided` promises, with known truth and no training: coverage, false verdicts, seeds spent, heavy tails.

Every study has a reference and rows whose paired differences to it are drawn independently; the engine's own order (SeedOrder) decides
which row gets which seed and when it stops. The numbers of docs/until.md come from

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


class Study(NamedTuple):
    """How a simulated study ended."""

    verdicts: tuple[str, ...]
    seeds: tuple[int, ...]
    """Differences of each row that were seen."""
    covered: bool
    """Whether all final intervals hold the true values."""


def miss_rate(law: str, sequences: int, most: int, level: float = LEVEL, seed: int = 0, chunk: int = 20_000) -> float:
    """Share of sequences whose true mean is outside the interval of any number of values from 2 to `most`."""
    draw, missed = np.random.default_rng(seed), 0
    n = np.arange(1, most + 1)
    unit = np.array([half_width(int(k), 1.0, level) for k in n[1:]])
    for start in range(0, sequences, chunk):
        values = LAWS[law](draw, (min(chunk, sequences - start), most))
        means = values.cumsum(1) / n
        sds = np.sqrt(np.maximum((values**2).cumsum(1) - n * means**2, 0)[:, 1:] / (n[1:] - 1))
        missed += int((np.abs(means[:, 1:]) > np.where(np.isinf(unit), np.inf, unit * sds)).any(axis=1).sum())
    return missed / sequences


def simulate_study(effects: Sequence[float], sd: float, law: str, most: int, seed: int, ahead: int = 2) -> Study:
    """A table of rows with these true differences to the reference, decided by the engine."""
    values = np.asarray(effects)[:, None] + sd * LAWS[law](np.random.default_rng(seed), (len(effects), most))
    rows = tuple(f"row {i}" for i in range(len(effects)))

    def quantities(scores: Scores) -> dict[str, Quantity]:
        seen = scores.get("reference", {})
        return {
            row: Quantity((row, "reference"), {at: float(values[i, at]) for at in scores.get(row, {}) if at in seen})
            for i, row in enumerate(rows)
        }

    def cost(row: str, at: int) -> Mapping[str, float]:
        return {f"{row} {at}": 1.0}

    limits = Limits(LEVEL / len(rows), MARGIN, seeds_to((0, 1, 2), most), 3, ahead)
    order = SeedOrder(("reference", *rows), limits, quantities, cost)
    waiting = order.cells(0)
    while waiting and not order.reason:
        for cell in waiting:
            order.end(*cell, 0.0)
        waiting = [(row, one.seed) for one in order.go_on() for row in one.rows]
    found = order.decided(len(order.additions))
    pairs = list(zip(effects, found.values(), strict=True))
    covered = all(math.isnan(one.paired.low) or one.paired.low <= true <= one.paired.high for true, one in pairs)
    return Study(tuple(one.verdict for _, one in pairs), tuple(one.paired.n for _, one in pairs), covered)


def wrong(effect: float, verdict: str) -> bool:
    """Whether a verdict is false of a true difference."""
    return (
        (verdict == "helps" and effect <= 0)
        or (verdict == "hurts" and effect >= 0)
        or (verdict == "equivalent" and abs(effect) >= MARGIN)
    )


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
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--sequences", type=int, default=100_000)
    studies, sequences = parser.parse_args().studies, parser.parse_args().sequences
    print("share of sequences whose mean is outside some interval for n = 2 ... 50 (level 0.05; and 0.05/6)")
    for law in LAWS:
        rates = [miss_rate(law, sequences, 50, level) for level in (LEVEL, LEVEL / 6)]
        print(f"  {law:10}" + "".join(f" {rate:8.4f} ± {binomial_margin(rate, sequences):.4f}" for rate in rates), flush=True)
    print("studies of six rows, sd 1 point: any false verdict; all intervals hold; undecided rows; differences seen a row")
    tables = {"six null": (0.0,) * 6, "4, 2, 1 points, three null": (4.0, 2.0, 1.0, 0.0, 0.0, 0.0)}
    for name, effects in tables.items():
        for law in LAWS:
            found = [simulate_study(effects, 1.0, law, 50, seed) for seed in range(studies)]
            false = np.mean([any(map(wrong, effects, one.verdicts)) for one in found])
            held = np.mean([one.covered for one in found])
            left = np.mean([one.verdicts.count("undecided") for one in found])
            seen = np.mean([one.seeds for one in found], axis=0)
            print(f"  {name:28} {law:10} {false:.4f} {held:.4f} {left:.3f} {np.round(seen, 1).tolist()}", flush=True)
    print("seeds spent on an effect among six rows, against the fixed n of the same power (t test at 0.05/6)")
    for ratio in (0.5, 1.0, 2.0, 4.0):
        effects = (2.0,) + (0.0,) * 5
        sd = 2.0 / ratio
        found = [simulate_study(effects, sd, "normal", 50, seed) for seed in range(studies // 4)]
        power = float(np.mean([one.verdicts[0] == "helps" for one in found]))
        spent = np.array([one.seeds[0] for one in found])
        fixed = fixed_seeds(2.0, sd, LEVEL / 6, min(power, 0.999))
        print(
            f"  effect/sd {ratio:3}: power {power:.3f}, seeds {spent.mean():.1f} (median {np.median(spent):.0f}), fixed n {fixed}",
            flush=True,
        )


if __name__ == "__main__":
    main()
