"""The views of an image that training and evaluation begin with: weakly augmented, or plain.

Random numbers come from a CPU generator whatever the device, a fixed amount per sample: one seed, one augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from semiseg.augment.crops import Crop, coordinates, draw, rotated
from semiseg.augment.warp import GREY, resample
from semiseg.batch import IGNORE, Plane, Views
from semiseg.config import Weak
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Images = Sequence[np.ndarray]
"""N arrays, an image (H,W,C) or a map (H,W) of uint8 or uint16 each; sizes may differ, channels and types of images may not."""

Ranges = Sequence[np.ndarray | None]
"""Of every image float32 (2,C), the lowest and the highest value of each channel, which become 0 and 1; None: all that its type holds."""

HIGHEST = {np.uint8: 255.0, np.uint16: 65535.0, np.float16: 1.0, np.float32: 1.0}
"""Types of images and the value that is 1 without a range; 0 is 0."""


def weak(
    images: Images,
    masks: Sequence[Sequence[Plane]],
    *,
    weak: Weak,
    crop: tuple[int, int],
    ranges: Ranges | None = None,
    generator: torch.Generator,
    device: torch.device,
) -> Views:
    """Scale, crop, turn, flip and rotate every image at random, together with its masks, in this order.

    The scale is drawn from `weak.scale` (2: content appears twice as large, rounded to a whole number of pixels per side), the position
    of the crop uniformly over those that fit. An image smaller than the crop lands anywhere inside it. A turn by 90 or 270 degrees is
    that of a window of width x height pixels, so that crops keep their shape; a rotation is about the crop's centre and shows what the
    image has beyond the crop. Where the image has nothing the view is 0.5 grey, the masks are IGNORE and `valid` is False. Only the
    pixels under the crop are read and sent to the device; values are clipped to their range before any is interpolated.

    Args: images, N of (H,W,C), possibly read-only memory maps; masks, K sequences of N maps (H,W) of class ids in uint8 or of other
        numbers in uint16, read by nearest neighbour and IGNORE where there is no source; crop (height, width).
    Returns: Views of N crops: image in [0,1]. Raises ValueError when an image, a mask or a range has another shape or type.
    """
    _check_arrays(images, masks, ranges)
    crops = [Crop(image.shape[:2], crop, weak, one) for image, one in zip(images, draw(len(images), weak, generator), strict=True)]
    height, width = max(one.down.length for one in crops), max(one.across.length for one in crops)
    shape, pinned = (len(images), images[0].shape[2], height, width), device.type == "cuda"
    wide = any(one.dtype == np.uint16 for mask in masks for one in mask)
    pixels = torch.zeros(shape, dtype=torch.uint8 if images[0].dtype == np.uint8 else torch.float32, pin_memory=pinned)
    planes = torch.zeros((len(images), len(masks), height, width), dtype=torch.int32 if wide else torch.uint8, pin_memory=pinned)
    canvas, labels = pixels.numpy(), planes.numpy()
    for i, one in enumerate(crops):
        here = np.s_[: one.down.length, : one.across.length]
        canvas[i][:, *here] = one.window(images[i]).transpose(2, 0, 1)
        for k, mask in enumerate(masks):
            labels[i, k][here] = one.window(mask[i])

    grid, valid = _grid(crops, crop, (height, width), device)
    source = to_unit(pixels.to(device, non_blocking=True).float(), images, ranges)
    exact = all(one.exact for one in crops)
    image = resample(source, grid, valid, fill=GREY, nearest=exact)
    moved = (
        resample(planes.to(device, non_blocking=True).float(), grid, valid, fill=IGNORE, nearest=True) if masks else image[:, :0]
    )
    return Views(image, tuple(moved.long().unbind(1)), valid)


def unaugmented(images: Images, masks: Sequence[Images], *, ranges: Ranges | None = None, device: torch.device) -> Views:
    """Images as they are, for evaluation; all N of one size.

    Args: images, N of (H,W,C); masks, K sequences of N (H,W) uint8.
    Returns: Views: image in [0,1], everything valid. Raises ValueError when shapes or types differ from that.
    """
    _check_arrays(images, masks, ranges)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise ValueError(f"unaugmented: images of one size expected, got {sorted(sizes)}")
    stacked = np.stack(images)
    numbers = stacked if stacked.dtype == np.uint8 else stacked.astype(np.float32)  # torch knows no 16-bit numbers without sign
    pixels = to_unit(torch.from_numpy(numbers).to(device).permute(0, 3, 1, 2).float().contiguous(), images, ranges)
    labels = tuple(torch.from_numpy(np.stack(mask)).to(device).long() for mask in masks)
    return Views(pixels, labels, torch.ones((len(images), *sizes.pop()), dtype=torch.bool, device=device))


def pictures(image: Tensor) -> np.ndarray:
    """Uint8 (N,H,W,3) for people of (N,C,H,W) in [0,1], clipped: the first three channels, or the first as grey."""
    shown = image[:, [0, 1, 2] if image.shape[1] >= 3 else [0, 0, 0]]
    return (shown.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def to_unit(values: Tensor, images: Images, ranges: Ranges | None) -> Tensor:
    """Values (N,C,H,W) float32 of the images in [0,1], by their ranges; beyond a range they are clipped."""
    ranges = [None] * len(images) if ranges is None else ranges
    if images[0].dtype == np.uint8 and all(one is None for one in ranges):
        return values / 255
    own = np.array([np.zeros(values.shape[1]), np.full(values.shape[1], HIGHEST[images[0].dtype.type])])
    limits = torch.from_numpy(np.stack([own if one is None else one for one in ranges]).astype(np.float32))
    low, high = limits.to(values.device, non_blocking=True)[..., None, None].unbind(1)
    width = (high - low).clamp(min=torch.finfo(torch.float32).tiny)  # of a flat channel: all of it is 0
    return ((values - low) / width).clamp(0, 1)


def _grid(crops: Sequence[Crop], crop: tuple[int, int], canvas: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sampling grid (N,h,w,2) of the crops on the canvas, as `resample` wants it, and which of its points show something."""
    y, inside_y = coordinates([one.down for one in crops], crop[0], canvas[0])
    x, inside_x = coordinates([one.across for one in crops], crop[1], canvas[1])
    at = torch.from_numpy(np.concatenate([y, x], 1)).to(device, non_blocking=True)
    inside = torch.from_numpy(np.concatenate([inside_y, inside_x], 1)).to(device, non_blocking=True)
    valid = inside[:, : crop[0], None] & inside[:, None, crop[0] :]
    grid = torch.stack([at[:, None, crop[0] :].expand(-1, crop[0], -1), at[:, : crop[0], None].expand(-1, -1, crop[1])], 3)
    if rows := [i for i, one in enumerate(crops) if one.angle != 0]:
        where = torch.tensor(rows).to(device, non_blocking=True)
        found, shown = rotated([crops[i] for i in rows], crop, canvas, device)
        grid, valid = grid.index_copy(0, where, found), valid.index_copy(0, where, shown)
    return grid, valid


