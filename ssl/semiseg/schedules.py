"""Numbers that change during a stage, as pure functions of the step."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Moment(NamedTuple):
    """Where a stage is: the number of the step (from 0), of how many, and how many steps show every training image once."""

    step: int
    steps: int
    epoch_steps: int

    @property
    def progress(self) -> float:
        """Share of the stage done before this step, in [0,1)."""
        return self.step / self.steps

    @property
    def epoch(self) -> int:
        """Whole epochs done before this step."""
        return self.step // self.epoch_steps

    @property
    def ends_epoch(self) -> bool:
        """Whether this step is the last one of its epoch."""
        return (self.step + 1) % self.epoch_steps == 0

    def after(self, share: float) -> "Moment | None":
        """This moment counted from the end of the first `share` of the stage's steps, rounded; None within them.

        >>> Moment(30, 40, 10).after(0.5)
        Moment(step=10, steps=20, epoch_steps=10)
        """
        first = round(share * self.steps)
        return Moment(self.step - first, self.steps - first, self.epoch_steps) if self.step >= first else None


def cosine_decay(progress: float) -> float:
    """Half a cosine from 1 at progress 0 to 0 at 1: 0.5 (1 + cos(pi t))."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def quarter_cosine_decay(progress: float) -> float:
    """A quarter of a cosine from 1 at progress 0 to 0 at 1: cos(pi/2 t) (grubisic2021's code)."""
    return math.cos(math.pi / 2 * progress)


def poly_decay(progress: float) -> float:
    """(1 - t)^0.9 from 1 at progress 0 to 0 at 1 (Chen et al. 2017; feng2020_dmt)."""
    return (1 - progress) ** 0.9


def multistep_decay(progress: float) -> float:
    """A fifth as much from 0.3, 0.6 and 0.8 on: 1, 0.2, 0.04, 0.008 (vidlu's resnet_cifar, grubisic2021's code on CIFAR-10)."""
    return 0.2 ** sum(progress >= start for start in (0.3, 0.6, 0.8))


def constant(progress: float) -> float:
    """1 throughout (pets_mean_teacher and ke2020)."""
    return 1.0


DECAYS: Mapping[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine_decay,
    "quarter_cosine": quarter_cosine_decay,
    "poly": poly_decay,
    "multistep": multistep_decay,
}
"""Factor of the learning rate as a function of the share of the stage done, by name."""


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - t)^2) with t = step/length clipped to [0,1]: 0.0067 at 0, 1 from `length` on (Laine & Aila 2017); 1 if length is
    0."""
    if length <= 0:
        return 1.0
    t = min(max(step / length, 0.0), 1.0)
    return math.exp(-5 * (1 - t) ** 2)


def warmed_up(progress: float, decay: Callable[[float], float], warmup: float) -> float:
    """Factor of the learning rate at a share of the stage: `sigmoid_ramp` over the share `warmup`, then `decay` over the rest.

    perone2018 has warmup 50/350 and half a cosine (authors' code).
    """
    if progress < warmup:
        return sigmoid_ramp(progress, warmup)
    return decay((progress - warmup) / (1 - warmup))


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
