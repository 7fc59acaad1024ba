"""CutMix and Cutout: how large the boxes are and where, and what is mixed or dropped under them."""

from collections.abc import Callable

import pytest
import torch
from perturbation_tools import cutmix_masks, cutout_masks, everywhere
from scipy.stats import kstest
from test_augment_weak import seeded
from torch import Tensor

from semiseg.augment import CutMix, Cutout, View
from semiseg.augment.cutmix import Mixed, box_masks, boxes

CPU = torch.device("cpu")


def seen_cutmix(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Where the images (count,1,H,W) show the partner's pixels."""
    own, partner = torch.zeros(count, 3, *size), torch.ones(count, 3, *size)
    return CutMix()(everywhere(own), generator, partner=everywhere(partner)).image[:, :1] == 1


def seen_cutout(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Where the images (count,1,H,W) are covered."""
    return Cutout()(everywhere(torch.zeros(count, 3, *size)), generator).image[:, :1] == 0.5


def parts(drawn: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width of boxes."""
    top, left, bottom, right = drawn.unbind(1)
    return top, left, bottom - top, right - left


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (7, 5), (1, 1)])
@pytest.mark.parametrize("area", [(0.5, 0.5), (0.0, 1.0), (0.2, 0.3)])
def test_boxes_lie_in_the_frame_and_have_the_area(size: tuple[int, int], area: tuple[float, float]) -> None:
    top, left, height, width = parts(boxes(2000, size, seeded(), area))
    assert (torch.stack([top, left, height, width]) >= 0).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()
    # each side is rounded by half a pixel at most
    assert ((height + 0.5) * (width + 0.5) >= area[0] * size[0] * size[1] - 1e-3).all()
    assert ((height - 0.5).clamp(min=0) * (width - 0.5).clamp(min=0) <= area[1] * size[0] * size[1] + 1e-3).all()


def test_shape_is_log_uniform_and_place_uniform() -> None:
    top, left, height, width = parts(boxes(3000, (10**5, 10**5), seeded(), (0.5, 0.5)))
    shape = (height / 10**5).log() / torch.tensor(0.5).log()
    assert kstest(shape.numpy(), "uniform").pvalue > 0.001
    for first, length in ((top, height), (left, width)):
        room = 10**5 - length
        assert kstest((first / room)[room > 1000].numpy(), "uniform").pvalue > 0.001
    small = boxes(4000, (2, 2), seeded(), (0.25, 0.25))
    square = small[(small[:, 2] - small[:, 0] == 1) & (small[:, 3] - small[:, 1] == 1)]
    _, counts = square.unique(dim=0, return_counts=True)
    assert len(counts) == 4  # each of the four places, up to the frame's last row and column
    assert counts.min() > 0.2 * len(square)


def test_nothing_and_everything_are_boxes_too() -> None:
    size = (6, 9)
    assert not box_masks(boxes(50, size, seeded(), (0.0, 0.0)), size, CPU).any()
    assert box_masks(boxes(50, size, seeded(), (1.0, 1.0)), size, CPU).all()


def test_masks_are_true_inside_the_boxes() -> None:
    drawn = boxes(20, (7, 5), seeded(), (0.0, 1.0))
    masks = box_masks(drawn, (7, 5), CPU)
    assert masks.shape == (20, 1, 7, 5)
    for mask, (top, left, bottom, right) in zip(masks[:, 0], drawn.tolist(), strict=True):
        for y in range(7):
            for x in range(5):
                assert mask[y, x] == (top <= y < bottom and left <= x < right)


def test_cutmix_takes_half_the_frame_and_cutout_any_share() -> None:
    share = seen_cutmix(500, (64, 96), seeded()).float().mean((1, 2, 3))
    assert (share - 0.5).abs().max() < 0.02
    share = cutout_masks(2000, (256, 256), seeded()).float().mean((1, 2, 3))
    assert seen_cutout(50, (32, 48), seeded()).equal(cutout_masks(50, (32, 48), seeded()))
    assert kstest(share.numpy(), "uniform").pvalue > 0.001


def test_areas_of_other_shares_are_taken_from_the_settings() -> None:
    images = everywhere(torch.rand(400, 3, 64, 96, generator=seeded()))
    mixed = CutMix(area=(0.1, 0.3))(images, seeded(), partner=everywhere(torch.full_like(images.image, 2.0)))
    covered = Cutout(area=(0.1, 0.3))(images, seeded())
    for inside in (mixed.image[:, 0] == 2, ~covered.valid):
        share = inside.float().mean((1, 2))
        assert kstest(share.numpy(), "uniform", (0.1, 0.2)).pvalue > 0.001


