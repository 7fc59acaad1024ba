"""Training on the labelled images alone: the lower bound of every study, with all labels the upper one, and stage 1 of
self-training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semiseg.augment.perturbation import Perturbation, View, perturb_batch
from semiseg.batch import Batch
from semiseg.config import require_choices
from semiseg.lazy import torch
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.rule import OneStage, State
from semiseg.schedules import Moment

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Supervised(OneStage):
    """One loss on weakly augmented labelled images."""

    objective: Loss = field(default_factory=CrossEntropy)
    """Cross-entropy (feng2020_dmt, grubisic2021, ke2020), Dice with squared terms (pets_mean_teacher), soft Dice pooled over the
    batch (perone2018) or another one of LOSSES."""
    perturbation: Perturbation | None = None
    """Of the labelled images, as the student of another method sees them; where labels do not count they are IGNORE. None: none.
    perone2018 trains its baseline with the rotation and noise of the mean teacher."""

    def __post_init__(self) -> None:
        require_choices(self, "method")

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        seen = perturb_batch(self.perturbation, View(batch.image, batch.valid), generator)
        return {"segmentation": self.objective(state.student(seen.image), seen.labels(batch.mask), batch.shares)}
