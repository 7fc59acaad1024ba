"""Pixel losses: plain functions of logits and targets that count only the pixels that are given."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from semiseg.batch import IGNORE

SMOOTH = 1e-4
"""eps of `soft_dice` (perone2018's authors' code)."""


def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy averaged over all pixels of the batch whose class is not IGNORE (ke2020, equation 2, d_s and d_c).

    The mean runs over pixels of the whole batch, as in the authors' code; the paper's text averages over images, which differs
    when images hold unequal numbers of ignored pixels.

    Args: logits (N,C,H,W); mask (N,H,W) int64 with ids 0..C-1 or IGNORE.
    Returns: scalar >= 0, float32; 0, with a zero gradient, when every pixel is ignored. Raises ValueError when shapes differ.
    """
    _check(logits, mask.shape, "mask")
    total = F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="sum")
    return total / (mask != IGNORE).sum().clamp(min=1)


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p^2 + sum t^2) of softmax and one-hot mask, for every image and foreground class (pets_mean_teacher,
    D).

    Sums run over an image's pixels that are not IGNORE; the mean over its classes 1..C-1, then over the images with such a pixel.

    Args and errors as `cross_entropy`. Returns: scalar in [0,1], float32; 0, with a zero gradient, when every pixel is ignored.
    """
    _check(logits, mask.shape, "mask")
    return squared_dice(logits, _one_hot(mask, logits.shape[1]), mask != IGNORE)


def soft_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """-(2 sum(p y) + eps) / (sum p + sum y + eps), eps 1e-4, sums over all counted pixels of the batch (perone2018, section 2.2).

    The paper's sign: -1 is the best value and 0 the worst. A mean over classes 1..C-1; with two classes the softmax of class 1 is
    the paper's sigmoid.

    Args and errors as `cross_entropy`. Returns: scalar in [-1,0], float32; 0, with a zero gradient, when every pixel is ignored.
    """
    _check(logits, mask.shape, "mask")
    counts = (mask != IGNORE)[:, None]
    p, y = _foreground(logits.float().softmax(1), counts), _foreground(_one_hot(mask, logits.shape[1]), counts)
    each = -(2 * (p * y).sum((0, 2, 3)) + SMOOTH) / (p.sum((0, 2, 3)) + y.sum((0, 2, 3)) + SMOOTH)
    return each.mean() * counts.any()


SEGMENTATION: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "dice": dice,
    "soft_dice": soft_dice,
}
"""Losses of labelled pixels (logits, mask with IGNORE) by name."""


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
    p, t = _foreground(logits.float().softmax(1), counts), _foreground(probs.float(), counts)
    # the numerator as a square keeps what 1 - 2pt/(pp + tt) would cancel; the tiny floor makes 0/0 a 0 with a finite gradient
    each = (p - t).square().sum((2, 3)) / (p.square().sum((2, 3)) + t.square().sum((2, 3))).clamp(min=1e-12)
    return _mean(each.mean(1), valid.flatten(1).any(1))


DISTANCES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ce": soft_cross_entropy,
    "mse": mean_squared_error,
    "mse_sum": summed_squared_error,
    "kl": kullback_leibler,
    "bce": binary_cross_entropy,
    "dice": squared_dice,
}
"""Consistency distances d_c(student logits, teacher probabilities, valid) by name."""


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum() / counts.sum().clamp(min=1)


def _one_hot(mask: Tensor, classes: int) -> Tensor:
    """(N,C,H,W) float32; class 0 where the mask is IGNORE."""
    return F.one_hot(mask.masked_fill(mask == IGNORE, 0), classes).movedim(-1, 1).float()


def _foreground(probs: Tensor, counts: Tensor) -> Tensor:
    return probs[:, 1:] * counts


def _without(score: Tensor, c: int) -> Tensor:
    return torch.cat([score[:, :c], score[:, c + 1 :]], dim=1)


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