def test_mixing_takes_the_box_from_one_and_the_rest_from_the_other() -> None:
    mask = cutmix_masks(6, (8, 10), seeded())
    outer, inner = torch.randn(2, 6, 3, 8, 10, generator=seeded())
    valid_outer, valid_inner = torch.rand(2, 6, 8, 10, generator=seeded()) < 0.5
    labels_outer, labels_inner = torch.randint(0, 9, (2, 6, 8, 10), generator=seeded())
    logits_outer, logits_inner = torch.randn(2, 6, 4, 8, 10, generator=seeded(1))
    made = CutMix()(View(outer, valid_outer), seeded(), partner=View(inner, valid_inner))
    valid, labels = made.move(valid_outer, valid_inner), made.move(labels_outer, labels_inner)
    logits = made.move(logits_outer, logits_inner)
    assert made.clean.equal(outer)
    assert made.valid.equal(valid)
    assert made.move.logits(logits_outer, logits_inner).equal(logits)
    assert valid.dtype == torch.bool
    assert labels.dtype == torch.int64
    for i in range(6):
        for y in range(8):
            for x in range(10):
                inside = bool(mask[i, 0, y, x])
                assert torch.equal(made.image[i, :, y, x], (inner if inside else outer)[i, :, y, x])
                assert torch.equal(logits[i, :, y, x], (logits_inner if inside else logits_outer)[i, :, y, x])
                assert valid[i, y, x] == (valid_inner if inside else valid_outer)[i, y, x]
                assert labels[i, y, x] == (labels_inner if inside else labels_outer)[i, y, x]


def test_mixing_both_ways_keeps_every_pixel() -> None:
    mix = Mixed(cutmix_masks(3, (9, 9), seeded()))
    one, other = torch.randn(2, 3, 2, 9, 9, generator=seeded())
    torch.testing.assert_close(mix(one, other) + mix(other, one), one + other)
    assert torch.equal(mix(one, one), one)


def test_cut_pixels_are_grey_and_dropped() -> None:
    mask = cutout_masks(8, (12, 10), seeded())
    image, valid = torch.rand(8, 3, 12, 10, generator=seeded()), torch.rand(8, 12, 10, generator=seeded(1)) < 0.7
    before = image.clone(), valid.clone()
    covered, left, move, clean, _ = Cutout()(View(image, valid), seeded())
    assert torch.equal(image, before[0])
    assert torch.equal(valid, before[1])
    assert (covered[mask.expand_as(image)] == 0.5).all()
    assert torch.equal(covered[~mask.expand_as(image)], image[~mask.expand_as(image)])
    assert torch.equal(left, valid & ~mask[:, 0])
    assert torch.equal(clean, image)
    assert torch.equal(move(image), image)
    assert mask.any()
    assert left.any()


@pytest.mark.parametrize("masks", [seen_cutmix, seen_cutout])
def test_the_seed_decides_and_boxes_do_not_depend_on_each_other(masks: Callable[..., Tensor]) -> None:
    one, same, other = (masks(20, (32, 40), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(masks(1, (32, 40), seeded()), one[:1])
    assert len(one.unique(dim=0)) > 10


def test_classes_of_whole_images_are_mixed_by_the_area_of_the_box() -> None:
    one, other = torch.rand(2, 5, 3, 8, 10, generator=seeded())
    valid = torch.ones(5, 1, 1, dtype=torch.bool)
    made = CutMix(area=(0.1, 0.9))(View(one, valid), seeded(), partner=View(other, ~valid))
    share = (made.image == other).float().mean((1, 2, 3))
    assert share.min() < 0.5 < share.max()
    probs, theirs = torch.randn(2, 5, 4, 1, 1, generator=seeded(1)).softmax(2)
    classes, others = torch.arange(5).reshape(5, 1, 1), torch.arange(5, 10).reshape(5, 1, 1)
    for n, inner in enumerate(share.tolist()):
        torch.testing.assert_close(made.move(probs, theirs)[n], (1 - inner) * probs[n] + inner * theirs[n])
        assert made.move(classes, others)[n].item() == (n + 5 if inner > 0.5 else n)
    assert not made.valid.any()


def test_a_mix_without_a_partner_is_refused() -> None:
    view = everywhere(torch.rand(2, 3, 8, 8, generator=seeded()))
    with pytest.raises(ValueError, match="CutMix: needs a partner batch, got none"):
        CutMix()(view, seeded())
    for whole in (view, View(view.image, torch.ones(2, 1, 1, dtype=torch.bool))):
        move = CutMix()(whole, seeded(), partner=whole).move
        for moved in (move, move.logits):
            with pytest.raises(ValueError, match="needs the partner's map too, got none"):
                moved(whole.valid[:, None].float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_cpu_agree() -> None:
    image = torch.rand(5, 3, 20, 30, generator=seeded())
    for perturbation in (CutMix(), Cutout()):
        here, there = (
            perturbation(everywhere(own), seeded(), partner=everywhere(own.roll(1, 0)) if perturbation.partner else None)
            for own in (image, image.cuda())
        )
        assert there.image.is_cuda
        assert there.valid.is_cuda
        assert torch.equal(here.image, there.image.cpu())
        assert torch.equal(here.valid, there.valid.cpu())
