"""Distances between a student's logits and a teacher's probabilities: plain functions that count only the pixels that are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semiseg.lazy import F, torch
from semiseg.losses.loss import check_mask

if TYPE_CHECKING:
    from torch import Tensor


def soft_cross_entropy(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """-sum_c probs log softmax(logits), averaged over valid pixels; equals `cross_entropy` when probs is one-hot.

    Args: logits, probs (N,C,H,W), probs summing to 1 over C; valid (N,H,W) bool.
    Returns: scalar >= 0, float32; 0 when no pixel is valid. Raises ValueError when shapes differ.
    """
    _check_distance(logits, probs, valid)
    per_pixel = -(probs.float() * F.log_softmax(logits.float(), dim=1)).sum(1)
    return _mean(per_pixel, valid)


def kullback_leibler(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """KL(probs || softmax(logits)) = sum_c probs (log probs - log softmax), averaged over valid pixels (grubisic2021).

    `soft_cross_entropy` less the entropy of probs, which has no gradient. Args, errors and returns as there.
    """
    _check_distance(logits, probs, valid)
    target = probs.float()
    return _mean((torch.xlogy(target, target) - target * F.log_softmax(logits.float(), dim=1)).sum(1), valid)


def binary_cross_entropy(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """-[y log p + (1 - y) log(1 - p)] of class probabilities y and p = softmax(logits), averaged over valid pixels (perone2018).

    Equation 2 is printed without the bracket, so that it falls without bound as p -> 1; this is the binary cross-entropy that
    the text names and the authors' code computes. With two classes both terms are equal, and the value is that of class 1; with
    more it is the mean over classes. Args, errors and returns as `soft_cross_entropy`.
    """
    _check_distance(logits, probs, valid)
    score, target = logits.float(), probs.float()
    log = F.log_softmax(score, dim=1)
    # log(1 - p_c) from the logits of the other classes: 1 - p loses all digits near p = 1
    rest = torch.stack([_without(score, c).logsumexp(1) for c in range(score.shape[1])], dim=1) - score.logsumexp(1, keepdim=True)
    return _mean(-(target * log + (1 - target) * rest).mean(1), valid)


def mean_squared_error(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """Squared difference of softmax(logits) and probs, mean over classes and valid pixels (Tarvainen & Valpola 2017).

    Args and errors as `soft_cross_entropy`. Returns: scalar in [0, 2/C].
    """
    return summed_squared_error(logits, probs, valid) / logits.shape[1]


def summed_squared_error(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """`mean_squared_error` summed over classes, so C times as large (French et al. 2020's code). Returns: scalar in [0,2]."""
    _check_distance(logits, probs, valid)
    return _mean((logits.float().softmax(1) - probs.float()).square().sum(1), valid)


def squared_dice(logits: Tensor, probs: Tensor, valid: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p^2 + sum t^2) over an image's valid pixels, p = softmax(logits), t = probs (pets_mean_teacher, D).

    A mean over classes 1..C-1, then over the images with a valid pixel. A class that neither has counts 0, and so does one whose
    p and t agree: D = sum (p - t)^2 / (sum p^2 + sum t^2). Args and errors as `soft_cross_entropy`; probs may be one-hot.

    Returns: scalar in [0,1], float32; 0 when no pixel is valid.
    """
    _check_distance(logits, probs, valid)
    counts = valid[:, None]
    p = _foreground(logits.float().contiguous().softmax(1), counts)
    t = (probs[:, 1:] & counts).float() if probs.dtype == torch.bool else _foreground(probs.float().contiguous(), counts)
    return _mean(squared_ratio(p, t, (2, 3)).mean(1), valid.flatten(1).any(1))


def squared_ratio(p: Tensor, t: Tensor, over: tuple[int, ...]) -> Tensor:
    """1 - 2 sum(p t) / (sum p^2 + sum t^2), which is sum (p - t)^2 / (sum p^2 + sum t^2), sums over those axes; 0 where p and t are 0."""
    from semiseg.losses.squared_ratio import SquaredRatio

    return SquaredRatio.apply(p, t, over)


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum() / counts.sum().clamp(min=1)


def _foreground(probs: Tensor, counts: Tensor) -> Tensor:
    return probs[:, 1:] * counts


def _without(score: Tensor, c: int) -> Tensor:
    return torch.cat([score[:, :c], score[:, c + 1 :]], dim=1)


def _check_distance(logits: Tensor, probs: Tensor, valid: Tensor) -> None:
    if probs.shape != logits.shape:
        raise ValueError(f"probs: expected (N,C,H,W) = {tuple(logits.shape)} as the logits, got {tuple(probs.shape)}")
    check_mask(logits, valid.shape, "valid")
