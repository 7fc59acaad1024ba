"""Turns, vertical flips and rotations of the weak augmentation against numpy and scipy, and images of other types and channels."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_augment_weak import CPU, assert_image_shows_mask, painted, seeded

from semiseg.augment import crops
from semiseg.augment.crops import Draw
from semiseg.augment.views import Images, Ranges, unaugmented, weak
from semiseg.batch import IGNORE, Views
from semiseg.config import Weak

STILL = Weak(scale=(1.0, 1.0), flip=0.0)
PLAIN = Draw(scale=1.0, position=(0.0, 0.0), flip=False, vertical_flip=False, quarters=0, angle=0.0)
NAMES = "uint8", "uint16", "float16", "float32"


def made(settings: Weak, images: Images, masks: list[Images], crop: tuple[int, int], seed: int = 0) -> Views:
    return weak(images, masks, weak=settings, crop=crop, generator=seeded(seed), device=CPU)


def drawn(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    """Every image is drawn the same."""
    monkeypatch.setattr("semiseg.augment.views.draw", lambda count, *_: [PLAIN._replace(**values)] * count)


# ---- turns and flips


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("size", [(24, 24), (20, 31)])
def test_turns_and_flips_are_those_of_numpy(
    quarters: int, flip: bool, vertical: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crop of the turned image has the shape of a window that was turned, so the whole image fits the turned shape."""
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)
    drawn(monkeypatch, quarters=quarters, flip=flip, vertical_flip=vertical)

    def expected(pixels: np.ndarray) -> np.ndarray:
        turned = np.rot90(pixels, quarters)
        return np.flip(turned, tuple(axis for axis, on in enumerate((vertical, flip)) if on))

    views = made(STILL, [image], [[mask]], expected(mask).shape)
    assert np.array_equal(views.masks[0][0].numpy(), expected(mask))
    np.testing.assert_allclose(views.image[0].permute(1, 2, 0).numpy(), expected(image) / np.float32(255), atol=1e-7)
    assert views.valid.all()


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_crop_keeps_its_shape_where_a_window_is_turned(quarters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image of 20 x 31 pixels a crop of 20 x 31, turned, shows all rows of 20 columns, and nothing beyond them."""
    image, mask = painted(20, 31, 3)
    drawn(monkeypatch, quarters=quarters)
    views = made(STILL, [image], [[mask]], (20, 31))
    window = np.pad(mask[:, :20], ((0, 11), (0, 0)), constant_values=IGNORE)  # position 0: nothing below the image
    expected = np.rot90(window, quarters)
    assert views.image.shape == (1, 3, 20, 31)
    assert np.array_equal(views.masks[0][0].numpy(), expected)
    assert np.array_equal(views.valid[0].numpy(), expected != IGNORE)
    assert (views.image.movedim(1, 3)[~views.valid] == 0.5).all()


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.6, 1.7)])
@pytest.mark.parametrize("crop", [(48, 48), (30, 50), (90, 60)])
@pytest.mark.parametrize("rotation", [0.0, 35.0])
def test_masks_move_exactly_with_their_images(scale: tuple[float, float], crop: tuple[int, int], rotation: float) -> None:
    settings = Weak(scale=scale, flip=0.5, vertical_flip=0.5, rot90=0.7, rotation=rotation)
    images, masks = zip(*(painted(60, 80, seed) for seed in range(24)), strict=True)
    views = made(settings, images, [masks, [3 - mask for mask in masks]], crop)
    assert_image_shows_mask(views, 2 if rotation else 1)
    first, second = views.masks
    assert torch.equal(first == IGNORE, ~views.valid)
    assert torch.equal(second, torch.where(views.valid, 3 - first, IGNORE))
    assert (views.image.movedim(1, 3)[~views.valid] == 0.5).all()


# ---- rotation


def smooth(size: tuple[int, int]) -> np.ndarray:
    """A picture (H,W) in 0..1 that bilinear and cubic reading show alike."""
    y, x = np.mgrid[: size[0], : size[1]]
    return (0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9) + 0.002 * x).astype(np.float32)


@pytest.mark.parametrize("degrees", [-90.0, -37.0, 5.0, 20.0, 90.0, 180.0])
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_a_rotation_is_scipys(degrees: float, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    picture, (_, mask) = smooth(size), painted(*size, 4)
    drawn(monkeypatch, angle=float(np.radians(degrees)))
    views = made(STILL, [picture[..., None]], [[mask]], size)
    inside = ndimage.rotate(np.ones(size), degrees, reshape=False, order=1) > 0.999
    expected = ndimage.rotate(picture, degrees, reshape=False, order=1)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(views.image[0, 0].numpy()[inside], expected[inside], atol=2e-3)
    labels = ndimage.rotate(mask, degrees, reshape=False, order=0, mode="nearest")
    assert (views.masks[0][0].numpy() == labels)[inside].mean() > 0.99
    edge = ndimage.rotate(np.ones(np.add(size, 4)), degrees, reshape=False, order=0)[2:-2, 2:-2] == 0  # two pixels beyond
    assert not views.valid[0].numpy()[edge].any()
    assert views.valid[0].numpy()[inside].all()


def test_a_rotated_crop_shows_what_the_image_has_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crop from the middle is the middle of the whole image rotated about the crop's centre."""
    picture = smooth((100, 120))
    drawn(monkeypatch, position=(0.5, 0.5), angle=float(np.radians(30)))  # of 71 x 71 places the one at 35, 45
    views = made(STILL, [picture[..., None]], [], (30, 30))
    expected = ndimage.rotate(picture[:, 10:110], 30, reshape=False, order=1)[35:65, 35:65]
    np.testing.assert_allclose(views.image[0, 0].numpy(), expected, atol=2e-3)
    assert views.valid.all()


def test_a_rotation_by_a_right_angle_is_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = painted(40, 40, 2)
    for quarters in (1, 2):
        drawn(monkeypatch, angle=quarters * np.pi / 2)
        rotated = made(STILL, [image], [[mask]], (40, 40))
        drawn(monkeypatch, quarters=quarters)
        turned = made(STILL, [image], [[mask]], (40, 40))
        assert rotated.masks[0].equal(turned.masks[0])
        torch.testing.assert_close(rotated.image, turned.image, atol=1e-4, rtol=0)


# ---- what is drawn


def draws(settings: Weak, count: int = 4000) -> list[Draw]:
    return crops.draw(count, settings, seeded())


def test_old_draws_are_the_same_whatever_is_drawn_besides() -> None:
    old, new = draws(Weak()), draws(Weak(vertical_flip=0.5, rot90=0.5, rotation=10.0))
    assert [one[:3] for one in old] == [one[:3] for one in new]
    assert {one[3:] for one in old} == {(False, 0, 0.0)}


def test_each_of_them_has_its_probability_and_is_independent_of_the_others() -> None:
    found = draws(Weak(flip=0.5, vertical_flip=0.3, rot90=0.6, rotation=25.0))
    share = {name: np.mean([getattr(one, name) for one in found]) for name in ("flip", "vertical_flip")}
    assert share == {"flip": pytest.approx(0.5, abs=0.03), "vertical_flip": pytest.approx(0.3, abs=0.03)}
    quarters = Counter(one.quarters for one in found)
    assert [quarters[k] / len(found) for k in range(4)] == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=0.03)
    angles = np.degrees([one.angle for one in found])
    assert np.abs(angles).max() <= 25
    assert np.histogram(angles, 5, (-25, 25))[0] / len(found) == pytest.approx([0.2] * 5, abs=0.03)
    table = np.array([[one.flip, one.vertical_flip, one.quarters > 0, one.angle > 0] for one in found])
    assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.05


