"""Hard decisions between classes, and their way back to one number per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def likeliest(probs: Tensor) -> Tensor:
    """Class ids (N,...) int64 of the highest of up to 255 probabilities or logits (N,C,...), the lowest of equal ones.

    `max` with indices does the same, three times as slowly on a CPU. What is not a number gets the last class.
    """
    count = probs.shape[1]
    order = torch.arange(count, 0, -1, dtype=torch.uint8, device=probs.device).reshape(-1, *[1] * (probs.ndim - 2))
    ranks = (probs == probs.amax(1, keepdim=True)) * order
    return (count - ranks.amax(1).clamp(min=1)).long()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N,C,...) bool of ids (N,...), False for any other number, such as IGNORE; unlike torch's, without waiting for the device."""
    return labels[:, None] == torch.arange(classes, device=labels.device).reshape(-1, *[1] * (labels.ndim - 1))
