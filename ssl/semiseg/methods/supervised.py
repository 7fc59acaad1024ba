"""Training on the labelled images alone: the lower bound of every study, with all labels the upper one, and stage 1 of self-training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semiseg.batch import Batch
from semiseg.config import require_choices
from semiseg.losses import SEGMENTATION
from semiseg.methods.rule import Moment, OneStage, State


@dataclass(frozen=True, kw_only=True)
class Supervised(OneStage):
    """One loss on weakly augmented labelled images."""

    objective: Literal["ce", "dice", "soft_dice"] = "ce"
    """Cross-entropy (papers 002, 003, 004), Dice with squared terms (000) or soft Dice pooled over the batch (001)."""

    def __post_init__(self) -> None:
        require_choices(self, "method")

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        return {"segmentation": SEGMENTATION[self.objective](state.student(batch.image), batch.mask)}
