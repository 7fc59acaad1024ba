"""The views of an image that training and evaluation begin with: weakly augmented, or plain.

Random numbers come from a CPU generator whatever the device, a fixed amount per sample: one seed, one augmentation.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from semiseg.augment.warp import GREY, resample
from semiseg.batch import IGNORE, Views

Images = Sequence[np.ndarray]
"""N arrays, an image (H,W,3) uint8 or a map (H,W) of uint8 or uint16 each; sizes may differ."""


def weak(
    images: Images,
    masks: Sequence[Images],
    *,
    crop: tuple[int, int],
    scale: tuple[float, float],
    flip: float,
    generator: torch.Generator,
    device: torch.device,
    ranges: Sequence[np.ndarray] | None = None,
    scale_law: Literal["uniform", "log_uniform"] = "uniform",
) -> Views:
    """Scale, crop and flip every image at random, together with its masks.

    The scale, or with `scale_law` "log_uniform" its logarithm, is uniform in `scale` (2: content appears twice as large, rounded to
    a whole number of pixels per side), the position of the crop uniform over those that fit. An image smaller than the crop lands
    anywhere inside it, and around it the image is 0.5 grey, the masks are IGNORE and `valid` is False. Only the pixels under the
    crop are read and sent to the device.

    Args: images, N of (H,W,3) uint8, possibly read-only memory maps; masks, K sequences of N maps (H,W) of class ids in uint8 or of
        other numbers in uint16, read by nearest neighbour and IGNORE where there is no source; crop (height, width);
        flip, the probability of a horizontal flip.
    Returns: Views of N crops: image in [0,1]. Raises ValueError when an image or a mask has another shape or type.
    """
    _check_arrays(images, masks)
    draws = torch.rand((len(images), 4), generator=generator).tolist()
    if scale_law == "uniform":
        factors = [scale[0] + draw[0] * (scale[1] - scale[0]) for draw in draws]
    else:
        factors = [scale[0] * (scale[1] / scale[0]) ** draw[0] for draw in draws]
    shapes = [image.shape[:2] for image in images]
    rows = [_Span(shape[0], crop[0], s, draw[1]) for shape, s, draw in zip(shapes, factors, draws, strict=True)]
    columns = [_Span(shape[1], crop[1], s, draw[2]) for shape, s, draw in zip(shapes, factors, draws, strict=True)]
    flipped = np.array([draw[3] < flip for draw in draws])

    height, width = max(span.length for span in rows), max(span.length for span in columns)
    wide = any(one.dtype == np.uint16 for mask in masks for one in mask)
    kind = torch.uint8 if ranges is None else torch.float32
    pinned = torch.zeros((len(images), images[0].shape[2], height, width), dtype=kind, pin_memory=device.type == "cuda")
    planes = torch.zeros(
        (len(images), len(masks), height, width), dtype=torch.int32 if wide else torch.uint8, pin_memory=device.type == "cuda"
    )
    canvas, labels = pinned.numpy(), planes.numpy()
    for i, (down, across) in enumerate(zip(rows, columns, strict=True)):
        window = np.s_[down.start : down.stop, across.start : across.stop]
        canvas[i, :, : down.length, : across.length] = images[i][window].transpose(2, 0, 1)
        for k, mask in enumerate(masks):
            labels[i, k, : down.length, : across.length] = mask[i][window]

    y, inside_y = _coordinates(rows, crop[0], height)
    x, inside_x = _coordinates(columns, crop[1], width)
    x[flipped], inside_x[flipped] = x[flipped, ::-1], inside_x[flipped, ::-1]
    at = torch.from_numpy(np.concatenate([y, x], 1)).to(device, non_blocking=True)
    inside = torch.from_numpy(np.concatenate([inside_y, inside_x], 1)).to(device, non_blocking=True)
    valid = inside[:, : crop[0], None] & inside[:, None, crop[0] :]
    grid = torch.stack([at[:, None, crop[0] :].expand(-1, crop[0], -1), at[:, : crop[0], None].expand(-1, -1, crop[1])], 3)

    source = pinned.to(device, non_blocking=True).float()
    exact = all(span.step == 1 for span in (*rows, *columns))
    image = resample(in_range(source, ranges), grid, valid, fill=GREY, nearest=exact)
    moved = (
        resample(planes.to(device, non_blocking=True).float(), grid, valid, fill=IGNORE, nearest=True) if masks else image[:, :0]
    )
    return Views(image, tuple(moved.long().unbind(1)), valid)


def unaugmented(
    images: Images, masks: Sequence[Images], *, device: torch.device, ranges: Sequence[np.ndarray] | None = None
) -> Views:
    """Images as they are, for evaluation; all N of one size.

    Args: images, N of (H,W,3) uint8; masks, K sequences of N (H,W) uint8.
    Returns: Views: image = uint8 / 255, everything valid. Raises ValueError when shapes or types differ from that.
    """
    _check_arrays(images, masks)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise ValueError(f"unaugmented: images of one size expected, got {sorted(sizes)}")
    stacked = torch.from_numpy(np.stack(images).astype(np.float32)).to(device).permute(0, 3, 1, 2).contiguous()
    pixels = in_range(stacked, ranges)
    labels = tuple(torch.from_numpy(np.stack(mask)).to(device).long() for mask in masks)
    return Views(pixels, labels, torch.ones((len(images), *sizes.pop()), dtype=torch.bool, device=device))


def in_range(source: torch.Tensor, ranges: Sequence[np.ndarray] | None) -> torch.Tensor:
    """Stored values (N,C,H,W) as [0,1]."""
    if ranges is None:
        return source / 255
    low, high = torch.from_numpy(np.stack(ranges)).to(source.device)[..., None, None].unbind(1)
    return ((source - low) / (high - low)).clamp(0, 1)


class _Span:
    """One axis of one crop: the source pixels it needs, start:stop, and where in them its pixels fall, first + step * index."""

    def __init__(self, source: int, crop: int, scale: float, position: float) -> None:
        scaled = max(1, round(source * scale))
        self.step = source / scaled
        room = scaled - crop
        offset = int(position * (abs(room) + 1)) * (1 if room >= 0 else -1)
        first, last = (offset + 0.5) * self.step, (offset + crop - 0.5) * self.step
        # the two neighbours of bilinear sampling: a pixel's centre lies half a pixel after its index
        self.start, self.stop = max(0, math.floor(first - 0.5)), min(source, math.floor(last - 0.5) + 2)
        self.first, self.length = first - self.start, self.stop - self.start


def _coordinates(spans: list[_Span], crop: int, canvas: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N,crop) on a canvas of that length, in [-1,1], and whether they are in the source. Past its edge: the edge."""
    first, step, length = np.array([[span.first, span.step, span.length] for span in spans]).T[:, :, None]
    position = first + step * np.arange(crop)
    inside = (position >= 0) & (position < length)
    return (2 / canvas * position.clip(0.5, length - 0.5) - 1).astype(np.float32), inside


def _check_arrays(images: Images, masks: Sequence[Images]) -> None:
    if len(images) == 0:
        raise ValueError("images: at least one expected, got none")
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != images[0].shape[2]:
            raise ValueError(f"images[{i}]: (H,W,C) expected, got {image.shape} {image.dtype}")
    for k, mask in enumerate(masks):
        if len(mask) != len(images):
            raise ValueError(f"masks[{k}]: {len(images)} masks expected, one per image, got {len(mask)}")
        for i, (image, one) in enumerate(zip(images, mask, strict=True)):
            if one.shape != image.shape[:2] or one.dtype not in (np.uint8, np.uint16):
                raise ValueError(
                    f"masks[{k}][{i}]: {image.shape[:2]} uint8 or uint16 expected, like its image, got {one.shape} {one.dtype}"
                )
