"""Plain and weakly augmented views: where every pixel of the crop comes from."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semiseg.augment.views import unaugmented, weak
from semiseg.batch import IGNORE, Views
from semiseg.config import Weak

CPU = torch.device("cpu")
COLOURS = np.array([[20, 220, 60], [230, 40, 90], [90, 120, 250], [250, 250, 20]], np.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def painted(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of four classes in large regions with straight borders, and the image that shows each class in its colour."""
    angle, dy, dx = np.random.default_rng(seed).uniform([0, 0.3, 0.3], [np.pi, 0.7, 0.7])
    y, x = np.mgrid[:height, :width] + 0.5
    y, x = y - dy * height, x - dx * width
    mask = (2 * (np.cos(angle) * y > np.sin(angle) * x) + (np.sin(angle) * y > -np.cos(angle) * x)).astype(np.uint8)
    return COLOURS[mask], mask


def interior(mask: Tensor, valid: Tensor, pixels: int) -> Tensor:
    """Valid pixels whose class is the only one up to that many pixels away; the frame's edge may hide another."""
    ids, side = torch.where(valid, mask, IGNORE).float()[:, None], 2 * pixels + 1
    ids = F.pad(ids, [pixels] * 4, value=IGNORE)
    high, low = F.max_pool2d(ids, side, 1), -F.max_pool2d(-ids, side, 1)
    return ((high == low) & valid[:, None])[:, 0]


def assert_image_shows_mask(views: Views, pixels: int) -> None:
    """The colour is that of the class away from borders between classes."""
    mask = views.masks[0]
    inside = interior(mask, views.valid, pixels)
    assert inside.float().mean() > 0.2
    colours = torch.from_numpy(COLOURS / np.float32(255))[mask.clamp(max=3)]
    torch.testing.assert_close(views.image.permute(0, 2, 3, 1)[inside], colours[inside], atol=2e-3, rtol=0)


@pytest.mark.parametrize(("size", "crop"), [((64, 64), (64, 64)), ((70, 90), (40, 60)), ((40, 30), (48, 64))])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 1.5)])
def test_image_and_mask_move_together(size: tuple[int, int], crop: tuple[int, int], scale: tuple[float, float]) -> None:
    images, masks = zip(*(painted(*size, seed) for seed in range(16)), strict=True)
    others = [np.uint8(3) - mask for mask in masks], [np.where(mask == 1, IGNORE, mask).astype(np.uint8) for mask in masks]
    views = weak(images, [masks, *others], crop=crop, weak=Weak(scale=scale, flip=0.5), generator=seeded(), device=CPU)
    assert views.image.shape == (16, 3, *crop)
    assert views.image.dtype == torch.float32
    assert views.valid.dtype == torch.bool
    assert_image_shows_mask(views, 1)
    first, second, third = views.masks
    assert first.dtype == torch.int64
    assert torch.equal(first == IGNORE, ~views.valid)
    assert torch.equal(second, torch.where(views.valid, 3 - first, IGNORE))
    assert torch.equal(third, torch.where(first == 1, IGNORE, first))
    assert (views.image.permute(0, 2, 3, 1)[~views.valid] == 0.5).all()


def test_maps_of_16_bits_keep_their_values_next_to_masks() -> None:
    images, masks = zip(*(painted(40, 50, seed) for seed in range(8)), strict=True)
    wide = [mask.astype(np.uint16) * 21845 for mask in masks]  # up to 65535
    here, alone, narrow = (
        weak(images, maps, crop=(48, 40), weak=Weak(scale=(0.6, 1.4), flip=0.5), generator=seeded(), device=CPU)
        for maps in ([masks, wide], [wide], [masks])
    )
    assert here.masks[0].equal(narrow.masks[0])
    assert here.masks[1].equal(torch.where(here.valid, 21845 * here.masks[0], IGNORE))
    assert here.masks[1].max() == 65535
    assert alone.masks[0].equal(here.masks[1])
    assert not here.valid.all()


