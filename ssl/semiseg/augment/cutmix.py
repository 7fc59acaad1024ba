"""CutMix and Cutout of French et al. 2020 (arXiv:1906.01916), the baselines of grubisic2021 and ke2020: one random box per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semiseg.augment.perturbation import STAY, Move, Perturbation, Perturbed, View
from semiseg.augment.warp import GREY
from semiseg.config import require
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CutMix(Perturbation):
    """A box of the partner image in every image. Classes of whole images are mixed by area (Yun et al. 2019, arXiv:1905.04899)."""

    area: tuple[float, float] = (0.5, 0.5)
    """Range of the box's share of the frame, uniform (French et al.: half, up to the rounding of its sides)."""

    def __post_init__(self) -> None:
        low, high = self.area
        require(0 <= low <= high <= 1, "cutmix.area", self.area, "two shares in [0, 1], low <= high")

    @property
    def partner(self) -> bool:
        return True

    @property
    def meets(self) -> bool:
        return False  # two mixes show other images at the same place

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        if partner is None:
            raise ValueError("CutMix: needs a partner batch, got none")
        count, _, *size = view.image.shape
        inside = box_masks(boxes(count, (size[0], size[1]), generator, self.area), (size[0], size[1]), view.image.device)
        mixed = Mixed(inside)
        move = MixedByArea(inside) if view.whole else mixed
        return Perturbed(mixed(view.image, partner.image), move(view.valid, partner.valid), move, view.image, mixed)


@dataclass(frozen=True, kw_only=True)
class Cutout(Perturbation):
    """A grey box in every image, whose pixels do not count; classes of whole images stay.

    `RandAugment` of ke2020 asks for the labels under its squares all the same. The authors fill with the data set's mean colour; here it
    is GREY, as elsewhere.
    """

    area: tuple[float, float] = (0.0, 1.0)
    """Range of the box's share of the frame, uniform (French et al.: none to all)."""

    def __post_init__(self) -> None:
        low, high = self.area
        require(0 <= low <= high <= 1, "cutout.area", self.area, "two shares in [0, 1], low <= high")

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        count, _, *size = view.image.shape
        inside = box_masks(boxes(count, (size[0], size[1]), generator, self.area), (size[0], size[1]), view.image.device)
        valid = view.valid if view.whole else view.valid & ~inside[:, 0]
        return Perturbed(view.image.masked_fill(inside, GREY), valid, STAY, view.image)


class Mixed(Move):
    """The partner's where `mask` (N,1,H,W) bool is True, one's own elsewhere."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        if partner is None:
            raise ValueError("a mix of two batches: needs the partner's map too, got none")
        return torch.where(self.mask if own.ndim == 4 else self.mask[:, 0], partner, own)


class MixedByArea(Mixed):
    """Of classes of whole images: probabilities (N,C,1,1) and confidences are averaged by area, labels those of the larger part."""

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        if partner is None:
            raise ValueError("a mix of two batches: needs the partner's map too, got none")
        inner = self.mask.float().mean((2, 3), keepdim=True)
        inner = inner if own.ndim == 4 else inner[:, 0]
        if own.dtype == torch.bool:
            return own & partner
        return (1 - inner) * own + inner * partner if own.is_floating_point() else torch.where(inner > 0.5, partner, own)

    def logits(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """Logits whose softmax is the average of both probabilities."""
        if partner is None:
            raise ValueError("a mix of two batches: needs the partner's map too, got none")
        inner = self.mask.float().mean((2, 3), keepdim=True)
        return torch.logaddexp(own.float().log_softmax(1) + (1 - inner).log(), partner.float().log_softmax(1) + inner.log())


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
