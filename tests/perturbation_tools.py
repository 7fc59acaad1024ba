"""What perturbations make of views, masks and splines in one value, and boxes by hand: shared by tests. Not a test module."""

from typing import NamedTuple

import torch
from torch import Tensor

from semiseg.augment import CutMix, Cutout, Perturbation, PhTPS, View
from semiseg.augment.cutmix import box_masks, boxes
from semiseg.augment.phtps import SplineWarp
from semiseg.augment.tps import Spline
from semiseg.batch import Views


def everywhere(image: Tensor) -> View:
    """The images, all of whose pixels show something."""
    return View(image, torch.ones(len(image), *image.shape[2:], dtype=torch.bool, device=image.device))


def perturbed(views: Views, perturbation: Perturbation, generator: torch.Generator) -> Views:
    """The perturbed images with their masks moved along."""
    made = perturbation(View(views.image, views.valid), generator)
    return Views(made.image, tuple(made.move(mask) for mask in views.masks), made.valid)


class Warped(NamedTuple):
    """Images (N,3,H,W) after PhTPS, the grid (N,H,W,2) they were read at, valid (N,H,W), and the maps behind the grid."""

    image: Tensor
    grid: Tensor
    valid: Tensor
    spline: Spline


def phtps(image: Tensor, settings: Perturbation, generator: torch.Generator) -> Warped:
    """PhTPS of images that show something everywhere."""
    assert isinstance(settings, PhTPS)
    made = settings(everywhere(image), generator)
    assert isinstance(made.move, SplineWarp)
    assert made.move.spline is not None
    return Warped(made.image, made.move.grid, made.valid, made.move.spline)


def cutmix_masks(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The boxes (count,1,H,W) bool that CutMix draws from the generator."""
    return box_masks(boxes(count, size, generator, CutMix().area), size, torch.device("cpu"))


def cutout_masks(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The boxes (count,1,H,W) bool that Cutout draws from the generator."""
    return box_masks(boxes(count, size, generator, Cutout().area), size, torch.device("cpu"))
