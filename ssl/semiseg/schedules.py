"""Numbers that change during a stage, as pure functions of the step."""

import math
from collections.abc import Sequence


def cosine_decay(step: int, steps: int) -> float:
    """Half a cosine from 1 at step 0 towards 0 at `steps`: 0.5 (1 + cos(pi step / steps))."""
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - t)^2) with t = step/length clipped to [0,1]: 0.0067 at 0, 1 from `length` on (Laine & Aila 2017); 1 if length is 0."""
    if length <= 0:
        return 1.0
    t = min(max(step / length, 0.0), 1.0)
    return math.exp(-5 * (1 - t) ** 2)


def piecewise(progress: float, starts: Sequence[float], values: Sequence[float]) -> float:
    """The value whose start is the last one not beyond `progress`; starts ascend from 0.

    >>> piecewise(0.5, (0, 1 / 3, 2 / 3), (0.99, 0.995, 0.999))
    0.995
    """
    chosen = values[0]
    for start, value in zip(starts, values, strict=True):
        if progress >= start:
            chosen = value
    return chosen
