"""The terms of self-training against ke2020's equations, written out in the test, and what each option changes."""

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.augment import Perturbed, RandAugment, View
from semiseg.batch import IGNORE, Batch
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import ThreeStage
from semiseg.methods.rule import State
from semiseg.methods.self_training import SelfTraining
from semiseg.nets import MultiTask
from semiseg.schedules import Moment

WILD = RandAugment(probability=1.0, levels=(9, 9))
MEAN, STD = 0.5, 0.25  # of tiny.start's networks


def rule(**changes: Any) -> SelfTraining:
    found = ThreeStage(**changes).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[-1].rule
    assert isinstance(found, SelfTraining)
    return found


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def different(state: State) -> State:
    """The same networks in evaluation mode, with a teacher of other weights and heads whose logits differ from pixel to pixel."""
    assert state.teacher is not None
    torch.manual_seed(11)
    with torch.no_grad():
        for network in state.networks().values():
            for name, value in network.named_parameters():
                if name.endswith("head.conv.weight"):
                    value *= 100
        for value in state.teacher.parameters():
            value += 0.3 * torch.randn_like(value)
    state.student.eval()
    state.teacher.eval()
    return state


def seen(network: nn.Module, images: list[Tensor]) -> None:
    """Append to `images` what the network is given from now on, as images in [0,1]."""
    segmentation = network.segmentation if isinstance(network, MultiTask) else network
    assert isinstance(segmentation.blocks, nn.ModuleDict)
    segmentation.blocks["enc1"].register_forward_pre_hook(lambda _, states: images.append(states[0][0].detach() * STD + MEAN))


def cropped(batch: Batch) -> Batch:
    """The batch with two columns of padding in every image, which no mask has a class for."""
    valid = batch.valid.clone()
    valid[..., :2] = False
    assert batch.pseudo is not None
    mask, pseudo = (one.masked_fill(~valid, IGNORE) for one in (batch.mask, batch.pseudo))
    return batch._replace(valid=valid, mask=mask, pseudo=pseudo)


def terms(one: SelfTraining, state: State, batch: Batch, progress: float = 0.5) -> dict[str, Tensor]:
    return dict(one.loss(state, batch, tiny.at(progress), generator()))


def test_without_augmentation_the_terms_are_those_of_equations_1_to_3() -> None:
    one, batch = rule(SA=False, lambda1=0.3, lambda2=0.7), tiny.batch()
    state = different(tiny.start(one))
    assert isinstance(state.student, MultiTask)
    assert state.teacher is not None
    assert batch.pseudo is not None
    f, g = state.student.both(batch.image)
    guess = state.teacher(batch.image).argmax(1)
    labelled = F.cross_entropy(f[: batch.labelled], batch.mask[: batch.labelled])  # the unlabelled rows hold IGNORE
    found = terms(one, state, batch)
    assert found.keys() == {"segmentation", "consistency", "pseudo"}
    torch.testing.assert_close(found["segmentation"], labelled)
    torch.testing.assert_close(found["consistency"], 0.3 * F.cross_entropy(f, guess))
    torch.testing.assert_close(found["pseudo"], 0.7 * F.cross_entropy(g, batch.pseudo))


def test_soft_targets_are_the_teachers_probabilities() -> None:
    one, batch = rule(SA=False, target="soft", lambda1=1.0), tiny.batch()
    state = different(tiny.start(one))
    assert state.teacher is not None
    log, target = state.student(batch.image).log_softmax(1), state.teacher(batch.image).softmax(1)
    torch.testing.assert_close(terms(one, state, batch)["consistency"], -(target * log).sum(1).mean())
    square = terms(replace(one, distance="mse"), state, batch)["consistency"]
    torch.testing.assert_close(square, ((log.exp() - target) ** 2).mean())


def test_hard_and_soft_targets_are_one_when_the_teacher_is_certain() -> None:
    one, batch = rule(perturbation=WILD), tiny.batch()
    state = different(tiny.start(one))
    assert isinstance(state.teacher, MultiTask)
    head = state.teacher.segmentation.blocks["head"]
    assert isinstance(head.conv, nn.Conv2d)
    assert head.conv.bias is not None
    with torch.no_grad():
        head.conv.weight *= 1e6
        head.conv.bias *= 1e6
    hard, soft = terms(one, state, batch), terms(replace(one, target="soft"), state, batch)
    torch.testing.assert_close(soft["consistency"], hard["consistency"], rtol=1e-3, atol=1e-3)


