"""Scores from a data-set-level confusion matrix."""

import torch
from torch import Tensor

from semiseg.batch import IGNORE


def confusion_matrix(predicted: Tensor, mask: Tensor, classes: int) -> Tensor:
    """Pixel counts by (true class, predicted class), leaving out pixels whose true class is IGNORE.

    Args: predicted, mask of one shape, int64, ids 0..classes-1 (mask also IGNORE). Returns: (classes, classes) int64.
    """
    counts = mask != IGNORE
    index = mask[counts] * classes + predicted[counts]
    return torch.bincount(index, minlength=classes * classes).reshape(classes, classes)


def scores(confusion: Tensor) -> dict[tuple[str, str], float]:
    """`{(class index or "", metric): value}` from a confusion matrix (C,C) of true by predicted pixel counts.

    iou of a class is TP / (TP + FP + FN). A class that is neither in the truth nor predicted has no IoU (nan) and does not enter
    miou; paper 004's code counts it as 0, which differs only on sets that lack a class. accuracy is the share of pixels that are
    right; all lie in [0,1], and are nan for an empty matrix.
    """
    counts = confusion.double()
    hit = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hit
    iou = hit / union  # 0/0 is nan: the class does not occur
    result = {(str(index), "iou"): value for index, value in enumerate(iou.tolist())}
    result["", "miou"] = iou[union > 0].mean().item()
    result["", "accuracy"] = (hit.sum() / counts.sum()).item()
    return result
