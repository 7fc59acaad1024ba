"""The consistency term of every perturbation against grubisic2021's definition, pixel by pixel."""

import math
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from one_way_tools import (
    PAIRS,
    PAIRS_P2,
    ROWS,
    STILL,
    Given,
    Table,
    cropped,
    generator,
    kl_of_pixels,
    mixed_by_loops,
    pixel_network,
    pixel_state,
    rule,
    sampled,
    state_of,
    terms,
)
from perturbation_tools import cutmix_masks, cutout_masks, phtps
from torch import Tensor

from semiseg.augment import Cutout, PhTPS
from semiseg.augment.phtps import SplineWarp
from semiseg.augment.tps import fit, frame
from semiseg.batch import IGNORE, Batch
from semiseg.config import SettingError


def test_the_divergence_by_hand_where_every_pixel_shows_its_right_neighbour() -> None:
    ones = torch.ones(2, 1)
    certain = torch.stack([ones * torch.tensor([math.log(3), 0, 0]), ones * torch.tensor([0, 0, math.log(7)])])
    state = state_of(Table(torch.zeros(2, 2, 3)), Table(certain))
    image, valid = torch.rand(2, 3, 2, 3), torch.ones(2, 2, 3, dtype=torch.bool)
    batch = Batch(image, torch.zeros(2, 2, 3, dtype=torch.long), None, valid, 1)
    grid = frame((2, 3), tiny.CPU) + torch.tensor([1.0, 0.0])  # the three columns lie at -1, 0 and 1
    fixed = Given(moves=repeat(SplineWarp(grid, None)))
    # column 0 shows the teacher's (1/2, 1/2), column 1 its (1/8, 7/8), column 2 nothing; the student says (1/2, 1/2)
    divergence = 1 / 8 * math.log(2 / 8) + 7 / 8 * math.log(14 / 8)
    assert terms(rule(perturbation=fixed, weight=0.5), state, batch)["consistency"].item() == pytest.approx(0.5 * divergence / 2)
    assert terms(rule(perturbation=fixed), state, batch)["segmentation"].item() == pytest.approx(math.log(2))
    square = 2 * (3 / 8) ** 2
    assert terms(rule(perturbation=fixed, distance="mse_sum"), state, batch)["consistency"].item() == pytest.approx(square / 2)
    valid[1, :, 1] = False  # shown by column 0
    assert terms(rule(perturbation=fixed), state, batch)["consistency"].item() == pytest.approx(divergence)


@pytest.mark.parametrize(("direction", "teacher"), PAIRS)
def test_the_divergence_equals_a_slow_loop_over_warped_logits(direction: str, teacher: str) -> None:
    one, batch = rule(direction, teacher), cropped(tiny.batch())
    state = pixel_state(one)
    image, valid = batch.image[2:], batch.valid[2:]
    made = phtps(image, one.perturbation, generator())
    clean_network, perturbed_network = {
        "1w-ps": (state.teacher or state.student, state.student),
        "1w-pt": (state.student, state.teacher or state.student),
        "2w-p1": (state.student, state.student),
    }[direction]
    with torch.no_grad():
        clean, inside = sampled(clean_network(image), made.grid)
        from_valid, _ = sampled(valid[:, None].float(), made.grid)
        perturbed = perturbed_network(made.image)
    counts = inside & (from_valid[:, 0] > 1 - 1e-5)
    assert 0.2 < counts.float().mean() < 0.9
    assert counts.sum() < inside.sum()
    target, prediction = (clean, perturbed) if direction == "1w-ps" else (perturbed, clean)
    found = terms(one, state, batch)
    assert found["consistency"].item() == pytest.approx(kl_of_pixels(target, prediction, counts), rel=1e-4)
    torch.testing.assert_close(
        found["segmentation"], F.cross_entropy(state.student(batch.image[:2]), batch.mask[:2], ignore_index=IGNORE)
    )


@pytest.mark.parametrize("grid", ["as_coded", "quarter", "corners"])
@pytest.mark.parametrize(("direction", "teacher"), PAIRS + PAIRS_P2)
def test_a_network_that_commutes_with_warps_is_consistent_with_itself(direction: str, teacher: str, grid: Any) -> None:
    """Colours that are linear in the position survive bilinear sampling exactly, so what is left is misalignment."""
    one = rule(direction, teacher, perturbation=replace(STILL, tps_grid=grid, tps_sd=0.05))
    height, width = tiny.SIZE
    y, x = torch.meshgrid(torch.linspace(0.1, 0.9, height), torch.linspace(0.2, 0.8, width), indexing="ij")
    batch = tiny.batch()
    batch = batch._replace(image=torch.stack([x, y, 0.5 * x + 0.3 * (1 - y)]).expand(4, 3, height, width).contiguous())
    state = one.start(lambda role="student": pixel_network(0))
    made = phtps(batch.image[2:], one.perturbation, generator())
    unaligned = kl_of_pixels(state.student(batch.image[2:]), state.student(made.image), made.valid)
    assert unaligned > 1e-3
    assert terms(one, state, batch)["consistency"].item() < 1e-3 * unaligned


