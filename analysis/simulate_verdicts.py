"""How often are intervals and verdicts of a report right? Simulated studies whose truth is known; nothing is trained.

Draws differences between rows, judges them with the formulas of `semiseg.report.fixed` and writes what was found as tables into
docs/statistics.md, each between its own marks `<!-- NAME -->` and `<!-- /NAME -->`. A table is one function in TABLES, from the number
of studies and a generator to a `Grid`. All generators are seeded, so the same command writes the same page. About ten CPU seconds.

    python analysis/simulate_verdicts.py
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from semiseg.report.fixed import share_interval
from semiseg.report.grid import Grid, as_markdown, named
from semiseg.report.statistics import LEVEL, sign_flip_p

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
SEEDS = (3, 5, 8, 20)
ROWS = 6
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def t3(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Heavy tails: Student's t with 3 degrees of freedom, of standard deviation 1."""
    return rng.standard_t(3, shape) / np.sqrt(3)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Skewed, of mean 0 and standard deviation 1: now and then a value far above."""
    return (rng.lognormal(0, 1, shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The law that the t test takes for granted."""
    return rng.normal(size=shape)


LAWS: Mapping[str, Law] = {"normal": normal, "t3, heavy tails": t3, "lognormal, skewed": lognormal}


class Verdicts(NamedTuple):
    """What is said of every row of every table, bool (tables, rows)."""

    alone: np.ndarray  # 0 lies outside the row's own 95 % interval
    differs: np.ndarray  # the same, judged within the table
    equivalent: np.ndarray


