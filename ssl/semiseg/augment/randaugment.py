"""RandAugment of an image and its masks, as ke2020 uses it: random operations from a table of 14, one after the other.

Every random number is drawn before anything is computed, the same amount for every sample, on the CPU: one seed gives one
augmentation on every device, and what happens to a sample does not depend on its neighbours.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from kornia import enhance
from torch import Tensor

from semiseg.augment.warp import affine_grid, resample
from semiseg.batch import Views
from semiseg.config import Strong

Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Rows (a, b, c): source coordinate = a*x + b*y + c, in pixels from the centre of the frame; as Pillow's AFFINE, but centred."""

# Photometric operations: image (n,3,H,W) in [0,1] and level (n,) int64 in 0..10 to image. Each has the semantics of the Pillow
# operation of that name, within 2/255, since Pillow rounds to 8 bits after every operation; tests/test_augment_ops.py.


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
    return enhance.adjust_saturation_with_gray_subtraction(image, _factor(level))


def contrast(image: Tensor, level: Tensor) -> Tensor:
    return enhance.adjust_contrast_with_mean_subtraction(image, _factor(level))


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


class Draws(NamedTuple):
    """What happens to each of N samples; all (N,S) on the CPU, one column per slot, applied from left to right.

    op       int64, position in OPS
    applied  bool, False: the slot leaves the sample as it is
    level    int64 in 0..10
    sign     int64, -1 or 1: the direction of a geometric operation
    """

    op: Tensor
    applied: Tensor
    level: Tensor
    sign: Tensor


def to_draws(uniform: Tensor, settings: Strong) -> Draws:
    """Turn numbers (N,S,4) uniform in [0,1) into draws."""
    op, applied, level, sign = uniform.unbind(2)
    low, high = settings.levels
    return Draws(
        op=(op * len(OPS)).long(),
        applied=applied < settings.probability,
        level=low + (level * (high - low + 1)).long(),
        sign=1 - 2 * (sign < 0.5).long(),
    )


def randaugment(views: Views, draws: Draws, translate: float) -> Views:
    """Apply the drawn operations: photometric ones to the image, geometric ones to the image, the masks and `valid` alike.

    A slot's samples are grouped by operation, and its geometric operations share one warp. Where a warp reads outside the frame
    the image is grey, the masks are IGNORE and `valid` is False.

    Args: views; draws for its N samples; translate, the shift in pixels of TranslateX and TranslateY at level 10.
    Returns: new Views of the same shapes; `views` itself is not written to.
    """
    device = views.image.device
    groups = _groups(draws)
    # All that the device needs to know is sent at once, and without waiting for it: a blocking transfer per group would cost
    # more than the operations.
    flat = torch.tensor([row for _, _, group in groups for row in group], dtype=torch.long)
    rows = flat.to(device, non_blocking=True).split([len(group) for _, _, group in groups])
    level = draws.level.to(device, non_blocking=True)
    matrices = [_matrix(draws, row, slot, translate) for slot, name, group in groups if name == "warp" for row in group]
    matrix = torch.tensor(matrices, dtype=torch.float32).view(-1, 2, 3).to(device, non_blocking=True)

    image = views.image.clone()
    labels = torch.stack([*views.masks, views.valid.long()], 1).float() if matrices else views.image.new_empty(0)
    warped = 0
    for (slot, name, group), index in zip(groups, rows, strict=True):
        if name == "warp":
            grid, inside = affine_grid(matrix[warped : warped + len(group)], (image.shape[2], image.shape[3]))
            moved, moved_labels = resample(image[index], labels[index], grid, inside)
            image.index_copy_(0, index, moved)
            labels.index_copy_(0, index, moved_labels)
            warped += len(group)
        else:
            image.index_copy_(0, index, PHOTOMETRIC[name](image[index], level[index, slot]))
    if not matrices:
        return Views(image, views.masks, views.valid)
    *masks, valid = labels.unbind(1)
    return Views(image, tuple(mask.long() for mask in masks), valid == 1)  # out of frame `valid` holds IGNORE as well


def _groups(draws: Draws) -> list[tuple[int, str, list[int]]]:
    """(slot, name of a photometric operation or "warp", its samples), in the order of application; Identity is left out."""
    names, applied = list(OPS), draws.applied.tolist()
    groups: dict[tuple[int, str], list[int]] = {}
    for row, ops in enumerate(draws.op.tolist()):
        for slot, op in enumerate(ops):
            name = names[op] if names[op] in PHOTOMETRIC else "warp"
            if applied[row][slot] and name != "Identity":
                groups.setdefault((slot, name), []).append(row)
    return [(slot, name, group) for (slot, name), group in sorted(groups.items())]


def _matrix(draws: Draws, row: int, slot: int, translate: float) -> Matrix:
    level = int(draws.level[row, slot]) * int(draws.sign[row, slot])
    return GEOMETRIC[list(OPS)[int(draws.op[row, slot])]](level, translate)
