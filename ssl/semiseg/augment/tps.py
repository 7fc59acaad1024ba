"""Thin-plate-spline warps, the geometric half of PhTPS (grubisic2021).

Positions are (x, y) with -1 and 1 at the centres of the outermost pixels of each axis (`align_corners=True`, as in the authors'
code), whatever the aspect: one grid serves the image, the logits and `valid`. All random numbers come from a CPU generator, twelve
per sample, and the small linear system is solved there too, in float64: one seed, one warp on every device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from semiseg.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


CONTROLS = {"as_coded": (0.75, 1.25), "quarter": (0.25, 0.75), "corners": (0.0, 1.0)}
"""Low and high coordinate of the four control points, in image sides from the top left corner (vidlu v0.1.0, inputwise.py:615)."""

OUTSIDE = 4.0
"""Where `invert` sends a point it has no answer for: more than a pixel outside any frame at least two pixels wide."""

STEPS = 6
"""Of Newton's method in `invert`; twice as many answer 0.2 more pixels in 1,000."""


class Spline(NamedTuple):
    """N maps of the plane: position p to p + [1, p] affine + sum over k of weights_k U(|p - controls_k|), U(r) = r^2 log r^2.

    controls (N,K,2), weights (N,K,2), affine (N,3,2); float32, in the units of a grid.
    """

    controls: Tensor
    weights: Tensor
    affine: Tensor


def random_spline(uniform: Tensor, tps_grid: str, tps_sd: float) -> Spline:
    """The warp that takes each of four control points to where a normal draw displaces it.

    What the image shows at a control point c appears at c + displacement. The grid reads backwards, so the spline has its knots at
    the displaced points and takes them to c.

    Args: uniform (N,8) in [0,1), turned into normal draws by Box and Muller: a generator's normal numbers depend on their count.
    """
    radius = tps_sd * (-2 * (1 - uniform[:, :4]).log()).sqrt()
    angle = 2 * math.pi * uniform[:, 4:]
    displacement = 2 * torch.stack([radius * angle.cos(), radius * angle.sin()], 2)  # an image's side is 2 units long
    low, high = (2 * share - 1 for share in CONTROLS[tps_grid])
    controls = torch.tensor([(x, y) for y in (low, high) for x in (low, high)])
    return fit(controls + displacement, -displacement)


def fit(controls: Tensor, displacement: Tensor) -> Spline:
    """The smoothest map that displaces each control point as told (Bookstein 1989, doi:10.1109/34.24792); elsewhere it
    interpolates.

    Args: controls (N,K,2), K >= 3 and not on one line; displacement (N,K,2).
    Returns: Spline; displacements of 0 give weights of exactly 0. Raises torch.linalg.LinAlgError when points are on one line.
    """
    count, points, _ = controls.shape
    p = controls.double()
    linear = torch.cat([p.new_ones(count, points, 1), p], 2)
    system = p.new_zeros(count, points + 3, points + 3)
    system[:, :points, :points] = _radial((p[:, :, None] - p[:, None]).square().sum(3))
    system[:, :points, points:] = linear
    system[:, points:, :points] = linear.mT
    solution = torch.linalg.solve(system, torch.cat([displacement.double(), p.new_zeros(count, 3, 2)], 1)).float()
    return Spline(controls.float(), solution[:, :points], solution[:, points:])


def frame(size: tuple[int, int], device: torch.device) -> Tensor:
    """The positions (1,H,W,2) of an image's pixels: the grid that moves nothing."""
    y, x = (torch.linspace(-1, 1, length, device=device) for length in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)[None]


def spline_at(spline: Spline, points: Tensor) -> Tensor:
    """Where the spline takes points (N or 1,H,W,2): as many (N,H,W,2) float32."""
    return _linearise(spline, points.permute(0, 3, 1, 2), derivatives=False)[0].permute(0, 2, 3, 1)


