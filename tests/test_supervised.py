"""Supervised training with perturbed images: closed forms of the geometry, the noise, and the mean teacher's own labelled term."""

from dataclasses import replace

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.augment import Gentle
from semiseg.augment.warp import GREY
from semiseg.batch import IGNORE, Batch
from semiseg.change import Row
from semiseg.codec import from_json, to_json
from semiseg.losses import LOSSES, Dice, Loss, SoftDice
from semiseg.methods import DMT, MeanTeacher, PseudoLabel, Supervised, ThreeStage
from semiseg.methods.rule import State
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation, Preset

STILL = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0)
FULL = Gentle(noise=0.02, rotation=30.0, translate=0.1, scale=(0.8, 1.2))


class Witness(nn.Module):
    """Keeps the image it is shown, and answers with fixed logits."""

    def __init__(self, size: tuple[int, int] = tiny.SIZE) -> None:
        super().__init__()
        self.logits = torch.randn(4, len(tiny.CLASSES), *size, generator=torch.Generator().manual_seed(1))
        self.seen = torch.empty(0)

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return self.logits


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def loss(rule: Supervised | MeanTeacher, state: State, batch: Batch) -> float:
    return rule.loss(state, batch, tiny.at(0.5), generator())["segmentation"].item()


def shown(gentle: Gentle | None, batch: Batch, size: tuple[int, int] = tiny.SIZE) -> tuple[Tensor, float, Tensor]:
    """The image that the student sees, the loss, and the logits that it is of."""
    student = Witness(size)
    value = loss(Supervised(perturbation=gentle), State({"student": student}), batch)
    return student.seen, value, student.logits


def expected(logits: Tensor, mask: Tensor) -> float:
    return F.cross_entropy(logits, mask, ignore_index=IGNORE).item()


def test_without_a_perturbation_the_batch_is_seen_as_it_is() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    for gentle in (None, STILL):
        image, value, logits = shown(gentle, batch)
        assert image.equal(batch.image)
        assert value == pytest.approx(expected(logits, batch.mask))


def test_at_half_the_scale_the_frame_is_a_mean_of_four_pixels_amid_grey_that_has_no_label() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    blocks = batch.mask[:, ::2, ::2]
    batch = batch._replace(mask=blocks.repeat_interleave(2, 1).repeat_interleave(2, 2))
    image, value, logits = shown(replace(STILL, scale=(0.5, 0.5)), batch)
    assert torch.allclose(image, F.pad(F.avg_pool2d(batch.image, 2), (8, 8, 8, 8), value=GREY), atol=1e-5)
    assert value == pytest.approx(expected(logits, F.pad(blocks, (8, 8, 8, 8), value=IGNORE)))


def test_at_twice_the_scale_the_middle_is_seen_with_its_labels() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    image, value, logits = shown(replace(STILL, scale=(2.0, 2.0)), batch)
    larger = F.interpolate(batch.image, scale_factor=2, mode="bilinear", align_corners=False)[:, :, 16:48, 16:48]
    assert torch.allclose(image, larger, atol=1e-5)
    middle = batch.mask[:, 8:24, 8:24].repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert value == pytest.approx(expected(logits, middle))


def test_noise_has_its_deviation_and_the_teachers_is_not_used() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    noise = shown(replace(STILL, noise=0.03, noise_teacher=0.5), batch)[0] - batch.image
    assert noise.std().item() == pytest.approx(0.03, rel=0.05)
    assert abs(noise.mean().item()) < 0.001


def test_colours_change_before_the_noise() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    grey = shown(replace(STILL, saturation=(0.0, 0.0)), batch)[0]  # without saturation every channel is V, the largest one
    assert torch.allclose(grey, batch.image.amax(1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-5)


@pytest.mark.parametrize("objective", [kind() for kind in LOSSES.values()], ids=LOSSES.keys())
def test_the_loss_is_the_labelled_term_of_a_mean_teacher_with_the_same_perturbation(objective: Loss) -> None:
    teacher = MeanTeacher(objective=objective, perturbation=FULL, weight=0.0)
    state, batch = tiny.start(teacher), tiny.batch(labelled=4, unlabelled=0)
    state.student.eval()
    mine, theirs = Supervised(objective=objective, perturbation=FULL), loss(teacher, state, batch)
    assert loss(mine, state, batch) == pytest.approx(theirs, rel=1e-6)
    assert loss(replace(mine, perturbation=None), state, batch) != pytest.approx(theirs, rel=1e-3)


def test_where_a_class_belongs_to_a_whole_image_only_the_image_moves() -> None:
    batch = tiny.batch(labelled=4, unlabelled=0)
    batch = batch._replace(mask=batch.mask[:, :1, :1], valid=batch.valid[:, :1, :1])
    image, value, logits = shown(replace(STILL, rotation=90.0), batch, size=(1, 1))
    assert not torch.allclose(image, batch.image, atol=0.1)
    assert value == pytest.approx(expected(logits, batch.mask))


def test_a_perturbed_stage_is_another_one_and_learns() -> None:
    bare, (other,) = tiny.chain(Supervised())[0], tiny.chain(Supervised(perturbation=FULL), train=replace(tiny.TRAIN, steps=30))
    assert replace(other, train=bare.train).key != bare.key
    curve = tiny.losses(tiny.run(other))
    assert len(curve) == 30
    assert sum(curve[-5:]) < 0.9 * sum(curve[:5])


def test_stages_of_other_methods_perturb_nothing() -> None:
    """So that they share their first stage with the supervised baseline."""
    for method in (ThreeStage(), PseudoLabel(), DMT()):
        stages = tiny.chain(method)
        found = [stage.rule for stage in stages if isinstance(stage.rule, Supervised)]
        assert found
        assert all(rule.perturbation is None for rule in found)


@pytest.mark.parametrize("method", [Supervised(), Supervised(objective=Dice(), perturbation=FULL)], ids=["plain", "perturbed"])
def test_a_command_line_and_a_file_of_settings_keep_it(method: Supervised) -> None:
    table = Ablation(
        name="table", title="", question="", rows={"row": Row()}, reference="row", presets={"demo": Preset(method=method)}
    )
    assert parse(table, [])[1].method == method
    assert parse(table, ["--method.objective", "soft_dice"])[1].method == replace(method, objective=SoftDice())
    assert from_json(Supervised, to_json(method)) == method
    if method.perturbation is not None:
        changed = parse(table, ["--method.perturbation.noise", "0.5"])[1].method
        assert changed == replace(method, perturbation=replace(FULL, noise=0.5))
