"""PhTPS, the perturbation of grubisic2021: random colours in HSV and reordered channels, then a random thin-plate-spline warp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from semiseg.augment.hsv import to_hsv, to_rgb
from semiseg.augment.perturbation import STAY, Move, Perturbation, Perturbed, View, as_maps, like, nothing
from semiseg.augment.tps import Spline, frame, invert, random_spline, spline_at, warp, warp_valid
from semiseg.config import require, require_choices
from semiseg.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PhTPS(Perturbation):
    """Photometric change, then thin-plate-spline warp: the random perturbation of grubisic2021.

    The ranges are those of the authors' code (vidlu v0.1.0, configs.py:19-33); one draw per image, in the order below. Colours are
    not clamped, so they may leave [0, 1].
    """

    value_shift: float = 0.25
    """Largest change of V (HSV, in [0, 1]), up or down, uniform."""
    saturation: tuple[float, float] = (0.25, 2.0)
    """Range of the factor of S, uniform."""
    hue: float = 0.1
    """Largest turn of H, either way, uniform, as a share of the colour circle."""
    value_scale: tuple[float, float] = (0.25, 2.0)
    """Range of the factor of the shifted V, uniform."""
    permute: bool = True
    """Reorder the channels of RGB images at random, all images of a batch alike."""
    tps_grid: Literal["as_coded", "quarter", "corners"] = "as_coded"
    """Four control points: the square of the paper's runs, off centre by a slip in its code; as intended; the frame's corners."""
    tps_sd: float = 0.1
    """Standard deviation of each coordinate of a control point's displacement, as a share of the image's side."""

    def __post_init__(self) -> None:
        require_choices(self, "phtps")
        require(0 <= self.value_shift < math.inf, "phtps.value_shift", self.value_shift, "a number >= 0")
        require(0 <= self.hue <= 0.5, "phtps.hue", self.hue, "a share of the colour circle in [0, 0.5]")
        require(0 <= self.tps_sd < math.inf, "phtps.tps_sd", self.tps_sd, "a number >= 0")
        for name in ("saturation", "value_scale"):
            low, high = getattr(self, name)
            require(0 <= low <= high < math.inf, f"phtps.{name}", (low, high), "two numbers, 0 <= low <= high")

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        """Own parameters for every image, twelve numbers each, and one order of the channels for the batch.

        Where the warp reads outside the frame the image is 0 and does not count.
        """
        whole, (image, valid, _) = view.whole, view
        count, _, height, width = image.shape
        order = torch.randperm(3, generator=generator)
        for_colours, for_points = torch.rand((count, 12), generator=generator).split([4, 8], 1)
        drawn = random_spline(for_points, self.tps_grid, self.tps_sd)
        spline = Spline(*(part.to(image.device, non_blocking=True) for part in drawn))
        move = SplineWarp(spline_at(spline, frame((height, width), image.device)), spline)
        moved = warp(photometric(image, for_colours, order, self), move.grid)
        if whole:
            return Perturbed(moved, valid, STAY, image, move)
        return Perturbed(moved, move(valid), move, image)


class SplineWarp(Move):
    """A warp by a grid (N,H,W,2) of source positions. Floats are read bilinearly, labels by nearest neighbour.

    A bool is True where all that was read is True; labels whose own place lies outside the frame are IGNORE.
    """

    def __init__(self, grid: Tensor, spline: Spline | None) -> None:
        self.grid, self.spline = grid, spline

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        if own.dtype == torch.bool:
            return warp_valid(own, self.grid)
        if own.is_floating_point():
            return like(warp(as_maps(own, self.grid), self.grid), own)
        with torch.autocast(own.device.type, enabled=False):
            read = F.grid_sample(as_maps(own, self.grid), self.grid, mode="nearest", padding_mode="zeros", align_corners=True)
        outside = (self.grid.abs() > 1).any(3)[:, None]
        return like(read.masked_fill(outside, nothing(own)), own)

    def meet(self, other: Move) -> Move:
        """One sampling by both warps, where the authors' code splats to the clean frame and warps from there."""
        if not isinstance(other, SplineWarp) or other.spline is None:
            return super().meet(other)
        return SplineWarp(invert(other.spline, self.grid), None)


def photometric(image: Tensor, uniform: Tensor, order: Tensor, settings: PhTPS) -> Tensor:
    """Shift V, scale S, turn H, scale V, in this order, then reorder the channels. Without RGB: shift and scale every channel.

    Nothing is clamped, as in the authors' code (vidlu v0.1.0, perturbation.py:57-84): the result may leave [0,1], S may exceed 1
    and V be negative in between, and HSV to RGB goes on with the same formula there.

    Args: image (N,C,H,W) in [0,1]; uniform (N,4) in [0,1), one draw per change and image; order (3,) int64, the source channel of
        each channel, for the whole batch.
    Returns: a new image (N,C,H,W) float32.
    """
    low, high = torch.tensor(
        [
            (-settings.value_shift, settings.value_shift),
            settings.saturation,
            (-settings.hue, settings.hue),
            settings.value_scale,
        ]
    ).unbind(1)
    draws = (low + (high - low) * uniform).to(image.device, non_blocking=True)
    shift, saturation, turn, scale = draws[:, :, None, None].unbind(1)  # (N,1,1) each
    if image.shape[1] != 3:
        return (image.float() + shift[:, None]) * scale[:, None]
    with torch.autocast(image.device.type, enabled=False):
        h, s, v = to_hsv(image.float())
        changed = to_rgb(h + 6 * turn, s * saturation, (v + shift) * scale)
    if not settings.permute:
        return changed
    return changed.index_select(1, order.to(image.device, non_blocking=True))
