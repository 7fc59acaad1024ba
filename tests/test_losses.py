"""Cross-entropy and the Dice losses against closed forms, slow loops, scikit-learn and MONAI."""

import math

import pytest
import torch
from monai.losses.dice import DiceLoss
from random_pixels import binary, log_softmax, logits, one_hot, pixels, some_mask
from sklearn.metrics import f1_score

from semiseg.batch import IGNORE
from semiseg.losses import CrossEntropyDice, Dice, SoftDice, cross_entropy

dice, soft_dice = Dice(), SoftDice()


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


def test_dice_losses_by_hand() -> None:
    """Probabilities .5 .5 .2 .8 of class 1, truth 1 0 0 1: sum p t = 1.3, sum p = 2, sum p^2 = 1.18, sum t = 2."""
    score = torch.cat([binary(p) for p in (0.5, 0.5, 0.2, 0.8)], 3)
    mask = torch.tensor([[[1, 0, 0, 1]]])
    assert dice(score, mask).item() == pytest.approx(1 - 2.6 / 3.18)
    assert soft_dice(score, mask).item() == pytest.approx(-(2.6 + 1e-4) / (4 + 1e-4))


def test_dice_losses_equal_slow_loops_over_the_pixels_that_count() -> None:
    score, mask = logits(), some_mask()
    mask[1, 1:] = IGNORE  # images of unequal numbers of pixels
    p, images, pooled = score.softmax(1), [], []
    for c in (1, 2):
        sums = torch.zeros(2, 4)  # of each image: p t, p^2, t (= t^2), p
        for n, y, x in (mask != IGNORE).nonzero().tolist():
            value, truth = p[n, c, y, x].item(), float(mask[n, y, x] == c)
            sums[n] += torch.tensor([value * truth, value**2, truth, value])
        images += [1 - 2 * pt.item() / (pp + t).item() for pt, pp, t, _ in sums]
        pt, _, t, total = sums.sum(0).tolist()
        pooled.append(-(2 * pt + 1e-4) / (total + t + 1e-4))
    assert dice(score, mask).item() == pytest.approx(sum(images) / 4, rel=1e-5)
    assert soft_dice(score, mask).item() == pytest.approx(sum(pooled) / 2, rel=1e-5)


def test_dice_losses_of_certain_predictions_are_those_of_the_f1_score() -> None:
    """p^2 = p where p is 0 or 1: one minus F1 of every image, and minus F1 of the batch, foreground classes alone."""
    mask, guess = some_mask(0), some_mask(0, seed=5)
    score = 200 * one_hot(guess)
    truth, found = (m.flatten(1).numpy() for m in (mask, guess))
    each = [f1_score(t, f, labels=[1, 2], average="macro") for t, f in zip(truth, found, strict=True)]
    assert dice(score, mask).item() == pytest.approx(1 - sum(each) / 2, rel=1e-5)
    pooled = f1_score(truth.ravel(), found.ravel(), labels=[1, 2], average="macro")
    assert soft_dice(score, mask).item() == pytest.approx(-pooled, abs=1e-4)


def test_dice_of_images_without_foreground_keeps_its_limits() -> None:
    """Nothing predicted and nothing there: 0 of 0 is no error. Something predicted where nothing is: the worst value."""
    empty, certain = torch.zeros(1, 2, 2).long(), torch.tensor([200.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert dice(certain, empty).item() == 0
    assert dice(torch.zeros(1, 2, 2, 2), empty).item() == pytest.approx(1)
    assert soft_dice(certain, empty).item() == pytest.approx(-1)
    assert soft_dice(torch.zeros(1, 2, 2, 2), empty).item() == pytest.approx(-1e-4 / 2, rel=1e-3)


def test_soft_dice_pools_the_batch_and_dice_does_not() -> None:
    score, mask = logits(), some_mask(0)
    each = torch.stack([dice(score[:1], mask[:1]), dice(score[1:], mask[1:])])
    torch.testing.assert_close(dice(score, mask), each.mean())
    tall = torch.cat([score[:1], score[1:]], 2), mask.reshape(1, 8, 5)
    torch.testing.assert_close(soft_dice(score, mask), soft_dice(*tall))
    assert dice(score, mask) != dice(*tall)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_dice_of_images_or_the_batch_with_or_without_background_is_monais(pooled: bool, background: bool) -> None:
    """MONAI's squared form without smoothing; its ignored pixels are those of one image that leave both sums."""
    score, mask = logits(), some_mask()
    theirs = DiceLoss(
        include_background=background,
        to_onehot_y=True,
        softmax=True,
        squared_pred=True,
        smooth_nr=0,
        smooth_dr=0,
        batch=pooled,
        ignore_index=IGNORE,
    )
    expected = theirs(score, mask[:, None])
    torch.testing.assert_close(Dice(pooled=pooled, background=background)(score, mask), expected)


def test_pooled_dice_with_background_equals_a_slow_loop() -> None:
    score, mask = logits(), some_mask()
    p, each = score.softmax(1), []
    for c in range(3):
        both, squares = 0.0, 0.0
        for n, y, x in (mask != IGNORE).nonzero().tolist():
            value, truth = p[n, c, y, x].item(), float(mask[n, y, x] == c)
            both, squares = both + value * truth, squares + value**2 + truth
        each.append(1 - 2 * both / squares)
    assert Dice(pooled=True, background=True)(score, mask).item() == pytest.approx(sum(each) / 3, rel=1e-5)


def test_the_sum_of_cross_entropy_and_dice_weighs_both() -> None:
    score, mask = logits(), some_mask()
    torch.testing.assert_close(CrossEntropyDice()(score, mask), cross_entropy(score, mask) + dice(score, mask))
    ssl4mis = CrossEntropyDice(ce=0.5, dice=0.5, pooled=True, background=True)
    expected = (cross_entropy(score, mask) + Dice(pooled=True, background=True)(score, mask)) / 2
    torch.testing.assert_close(ssl4mis(score, mask), expected)
    assert CrossEntropyDice(dice=0)(score, mask) == cross_entropy(score, mask)
    assert CrossEntropyDice(ce=0)(score, mask) == dice(score, mask)