def test_whole_image_at_scale_one_is_the_plain_view() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (45, 67, 3), dtype=np.uint8) for _ in range(3)]
    masks = [[rng.integers(0, 256, (45, 67), dtype=np.uint8) for _ in range(3)] for _ in range(2)]
    same = weak(images, masks, crop=(45, 67), weak=Weak(scale=(1, 1), flip=0), generator=seeded(), device=CPU)
    view = unaugmented(images, masks, device=CPU)
    torch.testing.assert_close(same.image, view.image, atol=1e-6, rtol=0)
    assert all(torch.equal(one, other) for one, other in zip(same.masks, view.masks, strict=True))
    assert same.valid.all()
    assert view.valid.all()
    assert torch.equal(view.image[1], torch.from_numpy(images[1]).permute(2, 0, 1).float() / 255)
    assert torch.equal(view.masks[1][2], torch.from_numpy(masks[1][2]).long())


def test_flip_mirrors_left_and_right() -> None:
    image, mask = painted(20, 30, 1)
    views = weak([image], [[mask]], crop=(20, 30), weak=Weak(scale=(1, 1), flip=1), generator=seeded(), device=CPU)
    assert np.array_equal(views.masks[0][0].numpy(), mask[:, ::-1])
    np.testing.assert_allclose(views.image[0].permute(1, 2, 0).numpy(), image[:, ::-1] / 255, atol=1e-6)


def test_half_of_the_crops_are_flipped_and_every_position_is_taken() -> None:
    image = np.broadcast_to(np.arange(10, dtype=np.uint8)[None, :, None], (12, 10, 3))
    row = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None], (12, 10))
    views = weak([image] * 600, [[row] * 600], crop=(8, 8), weak=Weak(scale=(1, 1), flip=0.5), generator=seeded(), device=CPU)
    left, right = (views.image[:, 0, 0, [0, -1]] * 255).round().unbind(1)
    assert 250 < (left > right).sum() < 350
    columns, rows = torch.minimum(left, right).long().bincount(), views.masks[0][:, 0, 0].bincount()
    assert len(columns) == 3
    assert (columns > 160).all()
    assert len(rows) == 5
    assert (rows > 85).all()


def test_scale_two_shows_content_twice_as_large() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[12:20, 10:22] = 1
    views = weak([COLOURS[mask]], [[mask]], crop=(64, 64), weak=Weak(scale=(2, 2), flip=0), generator=seeded(), device=CPU)
    assert torch.equal(views.masks[0][0], torch.from_numpy(mask).long().repeat_interleave(2, 0).repeat_interleave(2, 1))
    smooth = F.interpolate(
        torch.from_numpy(COLOURS[mask] / np.float32(255)).permute(2, 0, 1)[None], scale_factor=2, mode="bilinear"
    )
    torch.testing.assert_close(views.image, smooth, atol=1e-5, rtol=0)


def test_a_scaled_crop_is_a_window_of_the_scaled_image() -> None:
    ramp = np.broadcast_to((3 * np.arange(64, dtype=np.uint8))[None, :, None], (64, 64, 3))
    ramps = [ramp, ramp.transpose(1, 0, 2)] * 20
    views = weak(ramps, [], crop=(32, 32), weak=Weak(scale=(1.5, 1.5), flip=0), generator=seeded(), device=CPU)
    shown = 255 * torch.cat([views.image[::2, 0].mean(1), views.image[1::2, 0].mean(2)])  # along each ramp
    steps = shown.diff(dim=1)
    sloped = (shown[:, :-1] > 0.1) & (shown[:, 1:] < 188.9)  # the outermost pixels of the whole image repeat its edge
    assert sloped.float().mean() > 0.95
    torch.testing.assert_close(steps[sloped], torch.full_like(steps[sloped], 2.0), atol=1e-3, rtol=0)


def test_nothing_bleeds_in_from_outside_the_image() -> None:
    white = [np.full((size, 70 - size, 3), 255, np.uint8) for size in (8, 20, 33, 60)] * 4
    views = weak(white, [], crop=(48, 48), weak=Weak(scale=(0.5, 2.0), flip=0.5), generator=seeded(), device=CPU)
    image = views.image.permute(0, 2, 3, 1)
    assert 0.2 < views.valid.float().mean() < 0.9
    assert (image[views.valid] > 0.9999).all()
    assert (image[~views.valid] == 0.5).all()


