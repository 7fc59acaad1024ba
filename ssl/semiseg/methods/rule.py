"""What a training rule must say: the networks it keeps, the loss of one step, and whom to score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from semiseg.batch import Batch


@dataclass
class State:
    """The networks of a running stage: all that a rule may change besides the optimiser."""

    student: nn.Module
    teacher: nn.Module | None = None

    def roles(self) -> dict[str, nn.Module]:
        """Networks that are evaluated, by role."""
        return {"student": self.student} | ({} if self.teacher is None else {"teacher": self.teacher})


class Rule(Protocol):
    """A frozen dataclass of hyper-parameters with these five members; every value of a field is part of the stage's key."""

    @property
    def own_blocks(self) -> int:
        """Blocks of the auxiliary branch that it does not share; 0: no such branch."""
        ...

    @property
    def unlabelled(self) -> bool:
        """Whether mini-batches hold unlabelled images."""
        ...

    @property
    def evaluated(self) -> str:
        """Role whose score chooses the weights and is reported: "student" or "teacher"."""
        ...

    def start(self, build: Callable[[], nn.Module]) -> State:
        """Networks at step 0; `build()` makes one with the stage's initial weights."""
        ...

    def loss(self, state: State, batch: Batch, progress: float, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Named, weighted terms, each a float32 scalar; the loop sums them. `progress` is the share of the stage done, in [0,1)."""
        ...

    def after_step(self, state: State, step: int, progress: float) -> None:
        """Called after the optimiser's step number `step` (from 0)."""
        ...
