"""Mild random changes of a batch: colours, blur and noise (pets_mean_teacher), small affine motions and noise (perone2018).

Random numbers come from a CPU generator whatever the device: one seed, one augmentation.
"""

import math
from typing import NamedTuple

import torch
from kornia.color import hsv_to_rgb, rgb_to_hsv
from kornia.filters import gaussian_blur2d
from torch import Tensor

from semiseg.augment.warp import affine_grid, resample
from semiseg.batch import Views
from semiseg.config import Gentle


class Motion(NamedTuple):
    """Where each pixel of N moved images comes from: grid (N,H,W,2), and whether it lies in the frame: inside (N,H,W) bool."""

    grid: Tensor
    inside: Tensor


def colours(image: Tensor, settings: Gentle, generator: torch.Generator) -> Tensor:
    """Turn H and scale S (HSV) of every image, then blur it, reflecting its border: the order in which pets_mean_teacher names
    them.

    Args: image (N,3,H,W) in [0,1].
    Returns: image (N,3,H,W) float32 in [0,1], up to rounding.
    """
    uniform = torch.rand((len(image), 3), generator=generator)
    low, high = torch.tensor([(-settings.hue, settings.hue), settings.saturation, settings.blur]).unbind(1)
    turn, factor, sigma = (low + (high - low) * uniform).to(image.device, non_blocking=True)[:, :, None, None].unbind(1)
    image = image.float()
    with torch.autocast(image.device.type, enabled=False):
        if settings.hue > 0 or settings.saturation != (1.0, 1.0):
            h, s, v = rgb_to_hsv(image).unbind(1)  # hue in radians
            image = hsv_to_rgb(torch.stack([h + 2 * math.pi * turn, (s * factor).clamp(max=1), v], 1))
        if settings.blur[1] > 0:
            radius = min(math.ceil(3 * settings.blur[1]), *(side - 1 for side in image.shape[2:]))  # reflection reaches no further
            # the least sigma leaves an image as it is, where 0 would be 0/0
            image = gaussian_blur2d(image, 2 * radius + 1, sigma[:, 0].expand(-1, 2).clamp(min=1e-3))
    return image


def noisy(image: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """The image plus N(0, std^2), drawn for every value; not clamped, so it may leave [0,1]. std 0 draws nothing."""
    if std == 0:
        return image
    return image + std * torch.randn(image.shape, generator=generator).to(image.device, non_blocking=True)


def draw_motion(image: Tensor, settings: Gentle, generator: torch.Generator) -> Motion:
    """Rotation and scale about the centre, then a shift, all uniform in the settings' ranges, one draw for each of (N,3,H,W)."""
    count, _, height, width = image.shape
    uniform = torch.rand((count, 4), generator=generator)
    angle, *shift = (2 * uniform[:, [0, 2, 3]] - 1).unbind(1)
    scale = settings.scale[0] + (settings.scale[1] - settings.scale[0]) * uniform[:, 1]
    angle = math.radians(settings.rotation) * angle
    x, y = settings.translate * width * shift[0], settings.translate * height * shift[1]
    a, b = angle.cos() / scale, angle.sin() / scale
    # the source of a target pixel: the shift, then rotation and scale, undone
    matrix = torch.stack([torch.stack([a, -b, b * y - a * x], 1), torch.stack([b, a, -b * x - a * y], 1)], 1)
    return Motion(*affine_grid(matrix.to(image.device, non_blocking=True), (height, width)))


def move(views: Views, probs: Tensor, motion: Motion, *, fill: bool) -> tuple[Views, Tensor]:
    """Move an image and class probabilities bilinearly, masks and `valid` by nearest neighbour.

    Out of the frame masks are IGNORE. With `fill` the image is black there, class 0 has probability 1 and the pixel is valid, as
    where perone2018's authors rotate with zeros; without it the image is grey and the pixel not valid.

    Args: views of N images; probs (N,C,H,W) float32, of no image also (N,0,H,W). When masks, valid and probs are those of whole
        images, (N,1,1) and (N,C,1,1), only the image moves.
    Returns: new views and probs of the same shapes.
    """
    per_pixel = views.valid.shape[1:] == views.image.shape[2:]
    maps = [views.image, probs] if per_pixel else [views.image]
    labels = torch.stack([*views.masks, views.valid.long()], 1).float() if per_pixel else views.image[:, :0]
    with torch.autocast(views.image.device.type, enabled=False):
        smooth, labels = resample(torch.cat(maps, 1), labels, *motion)
    outside = ~motion.inside[:, None]
    image = smooth[:, :3].masked_fill(outside, 0.0) if fill else smooth[:, :3]
    if not per_pixel:
        return views._replace(image=image), probs
    *masks, valid = labels.long().unbind(1)
    if fill:
        background = torch.zeros_like(probs)
        background[:, :1] = 1
        return Views(image, tuple(masks), (valid == 1) | ~motion.inside), torch.where(outside, background, smooth[:, 3:])
    return Views(image, tuple(masks), valid == 1), smooth[:, 3:]