def test_small_images_land_anywhere_inside_the_crop_unharmed() -> None:
    image, mask = painted(10, 12, 2)
    views = weak([image] * 50, [[mask] * 50], crop=(16, 20), weak=Weak(scale=(1, 1), flip=0), generator=seeded(), device=CPU)
    corners = set()
    for one, ids, valid in zip(views.image, views.masks[0], views.valid, strict=True):
        y, x = (int(i.min()) for i in valid.nonzero(as_tuple=True))
        corners.add((y, x))
        assert valid.sum() == mask.size
        assert np.array_equal(ids[y : y + 10, x : x + 12].numpy(), mask)
        np.testing.assert_allclose(one[:, y : y + 10, x : x + 12].permute(1, 2, 0).numpy(), image / 255, atol=1e-6)
    assert {y for y, _ in corners} == set(range(7))
    assert {x for _, x in corners} == set(range(9))


def test_sizes_may_differ_and_arrays_may_be_read_only_maps(tmp_path: Path) -> None:
    pairs = [painted(30 + 9 * i, 70 - 11 * i, i) for i in range(4)]
    mapped = []
    for i, (image, _) in enumerate(pairs):
        np.save(tmp_path / f"{i}.npy", image)
        mapped.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    views = weak(
        mapped, [[m for _, m in pairs]], crop=(40, 40), weak=Weak(scale=(0.7, 1.4), flip=0.5), generator=seeded(), device=CPU
    )
    assert views.image.shape == (4, 3, 40, 40)
    assert_image_shows_mask(views, 1)
    assert torch.equal(views.masks[0] == IGNORE, ~views.valid)


def test_the_seed_decides_and_neighbours_do_not() -> None:
    images, masks = zip(*(painted(50, 50, seed) for seed in range(6)), strict=True)

    def run(images: tuple[np.ndarray, ...], seed: int) -> Views:
        return weak(
            images, [masks[: len(images)]], crop=(32, 32), weak=Weak(scale=(0.5, 1.5), flip=0.5), generator=seeded(seed), device=CPU
        )

    first = run(images, 0)
    assert torch.equal(first.image, run(images, 0).image)
    assert not torch.equal(first.image, run(images, 1).image)
    same = run((images[0],) * 6, 0).image
    assert len({one.numpy().tobytes() for one in same}) == 6
    torch.testing.assert_close(run(images[:3], 0).image, first.image[:3], atol=1e-4, rtol=0)
    assert torch.equal(run((*images[3:], *images[3:]), 0).valid[3:], first.valid[3:])


def test_without_masks_there_are_none() -> None:
    image, _ = painted(20, 20, 0)
    assert weak([image], [], crop=(8, 8), weak=Weak(scale=(1, 1), flip=0.5), generator=seeded(), device=CPU).masks == ()
    assert unaugmented([image], [], device=CPU).masks == ()


def test_wrong_shapes_are_named() -> None:
    image, mask = painted(20, 20, 0)

    def run(images: list[np.ndarray], masks: list[list[np.ndarray]]) -> None:
        weak(images, masks, crop=(8, 8), weak=Weak(scale=(1, 1), flip=0.5), generator=seeded(), device=CPU)

    with pytest.raises(ValueError, match="at least one"):
        run([], [])
    with pytest.raises(ValueError, match=r"images\[0\]: \(H,W,C\) of uint8, .* expected"):
        run([mask], [[mask]])
    with pytest.raises(ValueError, match=r"images\[0\].*float64"):
        run([image / 255], [[mask]])
    with pytest.raises(ValueError, match=r"masks\[0\]: 2 masks expected"):
        run([image, image], [[mask]])
    with pytest.raises(ValueError, match=r"masks\[1\]\[0\]: \(20, 20\) uint8 or uint16 expected, .* got \(10, 20\) uint8"):
        run([image], [[mask], [mask[:10]]])
    with pytest.raises(ValueError, match=r"masks\[0\]\[0\]: .* got \(20, 20\) int64"):
        run([image], [[mask.astype(np.int64)]])
    with pytest.raises(ValueError, match="one size"):
        unaugmented([image, image[:10]], [], device=CPU)