def test_lambda1_ramps_up_and_lambda2_does_not() -> None:
    one, batch = rule(ramp=0.5), tiny.batch()
    state = different(tiny.start(one))
    at = {progress: terms(one, state, batch, progress) for progress in (0.0, 0.25, 0.5, 0.9)}
    ratio = {progress: (found["consistency"] / at[0.9]["consistency"]).item() for progress, found in at.items()}
    assert ratio == pytest.approx({0.0: math.exp(-5), 0.25: math.exp(-5 / 4), 0.5: 1.0, 0.9: 1.0})
    assert at[0.0]["pseudo"].equal(at[0.9]["pseudo"])


@pytest.mark.parametrize("changes", [{}, {"lambda2": 0.0}, {"SA": False}], ids=["two heads", "one head", "no SA"])
def test_labelled_images_stay_weakly_augmented_and_the_teacher_sees_no_strong_ones(changes: dict[str, Any]) -> None:
    one, batch = rule(perturbation=WILD, **changes), tiny.batch()
    state = tiny.start(one)
    assert state.teacher is not None
    student: list[Tensor] = []
    teacher: list[Tensor] = []
    seen(state.student, student)
    seen(state.teacher, teacher)
    one.loss(state, batch, tiny.at(0.5), generator())
    assert len(student) == len(teacher) == 1
    torch.testing.assert_close(teacher[0], batch.image)
    torch.testing.assert_close(student[0][:2], batch.image[:2])
    for row in (2, 3):
        assert ((student[0][row] - batch.image[row]).abs().mean() > 0.05) == (one.perturbation is not None)


def moved_numbers(batch: Batch, one: SelfTraining) -> tuple[Perturbed, Tensor]:
    """The unlabelled rows after A and B, and for every pixel of the batch the number of the pixel it came from."""
    height, width = batch.image.shape[-2:]
    numbers = torch.arange(height * width).reshape(1, height, width).repeat(len(batch.image), 1, 1)
    assert one.perturbation is not None
    rest = slice(batch.labelled, None)
    found = one.perturbation(View(batch.image[rest], batch.valid[rest]), generator())
    return found, torch.cat([numbers[: batch.labelled], found.move(numbers[rest])])


def test_soft_targets_moved_by_b_equal_a_slow_loop_over_pixels() -> None:
    one, batch = rule(perturbation=WILD, target="soft", lambda1=1.0, lambda2=0.0), cropped(tiny.batch())
    state = different(tiny.start(one))
    assert state.teacher is not None
    views, numbers = moved_numbers(batch, one)
    image = torch.cat([batch.image[:2], views.image])
    valid = torch.cat([batch.valid[:2], views.valid])
    assert 0.2 < views.valid.float().mean() < 0.95
    with torch.no_grad():
        target, log = state.teacher(batch.image).softmax(1), state.student(image).log_softmax(1)
    each = []
    for n, y, x in valid.nonzero().tolist():
        source = divmod(int(numbers[n, y, x]), tiny.SIZE[1])
        each.append(-(target[n, :, source[0], source[1]] * log[n, :, y, x]).sum().item())
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(sum(each) / len(each), rel=1e-4)


def test_hard_targets_and_pseudo_masks_are_moved_by_b_like_the_image() -> None:
    one, batch = rule(perturbation=WILD, lambda1=1.0, lambda2=1.0), cropped(tiny.batch())
    state = different(tiny.start(one))
    assert isinstance(state.student, MultiTask)
    assert state.teacher is not None
    assert batch.pseudo is not None
    views, numbers = moved_numbers(batch, one)
    f, g = state.student.both(torch.cat([batch.image[:2], views.image]))
    guess, losses = state.teacher(batch.image).argmax(1), {"consistency": [], "pseudo": []}
    valid = torch.cat([batch.valid[:2], views.valid])
    for n, y, x in valid.nonzero().tolist():
        source = divmod(int(numbers[n, y, x]), tiny.SIZE[1])
        losses["consistency"].append(-f[n, :, y, x].log_softmax(0)[guess[n, source[0], source[1]]].item())
        losses["pseudo"].append(-g[n, :, y, x].log_softmax(0)[batch.pseudo[n, source[0], source[1]]].item())
    for name, each in losses.items():
        assert terms(one, state, batch)[name].item() == pytest.approx(sum(each) / len(each), rel=1e-4)
    as_coded = replace(one, mask_out_of_frame=False)  # the padding is marked in the masks too
    assert terms(as_coded, state, batch)["pseudo"].equal(terms(one, state, batch)["pseudo"])


