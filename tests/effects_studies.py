"""Made-up results of studies of effects with a known truth. Not a test module.

`python tests/effects_studies.py <folder>` writes one with all kinds of effects, to look at.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from test_report_headroom import made

from semiseg.coalitions import Coalition, Kind
from semiseg.results import Results

Worth = Callable[[Coalition], float]
"""Score of a set of parts, as a fraction."""
NOISE = (-0.006, 0.001, 0.005)


def subsets(players: Sequence[str]) -> list[Coalition]:
    return [frozenset(one) for size in range(len(players) + 1) for one in combinations(players, size)]


def name_of(one: Collection[str], players: Sequence[str]) -> str:
    return "full" if len(one) == len(players) else " + ".join(["base", *(p for p in players if p in one)])


def make_effects(
    folder: Path,
    worth: Worth,
    players: Sequence[str],
    asked: tuple[Kind, ...],
    sets: Sequence[Coalition] | None = None,
    seeds: int = 3,
    own: float = 0.001,
    infeasible: str = "",
    **study: Any,
) -> Results:
    """A row per set; seeds differ by a shift that all rows share and, by `own`, in what each row adds."""
    sets = subsets(players) if sets is None else sets
    rng = np.random.default_rng(0)
    scores = {
        name_of(one, players): tuple(worth(one) + NOISE[seed % 3] + own * float(rng.normal()) for seed in range(seeds))
        for one in sets
    }
    return made(
        folder,
        scores,
        rows={name_of(one, players): " ".join(["B", *(p for p in players if p in one)]) for one in sets},
        reference="full",
        baseline="base" if "base" in scores else None,
        methods=["supervised"],
        effects={
            "asked": list(asked),
            "players": list(players),
            "sets": {name_of(one, players): [p for p in players if p in one] for one in sets},
            "base": ["B"],
            "feasible": len(sets),
            "infeasible": infeasible,
        },
        **study,
    )


def three_parts(one: Coalition) -> float:
    """CR and SA do the same; T2 is worth something only beside CR."""
    return 0.5 + 0.05 * bool(one & {"CR", "SA"}) + 0.03 * ({"CR", "T2"} <= one)


def all_kinds(folder: Path) -> Path:
    """Every kind of effect of three parts."""
    return make_effects(folder, three_parts, ("CR", "SA", "T2"), ("shapley", "both", "factorial")).folder


if __name__ == "__main__":
    from semiseg.report import write_report

    print(write_report(all_kinds(Path(sys.argv[1]))))
