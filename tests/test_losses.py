"""Losses against closed forms and slow loops; every distance of the registry meets the same demands."""

import math

import pytest
import torch
from torch import Tensor

from semiseg.batch import IGNORE
from semiseg.losses import DISTANCES, cross_entropy, mean_squared_error, soft_cross_entropy

SHAPE = (2, 3, 4, 5)
EVERY_DISTANCE = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


def logits(seed: int = 0) -> Tensor:
    return 3 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def probs(seed: int = 1) -> Tensor:
    return logits(seed).softmax(1)


def some_mask(share_ignored: float = 0.3, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, SHAPE[1], (SHAPE[0], *SHAPE[2:]), generator=generator)
    return mask.masked_fill(torch.rand(mask.shape, generator=generator) < share_ignored, IGNORE)


def one_hot(mask: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(mask.clamp(max=SHAPE[1] - 1), SHAPE[1]).movedim(-1, 1).float()


def pixels(score: Tensor) -> list[list[float]]:
    """Logits or probabilities of every pixel, one list of classes each, in the order of a flattened mask."""
    return score.movedim(1, -1).reshape(-1, score.shape[1]).tolist()


def log_softmax(values: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes() -> None:
    assert cross_entropy(torch.zeros(1, 4, 2, 2), torch.ones(1, 2, 2).long()).item() == pytest.approx(math.log(4))


def test_cross_entropy_by_hand() -> None:
    """Two classes, one pixel of logit difference d: log(1 + exp(-d))."""
    score = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)
    assert cross_entropy(score, torch.tensor([[[0]]])).item() == pytest.approx(math.log1p(math.exp(-2)))
    assert cross_entropy(score, torch.tensor([[[1]]])).item() == pytest.approx(math.log1p(math.exp(2)))


def test_cross_entropy_equals_a_slow_loop_over_the_pixels_that_count() -> None:
    score, mask = logits(), some_mask()
    each = [-log_softmax(row)[i] for row, i in zip(pixels(score), mask.flatten().tolist(), strict=True) if i != IGNORE]
    assert 0 < len(each) < mask.numel()
    assert cross_entropy(score, mask).item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_soft_cross_entropy_and_mse_equal_slow_loops() -> None:
    score, target, valid = logits(), probs(), some_mask() != IGNORE
    cross, square = [], []
    for row, wanted, counts in zip(pixels(score), pixels(target), valid.flatten().tolist(), strict=True):
        if counts:
            log = log_softmax(row)
            cross.append(-sum(p * value for p, value in zip(wanted, log, strict=True)))
            square.append(sum((math.exp(value) - p) ** 2 for p, value in zip(wanted, log, strict=True)) / SHAPE[1])
    assert soft_cross_entropy(score, target, valid).item() == pytest.approx(sum(cross) / len(cross), rel=1e-5)
    assert mean_squared_error(score, target, valid).item() == pytest.approx(sum(square) / len(square), rel=1e-5)


def test_soft_cross_entropy_of_one_hot_targets_is_the_hard_one() -> None:
    score, mask = logits(), some_mask()
    soft = soft_cross_entropy(score, one_hot(mask), mask != IGNORE)
    torch.testing.assert_close(soft, cross_entropy(score, mask))


def test_ignored_pixels_weigh_as_if_they_were_not_there() -> None:
    score, mask = logits(), some_mask(0)
    mask[:, :, 3:] = IGNORE
    torch.testing.assert_close(cross_entropy(score, mask), cross_entropy(score[..., :3], mask[..., :3]))


def test_cross_entropy_averages_over_pixels_of_the_batch_not_over_images() -> None:
    score, mask = logits(), some_mask(0)
    mask[0, 1:] = IGNORE  # 5 pixels of one image, 20 of the other
    first, second = cross_entropy(score[:1], mask[:1]), cross_entropy(score[1:], mask[1:])
    torch.testing.assert_close(cross_entropy(score, mask), (5 * first + 20 * second) / 25)


def test_the_gradient_of_cross_entropy_is_softmax_minus_truth_over_the_count() -> None:
    score, mask = logits().requires_grad_(), some_mask()
    cross_entropy(score, mask).backward()
    counts = mask != IGNORE
    expected = (score.detach().softmax(1) - one_hot(mask)) * counts[:, None] / counts.sum()
    assert score.grad is not None
    torch.testing.assert_close(score.grad, expected)


def test_the_gradient_of_mse_is_that_of_finite_differences() -> None:
    score, target, valid = logits().requires_grad_(), probs(), some_mask() != IGNORE
    mean_squared_error(score, target, valid).backward()
    assert score.grad is not None

    def slow(values: Tensor) -> Tensor:
        return (((values.softmax(1) - target.double()) ** 2).mean(1) * valid).sum() / valid.sum()

    step, place = 1e-6, (1, 2, 3, 1)
    above, below = score.detach().double(), score.detach().double()
    above[place] += step
    below[place] -= step
    assert score.grad[place].item() == pytest.approx(((slow(above) - slow(below)) / (2 * step)).item(), rel=1e-3)


def test_cross_entropy_is_zero_with_a_zero_gradient_when_every_pixel_is_ignored() -> None:
    score = logits().requires_grad_()
    loss = cross_entropy(score, torch.full((2, 4, 5), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert score.grad is not None
    assert score.grad.count_nonzero() == 0


@EVERY_DISTANCE
def test_a_distance_is_not_negative_and_finite_even_for_extreme_logits(distance) -> None:
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    for scale in (0, 1, 1e4):
        score = (logits() * scale).requires_grad_()
        loss = distance(score, probs(), valid)
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        assert loss.item() >= 0
        assert score.grad is not None
        assert score.grad.isfinite().all()


@EVERY_DISTANCE
def test_a_distance_is_smallest_where_student_and_teacher_agree(distance) -> None:
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    score = logits()
    agreed = distance(score, score.softmax(1), valid)
    for seed in range(5):
        assert distance(score + 0.1 * logits(10 + seed), score.softmax(1), valid) > agreed
    same = score.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(same, score.softmax(1), valid), same)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


@EVERY_DISTANCE
def test_a_distance_does_not_see_invalid_pixels(distance) -> None:
    score, target, valid = logits(), probs(), some_mask() != IGNORE
    torch.testing.assert_close(
        distance(score, target, valid),
        distance(score.masked_fill(~valid[:, None], 7.0), target.masked_fill(~valid[:, None], 0.9), valid),
    )
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[..., 3:] = False
    torch.testing.assert_close(
        distance(score, target, valid), distance(score[..., :3], target[..., :3], torch.ones(2, 4, 3, dtype=torch.bool))
    )


@EVERY_DISTANCE
def test_a_distance_without_valid_pixels_is_zero_with_a_zero_gradient(distance) -> None:
    score = logits().requires_grad_()
    loss = distance(score, probs(), torch.zeros(2, 4, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert score.grad is not None
    assert score.grad.count_nonzero() == 0


def test_mse_reaches_its_upper_bound_two_over_the_number_of_classes() -> None:
    score = torch.tensor([100.0, 0, 0, 0]).reshape(1, 4, 1, 1)
    other = torch.tensor([0.0, 1, 0, 0]).reshape(1, 4, 1, 1)
    assert mean_squared_error(score, other, torch.ones(1, 1, 1, dtype=torch.bool)).item() == pytest.approx(2 / 4)


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    score, mask = logits().bfloat16(), some_mask()
    assert cross_entropy(score, mask).dtype == torch.float32
    torch.testing.assert_close(cross_entropy(score, mask), cross_entropy(score.float(), mask))


def test_a_mask_of_another_size_is_refused_naming_both_shapes() -> None:
    message = r"mask: expected \(N,H,W\) = \(2, 4, 5\) to go with logits \(2, 3, 4, 5\), got \(2, 5, 4\)"
    with pytest.raises(ValueError, match=message):
        cross_entropy(logits(), torch.zeros(2, 5, 4).long())


@EVERY_DISTANCE
@pytest.mark.parametrize(
    ("target", "valid", "name"),
    [
        ((2, 3, 4, 5), (2, 4, 4), "valid"),
        ((2, 3, 4, 5), (1, 4, 5), "valid"),
        ((1, 3, 4, 5), (2, 4, 5), "probs"),
        ((2, 3, 4, 1), (2, 4, 5), "probs"),
        ((2, 1, 4, 5), (2, 4, 5), "probs"),
    ],
)
def test_a_distance_refuses_shapes_that_would_broadcast(distance, target, valid, name) -> None:
    with pytest.raises(ValueError, match=rf"{name}: expected .*, got "):
        distance(logits(), torch.full(target, 1 / 3), torch.ones(valid, dtype=torch.bool))
