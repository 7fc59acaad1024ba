"""Decisions and scores against scikit-learn, slow loops and matrices drawn by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torch import Tensor

from semiseg.batch import IGNORE
from semiseg.config import SettingError
from semiseg.measures import ALWAYS
from semiseg.metrics import confusion_matrix, decide, scores

RULES = ("skip", "zero", "one")
BY_CLASS = ("iou", "dice", "precision", "recall", "specificity")


def drawn(seed: int, classes: int, *, ignored: float = 0.2, images: int = 3, side: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predicted, mask = torch.randint(0, classes, (2, images, side, side), generator=generator)
    return predicted, mask.masked_fill(torch.rand(mask.shape, generator=generator) < ignored, IGNORE)


def hard(classes: int, *, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Images (16,6,6) in which classes are missed, invented, absent, everywhere; one is all ignored, one has a single pixel."""
    predicted, mask = drawn(1, classes, ignored=ignored, images=16, side=6)
    last = classes - 1
    predicted[0], mask[0] = 0, 0  # neither there nor predicted
    predicted[1], mask[1] = 0, last  # missed, and it fills the truth
    predicted[2], mask[2] = last, 0  # invented
    predicted[3], mask[3] = last, last  # right, and it fills the truth
    predicted[4] = 0
    mask[5] = 0
    mask[6] = IGNORE
    mask[7] = IGNORE
    mask[7, 0, 0] = last
    predicted[8] = mask[8].clamp(max=last)
    return predicted, mask


def stacked(predicted: Tensor, mask: Tensor, classes: int) -> Tensor:
    return torch.stack([confusion_matrix(a, b, classes) for a, b in zip(predicted, mask, strict=True)])


def pixels(predicted: Tensor, mask: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted ids of the pixels that count, flat."""
    return mask[mask != IGNORE].numpy(), predicted[mask != IGNORE].numpy()


def one_class(truth: np.ndarray, guess: np.ndarray, rule: str) -> dict[str, float]:
    """scikit-learn's scores of one class (bool) in one image, under a rule for what is absent."""
    if rule == "skip" and not truth.any() and not guess.any():
        return dict.fromkeys((*BY_CLASS, "accuracy"), math.nan)
    zero: Any = 0.0  # scikit-learn's stubs want a str
    absent: Any = {"skip": math.nan, "zero": zero, "one": 1.0}[rule]
    return {
        "iou": jaccard_score(truth, guess, zero_division=zero if rule == "skip" else absent),
        "dice": f1_score(truth, guess, zero_division=absent),
        "precision": precision_score(truth, guess, zero_division=zero if truth.any() else absent),
        "recall": recall_score(truth, guess, zero_division=absent),
        "specificity": recall_score(~truth, ~guess, zero_division=absent),
        "accuracy": accuracy_score(truth, guess),
    }


def mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_threshold_a_half_is_the_argmax(classes: int) -> None:
    probs = torch.randn(4, classes, 30, 30, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = decide(probs, 0.5)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), probs.numpy().argmax(1))


def test_equal_probabilities_go_to_the_lowest_class_and_rounding_moves_none() -> None:
    """The last two pairs are neighbours of a half in float32: one above and equal, one with only the smaller below."""
    half = torch.tensor(0.5)
    above, below = half.nextafter(torch.tensor(1.0)), half.nextafter(torch.tensor(0.0))
    probs = torch.stack([torch.stack(pair) for pair in ((half, half), (above, above), (below, half))])
    assert decide(probs, 0.5).tolist() == [0, 0, 1]
    assert decide(torch.full((1, 3), 1 / 3), 0.5).tolist() == [0]


def test_two_classes_are_told_apart_strictly_above_the_threshold() -> None:
    first = torch.tensor([0.05, 0.3, 0.5, 0.9, 0.901, 1.0])
    probs = torch.stack([1 - first, first], 1)
    assert decide(probs, 0.9).tolist() == [0, 0, 0, 0, 1, 1]
    assert decide(probs, 0.3).tolist() == [0, 0, 1, 1, 1, 1]
    assert decide(probs, 0.01).tolist() == [1] * 6


def test_more_classes_take_the_argmax_whatever_the_threshold() -> None:
    probs = torch.tensor([[0.2, 0.45, 0.35], [0.1, 0.05, 0.85]])
    assert decide(probs, 0.9).tolist() == decide(probs, 0.1).tolist() == [1, 2]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, math.nan])
def test_a_threshold_outside_zero_to_one_is_refused(threshold: float) -> None:
    with pytest.raises(SettingError, match=rf"^threshold: got {threshold}; allowed: above 0 and below 1$"):
        decide(torch.full((1, 2), 0.5), threshold)


