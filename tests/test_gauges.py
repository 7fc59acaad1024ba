"""Metrics at boundaries, along surfaces and of confidences against MONAI, slow loops and numbers by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_distance import compute_average_surface_distance

from semiseg.batch import IGNORE
from semiseg.gauges import BINS, GAUGES, BoundaryIou, CalibrationError, Scores, asd, hd95, near_boundary
from semiseg.measures import METRICS

pytestmark = pytest.mark.filterwarnings("ignore:.*get_mask_edges:FutureWarning")
SPACING = (5.0, 1.25, 0.8)


@dataclass
class Stack:
    """What gauges read of a pack."""

    volumes: list[str]
    spacings: np.ndarray | None = None
    classes: tuple[str, ...] = ("back", "a", "b")


def pack(volumes: str, spacing: tuple[float, float, float] | None = None, classes: int = 3) -> Any:
    spacings = None if spacing is None else np.array([spacing] * len(volumes), np.float32)
    return Stack(list(volumes), spacings, tuple("xyzuvw"[:classes]))


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A mask bool with ragged edges."""
    generator = np.random.default_rng(seed)
    found = np.zeros(shape, bool)
    found[tuple(slice(size // 4, size // 4 + size // 2 + 1) for size in shape)] = True
    return found ^ (generator.random(shape) < 0.08)


def surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Pixels with a neighbour, along an axis, that is not in the mask or outside."""
    found = []
    for place in np.argwhere(mask).tolist():
        for axis, step in product(range(mask.ndim), (-1, 1)):
            near = list(place)
            near[axis] += step
            if not 0 <= near[axis] < mask.shape[axis] or not mask[tuple(near)]:
                found.append(tuple(place))
                break
    return found


def distances(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> list[float]:
    """From each pixel of one surface to the nearest of the other."""
    to = surface(other)
    return [min(math.hypot(*((a - b) * s for a, b, s in zip(p, q, spacing, strict=True))) for q in to) for p in surface(one)]


def slow(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    there, back = distances(one, other, spacing), distances(other, one, spacing)
    return max(np.percentile(there, 95), np.percentile(back, 95)), sum(there + back) / len(there + back)


@pytest.mark.parametrize("shape", [(6, 9, 8), (14, 17)])
@pytest.mark.parametrize("seed", range(2))
def test_surface_distances_equal_a_slow_loop_and_monais(shape: tuple[int, ...], seed: int) -> None:
    one, other = blobs(seed, shape), blobs(seed + 10, shape)
    spacing = SPACING[-len(shape) :]
    found = hd95(one, other, spacing), asd(one, other, spacing)
    assert found == pytest.approx(slow(one, other, spacing), rel=1e-5)
    hot, cold = [torch.from_numpy(np.stack([~mask, mask]))[None].float() for mask in (one, other)]  # one-hot, as MONAI wants it
    assert found[0] == pytest.approx(compute_hausdorff_distance(hot, cold, percentile=95, spacing=list(spacing)).item())
    assert found[1] == pytest.approx(compute_average_surface_distance(hot, cold, symmetric=True, spacing=list(spacing)).item())


def test_two_points_lie_as_far_apart_as_their_spacing_says() -> None:
    one, other = np.zeros((2, 4, 7, 9), bool)
    one[1, 2, 3] = other[3, 5, 3] = True
    for measure in (hd95, asd):
        assert measure(one, other, SPACING) == pytest.approx(math.hypot(2 * 5, 3 * 1.25))
        assert measure(one, one, SPACING) == 0


def shown(name: str, of: Any, predicted: np.ndarray, truth: np.ndarray) -> Scores:
    rows = range(len(truth))
    gauge = GAUGES[name](of, list(rows))
    for row in rows:
        gauge.add_image(row, predicted[row], truth[row])
    return gauge.scores()


def test_slices_of_a_volume_are_measured_as_one_with_its_spacing_and_single_ones_as_images() -> None:
    """Volume v has 4 slices, between which stands w, a single one."""
    predicted, truth = np.zeros((2, 5, 8, 9), np.uint8)
    for seed, mask in enumerate((predicted, truth)):
        mask[blobs(seed, mask.shape)] = 1
        mask[:, :3, :4] = 2
    predicted[:, 0, 0] = 1
    truth[0, 7] = IGNORE
    predicted[2, 6:] = truth[2, 6:] = 0
    ignored = np.where(truth == IGNORE, IGNORE, predicted)
    inside = [0, 1, 3, 4]
    for name, place in (("hd95", 0), ("asd", 1)):
        result = shown(name, pack("vvwvv", SPACING), predicted, truth)
        expected = [
            (
                slow(ignored[inside] == index, truth[inside] == index, SPACING)[place],
                slow(ignored[2] == index, truth[2] == index, SPACING[1:])[place],
            )
            for index in (1, 2)
        ]
        assert [result["1", name], result["2", name]] == pytest.approx([sum(values) / 2 for values in expected], rel=1e-5)
        assert result["", name] == pytest.approx(sum(sum(values) for values in expected) / 4, rel=1e-5)
        assert math.isnan(result["0", name])
        pixels = shown(name, pack("vvvvv"), predicted, truth)["2", name]
        assert pixels == pytest.approx(slow(ignored == 2, truth == 2, (1, 1, 1))[place], rel=1e-5)


@pytest.mark.parametrize("name", ["hd95", "asd"])
def test_a_class_in_neither_mask_is_left_out_and_one_in_a_single_mask_counts_the_diagonal(name: str) -> None:
    predicted, truth = np.zeros((2, 4, 6, 5), np.uint8)
    truth[0, 2, 2] = predicted[0, 2, 2] = 1  # volume v: class 1 is right, class 2 missed; volume w: only an invented class 1
    truth[1, 1, 1] = 2
    predicted[2, 4, 4] = 1
    result = shown(name, pack("vvww", SPACING), predicted, truth)
    diagonal = math.hypot(2 * 5, 6 * 1.25, 5 * 0.8)
    assert result["1", name] == pytest.approx((0 + diagonal) / 2)
    assert result["2", name] == pytest.approx(diagonal)
    assert result["", name] == pytest.approx(((0 + diagonal) / 2 + diagonal) / 2)
    nothing = shown(name, pack("v"), np.zeros((1, 6, 5), np.uint8), np.zeros((1, 6, 5), np.uint8))
    assert all(math.isnan(value) for value in nothing.values())
    single = shown(name, pack("v"), predicted[2:3], truth[2:3])
    assert single["1", name] == pytest.approx(math.hypot(6, 5))


def slow_boundary(mask: np.ndarray, reach: int) -> np.ndarray:
    """Pixels of the mask from which a step of at most `reach` in both axes leaves it or the image."""
    found = np.zeros_like(mask)
    for y, x in np.argwhere(mask).tolist():
        for v, u in product(range(y - reach, y + reach + 1), range(x - reach, x + reach + 1)):
            if not (0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and mask[v, u]):
                found[y, x] = True
    return found


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_pixels_near_a_boundary_equal_those_of_a_slow_loop(reach: int) -> None:
    for seed in range(3):
        mask = blobs(seed, (17, 13))
        assert (near_boundary(mask, reach) == slow_boundary(mask, reach)).all()
    everything = np.ones((9, 11), bool)
    assert (near_boundary(everything, reach) == slow_boundary(everything, reach)).all()


def test_boundary_iou_sums_near_pixels_of_all_images_by_class() -> None:
    """Two images of 60 x 45 pixels, whose diagonal is 75: 2 % of it are 1.5 pixels, rounded 2; classes 2 and 3 are nowhere or invented."""
    generator = np.random.default_rng(0)
    predicted, truth = np.zeros((2, 2, 60, 45), np.uint8)
    for mask in (predicted, truth):
        mask[generator.random(mask.shape) < 0.02] = 1
        mask[0, 10:40, 5:30] = mask[1, :20, 20:] = 1
    predicted[1, 50:, :10] = 3
    predicted[0, 12:20, 3:9] = 0
    truth[0, 30:33] = IGNORE
    shared, either = np.zeros((2, 4))
    for one, other in zip(predicted, truth, strict=True):
        counts = other != IGNORE
        for index in range(4):
            near, close = (slow_boundary((mask == index) & counts, 2) for mask in (one, other))
            shared[index] += (near & close).sum()
            either[index] += (near | close).sum()
    result = shown("boundary_iou", pack("ab", classes=4), predicted, truth)
    each = [shared[0] / either[0], shared[1] / either[1], math.nan, 0]
    assert [result[str(index), "boundary_iou"] for index in range(4)] == pytest.approx(each, nan_ok=True)
    assert 0.3 < each[0] < 0.95
    assert 0.1 < each[1] < 0.95
    assert result["", "boundary_iou"] == pytest.approx((each[0] + each[1] + 0) / 3)
    assert BoundaryIou(pack("a"), [0]).scores()["", "boundary_iou"] != 0  # nan: nothing was shown


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 20, 24, generator=generator)
    other = torch.randint(0, 3, (20, 24), generator=generator)
    truth = torch.where(torch.rand(20, 24, generator=generator) < 0.6, logits.argmax(0), other)
    truth[:2] = IGNORE
    return logits.softmax(0), truth


def test_the_calibration_error_equals_a_slow_loop_and_that_of_its_tiles() -> None:
    probs, truth = drawn()
    bins: dict[int, list[tuple[float, bool]]] = {}
    for y, x in product(range(20), range(24)):
        if truth[y, x] != IGNORE:
            each = probs[:, y, x].tolist()
            confidence = max(each)
            bins.setdefault(math.ceil(confidence * BINS) - 1, []).append((confidence, each.index(confidence) == truth[y, x]))
    total = sum(map(len, bins.values()))
    assert total == 18 * 24
    expected = sum(abs(sum(right for _, right in one) - sum(sure for sure, _ in one)) for one in bins.values()) / total
    whole, parts = (CalibrationError(pack("a"), [0]) for _ in range(2))
    whole.add(probs, truth)
    for rows, columns in product((slice(0, 7), slice(7, 20)), (slice(0, 16), slice(16, 24))):
        parts.add(probs[:, rows, columns], truth[rows, columns])
    assert whole.scores()["", "ece"] == pytest.approx(expected)
    assert parts.scores()["", "ece"] == pytest.approx(expected)


def test_who_is_as_often_right_as_he_is_sure_has_no_calibration_error() -> None:
    probs = torch.tensor([0.75, 0.25]).reshape(2, 1, 1).expand(2, 2, 2)
    for wrong, expected in ((1, 0.0), (2, 0.25), (4, 0.75)):
        gauge = CalibrationError(pack("a"), [0])
        gauge.add(probs, torch.tensor([1] * wrong + [0] * (4 - wrong)).reshape(2, 2))
        assert gauge.scores()["", "ece"] == pytest.approx(expected)
    sure = CalibrationError(pack("a"), [0])
    sure.add(torch.tensor([1.0, 0.0]).reshape(2, 1, 1), torch.zeros(1, 1, dtype=torch.int64))
    assert sure.scores()["", "ece"] == 0
    assert math.isnan(CalibrationError(pack("a"), [0]).scores()["", "ece"])


def test_every_metric_that_is_asked_for_has_a_gauge_and_says_what_it_wants() -> None:
    assert set(GAUGES) == {name for name, metric in METRICS.items() if metric.asked}
    for name, make in GAUGES.items():
        gauge = make(pack("ab"), [0, 1])
        assert gauge.WHOLE == METRICS[name].whole
        gauge.add(*drawn())
        gauge.add_image(0, np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
        assert {metric for _, metric in gauge.scores()} == {name}
        assert ("", name) in gauge.scores()
