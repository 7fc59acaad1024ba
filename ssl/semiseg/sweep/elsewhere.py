"""What steps of the sweeps' own presets took on another machine, scaled to the pace of this one: a plan's cost without a single step.

`analysis/reference_costs.py` makes the table. Like `semiseg.sweep.costs` it knows kinds of stages; what is changed by flags is mostly
none of them. How good the estimate is: docs/measured.md, "Starts".
"""

import json
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).parent / "elsewhere.json"
ROUNDS = 7
"""Of the work that tells the pace; the fastest counts."""


@cache
def table(file: Path = TABLE) -> dict[str, Any]:
    """The machine, its `pace` and (seconds of a step, seconds of an image) by the hash of a kind; no kinds where there is no table."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"kinds": {}}
    return found if isinstance(found, dict) and "kinds" in found else {"kinds": {}}


def cost_elsewhere(kind: str) -> tuple[float, float] | None:
    """Seconds of a step and of scoring an image on one thread of this machine; None for a kind that is not in the table."""
    found = table()
    if kind not in found["kinds"]:
        return None
    slower = pace() / found["pace"]
    step, image = found["kinds"][kind]
    return slower * step, slower * image


@cache
def pace() -> float:
    """CPU seconds of a fixed piece of work in one thread: small matrix products and passes over memory, as in a training step."""
    left, right = np.full((64, 64), 0.5, np.float32), np.full((64, 64), 0.25, np.float32)
    wide = np.linspace(-1, 1, 1 << 18, dtype=np.float32)
    best = math.inf
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(40):
            np.matmul(left, right)
        for _ in range(4):
            np.maximum(wide * 0.5 + 0.1, 0)
        best = min(best, time.thread_time() - began)
    return best
