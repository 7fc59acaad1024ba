"""Gentle perturbations against colorsys, SciPy and slow loops over pixels; the settings' ranges."""

import colorsys
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from perturbation_tools import everywhere
from scipy.ndimage import gaussian_filter
from test_augment_weak import seeded
from torch import Tensor

from semiseg.augment import Gentle, View
from semiseg.augment.gentle import Motion, colours, draw_motion, noisy
from semiseg.augment.warp import affine_grid
from semiseg.batch import IGNORE, Views
from semiseg.config import SettingError

STILL = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0)
SIZE = (9, 12)


def images(count: int = 3) -> Tensor:
    return torch.rand((count, 3, *SIZE), generator=seeded(1))


def some_views(count: int = 3) -> Views:
    mask = torch.randint(0, 4, (count, *SIZE), generator=seeded(2))
    mask[:, 0, :3] = IGNORE
    valid = torch.rand((count, *SIZE), generator=seeded(3)) < 0.8
    return Views(images(count), (mask,), valid)


def some_probs(count: int = 3) -> Tensor:
    return torch.randn((count, 4, *SIZE), generator=seeded(4)).softmax(1)


def drawn(image: Tensor, settings: Gentle) -> Motion:
    return Motion(*draw_motion(image, settings, seeded()), settings.background)


def move(views: Views, probs: Tensor, motion: Motion) -> tuple[Views, Tensor]:
    """Everything that belongs to the views, moved."""
    masks = tuple(motion(mask) for mask in views.masks)
    return Views(motion.images(views.image), masks, motion(views.valid)), motion(probs)


def sources(motion: Motion) -> Tensor:
    """The position (x, y) in pixels, 0 at the centre of the first one, that every pixel is read from: (N,H,W,2)."""
    return (motion.grid + 1) / 2 * torch.tensor([SIZE[1], SIZE[0]]) - 0.5


def test_hue_and_saturation_are_those_of_colorsys() -> None:
    image = images(2)
    settings = replace(STILL, hue=0.3, saturation=(0.5, 2.5))
    changed = colours(image, settings, seeded())
    draws = torch.rand((2, 3), generator=seeded())
    for n in range(2):
        turn, factor = -0.3 + 0.6 * draws[n, 0].item(), 0.5 + 2 * draws[n, 1].item()
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                h, s, v = colorsys.rgb_to_hsv(*image[n, :, y, x].tolist())
                expected = colorsys.hsv_to_rgb((h + turn) % 1, min(s * factor, 1), v)
                assert changed[n, :, y, x].tolist() == pytest.approx(expected, abs=2e-5)


def test_blur_is_scipys_gaussian_filter() -> None:
    image = images(4)
    changed = colours(image, replace(STILL, blur=(0.3, 1.2)), seeded())
    draws = torch.rand((4, 3), generator=seeded())[:, 2]
    for one, other, draw in zip(image, changed, draws, strict=True):
        sigma = 0.3 + 0.9 * draw.item()
        expected = gaussian_filter(one.double().numpy(), (0, sigma, sigma), mode="mirror", radius=(0, 4, 4))  # 4 = ceil(3 * 1.2)
        np.testing.assert_allclose(other.numpy(), expected, atol=1e-5)


def test_settings_without_change_return_the_image_and_blur_of_nearly_zero_too() -> None:
    image = images()
    assert colours(image, STILL, seeded()).equal(image)
    assert noisy(image, 0.0, seeded()).equal(image)
    torch.testing.assert_close(colours(image, replace(STILL, blur=(0.0, 1e-6)), seeded()), image)


def test_a_blur_wider_than_the_image_leaves_its_mean() -> None:
    changed = colours(images(), replace(STILL, blur=(50.0, 50.0)), seeded())
    torch.testing.assert_close(changed, images().mean((2, 3), keepdim=True).expand_as(changed), atol=0.1, rtol=0)


def test_colours_stay_in_range_and_every_image_has_its_own() -> None:
    same = images(1).expand(64, -1, -1, -1)
    changed = colours(same, Gentle(hue=0.5, saturation=(0.0, 3.0)), seeded())
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6
    assert len({one.numpy().tobytes() for one in changed}) == 64
    torch.testing.assert_close(colours(same[:5], Gentle(hue=0.5, saturation=(0.0, 3.0)), seeded()), changed[:5])
    assert not colours(same, Gentle(), seeded(1)).equal(colours(same, Gentle(), seeded(2)))