def test_rows_are_the_truth_and_columns_the_prediction() -> None:
    assert confusion_matrix(torch.tensor([1, 1]), torch.tensor([0, 0]), 2).tolist() == [[0, 2], [0, 0]]


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    predicted, mask = drawn(0, 4)
    assert torch.equal(stacked(predicted, mask, 4).sum(0), confusion_matrix(predicted, mask, 4))


def test_predictions_on_ignored_pixels_may_be_anything() -> None:
    assert confusion_matrix(torch.tensor([99, 0]), torch.tensor([IGNORE, 0]), 2).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 5])
def test_counts_and_scores_equal_scikit_learns_on_the_pixels_that_count(seed: int, classes: int) -> None:
    predicted, mask = drawn(seed, classes)
    truth, guess = pixels(predicted, mask)
    found = stacked(predicted, mask, classes)
    np.testing.assert_array_equal(found.sum(0).numpy(), sklearn_confusion(truth, guess, labels=list(range(classes))))
    each = [one_class(truth == index, guess == index, "skip") for index in range(classes)]
    result = scores(found)
    for name in BY_CLASS:
        assert [result[str(index), name] for index in range(classes)] == pytest.approx([one[name] for one in each])
    assert result["", "miou"] == pytest.approx(np.mean([one["iou"] for one in each]))
    assert result["", "foreground_iou"] == pytest.approx(np.mean([one["iou"] for one in each[1:]]))
    assert result["", "foreground_dice"] == pytest.approx(np.mean([one["dice"] for one in each[1:]]))
    assert result["", "accuracy"] == pytest.approx(accuracy_score(truth, guess))


def test_scores_of_a_matrix_drawn_by_hand() -> None:
    """True by predicted; class 0: 4 right of 4 + 1 + 2, class 1: 3 of 3 + 1 + 1 + 1, class 2: 5 of 5 + 2 + 1 + 1; 17 in all."""
    iou, dice = (4 / 7, 3 / 6, 5 / 9), (8 / 11, 6 / 9, 10 / 14)
    precision, recall, specificity = (4 / 6, 3 / 5, 5 / 6), (4 / 5, 3 / 4, 5 / 8), (10 / 12, 11 / 13, 8 / 9)
    expected = {
        (str(index), name): value
        for name, values in zip(BY_CLASS, (iou, dice, precision, recall, specificity), strict=True)
        for index, value in enumerate(values)
    }
    expected |= {
        ("", "miou"): sum(iou) / 3,
        ("", "accuracy"): 12 / 17,
        ("", "foreground_iou"): sum(iou[1:]) / 2,
        ("", "foreground_dice"): sum(dice[1:]) / 2,
        ("", "half_dice"): sum(dice[1:]) / 4,
        ("", "image_miou"): sum(iou) / 3,
        ("", "image_iou"): sum(iou[1:]) / 2,
        ("", "image_dice"): sum(dice[1:]) / 2,
        ("", "image_accuracy"): (14 / 17 + 13 / 17) / 2,
        ("", "image_precision"): sum(precision[1:]) / 2,
        ("", "image_recall"): sum(recall[1:]) / 2,
        ("", "image_specificity"): sum(specificity[1:]) / 2,
        ("", "volume_iou"): sum(iou[1:]) / 2,
        ("", "volume_dice"): sum(dice[1:]) / 2,
    }
    expected |= {(str(index), "volume_iou"): value for index, value in enumerate(iou)}
    expected |= {(str(index), "volume_dice"): value for index, value in enumerate(dice)}
    result = scores(torch.tensor([[[4, 1, 0], [0, 3, 1], [2, 1, 5]]]))
    assert result == pytest.approx(expected)
    assert tuple(name for index, name in result if not index) == ALWAYS


def test_counts_beyond_single_precision_are_not_rounded() -> None:
    many = 2**24
    assert scores(torch.tensor([[[many, 1], [0, 1]]]))["", "accuracy"] == (many + 1) / (many + 2)


