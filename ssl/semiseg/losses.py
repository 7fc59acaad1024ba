"""Pixel losses: plain functions of logits and targets that average over the pixels that count."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from semiseg.batch import IGNORE


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy averaged over all pixels of the batch whose class is not IGNORE (paper 004, equation 2, d_s and d_c).

    The mean runs over pixels of the whole batch, as in the authors' code; the paper's text averages over images, which differs
    when images hold unequal numbers of ignored pixels.

    Args: logits (N,C,H,W); mask (N,H,W) int64 with ids 0..C-1 or IGNORE.
    Returns: scalar >= 0, float32; 0, with a zero gradient, when every pixel is ignored. Raises ValueError when shapes differ.
    """
    _check(logits, mask.shape, "mask")
    total = F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="sum")
    return total / (mask != IGNORE).sum().clamp(min=1)


def soft_cross_entropy(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """-sum_c probs log softmax(logits), averaged over valid pixels; equals `cross_entropy` when probs is one-hot.

    Args: logits, probs (N,C,H,W), probs summing to 1 over C; valid (N,H,W) bool.
    Returns: scalar >= 0, float32; 0 when no pixel is valid. Raises ValueError when shapes differ.
    """
    _check_distance(logits, probs, valid)
    per_pixel = -(probs.float() * F.log_softmax(logits.float(), dim=1)).sum(1)
    return (per_pixel * valid).sum() / valid.sum().clamp(min=1)


def mean_squared_error(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """Squared difference of softmax(logits) and probs, mean over classes and valid pixels (Tarvainen & Valpola 2017).

    Args and errors as `soft_cross_entropy`. Returns: scalar in [0, 2/C].
    """
    _check_distance(logits, probs, valid)
    per_pixel = (logits.float().softmax(1) - probs.float()).square().mean(1)
    return (per_pixel * valid).sum() / valid.sum().clamp(min=1)


DISTANCES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ce": soft_cross_entropy,
    "mse": mean_squared_error,
}
"""Consistency distances d_c(student logits, teacher probabilities, valid) by name."""


def _check_distance(logits: Tensor, probs: Tensor, valid: Tensor) -> None:
    if probs.shape != logits.shape:
        raise ValueError(f"probs: expected (N,C,H,W) = {tuple(logits.shape)} as the logits, got {tuple(probs.shape)}")
    _check(logits, valid.shape, "valid")


def _check(logits: Tensor, shape: tuple[int, ...], name: str) -> None:
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(shape) != expected:
        raise ValueError(
            f"{name}: expected (N,H,W) = {tuple(expected)} to go with logits {tuple(logits.shape)}, got {tuple(shape)}"
        )
