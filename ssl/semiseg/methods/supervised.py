"""Training on the labelled images alone: the lower bound of every study, and stage 1 of self-training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semiseg.batch import Batch
from semiseg.losses import cross_entropy
from semiseg.methods.rule import State


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Cross-entropy on weakly augmented labelled images (paper 004, equation 2)."""

    @property
    def own_blocks(self) -> int:
        return 0

    @property
    def unlabelled(self) -> bool:
        return False

    @property
    def evaluated(self) -> str:
        return "student"

    def start(self, build: Callable[[], nn.Module]) -> State:
        return State(build())

    def loss(self, state: State, batch: Batch, progress: float, generator: torch.Generator) -> Mapping[str, Tensor]:
        return {"segmentation": cross_entropy(state.student(batch.image), batch.mask)}

    def after_step(self, state: State, step: int, progress: float) -> None:
        pass
