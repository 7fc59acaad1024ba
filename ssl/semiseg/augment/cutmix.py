"""CutMix and Cutout of French et al. 2020 (arXiv:1906.01916), the baselines of grubisic2021 and ke2020: one random box per image.

Random numbers come from a CPU generator, four per sample, whatever the device.
"""

import torch
from torch import Tensor

from semiseg.augment.warp import GREY


def boxes(count: int, size: tuple[int, int], generator: torch.Generator, area: tuple[float, float]) -> Tensor:
    """Boxes of random area, shape and place, wholly in the frame.

    As in the authors' code, the area is a share a of the frame, uniform in `area`; the height is a^u and the width a^(1-u) of the
    frame's, u uniform in [0,1), each rounded to whole pixels; the place is uniform over those that fit.

    Args: size (H, W); area (low, high), shares in [0,1].
    Returns: (count,4) int64 of (top, left, bottom, right), bottom and right excluded; on the CPU.
    """
    share, shape, *place = torch.rand((count, 4), generator=generator).unbind(1)
    share = area[0] + (area[1] - area[0]) * share
    frame = torch.tensor(size)
    sides = (torch.stack([share**shape, share ** (1 - shape)], 1) * frame).round().long()
    corner = (torch.stack(place, 1) * (frame - sides + 1)).long()
    return torch.cat([corner, corner + sides], 1)


def box_masks(boxes: Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """Boxes (N,4) of (top, left, bottom, right) as masks (N,1,H,W) bool, True inside."""
    top, left, bottom, right = boxes.to(device, non_blocking=True)[:, :, None].unbind(1)  # (N,1) each
    row, column = torch.arange(size[0], device=device), torch.arange(size[1], device=device)
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    return (rows[:, :, None] & columns[:, None])[:, None]


def cutmix_masks(count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Masks (count,1,H,W) bool for `mix`: a box of half the frame's area, up to the rounding of its sides."""
    return box_masks(boxes(count, size, generator, (0.5, 0.5)), size, device)


def cutout_masks(count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Masks (count,1,H,W) bool for `cut`: a box of 0 to all of the frame's area, uniform."""
    return box_masks(boxes(count, size, generator, (0.0, 1.0)), size, device)


def mix(mask: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """`inner` inside the boxes, `outer` around them. Images, the teacher's outputs for them and `valid` are mixed alike.

    Args: mask (N,1,H,W) bool; outer and inner, two independent sets of N samples, (N,C,H,W) or (N,H,W), of any type.
    Returns: a new tensor like them.
    """
    return torch.where(mask if outer.ndim == 4 else mask[:, 0], inner, outer)


def cut(mask: Tensor, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Grey boxes without a loss under them: `valid` is False there, where ke2020's `cutout` asks for the labels all the same.

    The authors fill with the data set's mean colour; here it is GREY, as elsewhere.

    Args: mask (N,1,H,W) bool; image (N,3,H,W); valid (N,H,W) bool.
    Returns: new image and valid.
    """
    return image.masked_fill(mask, GREY), valid & ~mask[:, 0]
