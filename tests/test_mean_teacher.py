"""Mean teacher against pets_mean_teacher and perone2018, written out in the test, and what each option changes."""

from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.augment import CutMix, Gentle, gentle
from semiseg.augment.warp import affine_grid
from semiseg.batch import IGNORE, Batch
from semiseg.ema import Ema
from semiseg.losses import LOSSES, CrossEntropy, Loss, SoftDice
from semiseg.methods.mean_teacher import MeanTeacher
from semiseg.methods.rule import State
from semiseg.nets import build
from semiseg.schedules import Moment

STILL = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0)
TURNING = replace(STILL, rotation=30.0)
PLAIN = MeanTeacher(perturbation=STILL)
SOFT = replace(PLAIN, target="soft", distance="mse_sum", weight=1.0)
PERONE2018 = MeanTeacher(
    objective=SoftDice(),
    distance="bce",
    target="soft",
    weight=2.9,
    ramp=(0.0, 100 / 350),
    draw="mixed",
    perturbation=replace(STILL, noise=0.01, noise_teacher=0.01, rotation=4.5),
    ema=Ema(decay=(0.99, 0.999), start=(0.0, 50 / 350), warmup=True, buffers="own", mode="train"),
)
CHOICES = get_args(get_type_hints(MeanTeacher)["delayed"])
LATE = Moment(step=90, steps=100, epoch_steps=10)
QUARTER_TURN = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
EIGHT_LEFT = ((1.0, 0.0, 8.0), (0.0, 1.0, 0.0))  # what was 8 pixels to the right is shown: 8 columns on the right are out of frame


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def networks(rule: MeanTeacher, classes: int = len(tiny.CLASSES)) -> State:
    """Student and teacher of different weights in evaluation mode, whose logits differ from pixel to pixel."""
    state = rule.start(lambda role="student": build(tiny.NET, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0))
    torch.manual_seed(11)
    with torch.no_grad():
        for network in state.networks().values():
            for value in network.parameters():
                value += 0.3 * torch.randn_like(value)
    state.student.eval()
    pupil(state).eval()
    return state


def pupil(state: State) -> nn.Module:
    assert state.teacher is not None
    return state.teacher


def terms(rule: MeanTeacher, state: State, batch: Batch, now: Moment = LATE) -> dict[str, Tensor]:
    return dict(rule.loss(state, batch, now, generator()))


def seen(network: nn.Module) -> list[Tensor]:
    """A list that will hold what the network is given from now on."""
    images: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, given: images.append(given[0].detach()))
    return images


def moving(monkeypatch: pytest.MonkeyPatch, *matrices: tuple[tuple[float, ...], ...]) -> None:
    """Motions are those of the matrices, one draw after the other, instead of random ones."""
    motions = [affine_grid(torch.tensor([matrix] * 4), tiny.SIZE) for matrix in matrices]
    monkeypatch.setattr(gentle, "draw_motion", lambda *_: motions.pop(0))


def dice_of(p: Tensor, t: Tensor) -> float:
    """Equation 1 of pets_mean_teacher for maps (N,H,W) of one class: the mean over images."""
    return sum(1 - 2 * (a * b).sum().item() / ((a * a).sum() + (b * b).sum()).item() for a, b in zip(p, t, strict=True)) / len(p)


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


def test_the_delayed_transform_moves_the_teachers_output_as_the_students_image(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING)
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    moving(monkeypatch, QUARTER_TURN)
    found = terms(rule, state, batch)
    turned = batch.image.rot90(1, (2, 3))
    torch.testing.assert_close(student[0], turned)
    assert teacher[0].equal(batch.image)
    target = pupil(state)(batch.image).softmax(1).rot90(1, (2, 3))
    logits = state.student(turned)
    torch.testing.assert_close(found["consistency"], (logits.softmax(1) - target).square().sum(1).mean())
    labels = dice_of_labels(logits[:2], batch.mask[:2].rot90(1, (1, 2)))
    assert found["segmentation"].item() == pytest.approx(labels, rel=1e-4)


def dice_of_labels(logits: Tensor, mask: Tensor) -> float:
    return sum(dice_of(logits.softmax(1)[:, c], (mask == c).float()) for c in range(1, 5)) / 4


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


def test_of_a_shared_transform_the_teacher_sees_the_image_moved_as_the_students(monkeypatch: pytest.MonkeyPatch) -> None:
    """perone2018, section 2.1: "the same parametrization both to the student and teacher model inputs"."""
    batch, rule = tiny.batch(), replace(SOFT, perturbation=TURNING, delayed="shared")
    state = networks(rule)
    student, teacher = seen(state.student), seen(pupil(state))
    moving(monkeypatch, QUARTER_TURN)
    found = terms(rule, state, batch)
    turned = batch.image.rot90(1, (2, 3))
    torch.testing.assert_close(student[0], turned)
    assert teacher[0].equal(student[0])
    difference = state.student(turned).softmax(1) - pupil(state)(turned).softmax(1)
    torch.testing.assert_close(found["consistency"], difference.square().sum(1).mean())
    labels = dice_of_labels(state.student(turned)[:2], batch.mask[:2].rot90(1, (1, 2)))
    assert found["segmentation"].item() == pytest.approx(labels, rel=1e-4)


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
