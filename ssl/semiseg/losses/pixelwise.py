"""Losses of labelled pixels that are a mean over pixels: cross-entropy and what weighs or chooses its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from semiseg.batch import IGNORE, Shares
from semiseg.config import require
from semiseg.lazy import F, torch
from semiseg.losses.loss import Weighted, check_mask

if TYPE_CHECKING:
    from torch import Tensor

FLAT = 1e-12
"""Probability of the other classes below which a focal factor has no gradient: that of x^gamma at 0 is infinite for gamma < 1."""


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy averaged over all pixels of the batch whose class is not IGNORE (ke2020, equation 2, d_s and d_c).

    The mean runs over pixels of the whole batch, as in the authors' code; the paper's text averages over images, which differs
    when images hold unequal numbers of ignored pixels.

    Args: logits (N,C,H,W); mask (N,H,W) int64 with ids 0..C-1 or IGNORE.
    Returns: scalar >= 0, float32; 0, with a zero gradient, when every pixel is ignored. Raises ValueError when shapes differ.
    """
    return _summed(logits, mask) / (mask != IGNORE).sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Weighted):
    """Cross-entropy, a mean over the counted pixels of the batch, or over their weights (feng2020_dmt, grubisic2021, ke2020)."""

    WORD: ClassVar[str] = "ce"

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        if self.weights == "equal":
            return cross_entropy(logits, mask)
        return self.weighted_mean(_each(logits, mask), mask, logits, shares)

    def among(self, others: Tensor, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        if self.weights != "equal":
            return super().among(others, logits, mask, shares)
        # divided once: the same to the last bit as one mean over all pixels
        return _summed(logits, mask) / ((mask != IGNORE).sum() + others).clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Focal(Weighted):
    """(1 - p)^gamma times cross-entropy, p the probability of the true class (Lin et al. 2017, equation 5), a mean over pixels.

    The softmax form for several classes; alpha_t are the weights. Lin et al. divide by the number of objects, of which pixels have none.
    """

    gamma: float = 2.0
    """How little sure pixels count; 0 is cross-entropy (Lin et al. 2017: 2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.gamma < math.inf, "objective.gamma", self.gamma, "a number >= 0")

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        each = _each(logits, mask)
        unsure = -torch.expm1(-each)
        return self.weighted_mean(unsure.clamp(min=FLAT) ** self.gamma * each, mask, logits, shares)


@dataclass(frozen=True, kw_only=True)
class Ohem(Weighted):
    """Online hard example mining: cross-entropy of the pixels that the network finds hard (Shrivastava et al. 2016).

    Kept are pixels whose true class has at most a probability, and in any case a share of the least probable ones, ties included
    (`ProbOhemCrossEntropy2d` of UniMatch's code, which states the share as a number of pixels).
    """

    threshold: float = 0.7
    """Probability of the true class up to which a pixel is kept (UniMatch, U2PL: 0.7)."""
    kept: float = 0.17
    """Least share of the counted pixels that is kept, the hardest (UniMatch: 100,000 of a crop of 769 x 769)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.threshold <= 1, "objective.threshold", self.threshold, "a probability in (0, 1]")
        require(0 <= self.kept <= 1, "objective.kept", self.kept, "a share in [0, 1]")

    def __call__(self, logits: Tensor, mask: Tensor, shares: Shares | None = None) -> Tensor:
        each = _each(logits, mask)
        hard = each.detach() >= self._bar(each.detach(), mask != IGNORE)
        return self.weighted_mean(each * hard, mask.masked_fill(~hard, IGNORE), logits, shares)

    def _bar(self, each: Tensor, counts: Tensor) -> Tensor:
        """The smallest cross-entropy that is kept; without leaving the device."""
        hardest = each.masked_fill(~counts, -1.0).flatten().sort(descending=True).values
        number = (self.kept * counts.sum().double()).round().long()
        last = hardest.gather(0, (number - 1).clamp(min=0)[None])[0]
        return torch.where(number > 0, last, math.inf).clamp(max=-math.log(self.threshold))


def _summed(logits: Tensor, mask: Tensor) -> Tensor:
    check_mask(logits, mask.shape)
    return F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="sum")


def _each(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of every pixel (N,H,W) float32; 0 where it is ignored."""
    check_mask(logits, mask.shape)
    return F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="none")
