"""Scores against a hand-drawn matrix and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from semiseg.batch import IGNORE
from semiseg.metrics import confusion_matrix, scores


def drawn(seed: int, classes: int, *, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predicted, mask = torch.randint(0, classes, (2, 3, 20, 20), generator=generator)
    return predicted, mask.masked_fill(torch.rand(mask.shape, generator=generator) < ignored, IGNORE)


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_scores_equal_scikit_learns_on_the_pixels_that_count(seed: int) -> None:
    classes = 5
    predicted, mask = drawn(seed, classes)
    counts = mask != IGNORE
    truth, guess = mask[counts].numpy(), predicted[counts].numpy()
    found = confusion_matrix(predicted, mask, classes)
    np.testing.assert_array_equal(found.numpy(), sklearn_confusion(truth, guess, labels=list(range(classes))))
    each = [jaccard_score(truth == index, guess == index) for index in range(classes)]
    result = scores(found)
    assert [result[str(index), "iou"] for index in range(classes)] == pytest.approx(each)
    assert result["", "miou"] == pytest.approx(np.mean(each))
    assert result["", "accuracy"] == pytest.approx(accuracy_score(truth, guess))


def test_scores_of_a_matrix_drawn_by_hand() -> None:
    """True by predicted; class 0: 4 right of 4 + 1 + 2, class 1: 3 of 3 + 1 + 1 + 1, class 2: 5 of 5 + 2 + 1."""
    result = scores(torch.tensor([[4, 1, 0], [0, 3, 1], [2, 1, 5]]))
    assert result == pytest.approx(
        {
            ("0", "iou"): 4 / 7,
            ("1", "iou"): 3 / 6,
            ("2", "iou"): 5 / 9,
            ("", "miou"): (4 / 7 + 3 / 6 + 5 / 9) / 3,
            ("", "accuracy"): 12 / 17,
        }
    )


def test_rows_are_the_truth_and_columns_the_prediction() -> None:
    assert confusion_matrix(torch.tensor([1, 1]), torch.tensor([0, 0]), 2).tolist() == [[0, 2], [0, 0]]


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    predicted, mask = drawn(0, 4)
    parts = [confusion_matrix(a, b, 4) for a, b in zip(predicted, mask, strict=True)]
    assert torch.equal(torch.stack(parts).sum(0), confusion_matrix(predicted, mask, 4))


def test_a_class_that_occurs_nowhere_has_no_iou_and_does_not_enter_the_mean() -> None:
    result = scores(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert math.isnan(result["2", "iou"])
    assert result["", "miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    result = scores(torch.tensor([[3, 1], [0, 0]]))
    assert result["1", "iou"] == 0
    assert result["", "miou"] == pytest.approx(3 / 8)


def test_no_pixels_give_no_score_and_no_error() -> None:
    nothing = confusion_matrix(torch.zeros(2, 2).long(), torch.full((2, 2), IGNORE), 3)
    assert nothing.tolist() == [[0] * 3] * 3
    assert all(math.isnan(value) for value in scores(nothing).values())


def test_predictions_on_ignored_pixels_may_be_anything() -> None:
    assert confusion_matrix(torch.tensor([99, 0]), torch.tensor([IGNORE, 0]), 2).tolist() == [[1, 0], [0, 0]]
