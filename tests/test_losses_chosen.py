"""Losses that weigh classes or choose pixels, against slow loops, torch, kornia and MONAI."""

import math
from dataclasses import replace
from typing import Any

import kornia
import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from monai.losses.focal_loss import FocalLoss
from random_pixels import SHAPE, binary, log_softmax, logits, pixels, some_mask
from torch import Tensor

from semiseg.batch import IGNORE
from semiseg.batches import shares_of
from semiseg.data.tally import counts_of
from semiseg.losses import CrossEntropy, Focal, Ohem, cross_entropy
from semiseg.methods import DMT, MeanTeacher, Supervised

WEIGHTS = (0.2, 1.0, 3.0)


def truths(score: Tensor, mask: Tensor) -> list[tuple[int, float]]:
    """Class of every counted pixel, and the logarithm of the probability that it gets."""
    classes = mask.flatten().tolist()
    return [(c, log_softmax(row)[c]) for row, c in zip(pixels(score), classes, strict=True) if c != IGNORE]


def mean(values: list[float], weights: list[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


# ---- weights of classes


def test_weighted_cross_entropy_is_that_of_torch() -> None:
    score, mask = logits(), some_mask()
    expected = F.cross_entropy(score, mask, weight=torch.tensor(WEIGHTS), ignore_index=IGNORE)
    torch.testing.assert_close(CrossEntropy(weights=WEIGHTS)(score, mask), expected)


@pytest.mark.parametrize(
    "loss", [CrossEntropy(), Focal(gamma=1.5), Ohem(threshold=0.2, kept=0.5)], ids=lambda loss: type(loss).__name__
)
def test_only_the_ratio_of_weights_counts_and_equal_ones_are_none(loss: Any) -> None:
    score, mask = logits(), some_mask()
    one, other = (replace(loss, weights=tuple(factor * weight for weight in WEIGHTS))(score, mask) for factor in (1, 1e3))
    torch.testing.assert_close(one, other)
    assert one != loss(score, mask)
    torch.testing.assert_close(replace(loss, weights=(2, 2, 2))(score, mask), loss(score, mask))


def test_a_class_of_weight_0_is_not_learned() -> None:
    score, mask = logits().requires_grad_(), torch.ones(2, 4, 5).long()
    value = CrossEntropy(weights=(1, 0, 1))(score, mask)
    value.backward()
    assert value == 0
    assert score.grad is not None
    assert score.grad.count_nonzero() == 0


def images() -> list[np.ndarray]:
    """Masks of three images: (class 0, 1, 2, ignored) = (6, 2, 0, 2), (8, 0, 0, 0), (1, 1, 2, 4) pixels."""
    numbers = [(6, 2, 0, 2), (8, 0, 0, 0), (1, 1, 2, 4)]
    return [np.repeat(np.array([0, 1, 2, IGNORE], np.uint8), one)[None] for one in numbers]


def test_shares_of_classes_by_hand() -> None:
    shares = shares_of(np.stack([counts_of(mask, 4) for mask in images()]))
    assert shares.of_all.tolist() == pytest.approx([15 / 20, 3 / 20, 2 / 20, 0])
    assert shares.where_met.tolist() == pytest.approx([15 / 20, 3 / 12, 2 / 4, 0])  # of the images that show it, ignored ones apart
    nothing = shares_of(np.array([[0, 0, 5]]))
    assert [one.tolist() for one in nothing] == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("weights", "by_hand"),
    [
        ("inverse", (20 / 15, 20 / 3, 20 / 2, 20 / 2)),  # class 3 is in no image: as the rarest
        ("median", (0.5 / 0.75, 0.5 / 0.25, 0.5 / 0.5, 0.5 / 0.25)),  # Eigen & Fergus: the median of 3/4, 1/4, 1/2 over each
    ],
)
def test_weights_made_of_shares_are_those_by_hand(weights: Any, by_hand: tuple[float, ...]) -> None:
    shares = shares_of(np.stack([counts_of(mask, 4) for mask in images()]))
    generator = torch.Generator().manual_seed(0)
    score, mask = torch.randn(2, 4, 4, 5, generator=generator), torch.randint(0, 4, (2, 4, 5), generator=generator)
    found = CrossEntropy(weights=weights)(score, mask, shares)
    torch.testing.assert_close(found, CrossEntropy(weights=by_hand)(score, mask))


def test_a_stage_has_the_shares_of_the_labelled_images_it_learns() -> None:
    pack, splits = tiny.opened()
    for method in (Supervised(), MeanTeacher(), DMT()):
        stage = tiny.chain(method, train=replace(tiny.TRAIN, steps=20))[0]
        batches = tiny.trainer(stage).batches
        assert (len(batches.labelled) < len(splits.labelled)) == isinstance(method, DMT)
        masks = [pack.mask(row) for row in batches.labelled.tolist()]
        whole = np.concatenate([mask.ravel() for mask in masks if mask is not None])
        shares = batches.make(0, torch.Generator().manual_seed(0)).shares
        assert shares is not None
        expected = np.bincount(whole[whole != IGNORE], minlength=5) / (whole != IGNORE).sum()
        assert shares.of_all.tolist() == pytest.approx(expected.tolist())


def test_a_stage_with_weights_made_of_shares_learns() -> None:
    (stage,) = tiny.chain(Supervised(objective=Focal(weights="median")), train=replace(tiny.TRAIN, steps=40))
    found = tiny.losses(tiny.run(stage))
    assert sum(found[-5:]) < 0.8 * sum(found[:5])


def test_without_shares_weights_made_of_them_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"^shares: got None; needed by weights 'inverse'$"):
        CrossEntropy(weights="inverse")(logits(), some_mask())


