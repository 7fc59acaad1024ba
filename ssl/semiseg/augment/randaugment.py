"""RandAugment of an image, as ke2020 uses it: random operations from a table of 14, one after the other, then grey squares.

Every random number is drawn before anything is computed, the same amount for every sample, on the CPU: one seed gives one
augmentation on every device, and what happens to a sample does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from semiseg.augment.operations import GEOMETRIC, OPS, PHOTOMETRIC, Matrix
from semiseg.augment.perturbation import STAY, Move, Perturbation, Perturbed, View, as_maps, like, nothing
from semiseg.augment.squares import grey_squares
from semiseg.augment.warp import GREY, affine_grid, resample
from semiseg.config import require
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RandAugment(Perturbation):
    """The random strong augmentation A of an image, and B of its masks (ke2020, section 3.1): RandAugment, then Cutout.

    The defaults are those of the authors' code, with lengths as shares of the shorter side so that they mean the same on small
    images: the code cuts 32 px squares out of crops 256 px high and translates by up to 9 px. The squares count: the student is asked
    for the labels under them, where `Cutout` of French et al. drops those pixels.
    """

    ops: int = 3
    """Operations drawn with replacement from the table of 14."""
    probability: float = 0.5
    """Chance of each drawn operation to be applied."""
    levels: tuple[int, int] = (1, 9)
    """Range of the level m, inclusive, of 10."""
    translate: float = 10 / 256
    """Translation at level 10, as a share of the shorter side."""
    cutouts: int = 3
    """Grey squares, always applied."""
    cutout_size: float = 32 / 256
    """Side of a square, as a share of the shorter side."""

    def __post_init__(self) -> None:
        require(self.ops >= 0, "randaugment.ops", self.ops, "a whole number >= 0")
        require(0 <= self.probability <= 1, "randaugment.probability", self.probability, "a probability in [0, 1]")
        low, high = self.levels
        require(0 <= low <= high <= 10, "randaugment.levels", self.levels, "two whole numbers, 0 <= low <= high <= 10")
        require(0 <= self.translate < 1, "randaugment.translate", self.translate, "a share in [0, 1)")
        require(self.cutouts >= 0, "randaugment.cutouts", self.cutouts, "a whole number >= 0")
        require(0 <= self.cutout_size <= 1, "randaugment.cutout_size", self.cutout_size, "a share in [0, 1]")

    @property
    def meets(self) -> bool:
        return self.ops == 0 or self.probability == 0

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        """Where a warp reads outside the frame the image is grey and does not count; maps are moved by nearest neighbour."""
        whole, (image, valid, _) = view.whole, view
        count, _, *size = image.shape
        uniform = torch.rand((count, 4 * self.ops + 2 * self.cutouts), generator=generator)
        for_ops, for_squares = uniform.split([4 * self.ops, 2 * self.cutouts], 1)
        draws = to_draws(for_ops.view(count, self.ops, 4), self)
        with torch.autocast(image.device.type, enabled=False):  # in bf16 neighbouring 8-bit values are one
            image, move = apply_draws(image, draws, self.translate * min(size))
        centres = for_squares.view(count, self.cutouts, 2)
        image = grey_squares(image, centres, round(self.cutout_size * min(size)))
        return Perturbed(image, valid if whole else move(valid), STAY if whole else move, view.image, move)


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


def to_draws(uniform: Tensor, settings: RandAugment) -> Draws:
    """Turn numbers (N,S,4) uniform in [0,1) into draws."""
    op, applied, level, sign = uniform.unbind(2)
    low, high = settings.levels
    return Draws(
        op=(op * len(OPS)).long(),
        applied=applied < settings.probability,
        level=low + (level * (high - low + 1)).long(),
        sign=1 - 2 * (sign < 0.5).long(),
    )


def apply_draws(image: Tensor, draws: Draws, translate: float) -> tuple[Tensor, Move]:
    """Apply the drawn operations to images (N,C,H,W), and the move of what belongs to them.

    A slot's samples are grouped by operation, and its geometric operations share one warp. `translate` is the shift in pixels of
    TranslateX and TranslateY at level 10.

    Returns: a new image of the same shape, grey where a warp reads outside the frame; `image` itself is not written to.
    """
    device = image.device
    groups = _groups(draws)
    # All that the device needs to know is sent at once, and without waiting for it: a blocking transfer per group would cost
    # more than the operations.
    every = torch.tensor([row for _, _, group in groups for row in group], dtype=torch.long)
    rows = every.to(device, non_blocking=True).split([len(group) for _, _, group in groups])
    level = draws.level.to(device, non_blocking=True)
    places = [(row, slot) for slot, name, group in groups if name == "warp" for row in group]
    matrix = torch.tensor(_matrices(draws, places, translate), dtype=torch.float32).view(-1, 2, 3)
    grids, insides = affine_grid(matrix.to(device, non_blocking=True), (image.shape[2], image.shape[3]))

    image = image.clamp(0, 1)  # a step before it may have left the range of Pillow's operations
    warps: list[Warp] = []
    warped = 0
    for (slot, name, group), index in zip(groups, rows, strict=True):
        if name == "warp":
            here = slice(warped, warped + len(group))
            warp = Warp(index, grids[here], insides[here])
            image.index_copy_(0, index, resample(image[index], warp.grid, warp.inside, fill=GREY))
            warps.append(warp)
            warped += len(group)
        else:
            image.index_copy_(0, index, PHOTOMETRIC[name](image[index], level[index, slot]))
    return image, Warps(warps) if warps else STAY


class Warp(NamedTuple):
    """One warp of some of N samples: their rows (n,), grid (n,H,W,2) and inside (n,H,W) bool, as `resample` wants them."""

    rows: Tensor
    grid: Tensor
    inside: Tensor


class Warps(Move):
    """Warps one after the other; every map is read by nearest neighbour."""

    def __init__(self, warps: list[Warp]) -> None:
        self.warps = warps

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        maps = as_maps(own, self.warps[0].grid)
        moved = maps.clone() if maps.data_ptr() == own.data_ptr() else maps
        with torch.autocast(own.device.type, enabled=False):
            for rows, grid, inside in self.warps:
                moved.index_copy_(0, rows, resample(moved[rows], grid, inside, fill=nothing(own), nearest=True))
        return like(moved, own)

    def images(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        moved = own.float().clone()
        with torch.autocast(own.device.type, enabled=False):
            for rows, grid, inside in self.warps:
                moved.index_copy_(0, rows, resample(moved[rows], grid, inside, fill=GREY))
        return moved


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


def _matrices(draws: Draws, places: list[tuple[int, int]], translate: float) -> list[Matrix]:
    """Those of the geometric operations drawn for (sample, slot)."""
    names, op, level = list(OPS), draws.op.tolist(), (draws.level * draws.sign).tolist()
    return [GEOMETRIC[names[op[row][slot]]](level[row][slot], translate) for row, slot in places]
