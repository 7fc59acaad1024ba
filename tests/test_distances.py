"""Consistency distances against closed forms, slow loops and torch; every entry of the registry meets the same demands."""

import math

import pytest
import torch
import torch.nn.functional as F
from random_pixels import SHAPE, binary, everywhere, log_softmax, logits, one_hot, pixels, probs, some_mask
from torch import Tensor

from semiseg.batch import IGNORE
from semiseg.losses import (
    DISTANCES,
    Dice,
    binary_cross_entropy,
    cross_entropy,
    kullback_leibler,
    mean_squared_error,
    soft_cross_entropy,
    squared_dice,
    summed_squared_error,
)
from semiseg.losses.distances import squared_ratio

EVERY_DISTANCE = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


def test_the_ratio_of_squares_has_the_gradient_of_its_formula() -> None:
    """By finite differences of both maps, with an image where one class is in neither, and with a gradient of one map alone."""
    p, t = (torch.rand((2, 3, 4, 5), generator=torch.Generator().manual_seed(seed)).double() for seed in range(2))
    p[1, 2], t[1, 2] = 0, 0
    for over in ((2, 3), (0, 2, 3)):
        expected = 1 - 2 * (p * t).sum(over) / (p.square() + t.square()).sum(over)
        torch.testing.assert_close(squared_ratio(p, t, over), expected.nan_to_num(0), atol=1e-12, rtol=0)
    p[1, 2], t[1, 2] = 0.3, 0.2
    for p_learns, t_learns in ((True, True), (True, False), (False, True)):
        given = p.clone().requires_grad_(p_learns), t.clone().requires_grad_(t_learns)
        assert torch.autograd.gradcheck(lambda a, b: squared_ratio(a, b, (2, 3)), given)


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


def test_the_reduction_over_classes_is_in_the_name() -> None:
    score, target, valid = logits(), probs(), everywhere()
    square = (score.softmax(1) - target).square()
    torch.testing.assert_close(DISTANCES["mse"](score, target, valid), square.mean())
    torch.testing.assert_close(DISTANCES["mse_sum"](score, target, valid), square.sum(1).mean())
    torch.testing.assert_close(summed_squared_error(score, target, valid), 3 * mean_squared_error(score, target, valid))


def test_kl_is_torchs_and_cross_entropy_less_the_entropy_of_the_target() -> None:
    score, target, valid = logits(), probs(), everywhere()
    reference = F.kl_div(score.log_softmax(1), target, reduction="none").sum(1).mean()
    torch.testing.assert_close(kullback_leibler(score, target, valid), reference)
    entropy = -(target * target.log()).sum(1).mean()
    torch.testing.assert_close(kullback_leibler(score, target, valid) + entropy, soft_cross_entropy(score, target, valid))
    mask = some_mask(0)
    torch.testing.assert_close(kullback_leibler(score, one_hot(mask), valid), cross_entropy(score, mask))


def test_binary_cross_entropy_is_torchs_of_class_1_and_the_mean_over_more_classes() -> None:
    score, target, valid = logits(), probs(), some_mask() != IGNORE
    two, theirs = score[:, :2], target[:, :2] / target[:, :2].sum(1, keepdim=True)
    reference = F.binary_cross_entropy(two.softmax(1)[:, 1][valid], theirs[:, 1][valid])
    torch.testing.assert_close(binary_cross_entropy(two, theirs, valid), reference)
    p, y = (t.movedim(1, -1)[valid] for t in (score.softmax(1), target))
    torch.testing.assert_close(binary_cross_entropy(score, target, valid), F.binary_cross_entropy(p, y))


def test_binary_cross_entropy_has_not_the_sign_of_equation_2_as_printed() -> None:
    """E[-y log p + (1-y) log(1-p)] falls without bound as p -> 1, whatever y; the corrected loss is smallest at p = y."""
    y, valid = torch.tensor([0.7, 0.3]).reshape(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)
    found = {p: binary_cross_entropy(binary(p), y, valid).item() for p in (0.1, 0.3, 0.9)}
    for p, value in found.items():
        assert value == pytest.approx(-(0.3 * math.log(p) + 0.7 * math.log(1 - p)))
        assert value != pytest.approx(-0.3 * math.log(p) + 0.7 * math.log(1 - p), rel=0.1)
    assert found[0.3] == min(found.values())


def test_binary_cross_entropy_keeps_its_digits_where_the_student_is_certain_and_wrong() -> None:
    """-log(1 - p) of a logit of 30 is 30, although p rounds to 1."""
    score, target = torch.tensor([0.0, 30.0]).reshape(1, 2, 1, 1), torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    assert binary_cross_entropy(score, target, torch.ones(1, 1, 1, dtype=torch.bool)).item() == pytest.approx(30)


def test_the_dice_distance_equals_a_slow_loop_for_soft_and_hard_targets() -> None:
    score, valid = logits(), some_mask() != IGNORE
    valid[0, 2:] = False
    p = score.softmax(1)
    hard = one_hot(some_mask(0))
    for target in (probs(), hard, hard.bool()):
        each = []
        for n in range(2):
            for c in (1, 2):
                pairs = [(p[n, c, y, x].item(), target[n, c, y, x].item()) for y, x in valid[n].nonzero().tolist()]
                product, squares = sum(a * b for a, b in pairs), sum(a * a + b * b for a, b in pairs)
                each.append(1 - 2 * product / squares)
        assert squared_dice(score, target, valid).item() == pytest.approx(sum(each) / 4, rel=1e-5)


def test_the_dice_distance_to_a_hard_target_is_the_dice_loss_and_leaves_out_images_without_valid_pixels() -> None:
    score, mask = logits(), some_mask(0)
    torch.testing.assert_close(squared_dice(score, one_hot(mask), everywhere()), Dice()(score, mask))
    valid = everywhere()
    valid[1] = False
    torch.testing.assert_close(squared_dice(score, one_hot(mask), valid), Dice()(score[:1], mask[:1]))


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
