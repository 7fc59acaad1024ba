"""A made-up results folder of a crossed study. Not a test module."""

from pathlib import Path

import numpy as np
from test_report_studies import ROWS, make_study


def crossed_study(folder: Path, a: int = 3, b: int = 3, states: dict[tuple[str, int], str] | None = None) -> Path:
    """Rows of ke2020 at a x b runs: subsets matter most to all rows, seeds to their differences from S1."""
    rng = np.random.default_rng(0)
    subset, base = rng.standard_normal((1, b)), rng.standard_normal((a, 1))
    draws = [{"seed": i * b + j, "training": i, "subset": j, "labelled_hash": f"h{j}"} for i in range(a) for j in range(b)]
    scores = {}
    for k, row in enumerate(ROWS):
        own = 0.005 * rng.standard_normal((a, 1)) + 0.002 * rng.standard_normal((a, b))
        scores[row] = tuple((0.5 + 0.01 * k + 0.03 * subset + 0.01 * base + own * (row != "S1")).ravel().tolist())
    return make_study(folder, range(a * b), scores=scores, states=states, vary="crossed", draws=draws)
