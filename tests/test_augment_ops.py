"""Every operation of RandAugment alone, against Pillow or by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from test_augment_weak import painted

from semiseg.augment.operations import OPS, PHOTOMETRIC
from semiseg.augment.randaugment import Draws, apply_draws
from semiseg.augment.views import unaugmented
from semiseg.batch import IGNORE, Views

PILLOW: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "Identity": lambda image, m: image,
    "AutoContrast": lambda image, m: ImageOps.autocontrast(image),
    "Equalize": lambda image, m: ImageOps.equalize(image),
    "Solarize": lambda image, m: ImageOps.solarize(image, 256 - int(256 * m / 10)),
    "Posterize": lambda image, m: ImageOps.posterize(image, 4 - int(4 * m / 10)),
    "Color": lambda image, m: ImageEnhance.Color(image).enhance(0.1 + 1.8 * m / 10),
    "Contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(0.1 + 1.8 * m / 10),
    "Brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(0.1 + 1.8 * m / 10),
    "Sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(0.1 + 1.8 * m / 10),
}


def pictures() -> list[np.ndarray]:
    """48 x 64 uint8: noise, a dark and low-contrast ramp, a full ramp, a flat picture, and one of two values."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    noise = rng.integers(0, 256, (48, 64, 3))
    dark = np.stack([30 + x, 90 - y, 20 + (x + y) // 2], 2)
    full = np.stack([4 * x, 5 * y, 255 - 2 * (x + y)], 2)
    flat = np.broadcast_to([7, 100, 255], (48, 64, 3))
    two = np.where(noise[..., :1] < 128, 16, 200) + np.zeros((1, 1, 3))
    return [np.ascontiguousarray(picture).clip(0, 255).astype(np.uint8) for picture in (noise, dark, full, flat, two)]


def randaugment(views: Views, draws: Draws, translate: float) -> Views:
    """The drawn operations on images, and on their masks and `valid` as they move along."""
    image, move = apply_draws(views.image, draws, translate)
    return Views(image, tuple(move(mask) for mask in views.masks), move(views.valid))


def one_op(views: Views, name: str, level: int, sign: int = 1, translate: float = 0.0) -> Views:
    """Apply one operation to every sample."""
    column = torch.ones(len(views.image), 1, dtype=torch.long)
    draws = Draws(op=column * list(OPS).index(name), applied=column > 0, level=column * level, sign=column * sign)
    return randaugment(views, draws, translate)


def painted_views(count: int = 8, size: tuple[int, int] = (64, 48)) -> Views:
    images, masks = zip(*(painted(*size, seed) for seed in range(count)), strict=True)
    return unaugmented(images, [masks], device=torch.device("cpu"))


def noisy_views(count: int = 6, size: int = 32) -> Views:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]
    masks = [rng.integers(0, 5, (size, size), dtype=np.uint8) for _ in range(count)]
    return unaugmented(images, [masks], device=torch.device("cpu"))


def test_table_has_the_papers_fourteen_operations() -> None:
    assert len(OPS) == 14
    assert set(PILLOW) == set(PHOTOMETRIC)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_operation_is_pillows(name: str) -> None:
    views = unaugmented(pictures(), [[np.zeros((48, 64), np.uint8)] * 5], device=torch.device("cpu"))
    for level in range(10 if name == "Posterize" else 11):  # 0 bits: Pillow 13 refuses
        after = one_op(views, name, level)
        expected = np.stack([np.asarray(PILLOW[name](Image.fromarray(picture), level)) for picture in pictures()])
        difference = np.abs(after.image.permute(0, 2, 3, 1).numpy() * 255 - expected)
        assert difference.max() <= 2, f"level {level}: {difference.max((1, 2, 3))}"
        assert after.image.min() >= 0
        assert after.image.max() <= 1
        assert torch.equal(after.masks[0], views.masks[0])
        assert after.valid.all()


def test_levels_are_per_sample() -> None:
    views = noisy_views(9)
    level = torch.arange(1, 10)[:, None]
    for name in ("Solarize", "Posterize", "Color", "Contrast", "Brightness", "Sharpness", "Rotate", "ShearX", "TranslateY"):
        op = torch.full_like(level, list(OPS).index(name))
        together = randaugment(views, Draws(op, op >= 0, level, torch.ones_like(op)), 10.0)
        for i in range(9):
            alone = one_op(
                Views(views.image[i : i + 1], (views.masks[0][i : i + 1],), views.valid[i : i + 1]), name, i + 1, 1, 10.0
            )
            torch.testing.assert_close(together.image[i : i + 1], alone.image, atol=1e-6, rtol=0)
            assert torch.equal(together.masks[0][i : i + 1], alone.masks[0])


def shifted(array: np.ndarray, pixels: int, axis: int, fill: float) -> np.ndarray:
    """Content moved towards index 0 by that many pixels, as Pillow's AFFINE moves it."""
    moved = np.roll(array, -pixels, axis)
    index: list[slice] = [slice(None)] * array.ndim
    index[axis] = slice(-pixels, None) if pixels > 0 else slice(0, -pixels)
    if pixels:
        moved[tuple(index)] = fill
    return moved


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("name", "axis"), [("TranslateX", 1), ("TranslateY", 0)])
def test_translation_is_by_whole_pixels(name: str, axis: int, sign: int) -> None:
    views = noisy_views(2, 33)
    for level in range(11):
        after = one_op(views, name, level, sign, translate=7.3)
        pixels = sign * math.floor(0.73 * level + 0.5)
        image = shifted(views.image.numpy(), pixels, axis + 2, 0.5)
        np.testing.assert_allclose(after.image.numpy(), image, atol=1e-5)
        assert np.array_equal(after.masks[0].numpy(), shifted(views.masks[0].numpy(), pixels, axis + 1, IGNORE))
        assert np.array_equal(after.valid.numpy(), shifted(views.valid.numpy(), pixels, axis + 1, False))


def pillow_warp(name: str, picture: Image.Image, level: int, sample: Image.Resampling, fill: int) -> Image.Image:
    width, height = picture.size
    slope = 0.3 * level / 10
    colour = (fill,) * len(picture.getbands()) if len(picture.getbands()) > 1 else fill
    if name == "Rotate":
        return picture.rotate(int(30 * level / 10), sample, fillcolor=colour)
    x = (1, slope, -slope * height / 2, 0, 1, 0)
    y = (1, 0, 0, slope, 1, -slope * width / 2)
    data = x if name == "ShearX" else y
    return picture.transform(picture.size, Image.Transform.AFFINE, data, sample, fillcolor=colour)


@pytest.mark.parametrize("level", [-10, -3, 1, 7])
@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY"])
def test_rotation_and_shear_are_pillows_about_the_centre(name: str, level: int) -> None:
    views = painted_views()
    after = one_op(views, name, abs(level), 1 if level > 0 else -1)
    for i in range(len(views.image)):
        mask = Image.fromarray(views.masks[0][i].to(torch.uint8).numpy())
        expected = np.asarray(pillow_warp(name, mask, level, Image.Resampling.NEAREST, IGNORE))
        assert (after.masks[0][i].numpy() == expected).mean() > 0.985
        image = Image.fromarray((views.image[i].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        expected = np.asarray(pillow_warp(name, image, level, Image.Resampling.BILINEAR, 128))
        close = np.abs(after.image[i].permute(1, 2, 0).numpy() * 255 - expected).max(2) < 2
        assert close.mean() > 0.985
    assert torch.equal(after.valid, after.masks[0] != IGNORE)
    assert (after.image.permute(0, 2, 3, 1)[~after.valid] == 0.5).all()
