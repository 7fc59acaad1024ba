"""Pixel losses, which count only the pixels that are given: of labelled pixels as settings, of consistency as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from semiseg.losses.distances import (
    binary_cross_entropy,
    kullback_leibler,
    mean_squared_error,
    soft_cross_entropy,
    squared_dice,
    summed_squared_error,
)
from semiseg.losses.loss import Loss
from semiseg.losses.pixelwise import CrossEntropy, Focal, Ohem, cross_entropy
from semiseg.losses.regions import CrossEntropyDice, Dice, SoftDice

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DISTANCES",
    "LOSSES",
    "CrossEntropy",
    "CrossEntropyDice",
    "Dice",
    "Focal",
    "Loss",
    "Ohem",
    "SoftDice",
    "binary_cross_entropy",
    "cross_entropy",
    "kullback_leibler",
    "mean_squared_error",
    "soft_cross_entropy",
    "squared_dice",
    "summed_squared_error",
]

LOSSES: Mapping[str, type[Loss]] = {
    "ce": CrossEntropy,
    "dice": Dice,
    "soft_dice": SoftDice,
    "ce_dice": CrossEntropyDice,
    "focal": Focal,
    "ohem": Ohem,
}
"""Losses of labelled pixels by name: what `objective` of a method may be."""

DISTANCES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ce": soft_cross_entropy,
    "mse": mean_squared_error,
    "mse_sum": summed_squared_error,
    "kl": kullback_leibler,
    "bce": binary_cross_entropy,
    "dice": squared_dice,
}
"""Consistency distances d_c(student logits, teacher probabilities, valid) by name."""