def test_ssl4mis_is_a_value() -> None:
    """Its code: with 0.5 np.rot90 by k = 0..3 and a flip along an axis, otherwise with 0.5 a rotation by -20 to 20 degrees."""
    found = draws(Weak(scale=(1.0, 1.0), flip=1.0, rot90=0.75, rotation=20.0, either=0.5), 8000)
    three = np.arange(9).reshape(3, 3)
    rng = np.random.default_rng(0)
    kinds = Counter(
        "still" if one == PLAIN._replace(scale=1.0, position=one.position) else "rotated" for one in found if not one.flip
    )
    assert kinds["rotated"] / len(found) == pytest.approx(0.25, abs=0.02)
    assert kinds["still"] / len(found) == pytest.approx(0.25, abs=0.02)
    assert all(one.angle == 0 for one in found if one.flip)
    assert all(one.quarters == 0 for one in found if one.angle)
    ours = Counter(np.flip(np.rot90(three, one.quarters), 1).tobytes() for one in found if one.flip)
    theirs = Counter(np.flip(np.rot90(three, int(rng.integers(4))), int(rng.integers(2))).tobytes() for _ in range(4000))
    assert ours.keys() == theirs.keys()
    assert {key: count / 4000 for key, count in ours.items()} == pytest.approx(dict.fromkeys(theirs, 0.25), abs=0.04)


# ---- types, channels and ranges


