"""What the tests of perturbations share: every registered one, scenes to perturb, and boxes by hand. Not a test module."""

from itertools import product
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from test_augment_weak import painted, seeded
from torch import Tensor

from semiseg.augment import PERTURBATIONS, Chain, CutMix, Cutout, Gentle, Perturbation, Perturbed, PhTPS, RandAugment, View
from semiseg.augment.cutmix import box_masks, boxes
from semiseg.augment.phtps import SplineWarp
from semiseg.augment.tps import Spline
from semiseg.augment.views import unaugmented
from semiseg.batch import Views

COUNT, SIZE, CLASSES = 4, (40, 56), 4
MOVING = {
    "gentle": Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0, rotation=20.0, translate=0.1, scale=(0.8, 1.25)),
    "randaugment": RandAugment(probability=1.0, cutouts=0),
    "phtps": PhTPS(value_shift=0.0, saturation=(1.0, 1.0), hue=0.0, value_scale=(1.0, 1.0), permute=False, tps_sd=0.06),
}
"""Settings under which pixels change place but not colour (of RandAugment as far as they allow); one that is not here needs none."""
EVERY = pytest.mark.parametrize("name", [*PERTURBATIONS, *("+".join(names) for names in product(PERTURBATIONS, repeat=2))])
"""All registered perturbations and their chains of two."""


def moving(name: str) -> Perturbation:
    steps = tuple(MOVING.get(part, PERTURBATIONS[part]()) for part in name.split("+"))
    return steps[0] if len(steps) == 1 else Chain(steps=steps)


def scenes(first: int = 0) -> tuple[View, Tensor]:
    """Images that show every class in its colour, and their labels (N,H,W)."""
    images, masks = zip(*(painted(*SIZE, seed) for seed in range(first, first + COUNT)), strict=True)
    views = unaugmented(images, [masks], device=torch.device("cpu"))
    return View(views.image, views.valid), views.masks[0]


def pair_of_scenes() -> tuple[View, Tensor, View, Tensor]:
    """Images and labels, and those of other scenes as their partners."""
    return *scenes(), *scenes(COUNT)


def some_probs(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return (3 * torch.randn(COUNT, CLASSES, *size, generator=seeded(seed))).softmax(1)


def call(perturbation: Perturbation, view: View, partner: View, seed: int = 0) -> Perturbed:
    """What it makes of the images, given a partner batch if it needs one, and what a teacher sees in them."""
    view, partner = view._replace(probs=guess(view)), partner._replace(probs=guess(partner))
    return perturbation(view, seeded(seed), partner=partner if perturbation.partner else None)


def guess(view: View) -> Tensor:
    """Probabilities of a teacher, the same for all pixels of a quarter of an image."""
    if view.whole:
        return some_probs(9, (1, 1))[: len(view.image)]
    return F.interpolate(some_probs(9, (2, 2)), SIZE)[: len(view.image)]


def padded(view: View) -> View:
    """The same, but nothing shows in a few columns."""
    valid = view.valid.clone()
    valid[:, :, :6] = False
    return view._replace(valid=valid)


def whole(view: View) -> View:
    """The same images with a class each."""
    return view._replace(valid=torch.ones(len(view.image), 1, 1, dtype=torch.bool))


def bits(made: Perturbed, *maps: Tensor) -> list[Tensor]:
    """All that a perturbation made, and maps moved by it, with their own mirror images as the partners'."""
    return [made.image, made.valid, made.clean, *(made.move(one, one.flip(2)) for one in maps)]


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
