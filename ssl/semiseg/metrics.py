"""Decisions from probabilities, and scores from confusion matrices of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from semiseg.batch import IGNORE
from semiseg.config import require
from semiseg.hard import likeliest
from semiseg.lazy import torch
from semiseg.measures import ALWAYS

if TYPE_CHECKING:
    from torch import Tensor

EMPTY: Mapping[str, float] = {"skip": math.nan, "zero": 0.0, "one": 1.0}
"""What 0/0 counts by rule; nan does not enter a mean."""


def decide(probs: Tensor, threshold: float) -> Tensor:
    """Class ids (N,...) int64 of probabilities (N,C,...) that sum to 1 over C, such as a softmax.

    With two classes: 1 where probs[:, 1] > threshold; perone2018's code uses 0.9. Threshold 0.5 is the argmax. With any other
    number of classes: the argmax, whatever the threshold. Equal probabilities go to the lowest class.
    Raises SettingError for a threshold outside (0,1).
    """
    require(0 < threshold < 1, "threshold", threshold, "above 0 and below 1")
    if probs.shape[1] == 2 and threshold != 0.5:  # at 0.5 rounding could put both probabilities on one side of it
        return (probs[:, 1] > threshold).long()
    return likeliest(probs)


def confusion_matrix(predicted: Tensor, mask: Tensor, classes: int) -> Tensor:
    """Pixel counts by (true class, predicted class), leaving out pixels whose true class is IGNORE.

    Args: predicted, mask of one shape, int64, ids 0..classes-1 (mask also IGNORE). Returns: (classes, classes) int64.
    """
    return confusion_matrices(predicted[None], mask[None], classes)[0]


def confusion_matrices(predicted: Tensor, mask: Tensor, classes: int) -> Tensor:
    """`confusion_matrix` of each of N images (N,...), all counted at once: (N, classes, classes) int64."""
    image = torch.arange(len(mask), device=mask.device).reshape(-1, *[1] * (mask.ndim - 1))
    index = (mask + classes * image).mul_(classes).add_(predicted)[mask != IGNORE]
    return torch.bincount(index, minlength=len(mask) * classes**2).reshape(-1, classes, classes)


def scores(
    confusions: Tensor, empty: Literal["skip", "zero", "one"] = "skip", volumes: Tensor | None = None
) -> dict[tuple[str, str], float]:
    """`{(class index or "", metric): value}` from the confusion matrices (M,C,C), true by predicted, of M images.

    `volumes` (M,) int64 says which images are slices of one volume, by numbers 0..V-1; None: each image stands alone. All values lie
    in [0,1], and are nan where nothing defines them. Images and volumes without a pixel that counts are left out everywhere.

    From the sum of all matrices, where a class in neither truth nor prediction scores nan and enters no mean (ke2020's code
    counts its IoU as 0):
    - by class, one against the rest: iou = TP/(TP+FP+FN), dice = 2TP/(2TP+FP+FN), precision = TP/(TP+FP), recall = TP/(TP+FN),
      specificity = TN/(TN+FP);
    - miou: mean iou of all classes; foreground_iou, foreground_dice: of classes 1..C-1; accuracy: share of right pixels;
    - half_dice = foreground_dice / 2: what pets_mean_teacher prints as "IOU", sum(pt)/(sum p + sum t), which cannot exceed 0.5.

    Averages over images (`image_...`), as perone2018 reports per slice:
    - image_miou: the image's mean iou of all classes in its truth or prediction, whatever `empty`;
    - image_iou (perone2018's "mIoU"), image_dice, image_accuracy = (TP+TN)/N, image_precision, image_recall, image_specificity:
      the image's mean over classes 1..C-1, one against the rest as above.

    Averages over volumes, whose slices count as one: volume_iou, volume_dice are the volume's mean over classes 1..C-1; by class the
    mean over volumes.

    What is absent:
    - predicted nowhere though there is truth: precision 0 (as scikit-learn's default). Every other 0/0 follows a rule: recall
      without truth, specificity of a class that fills the truth, all but specificity and accuracy where there is neither truth
      nor prediction.
    - `empty`, for averages over images and volumes: "zero" counts 0/0 as 0 (the code behind perone2018, medicaltorch metrics.py), "one" as 1,
      "skip" leaves it out, and with it all scores of a class in an image or volume that neither has nor predicts it. Sums: always
      "skip".

    Raises ValueError for another shape, SettingError for another rule.
    """
    if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise ValueError(f"confusions: expected (M,C,C), got {tuple(confusions.shape)}")
    require(empty in EMPTY, "empty", empty, ", ".join(EMPTY))
    images = confusions.double()
    numbers = torch.arange(len(images)) if volumes is None else volumes
    stacks = images.new_zeros((int(numbers.max()) + 1 if len(numbers) else 0, *images.shape[1:])).index_add(0, numbers, images)
    images, stacks = (one[one.sum((1, 2)) > 0] for one in (images, stacks))
    whole = images.sum(0)
    total, each, stacked = _rates(whole, "skip"), _rates(images, empty), _rates(stacks, empty)
    overall = {
        "miou": total["iou"].nanmean(),
        "accuracy": whole.trace() / whole.sum(),
        "foreground_iou": total["iou"][1:].nanmean(),
        "foreground_dice": total["dice"][1:].nanmean(),
        "half_dice": total["dice"][1:].nanmean() / 2,
        "image_miou": _rates(images, "skip")["iou"].nanmean(1).mean(),
    }
    overall |= {f"image_{name}": rate[:, 1:].nanmean(1).nanmean() for name, rate in each.items()}
    overall |= {f"volume_{name}": stacked[name][:, 1:].nanmean(1).nanmean() for name in ("iou", "dice")}
    by_class = {name: total[name] for name in ("iou", "dice", "precision", "recall", "specificity")}
    by_class |= {f"volume_{name}": stacked[name].nanmean(0) for name in ("iou", "dice")}
    result = {(str(index), name): value for name, rates in by_class.items() for index, value in enumerate(rates.tolist())}
    return result | {("", name): overall[name].item() for name in ALWAYS}


def _rates(counts: Tensor, empty: str) -> dict[str, Tensor]:
    """Scores (...,C) float64 of every class against the rest, from matrices (...,C,C) float64; the rules of `scores` for 0/0."""
    hit = counts.diagonal(dim1=-2, dim2=-1)
    truth, predicted, pixels = counts.sum(-1), counts.sum(-2), counts.sum((-2, -1)).unsqueeze(-1)
    union = truth + predicted - hit
    parts = {
        "iou": (hit, union),
        "dice": (2 * hit, truth + predicted),
        "accuracy": (pixels - union + hit, pixels),
        "precision": (hit, torch.where(predicted > 0, predicted, truth)),  # 0/truth: nothing predicted of what is there
        "recall": (hit, truth),
        "specificity": (pixels - union, pixels - truth),
    }
    rates = {name: torch.where(of > 0, part / of, EMPTY[empty]) for name, (part, of) in parts.items()}
    if empty == "skip":
        rates = {name: rate.masked_fill(union == 0, math.nan) for name, rate in rates.items()}
    return rates
