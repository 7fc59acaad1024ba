"""What student and teacher of mean teacher see: delayed, shared and independent transforms, noise, frames (perone2018, section 2.1)."""

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from mean_teacher_tools import (
    CHOICES,
    EIGHT_LEFT,
    PLAIN,
    QUARTER_TURN,
    SOFT,
    STILL,
    TURNING,
    dice_of_labels,
    moving,
    networks,
    pupil,
    seen,
    terms,
)
from torch import Tensor, nn

from semiseg.augment import CutMix
from semiseg.batch import IGNORE
from semiseg.losses import CrossEntropy
from semiseg.methods.mean_teacher import MeanTeacher


def test_the_student_sees_perturbed_images_and_the_teacher_plain_ones() -> None:
    batch, state = tiny.batch(), networks(PLAIN)
    student, teacher = seen(state.student), seen(pupil(state))
    terms(MeanTeacher(), state, batch)
    assert teacher[0].equal(batch.image)
    assert all((one - other).abs().mean() > 0.01 for one, other in zip(student[0], batch.image, strict=True))


def test_noise_of_student_and_teacher_is_drawn_apart() -> None:
    batch, state = tiny.batch(), networks(PLAIN)
    student, teacher = seen(state.student), seen(pupil(state))
    terms(replace(PLAIN, perturbation=replace(STILL, noise=0.01, noise_teacher=0.02)), state, batch)
    mine, theirs = (student[0] - batch.image).flatten(), (teacher[0] - batch.image).flatten()
    assert mine.std().item() == pytest.approx(0.01, rel=0.05)
    assert theirs.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(torch.corrcoef(torch.stack([mine, theirs]))[0, 1]) < 0.05


@pytest.mark.parametrize("delayed", ["delayed", "shared"])
def test_a_quarter_turn_moves_the_teachers_output_or_what_it_sees(delayed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """perone2018, section 2.1: after the teacher or, "the same parametrization both to the student and teacher model inputs", before."""
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING, delayed=delayed)
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    moving(monkeypatch, QUARTER_TURN)
    found = terms(rule, state, batch)
    turned = batch.image.rot90(1, (2, 3))
    torch.testing.assert_close(student[0], turned)
    assert teacher[0].equal(batch.image if delayed == "delayed" else student[0])
    plain, moved = (pupil(state)(image).softmax(1) for image in (batch.image, turned))
    logits, target = state.student(turned), plain.rot90(1, (2, 3)) if delayed == "delayed" else moved
    torch.testing.assert_close(found["consistency"], (logits.softmax(1) - target).square().sum(1).mean())
    labels = dice_of_labels(logits[:2], batch.mask[:2].rot90(1, (1, 2)))
    assert found["segmentation"].item() == pytest.approx(labels, rel=1e-4)


def test_algorithm_1_as_printed_compares_misaligned_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING, delayed="independent")
    state = networks(rule)
    moving(monkeypatch, QUARTER_TURN, ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)))
    found = terms(rule, state, batch)
    mine, theirs = state.student(batch.image.rot90(1, (2, 3))), pupil(state)(batch.image.rot90(2, (2, 3)))
    expected = (mine.softmax(1) - theirs.softmax(1)).square().sum(1).mean()
    torch.testing.assert_close(found["consistency"], expected)
    assert found["segmentation"].item() == pytest.approx(dice_of_labels(mine[:2], batch.mask[:2].rot90(1, (1, 2))), rel=1e-4)
    monkeypatch.undo()
    random = [terms(replace(rule, delayed=delayed), state, batch)["consistency"].item() for delayed in CHOICES]
    assert len(set(random)) == 3


def test_of_a_shared_transform_noise_is_drawn_apart_and_colours_are_the_students_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """perone2018, Figure 1: "different augmentation parameters are used for student and teacher models"."""
    noise = replace(TURNING, noise=0.01, noise_teacher=0.02, saturation=(0.0, 0.0))
    batch, rule = tiny.batch(), replace(SOFT, perturbation=noise, delayed="shared")
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    moving(monkeypatch, QUARTER_TURN)
    terms(rule, state, batch)
    turned = batch.image.rot90(1, (2, 3))
    mine, theirs = (student[0] - turned.amax(1, keepdim=True)).flatten(), (teacher[0] - turned).flatten()  # without saturation: V
    assert mine.std().item() == pytest.approx(0.01, rel=0.05)
    assert theirs.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(torch.corrcoef(torch.stack([mine, theirs]))[0, 1]) < 0.05