def _check_arrays(images: Images, masks: Sequence[Sequence[Plane]], ranges: Ranges | None) -> None:
    if len(images) == 0:
        raise ValueError("images: at least one expected, got none")
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] == 0 or image.dtype.type not in HIGHEST:
            types = ", ".join(one.__name__ for one in HIGHEST)
            raise ValueError(f"images[{i}]: (H,W,C) of {types} expected, got {image.shape} {image.dtype}")
        if (image.shape[2], image.dtype) != (images[0].shape[2], images[0].dtype):
            raise ValueError(
                f"images[{i}]: (H,W,{images[0].shape[2]}) {images[0].dtype} expected, like the first, got {image.shape} {image.dtype}"
            )
    for k, mask in enumerate(masks):
        if len(mask) != len(images):
            raise ValueError(f"masks[{k}]: {len(images)} masks expected, one per image, got {len(mask)}")
        for i, (image, one) in enumerate(zip(images, mask, strict=True)):
            if one.shape != image.shape[:2] or one.dtype not in (np.uint8, np.uint16):
                raise ValueError(
                    f"masks[{k}][{i}]: {image.shape[:2]} uint8 or uint16 expected, like its image, got {one.shape} {one.dtype}"
                )
    if ranges is None:
        return
    if len(ranges) != len(images):
        raise ValueError(f"ranges: {len(images)} expected, one per image, got {len(ranges)}")
    for i, one in enumerate(ranges):
        if one is not None and one.shape != (2, images[0].shape[2]):
            raise ValueError(f"ranges[{i}]: {(2, images[0].shape[2])} expected, got {one.shape}")
