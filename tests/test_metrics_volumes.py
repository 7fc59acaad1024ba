"""Overlaps of volumes, whose slices count as one, against scikit-learn and numbers by hand."""

import pytest
import torch
from test_metrics import RULES, hard, mean, one_class, pixels, stacked

from semiseg.metrics import scores


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
