"""Training settings that one stage of a chain has of its own."""

import math
from dataclasses import dataclass, replace

from semiseg.config import Train, require


@dataclass(frozen=True, kw_only=True)
class StageTrain:
    """What a stage trains with where it differs from the study's `train`; as it stands, in nothing."""

    steps: int | None = None
    """Optimiser steps; None: train.steps."""
    rate: float = 1.0
    """Factor of train.learning_rate."""
    batch_labelled: int | None = None
    """Labelled images in a mini-batch; None: train.batch_labelled."""
    batch_unlabelled: int | None = None
    """Unlabelled images in it; None: train.batch_unlabelled."""

    def __post_init__(self) -> None:
        require(self.steps is None or self.steps >= 1, "method.stage.steps", self.steps, "a whole number >= 1 or None")
        require(0 < self.rate < math.inf, "method.stage.rate", self.rate, "a number > 0")
        for name, least in (("batch_labelled", 1), ("batch_unlabelled", 0)):
            value = getattr(self, name)
            require(value is None or value >= least, f"method.stage.{name}", value, f"a whole number >= {least} or None")

    def of(self, train: Train) -> Train:
        """The study's settings with those of this stage."""
        own = {name: getattr(self, name) for name in ("steps", "batch_labelled", "batch_unlabelled")}
        given = {name: value for name, value in own.items() if value is not None}
        return replace(train, learning_rate=train.learning_rate * self.rate, **given)
