"""The table of 14 operations of RandAugment (Cubuk et al. 2020), as ke2020 uses it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from semiseg.lazy import enhance, torch

if TYPE_CHECKING:
    from torch import Tensor


Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Rows (a, b, c): source coordinate = a*x + b*y + c, in pixels from the centre of the frame; as Pillow's AFFINE, but centred."""

# Photometric operations: image (n,C,H,W) in [0,1] and level (n,) int64 in 0..10 to image. Each has the semantics of the Pillow
# operation of that name on RGB and grey images, within 2/255, since Pillow rounds to 8 bits after every operation
# (tests/test_augment_ops.py). All but Color and Contrast act on each channel alone whatever there are; without RGB, Contrast does too,
# and Color leaves the image. Equalize and Posterize know 256 levels of the working range, whatever the image was stored in.


def identity(image: Tensor, level: Tensor) -> Tensor:
    return image


def auto_contrast(image: Tensor, level: Tensor) -> Tensor:
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    flat = high - low < 0.5 / 255  # one 8-bit level: Pillow leaves such a channel; kornia's normalize_min_max blackens it
    return torch.where(flat, image, (image - low) / (high - low).clamp(min=0.5 / 255))


def equalize(image: Tensor, level: Tensor) -> Tensor:
    return enhance.equalize(image)


def solarize(image: Tensor, level: Tensor) -> Tensor:
    threshold = 256 - 256 * level // 10
    return enhance.solarize(image, (threshold - 0.5) / 255)  # half a level lower: no 8-bit value sits on the threshold


def posterize(image: Tensor, level: Tensor) -> Tensor:
    return enhance.posterize(image, 4 - 4 * level // 10)


def color(image: Tensor, level: Tensor) -> Tensor:
    return enhance.adjust_saturation_with_gray_subtraction(image, _factor(level)) if image.shape[1] == 3 else image


def contrast(image: Tensor, level: Tensor) -> Tensor:
    if image.shape[1] == 3:
        return enhance.adjust_contrast_with_mean_subtraction(image, _factor(level))
    factor = _factor(level)[:, None, None, None]
    return (image * factor + image.mean((2, 3), keepdim=True) * (1 - factor)).clamp(0, 1)


def brightness(image: Tensor, level: Tensor) -> Tensor:
    return enhance.adjust_brightness_accumulative(image, _factor(level))


def sharpness(image: Tensor, level: Tensor) -> Tensor:
    return enhance.sharpness(image, _factor(level))


def _factor(level: Tensor) -> Tensor:
    """Strength of the last four: 0.1 to 1.9, and 1 changes nothing."""
    return 0.1 + 1.8 * level / 10


# Geometric operations: level in -10..10, its sign drawn, and `translate`, pixels at level 10, to the matrix. The authors' code
# rotates about the centre but shears about the top left corner; here both keep the centre, so that shearing loses less.


def rotate(level: int, translate: float) -> Matrix:
    angle = math.radians(int(30 * level / 10))
    return (math.cos(angle), -math.sin(angle), 0.0), (math.sin(angle), math.cos(angle), 0.0)


def shear_x(level: int, translate: float) -> Matrix:
    return (1.0, 0.3 * level / 10, 0.0), (0.0, 1.0, 0.0)


def shear_y(level: int, translate: float) -> Matrix:
    return (1.0, 0.0, 0.0), (0.3 * level / 10, 1.0, 0.0)


def translate_x(level: int, translate: float) -> Matrix:
    return (1.0, 0.0, _whole(translate * level / 10)), (0.0, 1.0, 0.0)


def translate_y(level: int, translate: float) -> Matrix:
    return (1.0, 0.0, 0.0), (0.0, 1.0, _whole(translate * level / 10))


def _whole(pixels: float) -> float:
    """Nearest whole number of pixels, halves away from 0: so that both directions go equally far."""
    return math.copysign(math.floor(abs(pixels) + 0.5), pixels)


PHOTOMETRIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Identity": identity,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Solarize": solarize,
    "Posterize": posterize,
    "Color": color,
    "Contrast": contrast,
    "Brightness": brightness,
    "Sharpness": sharpness,
}
GEOMETRIC: dict[str, Callable[[int, float], Matrix]] = {
    "Rotate": rotate,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
}
OPS = PHOTOMETRIC | GEOMETRIC
"""The table of 14; a draw is a position in it."""
