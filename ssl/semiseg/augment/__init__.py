"""Weak augmentation of image batches together with their masks, and random perturbations by name."""

from collections.abc import Mapping

from semiseg.augment.cutmix import CutMix, Cutout
from semiseg.augment.gentle import Gentle
from semiseg.augment.perturbation import Chain, Move, Perturbation, Perturbed, View
from semiseg.augment.phtps import PhTPS
from semiseg.augment.randaugment import RandAugment
from semiseg.config import require

__all__ = [
    "PERTURBATIONS",
    "Chain",
    "CutMix",
    "Cutout",
    "Gentle",
    "Move",
    "Perturbation",
    "Perturbed",
    "PhTPS",
    "RandAugment",
    "View",
]

PERTURBATIONS: Mapping[str, type[Perturbation]] = {
    "gentle": Gentle,
    "randaugment": RandAugment,
    "phtps": PhTPS,
    "cutmix": CutMix,
    "cutout": Cutout,
}
"""Name -> settings; `a+b` in a row's words is the `Chain` of two."""


def perturbation_named(text: str) -> Perturbation:
    """The perturbation of a name in PERTURBATIONS with its defaults, or of `a+b` the chain of two. SettingError for another name."""
    names = text.split("+")
    for name in names:
        require(name in PERTURBATIONS, "perturbation", name, f"{', '.join(PERTURBATIONS)}, or several joined by +")
    steps = tuple(PERTURBATIONS[name]() for name in names)
    return steps[0] if len(steps) == 1 else Chain(steps=steps)
