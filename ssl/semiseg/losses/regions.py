"""Losses of labelled pixels that compare regions, and their sum with cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from semiseg.batch import IGNORE, Shares
from semiseg.config import require
from semiseg.hard import one_hot
from semiseg.losses.distances import squared_ratio
from semiseg.losses.loss import Loss, Weighted, check_mask
from semiseg.losses.pixelwise import CrossEntropy

if TYPE_CHECKING:
    from torch import Tensor

SMOOTH = 1e-4
"""eps of soft Dice (perone2018's authors' code)."""


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    """1 - 2 sum(p t) / (sum p^2 + sum t^2) of softmax and one-hot mask, for every image and foreground class (pets_mean_teacher,
    D).

    Sums run over an image's pixels that are not IGNORE; the mean over its classes 1..C-1, then over the images with such a pixel. In
    [0,1]; a class that is neither in the mask nor predicted counts 0.
    """

    WORD: ClassVar[str] = "dice"

    pooled: bool = False
    """Sums over the whole batch (SSL4MIS's code) instead of each image."""
    background: bool = False
    """Class 0 counts like the others (SSL4MIS's code)."""

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        check_mask(logits, mask.shape)
        counts, first = mask != IGNORE, 0 if self.background else 1
        p = logits.float().contiguous().softmax(1)[:, first:] * counts[:, None]
        t = one_hot(mask, logits.shape[1])[:, first:].float()
        if self.pooled:
            return squared_ratio(p, t, (0, 2, 3)).mean() * counts.any()
        shown = counts.flatten(1).any(1)
        return (squared_ratio(p, t, (2, 3)).mean(1) * shown).sum() / shown.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class SoftDice(Loss):
    """-(2 sum(p y) + eps) / (sum p + sum y + eps), eps 1e-4, sums over all counted pixels of the batch (perone2018, section 2.2).

    The paper's sign: -1 is the best value and 0 the worst. A mean over classes 1..C-1; with two classes the softmax of class 1 is
    the paper's sigmoid.
    """

    WORD: ClassVar[str] = "soft_dice"

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        check_mask(logits, mask.shape)
        counts = (mask != IGNORE)[:, None]
        p = logits.float().contiguous().softmax(1)[:, 1:] * counts
        y = one_hot(mask, logits.shape[1])[:, 1:].float()
        each = -(2 * (p * y).sum((0, 2, 3)) + SMOOTH) / (p.sum((0, 2, 3)) + y.sum((0, 2, 3)) + SMOOTH)
        return each.mean() * counts.any()


@dataclass(frozen=True, kw_only=True)
class CrossEntropyDice(Weighted):
    """A weighted sum of cross-entropy and Dice with squared terms.

    SSL4MIS's code: ce 0.5, dice 0.5, pooled, background; its 1e-5 beside both sums makes a class that is not in the batch count less.
    """

    ce: float = 1.0
    """Factor of cross-entropy, to which the weights of classes belong."""
    dice: float = 1.0
    """Factor of Dice."""
    pooled: bool = False
    """As in `Dice`: sums over the whole batch instead of each image."""
    background: bool = False
    """As in `Dice`: class 0 counts like the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ce", "dice"):
            require(0 <= getattr(self, name) < math.inf, f"objective.{name}", getattr(self, name), "a number >= 0")
        require(self.ce + self.dice > 0, "objective.dice", self.dice, "a number above 0, as objective.ce is 0")

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        pixels = CrossEntropy(weights=self.weights)(logits, mask, shares)
        return self.ce * pixels + self.dice * Dice(pooled=self.pooled, background=self.background)(logits, mask)