def invert(spline: Spline, points: Tensor) -> Tensor:
    """The positions that the spline takes to points (N or 1,H,W,2), by Newton's method.

    `warp(warp(x, spline_at(spline, f)), invert(spline, f))` with f = `frame(...)` is x up to the blur of sampling twice. Two
    perturbed views meet in one sampling (variant 1w-p2 of grubisic2021): `warp(logits, invert(teacher.spline, student.grid))`,
    valid where the student's view is and where `warp_valid` of the teacher's `valid` by that grid is True.

    With the default settings fewer than 1 in 1,000 pixels have no answer; the others are off by 6e-8 in the median, 1e-5 at most.
    Where a warp folds over (1 in 1,000 pixels of "quarter") there are several answers, and this is one of them.

    Returns: (N,H,W,2) float32; OUTSIDE for points without an answer that the spline takes to within 1e-4 of the point.
    """
    goal = points.permute(0, 3, 1, 2)
    at = goal
    for _ in range(STEPS):
        value, right, down = _linearise(spline, at)
        miss = value - goal
        determinant = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
        across = down[:, 1] * miss[:, 0] - down[:, 0] * miss[:, 1]
        along = right[:, 0] * miss[:, 1] - right[:, 1] * miss[:, 0]
        step = torch.stack([across, along], 1) / torch.where(determinant.abs() < 0.05, 0.05, determinant)[:, None]
        at = at - step / step.norm(dim=1, keepdim=True).clamp(min=1)  # near a fold a full step would land far away
    missed = (_linearise(spline, at, derivatives=False)[0] - goal).abs().amax(1, keepdim=True)
    return torch.where(missed < 1e-4, at, OUTSIDE).permute(0, 2, 3, 1)


def warp(tensor: Tensor, grid: Tensor) -> Tensor:
    """Read a tensor bilinearly at the positions of a grid, 0 outside the frame. Differentiable in the tensor.

    Args: tensor (N,C,h,w), of any size; grid (N,H,W,2).
    Returns: (N,C,H,W) float32.
    """
    with torch.autocast(tensor.device.type, enabled=False):
        return F.grid_sample(tensor.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def warp_valid(valid: Tensor, grid: Tensor) -> Tensor:
    """Which pixels of a warped image were read from valid pixels alone: a mask of ones, warped alike, is at least 1 - 1e-6.

    Args: valid (N,h,w) bool; grid (N,H,W,2).
    Returns: (N,H,W) bool.
    """
    return warp(valid[:, None], grid)[:, 0] >= 1 - 1e-6


def _radial(squared: Tensor) -> Tensor:
    """U of a squared distance: r^2 log r^2, 0 at 0. The field's r^2 log r is half of it, which the weights make up for."""
    return squared * squared.clamp(min=torch.finfo(squared.dtype).tiny).log()


def _linearise(spline: Spline, points: Tensor, *, derivatives: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Where the spline takes points (N or 1,2,H,W), and the derivatives of that by x and by y: (N,2,H,W) each.

    Element-wise products, because matrix products round coordinates where TF32 is allowed and under autocast.
    """
    shift, right, down = spline.affine[..., None, None].unbind(1)  # (N,2,1,1) each
    x, y = points.unbind(1)
    moved = points + shift + right * x[:, None] + down * y[:, None]
    right, down = right + right.new_tensor([1.0, 0.0])[:, None, None], down + down.new_tensor([0.0, 1.0])[:, None, None]
    for control, weight in zip(spline.controls.unbind(1), spline.weights[..., None, None].unbind(1), strict=True):
        dx, dy = x - control[:, :1, None], y - control[:, 1:, None]
        squared = dx * dx + dy * dy
        log = squared.clamp(min=torch.finfo(squared.dtype).tiny).log()
        moved = torch.addcmul(moved, weight, (squared * log)[:, None])
        if derivatives:
            slope = 2 * (log + 1)
            right = torch.addcmul(right, weight, (slope * dx)[:, None])
            down = torch.addcmul(down, weight, (slope * dy)[:, None])
    return moved, right, down