# ---- focal


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weights", ["equal", WEIGHTS])
def test_focal_equals_a_slow_loop(gamma: float, weights: Any) -> None:
    score, mask = logits(), some_mask()
    found = truths(score, mask)
    each = [(1 - math.exp(log)) ** gamma * -log for _, log in found]
    expected = mean(each, [1.0 if weights == "equal" else weights[c] for c, _ in found])
    assert Focal(gamma=gamma, weights=weights)(score, mask).item() == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand() -> None:
    """Section 3.2 of Lin et al.: at p = 0.9 and gamma 2 the loss is 100 times smaller than cross-entropy, at 0.968 about 1000 times."""
    for p, times in ((0.9, 100), (0.968, 1000)):
        one, mask = binary(p), torch.ones(1, 1, 1).long()
        assert (cross_entropy(one, mask) / Focal(gamma=2.0)(one, mask)).item() == pytest.approx(times, rel=0.03)


def test_focal_with_gamma_0_is_cross_entropy() -> None:
    score, mask = logits(), some_mask()
    torch.testing.assert_close(Focal(gamma=0.0)(score, mask), cross_entropy(score, mask))


def test_focal_is_that_of_kornia_and_monai() -> None:
    """Neither divides by the weights of the pixels, so sums are compared; MONAI's is of means over the pixels of an image."""
    score, mask, weights = logits(), some_mask(), torch.tensor(WEIGHTS)
    counted = mask != IGNORE
    kornias = kornia.losses.focal_loss(score, mask, None, 2.0, "sum", weights, IGNORE)
    ours = Focal(weights=WEIGHTS)(score, mask) * weights[mask[counted]].sum()
    torch.testing.assert_close(ours, kornias)
    full = some_mask(0)
    monais = FocalLoss(to_onehot_y=True, use_softmax=True, weight=list(WEIGHTS), reduction="sum")(score, full[:, None])
    torch.testing.assert_close(Focal(weights=WEIGHTS)(score, full) * weights[full].sum(), 4 * 5 * monais)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0])
def test_focal_has_a_finite_gradient_where_a_probability_is_1(gamma: float) -> None:
    score = torch.tensor([0.0, 200.0]).reshape(1, 2, 1, 1).requires_grad_()
    Focal(gamma=gamma)(score, torch.ones(1, 1, 1).long()).backward()
    assert score.grad is not None
    assert score.grad.tolist() == torch.zeros(1, 2, 1, 1).tolist()


def test_the_gradient_of_focal_is_right() -> None:
    mask = some_mask()
    for gamma in (0.5, 2.0):
        step, score = 1e-2, logits().requires_grad_()
        (found,) = torch.autograd.grad(Focal(gamma=gamma)(score, mask), score)
        for place in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 2, 3)):
            nudge = torch.zeros(SHAPE)
            nudge[place] = step
            slope = (Focal(gamma=gamma)(score + nudge, mask) - Focal(gamma=gamma)(score - nudge, mask)) / (2 * step)
            assert slope.item() == pytest.approx(found[place].item(), abs=2e-5)


# ---- online hard example mining


def mined(score: Tensor, mask: Tensor, threshold: float, number: int, weights: tuple[float, ...]) -> float:
    """UniMatch's rule: of the pixels those whose probability is at most the threshold, or at most the `number`-th smallest."""
    found = truths(score, mask)
    ranked = sorted(math.exp(log) for _, log in found)
    bar = max(threshold, ranked[number - 1]) if number else threshold
    kept = [(c, log) for c, log in found if math.exp(log) <= bar * (1 + 1e-6)]
    return mean([-log for _, log in kept], [weights[c] for c, _ in kept]) if kept else 0.0


@pytest.mark.parametrize("threshold", [1e-6, 0.1, 0.4, 0.7, 0.99, 1.0])
@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("weights", ["equal", WEIGHTS])
def test_mining_equals_a_slow_loop(threshold: float, kept: float, weights: Any) -> None:
    score, mask = logits(), some_mask()
    number = round(kept * int((mask != IGNORE).sum()))
    expected = mined(score, mask, threshold, number, (1.0,) * 3 if weights == "equal" else weights)
    found = Ohem(threshold=threshold, kept=kept, weights=weights)(score, mask)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_mining_learns_from_hard_pixels_alone() -> None:
    score, mask = logits().requires_grad_(), some_mask(0)
    Ohem(threshold=0.3, kept=0.1)(score, mask).backward()
    assert score.grad is not None
    probability = score.detach().softmax(1).gather(1, mask[:, None])[:, 0]
    assert (score.grad.abs().amax(1) > 0).equal(probability <= 0.3)


def test_mining_where_all_pixels_are_kept_is_cross_entropy() -> None:
    score, mask = logits(), some_mask()
    for loss in (Ohem(threshold=1.0, kept=0.0), Ohem(threshold=0.01, kept=1.0)):
        torch.testing.assert_close(loss(score, mask), cross_entropy(score, mask))


def test_pixels_that_tie_with_the_last_one_kept_are_kept() -> None:
    """Ten pixels of probability 0.9: the hardest tenth of them is all."""
    score, mask = binary(0.9).expand(1, 2, 2, 5), torch.ones(1, 2, 5).long()
    assert Ohem(kept=0.1)(score, mask).item() == pytest.approx(-math.log(0.9))
    assert Ohem(kept=0.0)(score, mask) == 0


# ---- among pseudo-labelled pixels


def test_cross_entropy_among_other_pixels_is_one_mean_to_the_last_bit() -> None:
    score, mask = logits(), some_mask()
    expected = F.cross_entropy(score, mask, ignore_index=IGNORE, reduction="sum") / ((mask != IGNORE).sum() + 11)
    assert CrossEntropy().among(torch.tensor(11), score, mask).equal(expected)