@pytest.mark.parametrize("target", ["hard", "soft"])
def test_padding_is_left_out_of_consistency_or_learned_as_the_authors_code_does(target: str) -> None:
    one, batch = rule(SA=False, target=target), tiny.batch()
    state, padded = different(tiny.start(one)), cropped(batch)
    as_coded = replace(one, mask_out_of_frame=False)
    assert terms(one, state, padded)["consistency"] != terms(one, state, batch)["consistency"]
    assert terms(as_coded, state, padded)["consistency"].equal(terms(as_coded, state, batch)["consistency"])
    assert terms(one, state, batch)["consistency"].equal(terms(as_coded, state, batch)["consistency"])


def test_what_b_moves_out_of_frame_is_never_learned() -> None:
    """Also in the authors' reading: the target there would be of no pixel at all."""
    batch = tiny.batch()
    for target in ("hard", "soft"):
        one = rule(perturbation=WILD, target=target, mask_out_of_frame=False, lambda1=1.0)
        state = different(tiny.start(one))
        masked = replace(one, mask_out_of_frame=True)
        assert terms(one, state, batch)["consistency"].equal(terms(masked, state, batch)["consistency"])


def test_the_teachers_mode_decides_whether_it_gathers_batch_statistics() -> None:
    modes: tuple[Literal["eval", "train"], ...] = ("eval", "train")
    for mode in modes:
        one = rule(ema=Ema(warmup=True, mode=mode))
        state = tiny.start(one)
        assert state.teacher is not None
        assert state.teacher.training == (mode == "train")
        before = tiny.flat(state.teacher)
        one.loss(state, tiny.batch(), tiny.at(0.5), generator())
        assert tiny.flat(state.teacher).equal(before) == (mode == "eval")


@pytest.mark.parametrize("buffers", ["average", "copy", "own"])
def test_batch_norm_statistics_follow_the_buffers_option(buffers: Any) -> None:
    one = rule(ema=Ema(decay=(0.75,), buffers=buffers, mode="train"))
    state = tiny.start(one)
    assert state.teacher is not None
    name = "segmentation.blocks.enc1.convs.1.running_var"
    state.student.get_buffer(name).fill_(5.0)
    one.after_step(state, Moment(10, 20, 5))
    expected = {"average": 0.75 * 1 + 0.25 * 5, "copy": 5.0, "own": 1.0}[buffers]
    assert state.teacher.get_buffer(name).tolist() == pytest.approx([expected] * 4)


def test_the_decay_follows_the_progress_of_the_stage_and_the_warm_up() -> None:
    one = rule(ema=Ema(decay=(0.5, 0.9), start=(0.0, 0.5), warmup=True))
    state = tiny.start(one)
    assert state.teacher is not None
    mine, theirs = next(state.teacher.parameters()), next(state.student.parameters())
    for step, steps, decay in ((0, 5, 0.0), (1, 99, 0.5), (50, 125, 0.5), (50, 100, 0.9), (3, 5, 0.75)):
        with torch.no_grad():
            mine.fill_(0.0)
            theirs.fill_(1.0)
        one.after_step(state, Moment(step, steps, 1))
        assert mine.flatten()[0].item() == pytest.approx(1 - decay)


def test_a_rule_with_hard_targets_knows_cross_entropy_alone() -> None:
    with pytest.raises(SettingError, match="distance: got 'mse'; allowed: ce with hard targets"):
        replace(rule(), distance="mse")


def test_batches_without_unlabelled_images_are_learned_from() -> None:
    """train.batch_unlabelled = 0 is allowed; nothing is then left to augment."""
    one, batch = rule(perturbation=WILD), tiny.batch(unlabelled=0)
    assert all(term.isfinite() for term in terms(one, tiny.start(one), batch).values())