def shifted(image: Tensor, right: int) -> SplineWarp:
    """Every pixel shows the one so many columns to its right."""
    height, width = image.shape[-2:]
    controls = torch.tensor([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]).expand(len(image), 4, 2)
    shift = torch.tensor([2 * right / (width - 1), 0.0])
    grid = frame((height, width), tiny.CPU) + shift
    return SplineWarp(grid, fit(controls, shift.expand(len(image), 4, 2)))


@pytest.mark.parametrize("teacher", ["simple", "mean"])
def test_two_perturbed_views_meet_where_they_show_the_same_pixel(teacher: Any) -> None:
    """The student's column x shows x + 2 and so does the teacher's x + 5; columns 0 and 4 of the clean image are padding."""
    width = 9
    image, valid = torch.rand(2, 3, 4, width), torch.ones(2, 4, width, dtype=torch.bool)
    valid[1, :, [0, 4]] = False
    one = rule("1w-p2", teacher, perturbation=Given(moves=iter([shifted(image[1:], 2), shifted(image[1:], -3)])))
    torch.manual_seed(3)
    student = Table(torch.randn(3, 4, width))
    state = state_of(student, Table(torch.randn(3, 4, width)) if teacher == "mean" else None)
    said = state.teacher if isinstance(state.teacher, Table) else student
    columns = [x for x in range(width) if x + 5 < width and x + 2 not in (0, 4)]
    assert columns == [0, 1, 3]
    target, prediction = said.logits[None, :, :, [x + 5 for x in columns]], student.logits[None, :, :, columns]
    expected = kl_of_pixels(target, prediction, torch.ones(1, 4, len(columns), dtype=torch.bool))
    batch = Batch(image, torch.zeros(2, 4, width, dtype=torch.long), None, valid, 1)
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(expected, rel=1e-4)


def test_without_displacement_colours_alone_change_and_every_pixel_counts() -> None:
    one, batch = rule(perturbation=PhTPS(tps_sd=0.0)), tiny.batch()
    state = pixel_state(one)
    made = phtps(batch.image[2:], one.perturbation, generator())
    assert made.valid.all()
    assert state.teacher is not None
    expected = kl_of_pixels(state.teacher(batch.image[2:]), state.student(made.image), torch.ones_like(made.valid))
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(expected, rel=1e-3)


def test_cutmix_mixes_images_outputs_and_validity_alike() -> None:
    one, batch = rule(**ROWS["cutmix"]), cropped(tiny.batch(unlabelled=3))
    batch.valid[3, :9] = False
    state = pixel_state(one)
    assert state.teacher is not None
    mask = cutmix_masks(3, tiny.SIZE, generator())
    with torch.no_grad():
        target = mixed_by_loops(mask, state.teacher(batch.image[2:]))
        prediction = state.student(mixed_by_loops(mask, batch.image[2:]))
    valid = mixed_by_loops(mask, batch.valid[2:])
    assert not valid.equal(batch.valid[2:])
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(kl_of_pixels(target, prediction, valid), rel=1e-4)


def test_cutmix_star_averages_the_squares_of_confident_pixels_over_all() -> None:
    one, batch = rule(**ROWS["cutmix*"]), cropped(tiny.batch())
    state = pixel_state(one)
    assert state.teacher is not None
    with torch.no_grad():
        next(state.teacher.parameters()).mul_(4)
    mask = cutmix_masks(2, tiny.SIZE, generator())
    with torch.no_grad():
        target = mixed_by_loops(mask, state.teacher(batch.image[2:])).softmax(1)
        prediction = state.student(mixed_by_loops(mask, batch.image[2:])).softmax(1)
    total, sure, valid = 0.0, 0, mixed_by_loops(mask, batch.valid[2:])
    for n, y, x in valid.nonzero().tolist():
        if target[n, :, y, x].max() >= 0.97:
            total += (target[n, :, y, x] - prediction[n, :, y, x]).square().sum().item()
            sure += 1
    assert 0.02 < sure / valid.sum() < 0.98
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(total / valid.sum().item(), rel=1e-4)