def test_of_a_shared_mix_the_teacher_sees_the_mixed_images() -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=CutMix(), delayed="shared")
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    terms(rule, state, batch)
    assert teacher[0].equal(student[0])
    assert not teacher[0].equal(batch.image)


def test_hard_targets_are_taken_after_the_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, rule = tiny.batch(), replace(PLAIN, perturbation=TURNING, distance="ce", weight=1.0)
    state = networks(rule)
    moving(monkeypatch, QUARTER_TURN)
    guess = pupil(state)(batch.image).argmax(1).rot90(1, (1, 2))
    expected = F.cross_entropy(state.student(batch.image.rot90(1, (2, 3))), guess)
    torch.testing.assert_close(terms(rule, state, batch)["consistency"], expected)


def test_what_comes_from_out_of_the_frame_is_left_out_or_learned_as_class_0(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING)
    state = networks(rule)
    student, target = seen(state.student), pupil(state)(batch.image).softmax(1)[..., 8:]
    found = []
    for masked in (True, False):
        moving(monkeypatch, EIGHT_LEFT)
        one = replace(rule, mask_out_of_frame=masked, perturbation=replace(TURNING, background=not masked))
        found.append(terms(one, state, batch)["consistency"])
    grey, black = student
    for image, colour in ((grey, 0.5), (black, 0.0)):
        torch.testing.assert_close(image[..., :-8], batch.image[..., 8:], atol=1e-5, rtol=0)
        assert (image[..., -8:] == colour).all()
    inside = state.student(grey).softmax(1)[..., :-8]
    torch.testing.assert_close(found[0], (inside - target).square().sum(1).mean())
    background = torch.zeros(4, 5, 32, 8)
    background[:, 0] = 1
    filled = torch.cat([target, background], 3)
    torch.testing.assert_close(found[1], (state.student(black).softmax(1) - filled).square().sum(1).mean())


def test_of_two_motions_only_what_both_frames_show_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING, delayed="independent")
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    moving(monkeypatch, EIGHT_LEFT, ((1.0, 0.0, -8.0), (0.0, 1.0, 0.0)))
    found = terms(rule, state, batch)["consistency"]
    mine, theirs = state.student(student[0]).softmax(1), pupil(state)(teacher[0]).softmax(1)
    torch.testing.assert_close(found, (mine - theirs)[..., 8:-8].square().sum(1).mean())


class WholeImage(nn.Module):
    """Logits (N,3,1,1) from the image's mean and the mean of its left half, which a motion changes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(torch.cat([image.mean((2, 3)), image[..., :16].mean((2, 3))], 1))[..., None, None]


@pytest.mark.parametrize("delayed", CHOICES)
@pytest.mark.parametrize("masked", [True, False])
def test_where_a_class_belongs_to_an_image_only_the_image_moves(delayed: Any, masked: bool) -> None:
    turning = replace(TURNING, background=not masked)
    rule = replace(SOFT, objective=CrossEntropy(), perturbation=turning, delayed=delayed, mask_out_of_frame=masked)
    state = rule.start(lambda role="student": WholeImage())
    student, teacher = seen(state.student), seen(pupil(state))
    mask, valid = torch.tensor([1, 2, IGNORE, IGNORE]).reshape(4, 1, 1), torch.ones(4, 1, 1, dtype=torch.bool)
    batch = tiny.batch()._replace(mask=mask, valid=valid)
    found = terms(rule, state, batch)
    assert not student[0].equal(batch.image)
    assert teacher[0].equal(batch.image) == (delayed == "delayed")
    assert teacher[0].equal(student[0]) == (delayed == "shared")
    logits, target = state.student(student[0]), pupil(state)(teacher[0]).softmax(1)
    torch.testing.assert_close(found["segmentation"], F.cross_entropy(logits[:2, :, 0, 0], torch.tensor([1, 2])))
    torch.testing.assert_close(found["consistency"], (logits.softmax(1) - target).square().sum(1).mean())
