"""Mean teacher against pets_mean_teacher and perone2018, written out in the test, and what each option changes."""

from dataclasses import replace

import pytest
import tiny
import torch
import torch.nn.functional as F
from mean_teacher_tools import (
    PERONE2018,
    PLAIN,
    SOFT,
    STILL,
    TURNING,
    dice_of,
    networks,
    pupil,
    terms,
)

from semiseg.augment import Gentle
from semiseg.batch import IGNORE
from semiseg.losses import LOSSES, CrossEntropy, Loss
from semiseg.methods.mean_teacher import MeanTeacher


def test_the_terms_are_those_of_paper_000() -> None:
    batch, state = tiny.batch(), networks(PLAIN, 2)
    batch = batch._replace(mask=torch.where(batch.mask == IGNORE, IGNORE, batch.mask % 2))
    p = state.student(batch.image).softmax(1)[:, 1]
    guess = (pupil(state)(batch.image).softmax(1)[:, 1] > 0.5).float()
    assert 0.05 < guess.mean() < 0.95
    found = terms(PLAIN, state, batch)
    assert found.keys() == {"segmentation", "consistency"}
    assert found["segmentation"].item() == pytest.approx(dice_of(p[:2], batch.mask[:2].float()), rel=1e-5)
    assert found["consistency"].item() == pytest.approx(1.5 * dice_of(p, guess), rel=1e-5)


def test_the_terms_are_those_of_paper_001_and_not_of_its_misprint() -> None:
    rule, batch = replace(PERONE2018, perturbation=STILL), tiny.batch()
    state = networks(rule, 2)
    truth = batch.mask[:2] % 2
    logits, y = state.student(batch.image).diff(dim=1)[:, 0], pupil(state)(batch.image).softmax(1)[:, 1].detach()
    p = logits.sigmoid()
    found = terms(rule, state, batch._replace(mask=torch.cat([truth, batch.mask[2:]])))
    pooled = -(2 * (p[:2] * truth).sum() + 1e-4) / (p[:2].sum() + truth.sum() + 1e-4)
    assert found["segmentation"].item() == pytest.approx(pooled.item(), rel=1e-5)
    assert found["consistency"].item() == pytest.approx(2.9 * F.binary_cross_entropy_with_logits(logits, y).item(), rel=1e-5)
    printed = 2.9 * (-y * F.logsigmoid(logits) + (1 - y) * F.logsigmoid(-logits)).mean()
    assert abs(printed - found["consistency"]) > 0.1


@pytest.mark.parametrize("perturbation", [STILL, TURNING], ids=["still", "turning"])
def test_the_padding_of_crops_counts_only_without_the_mask(perturbation: Gentle) -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=perturbation)
    state, valid = networks(rule), batch.valid.clone()
    valid[..., :10] = False
    padded = batch._replace(valid=valid)
    assert terms(rule, state, padded)["consistency"] != terms(rule, state, batch)["consistency"]
    as_coded = replace(rule, mask_out_of_frame=False, perturbation=replace(perturbation, background=True))
    assert terms(as_coded, state, padded)["consistency"].equal(terms(as_coded, state, batch)["consistency"])


def test_pixels_of_which_the_teacher_is_unsure_do_not_count() -> None:
    batch, state = tiny.batch(), networks(SOFT)
    target, p = pupil(state)(batch.image).softmax(1), state.student(batch.image).softmax(1)
    limit = target.amax(1).median().item()
    sure = target.amax(1) >= limit
    expected = ((p - target).square().sum(1) * sure).sum() / sure.sum()
    torch.testing.assert_close(terms(replace(SOFT, threshold=limit), state, batch)["consistency"], expected)
    assert terms(replace(SOFT, threshold=1.0), state, batch)["consistency"].item() == 0


def test_consistency_is_learned_on_all_images_or_on_the_unlabelled_ones() -> None:
    batch, rule = tiny.batch(), replace(SOFT, consistency_on="unlabelled")
    state = networks(rule)
    each = (state.student(batch.image).softmax(1) - pupil(state)(batch.image).softmax(1)).square().sum(1)
    torch.testing.assert_close(terms(SOFT, state, batch)["consistency"], each.mean())
    torch.testing.assert_close(terms(rule, state, batch)["consistency"], each[2:].mean())
    assert terms(rule, state, tiny.batch(unlabelled=0))["consistency"].item() == 0


@pytest.mark.parametrize("objective", [kind() for kind in LOSSES.values()], ids=LOSSES.keys())
def test_a_joint_batch_may_hold_no_labelled_image(objective: Loss) -> None:
    rule = MeanTeacher(objective=objective)
    state, batch = networks(rule), tiny.batch(labelled=0, unlabelled=4)
    assert rule.needs.draw == "joint"
    assert replace(rule, draw="mixed").needs.draw == "mixed"
    found = terms(rule, state, batch)
    assert found["segmentation"].item() == 0
    assert found["consistency"] > 0
    sum(found.values(), torch.zeros(())).backward()
    grads = [value.grad for value in state.student.parameters() if value.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert any(grad.count_nonzero() for grad in grads)


@pytest.mark.parametrize(
    "rule",
    [MeanTeacher(), PERONE2018, replace(PLAIN, distance="ce", objective=CrossEntropy())],
    ids=["pets_mean_teacher", "perone2018", "ce"],
)
def test_where_nothing_counts_the_terms_are_zero(rule: MeanTeacher) -> None:
    found = terms(rule, networks(rule), tiny.batch(ignored=True))
    assert [term.item() for term in found.values()] == [0, 0]
