"""Training on the labelled images alone: the lower bound of every study, with all labels the upper one, and stage 1 of
self-training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semiseg.augment.gentle import colours, draw_motion, move, noisy
from semiseg.batch import Batch, Views
from semiseg.config import Gentle, require_choices
from semiseg.losses import SEGMENTATION
from semiseg.methods.rule import Moment, OneStage, State


@dataclass(frozen=True, kw_only=True)
class Supervised(OneStage):
    """One loss on weakly augmented labelled images."""

    objective: Literal["ce", "dice", "soft_dice"] = "ce"
    """Cross-entropy (feng2020_dmt, grubisic2021, ke2020), Dice with squared terms (pets_mean_teacher) or soft Dice pooled over the
    batch (perone2018)."""
    gentle: Gentle | None = None
    """Perturbation of the labelled images, as the mean teacher's student sees them; what a motion brings in from out of the frame
    is IGNORE. None: none. perone2018 trains its baseline with the rotation and noise of the mean teacher."""

    def __post_init__(self) -> None:
        require_choices(self, "method")

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        image, mask = (batch.image, batch.mask) if self.gentle is None else _perturbed(batch, self.gentle, generator)
        return {"segmentation": SEGMENTATION[self.objective](state.student(image), mask)}


def _perturbed(batch: Batch, gentle: Gentle, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Image (N,3,H,W) and mask of a batch under one draw of the perturbation."""
    views = Views(colours(batch.image, gentle, generator), (batch.mask,), batch.valid)
    if gentle.moves:
        views, _ = move(views, batch.image[:, :0], draw_motion(batch.image, gentle, generator), fill=False)
    return noisy(views.image, gentle.noise, generator), views.masks[0]