def t_interval(deltas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of the mean over the last axis, the seeds."""
    n = deltas.shape[-1]
    half = stdtrit(n - 1, 1 - LEVEL / 2) * deltas.std(-1, ddof=1) / np.sqrt(n)
    return deltas.mean(-1) - half, deltas.mean(-1) + half


def verdicts(deltas: np.ndarray, margin: float) -> Verdicts:
    """Of differences (tables, rows, seeds), as `fixed_statistics` does for one table."""
    n = deltas.shape[-1]
    mean, error = deltas.mean(-1), deltas.std(-1, ddof=1) / np.sqrt(n)
    p = 2 * stdtr(n - 1, -np.abs(mean) / error)
    equate = stdtr(n - 1, (np.abs(mean) - margin) / error)
    return Verdicts(p < LEVEL, _holm(p) < LEVEL, _holm(equate) < LEVEL)


def _holm(p: np.ndarray) -> np.ndarray:
    """p (tables, rows), adjusted within each table."""
    order = p.argsort(-1)
    steps = np.minimum(np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1), 1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(steps, -1), -1)
    return adjusted


def tables(law: Law, rng: np.random.Generator, studies: int, n: int, effects: tuple[float, ...] = (0.0,) * ROWS) -> np.ndarray:
    """Differences (studies, rows, n) of rows to one reference, in standard deviations of a difference. Rows and reference have
    independent noise of one law, so that differences of a study hang together as those of an ablation do."""
    scores = law(rng, (studies, len(effects) + 1, n)) / np.sqrt(2)
    return scores[:, 1:] - scores[:, :1] + np.array(effects)[:, None]


def coverage(law: Law, rng: np.random.Generator, studies: int, n: int) -> float:
    """How often the t interval of n differences of that law holds the true mean, 0."""
    low, high = t_interval(law(rng, (studies, n)))
    return float(np.mean((low <= 0) & (high >= 0)))


def sign_flip_coverage(law: Law, rng: np.random.Generator, studies: int, n: int) -> float:
    """How often the true value is among those that the exact sign-flip test does not reject at 0.05."""
    return float(np.mean([sign_flip_p(deltas) > LEVEL for deltas in law(rng, (studies, n))]))


def share_coverage(n: int) -> float:
    """The least probability, over true shares of seeds, that the exact interval of a share holds the true one; no draws."""
    ends = [share_interval(k, n)[2:] for k in range(n + 1)]
    true = np.linspace(0.001, 0.999, 999)
    mass = np.diff([bdtr(k, n, true) if k >= 0 else np.zeros_like(true) for k in range(-1, n + 1)], axis=0)
    held = [one * ((low <= true) & (true <= high)) for one, (low, high) in zip(mass, ends, strict=True)]
    return float(np.sum(held, axis=0).min())


def false_tables(found: np.ndarray) -> float:
    """The share of tables in which something is said of one row or more."""
    return float(found.any(-1).mean())


def intervals_table(studies: int, rng: np.random.Generator) -> Grid:
    """Coverage by n: what the intervals promise and what they keep."""
    lines = [(f"t interval, {name}", *(_percent(coverage(law, rng, studies, n)) for n in SEEDS)) for name, law in LAWS.items()]
    few = max(studies // 4, 2)
    for name in ("normal", "t3, heavy tails"):
        shares = (_percent(sign_flip_coverage(LAWS[name], rng, few, n)) for n in SEEDS)
        lines.append((f"values that the sign-flip test does not reject, {name}", *shares))
    lines.append(("share of seeds, Clopper and Pearson, the least over true shares", *(_percent(share_coverage(n)) for n in SEEDS)))
    return _grid("holds the true value", lines)


def false_verdicts_table(studies: int, rng: np.random.Generator) -> Grid:
    """Tables of six rows with a false verdict, by n."""
    lines = []
    for name, law in LAWS.items():
        null = {n: verdicts(tables(law, rng, studies, n), 1.0) for n in SEEDS}
        lines.append(
            (
                f"{name}: six rows are worth nothing, one is called better or worse",
                *(_percent(false_tables(null[n].differs)) for n in SEEDS),
            )
        )
        lines.append((f"{name}: the same, each row by its own interval", *(_percent(false_tables(null[n].alone)) for n in SEEDS)))
    for name, law in LAWS.items():
        edge = {n: verdicts(tables(law, rng, studies, n, (1.0, -1.0) * (ROWS // 2)), 1.0) for n in SEEDS}
        lines.append(
            (
                f"{name}: six rows are a margin off, one is called equivalent",
                *(_percent(false_tables(edge[n].equivalent)) for n in SEEDS),
            )
        )
    skewed = {n: verdicts(lognormal(rng, (studies, ROWS, n)), 1.0) for n in SEEDS}
    lines.append(
        (
            "skewed differences of mean 0, independent: one is called better or worse",
            *(_percent(false_tables(skewed[n].differs)) for n in SEEDS),
        )
    )
    return _grid("tables of six rows", lines)


def found_table(studies: int, rng: np.random.Generator) -> Grid:
    """How often a verdict that would be right is given, by n."""
    lines = []
    for effect in (1.0, 2.0, 4.0):
        found = [verdicts(tables(normal, rng, studies, n, (effect, *[0.0] * (ROWS - 1))), 1.0).differs[:, 0].mean() for n in SEEDS]
        lines.append((f"one row of six differs by {effect:g} sd of a paired difference: it is said", *map(_percent, found)))
    for margin in (1.0, 2.0, 4.0):
        found = [verdicts(tables(normal, rng, studies, n), margin).equivalent[:, 0].mean() for n in SEEDS]
        lines.append((f"a row of six is worth nothing, the margin is {margin:g} sd: equivalent is said", *map(_percent, found)))
    return _grid("normal", lines)


TABLES: Mapping[str, Callable[[int, np.random.Generator], Grid]] = {
    "intervals": intervals_table,
    "false-verdicts": false_verdicts_table,
    "found": found_table,
}


def _grid(what: str, lines: list[tuple[str, ...]]) -> Grid:
    return Grid(named("row", [what]) + named("number", [f"n = {n}" for n in SEEDS]), tuple(lines))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def written(page: str, studies: int) -> str:
    """The page with every table made anew, each from a generator of its own. Raises ValueError for marks that are missing."""
    for name, make in TABLES.items():
        made = as_markdown(make(studies, np.random.default_rng([ord(letter) for letter in name])))
        page, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>\n{made}\n\n\g<2>", page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"marks: got {count} times <!-- {name} --> ... <!-- /{name} -->; allowed: once")
    return page


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 a page that cannot be read or lacks marks (one line says what)."""
    parser = argparse.ArgumentParser(description="Simulated studies whose truth is known, as tables of docs/statistics.md.")
    parser.add_argument("--studies", type=int, default=20_000, help="simulated studies per number; fewer where a test is slow")
    parser.add_argument("--page", type=Path, default=PAGE, help="page with the tables' marks")
    found = parser.parse_args(arguments)
    try:
        page = written(found.page.read_text(encoding="utf-8"), found.studies)
    except (OSError, ValueError) as error:
        print(f"{found.page}: {error}", file=sys.stderr)
        return 2
    found.page.write_text(page, encoding="utf-8")
    print(found.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