def test_half_dice_is_the_printed_iou_of_paper_000_and_at_most_a_half() -> None:
    predicted, mask = drawn(0, 2)
    products = guessed = true = 0
    for p, t in zip(predicted.flatten().tolist(), mask.flatten().tolist(), strict=True):
        if t != IGNORE:
            products, guessed, true = products + p * t, guessed + p, true + t
    assert scores(stacked(predicted, mask, 2))["", "half_dice"] == pytest.approx(products / (guessed + true))
    assert scores(stacked(mask.clamp(max=1), mask, 2))["", "half_dice"] == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_a_class_that_occurs_nowhere_has_no_score_and_does_not_enter_the_means(rule) -> None:
    result = scores(torch.tensor([[[3, 1, 0], [0, 4, 0], [0, 0, 0]]]), rule)
    assert all(math.isnan(result["2", name]) for name in BY_CLASS)
    assert result["", "miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert result["", "foreground_iou"] == pytest.approx(4 / 5)
    assert result["", "foreground_dice"] == pytest.approx(8 / 9)


def test_a_class_that_is_only_predicted_scores_zero_but_has_no_recall() -> None:
    result = scores(torch.tensor([[[3, 1], [0, 0]]]))
    assert [result["1", name] for name in ("iou", "dice", "precision")] == [0, 0, 0]
    assert math.isnan(result["1", "recall"])
    assert result["", "miou"] == pytest.approx(3 / 8)


def test_a_class_that_is_never_predicted_scores_zero_in_precision_too() -> None:
    result = scores(torch.tensor([[[3, 0], [1, 0]]]))
    assert [result["1", name] for name in BY_CLASS] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [2, 4])
def test_averages_over_images_equal_a_loop_with_scikit_learn(classes: int, rule) -> None:
    predicted, mask = hard(classes)
    found: dict[str, list[float]] = {name: [] for name in (*BY_CLASS, "accuracy", "miou")}
    for one, true in zip(predicted, mask, strict=True):
        truth, guess = pixels(one, true)
        if len(truth) == 0:
            continue
        each = [one_class(truth == index, guess == index, rule) for index in range(1, classes)]
        for name in (*BY_CLASS, "accuracy"):
            found[name].append(mean([by_name[name] for by_name in each]))
        found["miou"].append(jaccard_score(truth, guess, average="macro"))  # of the labels that occur
    assert len(found["miou"]) == len(mask) - 1
    result = scores(stacked(predicted, mask, classes), rule)
    for name, values in found.items():
        assert result["", f"image_{name}"] == pytest.approx(mean(values)), name


def test_zero_equals_scikit_learns_average_over_samples() -> None:
    """Two classes: an image is a sample, its pixels are the labels; scikit-learn too can count empty and empty as 0."""
    predicted, mask = (part[[0, 1, 2, 3, 4, 5, *range(8, 16)]] for part in hard(2, ignored=0))
    truth, guess = mask.flatten(1).numpy(), predicted.flatten(1).numpy()
    result = scores(stacked(predicted, mask, 2), "zero")
    options: Any = {"average": "samples", "zero_division": 0}
    for name, measure in {"iou": jaccard_score, "dice": f1_score, "precision": precision_score, "recall": recall_score}.items():
        assert result["", f"image_{name}"] == pytest.approx(measure(truth, guess, **options)), name


FOREGROUND = ("iou", "dice", "precision", "recall", "specificity", "accuracy")


