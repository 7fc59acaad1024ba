"""What every loss of labelled pixels is: a frozen settings value that is called with logits and a mask."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from semiseg.batch import IGNORE, Shares
from semiseg.config import require
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Balance = Literal["equal", "inverse", "median"]
Weights = tuple[float, ...] | Balance
TINY = 2.0**-126
"""The smallest normal float32 number."""


@dataclass(frozen=True, kw_only=True)
class Loss(abc.ABC):
    """Base of the settings of a loss of labelled pixels."""

    WORD: ClassVar[str] = ""
    """What stands for its defaults in keys and files, of losses that were a word before they had settings (`stage.plain`)."""

    @abc.abstractmethod
    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        """The loss of a mini-batch.

        Args: logits (N,C,H,W) of any float type; mask (N,H,W) int64 with ids 0..C-1 or IGNORE; shares, of the classes among the
        stage's labelled images, needed by weights that are made of them.
        Returns: scalar, float32; 0, with a zero gradient, when every pixel is ignored. ValueError when shapes differ or shares are
        needed and not given.
        """

    def among(self, others: Tensor, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        """The loss times n / (n + others), n being the number of counted pixels: its part of one mean over these and other pixels."""
        counted = (mask != IGNORE).sum()
        return self(logits, mask, shares) * (counted / (counted + others).clamp(min=1))

    def check_classes(self, name: str, classes: Sequence[str]) -> None:
        """Raise SettingError, calling the loss by the name of its field, for settings that are of another number of classes."""
        return


@dataclass(frozen=True, kw_only=True)
class Weighted(Loss):
    """A loss whose pixels weigh as much as their class; it is divided by the sum of weights, so that only their ratios matter."""

    weights: Weights = "equal"
    """Weight of each class: numbers, equal, inverse to its share of the labelled pixels, or median frequency balancing."""

    def __post_init__(self) -> None:
        if isinstance(self.weights, str):
            allowed = get_args(Balance)
            require(self.weights in allowed, "objective.weights", self.weights, f"{', '.join(allowed)} or a number for each class")
            return
        numbers = len(self.weights) > 0 and all(0 <= weight < math.inf for weight in self.weights) and sum(self.weights) > 0
        require(numbers, "objective.weights", self.weights, "a number >= 0 for each class, one of them above 0")
        object.__setattr__(self, "weights", tuple(map(float, self.weights)))  # equal numbers are equal settings, with equal keys

    def check_classes(self, name: str, classes: Sequence[str]) -> None:
        given = isinstance(self.weights, str) or len(self.weights) == len(classes)
        require(given, f"{name}.weights", self.weights, f"{len(classes)} numbers, one for each of {', '.join(classes)}")

    def by_class(self, logits: Tensor, shares: Shares | None) -> Tensor | None:
        """Weights (C,) float32 on the device of the logits, up to a common factor; None: all are equal."""
        if self.weights == "equal":
            return None
        if not isinstance(self.weights, str):
            return torch.tensor(self.weights).to(logits.device, non_blocking=True)
        if shares is None:
            raise ValueError(f"shares: got None; needed by weights {self.weights!r}")
        return balanced((shares.of_all if self.weights == "inverse" else shares.where_met).to(logits.device))

    def weighted_mean(self, values: Tensor, mask: Tensor, logits: Tensor, shares: Shares | None) -> Tensor:
        """Mean of a value for each pixel (N,H,W) that is 0 where it is ignored, weighted by the pixels' classes."""
        counts, weights = mask != IGNORE, self.by_class(logits, shares)
        if weights is None:
            return values.sum() / counts.sum().clamp(min=1)
        each = weights[mask.masked_fill(~counts, 0)] * counts
        return (each * values).sum() / each.sum().clamp(min=TINY)


def balanced(shares: Tensor) -> Tensor:
    """Weights (C,) that are 1 / share of each class; a class that is in no labelled image weighs as much as the rarest that is.

    Of shares in all images that is inverse frequency; of shares in the images where a class is met, median frequency balancing
    (Eigen & Fergus 2015: median / share), whose median is a factor that all classes have.
    """
    weights = torch.where(shares > 0, 1 / shares.clamp(min=TINY), 0.0)
    return torch.where(shares > 0, weights, weights.max().clamp(min=1.0))


def check_mask(logits: Tensor, shape: Sequence[int], name: str = "mask") -> None:
    """Raise ValueError, naming both shapes, for a map that is not (N,H,W) like the logits (N,C,H,W)."""
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(shape) != expected:
        raise ValueError(
            f"{name}: expected (N,H,W) = {tuple(expected)} to go with logits {tuple(logits.shape)}, got {tuple(shape)}"
        )