def stored(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Values over all that the type holds."""
    values = np.random.default_rng(seed).random(shape)
    return values.astype(name) if name.startswith("float") else (values * np.iinfo(name).max).astype(name)


def ranged(count: int, channels: int) -> list[np.ndarray]:
    """Ranges within 0.1..0.9 of float images."""
    rng = np.random.default_rng(1)
    return [np.stack([rng.uniform(0.1, 0.4, channels), rng.uniform(0.6, 0.9, channels)]).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("with_ranges", [False, True])
def test_every_type_and_number_of_channels_is_in_its_working_range(name: str, channels: int, with_ranges: bool) -> None:
    images = [stored(name, (17, 23, channels), seed) for seed in range(3)]
    top = 1.0 if name.startswith("float") else float(np.iinfo(name).max)
    ranges: Ranges | None = [one * np.float32(top) for one in ranged(3, channels)] if with_ranges else None
    limits = ranges or [np.array([[0.0] * channels, [top] * channels])] * 3
    expected = [
        np.clip((image.astype(np.float64) - low) / (high - low), 0, 1) for image, (low, high) in zip(images, limits, strict=True)
    ]
    view = unaugmented(images, [], ranges=ranges, device=CPU)
    assert (view.image.shape, view.image.dtype) == ((3, channels, 17, 23), torch.float32)
    np.testing.assert_allclose(view.image.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    same = weak(images, [], weak=STILL, crop=(17, 23), ranges=ranges, generator=seeded(), device=CPU)
    torch.testing.assert_close(same.image, view.image, atol=1e-6, rtol=0)
    moved = weak(
        images, [], weak=Weak(flip=0.5, rot90=0.5, rotation=30.0), crop=(20, 20), ranges=ranges, generator=seeded(), device=CPU
    )
    assert 0 <= moved.image.min() <= moved.image.max() <= 1


def test_values_are_clipped_to_their_range_before_they_are_interpolated() -> None:
    """Between a dark and a very bright pixel the upscaled image is half as bright as white."""
    image = np.array([[0, 60000], [0, 60000]], np.uint16)[..., None]
    ranges = [np.array([[0.0], [100.0]], np.float32)]
    twice = weak(
        [image], [], weak=Weak(scale=(2.0, 2.0), flip=0.0), crop=(4, 4), ranges=ranges, generator=seeded(), device=CPU
    ).image[0, 0]
    torch.testing.assert_close(twice, torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(4, 4))


def test_ranges_are_of_each_image_and_a_flat_one_is_black() -> None:
    images = [np.full((4, 4, 2), value, np.uint8) for value in (51, 51, 51)]
    ranges = [None, np.array([[0.0, 51.0], [102.0, 51.0]], np.float32), np.array([[51.0, 0.0], [60.0, 51.0]], np.float32)]
    view = unaugmented(images, [], ranges=ranges, device=CPU)
    assert view.image[:, :, 0, 0].tolist() == [pytest.approx([0.2, 0.2]), [0.5, 0.0], [0.0, 1.0]]


def test_only_the_pixels_under_the_crop_are_read(tmp_path: Path) -> None:
    """All others are NaN, which would spread."""
    shape = (400, 500, 2)
    images = []
    for seed in range(8):
        whole = np.full(shape, np.nan, np.float32)
        whole[100:300, 150:350] = 0.25  # a crop from the middle, rotated and scaled down
        np.save(tmp_path / f"{seed}.npy", whole)
        images.append(np.load(tmp_path / f"{seed}.npy", mmap_mode="r"))
    settings = Weak(scale=(0.5, 1.5), flip=0.5, vertical_flip=0.5, rot90=0.5, rotation=180.0)
    found = crops.draw(8, settings, seeded())
    middle = [one._replace(position=(0.5, 0.5)) for one in found]
    for one, image in zip(middle, images, strict=True):
        window = crops.Crop(image.shape[:2], (30, 40), settings, one).window(image)
        assert window.shape[0] * window.shape[1] <= 4 * 50 * 50 * 2
        assert np.isfinite(window).all()


def test_wrong_types_channels_and_ranges_are_named() -> None:
    grey = np.zeros((8, 8, 1), np.uint16)

    def run(images: list[np.ndarray], ranges: Ranges | None = None) -> None:
        unaugmented(images, [], ranges=ranges, device=CPU)

    with pytest.raises(ValueError, match=r"images\[1\]: \(H,W,1\) uint16 expected, like the first, got \(8, 8, 2\) uint16"):
        run([grey, np.zeros((8, 8, 2), np.uint16)])
    with pytest.raises(ValueError, match=r"images\[1\]: \(H,W,1\) uint16 expected, like the first, got .* float32"):
        run([grey, grey.astype(np.float32)])
    with pytest.raises(ValueError, match=r"images\[0\]: .* got \(8, 8, 0\) uint8"):
        run([np.zeros((8, 8, 0), np.uint8)])
    with pytest.raises(ValueError, match="ranges: 1 expected, one per image, got 2"):
        run([grey], [None, None])
    with pytest.raises(ValueError, match=r"ranges\[0\]: \(2, 1\) expected, got \(2, 3\)"):
        run([grey], [np.zeros((2, 3), np.float32)])
