"""RandAugment and Cutout: what a whole strong augmentation keeps, moves and covers."""

import pytest
import torch
from perturbation_tools import perturbed
from test_augment_ops import noisy_views, one_op, painted_views, randaugment
from test_augment_weak import assert_image_shows_mask, interior, seeded

from semiseg.augment import RandAugment
from semiseg.augment import randaugment as module
from semiseg.augment.operations import GEOMETRIC, OPS, PHOTOMETRIC
from semiseg.augment.randaugment import Draws, to_draws
from semiseg.augment.squares import grey_squares
from semiseg.batch import IGNORE, Views

NOTHING = RandAugment(probability=0, cutouts=0)


def test_image_and_masks_move_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPS", GEOMETRIC)
    before = painted_views(24, (80, 64))
    first = before.masks[0]
    before = before._replace(masks=(first, 3 - first, torch.where(first == 1, IGNORE, first)))
    after = perturbed(before, RandAugment(probability=1, cutouts=0), seeded())
    assert (after.image != before.image).flatten(1).any(1).sum() >= 23
    assert_image_shows_mask(after, 3)  # each of three warps blurs a border by a pixel
    first, second, third = after.masks
    assert torch.equal(first == IGNORE, ~after.valid)
    assert torch.equal(second, torch.where(after.valid, 3 - first, IGNORE))
    assert torch.equal(third, torch.where(first == 1, IGNORE, first))


def test_pixels_once_invalid_stay_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPS", {"TranslateX": GEOMETRIC["TranslateX"]})
    views = noisy_views(16)
    valid = views.valid.clone()
    valid[:, :5] = False
    before = Views(views.image, (torch.where(valid, views.masks[0], IGNORE),), valid)
    after = perturbed(before, RandAugment(probability=1, cutouts=0, translate=0.3), seeded())
    assert not after.valid[:, :5].any()
    assert after.valid[:, 5:].float().mean() > 0.5
    assert torch.equal(after.masks[0] == IGNORE, ~after.valid)


def test_there_and_back_leaves_the_lost_border_invalid() -> None:
    views = noisy_views(3, 16)
    op = torch.full((3, 2), list(OPS).index("TranslateX"))
    draws = Draws(op, op >= 0, torch.full_like(op, 10), torch.tensor([[1, -1]] * 3))
    after = randaugment(views, draws, 4.0)
    assert not after.valid[..., :4].any()
    assert after.valid[..., 4:].all()
    assert torch.equal(after.masks[0][..., 4:], views.masks[0][..., 4:])
    assert (after.image[..., :4] == 0.5).all()
    torch.testing.assert_close(after.image[..., 4:], views.image[..., 4:], atol=1e-5, rtol=0)


def test_slots_are_applied_in_order_each_at_its_level() -> None:
    views = noisy_views(2)
    steps = [[("Solarize", 7), ("Brightness", 2), ("Rotate", 4)], [("Rotate", 1), ("Brightness", 6), ("Solarize", 3)]]
    op = torch.tensor([[list(OPS).index(name) for name, _ in row] for row in steps])
    level = torch.tensor([[m for _, m in row] for row in steps])
    after = randaugment(views, Draws(op, op >= 0, level, torch.ones_like(op)), 1.0)
    for i, row in enumerate(steps):
        by_hand = views
        for name, m in row:
            by_hand = one_op(by_hand, name, m)
        torch.testing.assert_close(after.image[i], by_hand.image[i], atol=1e-6, rtol=0)
        assert torch.equal(after.masks[0][i], by_hand.masks[0][i])


def test_nothing_applied_and_nothing_cut_is_the_identity() -> None:
    views = noisy_views()
    for settings in (NOTHING, RandAugment(ops=0, cutouts=0), RandAugment(probability=0, cutout_size=0)):
        after = perturbed(views, settings, seeded())
        assert torch.equal(after.image, views.image)
        assert torch.equal(after.masks[0], views.masks[0])
        assert torch.equal(after.valid, views.valid)


def test_input_views_are_not_written_to() -> None:
    views = noisy_views()
    before = views.image.clone(), views.masks[0].clone(), views.valid.clone()
    perturbed(views, RandAugment(probability=1), seeded())
    assert torch.equal(views.image, before[0])
    assert torch.equal(views.masks[0], before[1])
    assert torch.equal(views.valid, before[2])


def test_with_a_class_per_image_the_image_is_perturbed_as_ever_and_the_class_stays() -> None:
    views = noisy_views()
    classes, valid = torch.arange(6).reshape(6, 1, 1), torch.ones(6, 1, 1, dtype=torch.bool)
    after = perturbed(Views(views.image, (classes,), valid), RandAugment(), seeded())
    assert after.image.equal(perturbed(views, RandAugment(), seeded()).image)
    assert after.masks[0].equal(classes)
    assert after.valid.equal(valid)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_values_out_of_range_count_as_those_at_its_ends(name: str) -> None:
    views = noisy_views()
    wide = views._replace(image=2.4 * views.image - 0.7)
    after, expected = (one_op(one, name, 4) for one in (wide, wide._replace(image=wide.image.clamp(0, 1))))
    assert after.image.equal(expected.image)
    assert not wide.image.equal(expected.image)