@pytest.mark.parametrize(
    ("name", "matrix", "expected"),
    [
        ("neither there nor predicted", [[4, 0], [0, 0]], {"skip": None, "zero": (0, 0, 0, 0, 1, 1), "one": (1, 1, 1, 1, 1, 1)}),
        ("missed", [[3, 0], [1, 0]], dict.fromkeys(RULES, (0, 0, 0, 0, 1, 3 / 4))),
        (
            "invented",
            [[3, 1], [0, 0]],
            {"skip": (0, 0, 0, None, 3 / 4, 3 / 4), "zero": (0, 0, 0, 0, 3 / 4, 3 / 4), "one": (0, 0, 0, 1, 3 / 4, 3 / 4)},
        ),
        (
            "right, and all there is",
            [[0, 0], [0, 4]],
            {"skip": (1, 1, 1, 1, None, 1), "zero": (1, 1, 1, 1, 0, 1), "one": (1, 1, 1, 1, 1, 1)},
        ),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_what_is_absent_beside_an_image_that_scores(name: str, matrix: list[list[int]], expected: dict, rule) -> None:
    """The other image scores 1/2 in iou, 2/3 in dice, precision 2/3, recall 2/3, specificity 3/4, accuracy 5/7."""
    known = (1 / 2, 2 / 3, 2 / 3, 2 / 3, 3 / 4, 5 / 7)
    result = scores(torch.tensor([[[3, 1], [1, 2]], matrix]), rule)
    other = expected[rule] or (None,) * 6
    averages = [one if two is None else (one + two) / 2 for one, two in zip(known, other, strict=True)]
    assert [result["", f"image_{score}"] for score in FOREGROUND] == pytest.approx(averages), name


@pytest.mark.parametrize("rule", RULES)
def test_an_image_averages_its_classes_before_images_are_averaged(rule) -> None:
    """Image 1 has class 1 at 1/4 and class 2 at 1/2; image 2 has class 1 at 1 and neither has nor predicts class 2."""
    confusions = torch.tensor([[[4, 1, 0], [2, 1, 0], [1, 0, 1]], [[3, 0, 0], [0, 2, 0], [0, 0, 0]]])
    result = scores(confusions, rule)
    absent = {"skip": 1, "zero": (1 + 0) / 2, "one": (1 + 1) / 2}[rule]
    assert result["", "image_iou"] == pytest.approx(((1 / 4 + 1 / 2) / 2 + absent) / 2)
    assert result["", "image_miou"] == pytest.approx(((4 / 8 + 1 / 4 + 1 / 2) / 3 + (1 + 1) / 2) / 2)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [2, 4])
def test_averages_over_volumes_equal_a_loop_with_scikit_learn_over_all_slices_of_each(classes: int, rule) -> None:
    predicted, mask = hard(classes)
    numbers = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6, 6, 7, 8])  # volume 3 has a single pixel that counts
    found: dict[str, list[float]] = {"iou": [], "dice": []}
    for number in range(9):
        truth, guess = pixels(predicted[numbers == number], mask[numbers == number])
        each = [one_class(truth == index, guess == index, rule) for index in range(1, classes)]
        for name, values in found.items():
            values.append(mean([by_name[name] for by_name in each]))
    result = scores(stacked(predicted, mask, classes), rule, numbers)
    for name, values in found.items():
        assert result["", f"volume_{name}"] == pytest.approx(mean(values)), name
    assert result["", "volume_dice"] != pytest.approx(result["", "image_dice"])


def test_a_volume_averages_its_classes_before_volumes_are_averaged() -> None:
    """Volume 0, two slices: class 1 has 1 hit of 1 + 2 pixels, class 2 is nowhere; volume 1: class 1 is right, class 2 missed."""
    slices = [[[3, 1, 0], [0, 1, 0], [0, 0, 0]], [[4, 0, 0], [1, 0, 0], [0, 0, 0]], [[2, 0, 0], [0, 2, 0], [1, 0, 0]]]
    result = scores(torch.tensor(slices), "skip", torch.tensor([0, 0, 1]))
    assert result["", "volume_iou"] == pytest.approx((1 / 3 + (1 + 0) / 2) / 2)
    assert result["", "volume_dice"] == pytest.approx((2 / 4 + (1 + 0) / 2) / 2)
    assert [result[index, "volume_iou"] for index in "12"] == pytest.approx([(1 / 3 + 1) / 2, 0])
    zero = scores(torch.tensor(slices), "zero", torch.tensor([0, 0, 1]))
    assert zero["", "volume_iou"] == pytest.approx(((1 / 3 + 0) / 2 + (1 + 0) / 2) / 2)
    assert scores(torch.tensor(slices))["", "volume_iou"] == scores(torch.tensor(slices))["", "image_iou"]


@pytest.mark.parametrize("rule", RULES)
def test_images_without_a_pixel_that_counts_change_nothing(rule) -> None:
    predicted, mask = drawn(0, 3)
    counted = stacked(predicted, mask, 3)
    nothing = stacked(predicted[:2], torch.full_like(mask[:2], IGNORE), 3)
    assert scores(torch.cat([nothing, counted]), rule) == scores(counted, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("images", [0, 1, 2])
def test_no_pixels_give_no_score_and_no_error(images: int, rule) -> None:
    nothing = confusion_matrix(torch.zeros(2, 2).long(), torch.full((2, 2), IGNORE), 3)
    assert nothing.tolist() == [[0] * 3] * 3
    result = scores(nothing.expand(images, 3, 3), rule)
    assert len(result) == 3 * (len(BY_CLASS) + 2) + len(ALWAYS)
    assert all(math.isnan(value) for value in result.values())


def test_another_rule_or_shape_is_refused() -> None:
    confusions = torch.ones(1, 2, 2)
    with pytest.raises(SettingError, match=r"^empty: got 'none'; allowed: skip, zero, one$"):
        scores(confusions, "none")  # pyright: ignore[reportArgumentType]
    for wrong in (confusions[0], confusions[:, :1]):
        with pytest.raises(ValueError, match=r"^confusions: expected \(M,C,C\), got "):
            scores(wrong)