@pytest.mark.parametrize("row", ["cutmix*", "cutout"])
def test_french_et_al_weigh_the_mean_over_all_pixels_by_the_share_of_sure_ones_among_all(row: str) -> None:
    """French et al. 2020, train_seg_semisup_mask_mt.py: (d_prob^2 summed over classes * mask * conf_mask.mean()).mean()."""
    one, batch = rule(**ROWS[row], threshold_on="batch", mean_over="all"), cropped(tiny.batch())
    state = pixel_state(one)
    assert state.teacher is not None
    with torch.no_grad():
        next(state.teacher.parameters()).mul_(4)
    mix, cut = cutmix_masks(2, tiny.SIZE, generator()), cutout_masks(2, tiny.SIZE, generator())
    images, valid, target = batch.image[2:], batch.valid[2:], state.teacher(batch.image[2:])
    if row == "cutmix*":
        images, valid, target = (mixed_by_loops(mix, one) for one in (images, valid, target))
    else:  # where nothing counts, as below the box, what the student says does not matter
        valid = valid & ~cut[:, 0]
    prediction, target = state.student(images).softmax(1), target.softmax(1)
    total, sure, pixels = 0.0, 0, valid.numel()
    for n in range(2):
        for y in range(tiny.SIZE[0]):
            for x in range(tiny.SIZE[1]):
                total += valid[n, y, x].item() * (target[n, :, y, x] - prediction[n, :, y, x]).square().sum().item()
                sure += int(target[n, :, y, x].max() >= 0.97)
    assert 0.02 < sure / pixels < 0.98
    assert valid.sum() < 0.95 * pixels
    found = terms(one, state, batch)["consistency"].item()
    assert found == pytest.approx(total / pixels * sure / pixels, rel=1e-4)
    share = sure_of(target, valid)
    over = terms(replace(one, mean_over="valid"), state, batch)["consistency"].item()
    assert over == pytest.approx(total / valid.sum().item() * share, rel=1e-4)


def test_what_the_share_of_sure_pixels_needs_is_refused_in_one_line() -> None:
    with pytest.raises(SettingError, match=r"^method.threshold_on: got 'batch'; allowed: pixel, as method.threshold is 0$"):
        rule(threshold_on="batch")
    with pytest.raises(SettingError, match=r"^method.mean_over: got 'box'; allowed: valid, all$"):
        rule(mean_over="box")


def sure_of(probs: Tensor, valid: Tensor) -> float:
    """Share of the valid pixels whose class has 0.97 or more."""
    return sum(probs[n, :, y, x].max().item() >= 0.97 for n, y, x in valid.nonzero().tolist()) / int(valid.sum())


@pytest.mark.parametrize("direction", ["1w-ps", "1w-pt", "1w-p2"])
def test_pixels_under_cutout_do_not_count(direction: str) -> None:
    one, batch = rule(direction, perturbation=Cutout()), cropped(tiny.batch())
    state = pixel_state(one)
    assert state.teacher is not None
    shared = generator()
    masks = [cutout_masks(2, tiny.SIZE, shared) for _ in range(2)]
    for mask in masks if direction == "1w-p2" else masks[:1]:
        batch.valid[2:] &= ~mask[:, 0]
    with torch.no_grad():
        say = state.teacher(batch.image[2:]), state.student(batch.image[2:])  # grey lies under invalid pixels alone
    expected = kl_of_pixels(*say, batch.valid[2:])
    batch.valid[2:, :, 3:] = True
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(expected, rel=1e-4)


def test_a_target_of_just_the_threshold_counts() -> None:
    logits = torch.stack([torch.full((4, 6), 200.0), torch.zeros(4, 6)])  # probabilities of exactly 1 and 0
    state = state_of(Table(torch.zeros(2, 4, 6)), Table(logits))
    everywhere = torch.ones(2, 4, 6, dtype=torch.bool)
    batch = Batch(torch.rand(2, 3, 4, 6), torch.zeros(2, 4, 6, dtype=torch.long), None, everywhere, 1)
    one = rule(threshold=1.0, perturbation=PhTPS(tps_sd=0.0))
    assert terms(one, state, batch)["consistency"].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("row", ROWS)
def test_nothing_valid_or_nothing_sure_or_no_unlabelled_image_adds_nothing(row: str) -> None:
    for one, batch in (
        (rule(**ROWS[row]), tiny.batch(ignored=True)),
        (rule(**ROWS[row] | {"threshold": 1.0, "teacher": "simple"}), tiny.batch()),
        (rule(**ROWS[row]), tiny.batch(unlabelled=0)),
    ):
        state = pixel_state(one)
        found = terms(one, state, batch)
        assert found["consistency"] == 0
        torch.stack(list(found.values())).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in state.student.parameters())


def test_a_certain_target_that_learns_has_a_finite_gradient() -> None:
    one, batch = rule("2w-p1", "simple"), tiny.batch()
    state = pixel_state(one)
    with torch.no_grad():
        next(state.student.parameters()).mul_(1e4)
    found = terms(one, state, batch)["consistency"]
    found.backward()
    assert found.isfinite()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in state.student.parameters())