def test_cutout_covers_the_image_and_leaves_labels() -> None:
    views = noisy_views(40, 64)
    after = perturbed(views, RandAugment(probability=0), seeded())
    grey = (after.image == 0.5).all(1)
    assert torch.equal(after.masks[0], views.masks[0])
    assert after.valid.all()
    assert torch.equal(after.image.permute(0, 2, 3, 1)[~grey], views.image.permute(0, 2, 3, 1)[~grey])
    area = grey.flatten(1).sum(1)
    assert (area <= 3 * 8 * 8).all()
    assert (area >= 4 * 4).all()
    assert area.float().mean() > 2.2 * 8 * 8
    assert (grey.sum(0) > 0).float().mean() > 0.5  # squares everywhere in the frame


def test_cutout_square_has_its_centre_and_is_clipped() -> None:
    image = torch.rand(2, 3, 20, 30, generator=seeded())
    covered = grey_squares(image, torch.tensor([[[0.5, 0.5]], [[0.0, 0.999]]]), 6)
    expected = torch.zeros(2, 20, 30, dtype=torch.bool)
    expected[0, 7:13, 12:18] = True
    expected[1, :3, 26:] = True
    assert torch.equal((covered == 0.5).all(1), expected)


def test_the_seed_decides() -> None:
    views = noisy_views()
    one, same, other = (perturbed(views, RandAugment(), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.masks[0], same.masks[0])
    assert not torch.equal(one.image, other.image)


def test_samples_differ_and_do_not_depend_on_each_other() -> None:
    views = noisy_views(12)
    alike = Views(views.image[:1].repeat(12, 1, 1, 1), (views.masks[0][:1].repeat(12, 1, 1),), views.valid)
    assert len({one.numpy().tobytes() for one in perturbed(alike, RandAugment(), seeded()).image}) == 12
    kept = torch.tensor([0, 3, 11])
    mixed = Views(
        alike.image.index_copy(0, kept, views.image[kept]), (alike.masks[0].index_copy(0, kept, views.masks[0][kept]),), views.valid
    )
    one, other = perturbed(views, RandAugment(), seeded()), perturbed(mixed, RandAugment(), seeded())
    torch.testing.assert_close(one.image[kept], other.image[kept], atol=1e-6, rtol=0)
    assert torch.equal(one.masks[0][kept], other.masks[0][kept])
    assert torch.equal(one.valid[kept], other.valid[kept])
    fewer = perturbed(Views(views.image[:5], (views.masks[0][:5],), views.valid[:5]), RandAugment(), seeded())
    torch.testing.assert_close(fewer.image, one.image[:5], atol=1e-6, rtol=0)


def test_draws_are_uniform() -> None:
    draws = to_draws(torch.rand((7000, 3, 4), generator=seeded()), RandAugment())
    for column in range(3):
        for values, count, bound in [(draws.op[:, column], 14, 34.5), (draws.level[:, column] - 1, 9, 26.1)]:  # chi-square at 0.999
            seen = values.bincount()
            assert len(seen) == count
            assert ((seen - 7000 / count) ** 2).sum() / (7000 / count) < bound
        assert abs(draws.applied[:, column].float().mean() - 0.5) < 0.02
        assert abs(draws.sign[:, column].float().mean()) < 0.04
    assert set(draws.sign.unique().tolist()) == {-1, 1}
    fixed = to_draws(torch.rand((50, 2, 4), generator=seeded()), RandAugment(levels=(10, 10), probability=1))
    assert (fixed.level == 10).all()
    assert fixed.applied.all()


def test_autocast_around_it_changes_nothing() -> None:
    views = noisy_views()
    expected = perturbed(views, RandAugment(probability=1), seeded())
    with torch.autocast("cpu", torch.bfloat16):
        after = perturbed(views, RandAugment(probability=1), seeded())
    assert after.image.dtype == torch.float32
    assert torch.equal(after.image, expected.image)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_cpu_agree() -> None:
    views = painted_views(16)
    here = perturbed(views, RandAugment(), seeded())
    moved = Views(views.image.cuda(), (views.masks[0].cuda(),), views.valid.cuda())
    there = perturbed(moved, RandAugment(), seeded())
    assert (here.image - there.image.cpu()).abs().gt(2e-3).float().mean() < 0.01
    inside = interior(here.masks[0], here.valid, 1)
    assert torch.equal(here.masks[0][inside], there.masks[0].cpu()[inside])


def test_wrong_shapes_are_named() -> None:
    views = noisy_views()
    with pytest.raises(ValueError, match=r"map: \(N,32,32\) expected, like the image, got \(6, 31, 32\)"):
        perturbed(views._replace(masks=(views.masks[0][:, :-1],)), RandAugment(), seeded())
    with pytest.raises(ValueError, match=r"valid: \(6, 32, 32\) or \(6, 1, 1\) expected, got \(2, 32, 32\)"):
        perturbed(views._replace(valid=views.valid[:2]), RandAugment(), seeded())
    with pytest.raises(ValueError, match=r"image: \(N,C,H,W\)"):
        perturbed(views._replace(image=views.image[:, 0]), RandAugment(), seeded())