def test_noise_has_the_standard_deviation_of_the_setting_and_is_drawn_for_every_value() -> None:
    added = noisy(torch.zeros(8, 3, 64, 64), 0.01, seeded())
    assert added.std().item() == pytest.approx(0.01, rel=0.02)
    assert added.mean().item() == pytest.approx(0, abs=1e-4)
    assert len(added.unique()) > 0.95 * added.numel()


def test_a_motion_turns_scales_and_shifts_about_the_centre() -> None:
    """The pixel at p shows what was at R(-a)(p - c - d)/s + c, with draws in the ranges of the settings."""
    settings = replace(STILL, rotation=30.0, scale=(0.8, 1.5), translate=0.2)
    motion = drawn(images(5), settings)
    draws, centre = torch.rand((5, 4), generator=seeded()), torch.tensor([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    found = sources(motion)
    for n in range(5):
        angle, scale = math.radians(30 * (2 * draws[n, 0].item() - 1)), 0.8 + 0.7 * draws[n, 1].item()
        shift = 0.2 * torch.tensor([SIZE[1], SIZE[0]]) * (2 * draws[n, 2:] - 1)
        back = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / scale
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                source = back @ (torch.tensor([x, y]) - centre - shift) + centre
                torch.testing.assert_close(found[n, y, x], source, atol=1e-4, rtol=0)
                edge = min(source.min() + 0.5, SIZE[1] - 0.5 - source[0], SIZE[0] - 0.5 - source[1])
                assert motion.inside[n, y, x] == (edge >= 0) or abs(edge) < 1e-4


def test_angles_fill_the_range_of_perone2018() -> None:
    motion = drawn(images(1).expand(2000, -1, -1, -1), replace(STILL, rotation=4.5))
    across = sources(motion)[:, 4, -1] - sources(motion)[:, 4, 0]
    angles = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    torch.testing.assert_close(across.norm(dim=1), torch.full((2000,), SIZE[1] - 1.0))
    assert -4.5 <= angles.min() < -4.4
    assert 4.4 < angles.max() <= 4.5
    assert angles.std().item() == pytest.approx(9 / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize("fill", [False, True])
def test_all_that_belongs_to_an_image_moves_as_in_a_slow_loop(fill: bool) -> None:
    views, probs = some_views(), some_probs()
    motion = drawn(views.image, replace(STILL, rotation=40.0, translate=0.1, background=fill))
    moved, theirs = move(views, probs, motion)
    assert 0.3 < motion.inside.float().mean() < 0.98
    both, limit = torch.cat([views.image, probs], 1), torch.tensor([SIZE[1] - 1, SIZE[0] - 1])
    for n, y, x in torch.ones(3, *SIZE).nonzero().tolist():
        shown = torch.cat([moved.image[n, :, y, x], theirs[n, :, y, x]])
        if not motion.inside[n, y, x]:
            assert moved.masks[0][n, y, x] == IGNORE
            assert moved.valid[n, y, x] == fill
            if fill:
                assert shown.tolist() == [0, 0, 0, 1, 0, 0, 0]
            continue
        place = sources(motion)[n, y, x].clamp(min=0).minimum(limit)
        low = place.floor().long()
        (u, v), (i, j), (k, m) = (place - low).tolist(), low.tolist(), (low + 1).minimum(limit).tolist()
        four = both[n, :, j, i] * (1 - u) * (1 - v) + both[n, :, j, k] * u * (1 - v)
        four += both[n, :, m, i] * (1 - u) * v + both[n, :, m, k] * u * v
        torch.testing.assert_close(shown, four, atol=1e-5, rtol=0)
        if (abs((place - low) - 0.5) > 1e-3).all():
            i, j = place.round().long().tolist()
            assert moved.masks[0][n, y, x] == views.masks[0][n, j, i]
            assert moved.valid[n, y, x] == views.valid[n, j, i]
    torch.testing.assert_close(theirs.sum(1)[moved.valid], torch.ones(int(moved.valid.sum())))


def test_a_quarter_turn_is_rot90() -> None:
    image, probs = torch.rand(2, 3, 8, 8, generator=seeded()), torch.rand(2, 2, 8, 8, generator=seeded(1))
    mask = torch.randint(0, 2, (2, 8, 8), generator=seeded(2))
    turn = Motion(*affine_grid(torch.tensor([[[0.0, -1, 0], [1, 0, 0]]]).expand(2, -1, -1), (8, 8)), False)
    moved, theirs = move(Views(image, (mask,), mask == 0), probs, turn)
    torch.testing.assert_close(moved.image, image.rot90(1, (2, 3)))
    torch.testing.assert_close(theirs, probs.rot90(1, (2, 3)))
    assert moved.masks[0].equal(mask.rot90(1, (1, 2)))
    assert moved.valid.equal((mask == 0).rot90(1, (1, 2)))


def test_what_belongs_to_a_whole_image_stays() -> None:
    mask, valid, probs = (
        torch.tensor([1, IGNORE, 2]).reshape(3, 1, 1),
        torch.ones(3, 1, 1, dtype=torch.bool),
        torch.rand(3, 4, 1, 1),
    )
    for fill in (False, True):
        settings = replace(STILL, rotation=30.0, background=fill)
        moved = settings(View(images(), valid), seeded())
        assert moved.image.equal(settings(everywhere(images()), seeded()).image)
        assert not moved.image.equal(images())
        assert moved.move(mask).equal(mask)
        assert moved.valid.equal(valid)
        assert moved.move(probs).equal(probs)


def test_colours_come_first_then_the_motion_then_noise_and_the_teacher_has_noise_of_its_own() -> None:
    views, settings = some_views(), Gentle(noise_teacher=0.1, rotation=20.0)
    made = settings(View(views.image, views.valid), seeded())
    again = seeded()
    coloured = colours(views.image, settings, again)
    assert made.clean.equal(noisy(views.image, 0.1, again))
    motion = Motion(*draw_motion(coloured, settings, again), False)
    assert made.image.equal(noisy(motion.images(coloured), 0.05, again))
    assert made.valid.equal(motion(views.valid))
    assert made.move(views.masks[0]).equal(motion(views.masks[0]))


def test_a_teacher_with_a_draw_of_its_own_sees_the_original_colours_moved() -> None:
    views, settings = some_views(), Gentle(noise_teacher=0.1, rotation=20.0)
    seen, other = settings.pair(View(views.image, views.valid), seeded())
    again = seeded()
    coloured = colours(views.image, settings, again)
    first, second = (Motion(*draw_motion(coloured, settings, again), False) for _ in range(2))
    assert other.image.equal(noisy(second.images(views.image), 0.1, again))
    assert seen.image.equal(noisy(first.images(coloured), 0.05, again))
    assert (seen.valid.equal(first(views.valid)), other.valid.equal(second(views.valid))) == (True, True)
    assert not seen.valid.equal(other.valid)


def test_moves_says_whether_pixels_change_place() -> None:
    assert not STILL.moves
    assert not Gentle().moves
    for changes in ({"rotation": 4.5}, {"translate": 0.03}, {"scale": (0.98, 1.02)}, {"scale": (2.0, 2.0)}):
        assert replace(STILL, **changes).moves


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hue": 0.6}, r"gentle.hue: got 0.6; allowed: a share of the colour circle in \[0, 0.5\]"),
        ({"saturation": (1.2, 0.8)}, r"gentle.saturation: got \(1.2, 0.8\); allowed: two numbers, 0 <= low <= high"),
        ({"blur": (-1.0, 1.0)}, "gentle.blur: "),
        ({"noise": -0.1}, "gentle.noise: got -0.1; allowed: a number >= 0"),
        ({"noise_teacher": math.nan}, "gentle.noise_teacher: got nan"),
        ({"rotation": 200.0}, "gentle.rotation: "),
        ({"translate": 1.0}, "gentle.translate: "),
        ({"scale": (0.0, 1.0)}, "gentle.scale: "),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Gentle(**changes)
