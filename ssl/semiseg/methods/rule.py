"""What a training rule says: the networks it keeps, the loss of one step, what it takes from teacher stages, and whom to score."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from semiseg.batch import Batch
from semiseg.config import Net, Train
from semiseg.stage import Split, Stage


@dataclass
class State:
    """The networks of a running stage: all that a rule may change besides the optimiser."""

    student: nn.Module
    teacher: nn.Module | None = None

    def roles(self) -> dict[str, nn.Module]:
        """Networks that are evaluated, by role."""
        return {"student": self.student} | ({} if self.teacher is None else {"teacher": self.teacher})


class Moment(NamedTuple):
    """Where a stage is: the number of the step (from 0), of how many, and how many steps show every training image once."""

    step: int
    steps: int
    epoch_steps: int

    @property
    def progress(self) -> float:
        """Share of the stage done before this step, in [0,1)."""
        return self.step / self.steps

    @property
    def epoch(self) -> int:
        """Whole epochs done before this step."""
        return self.step // self.epoch_steps

    @property
    def ends_epoch(self) -> bool:
        """Whether this step is the last one of its epoch."""
        return (self.step + 1) % self.epoch_steps == 0


class Pick(NamedTuple):
    """A network of a teacher stage: of the best or worst, by selection score, among those numbers of `Stage.teachers`.

    One number leaves nothing to choose; equal scores count in favour of the earlier one. `role` "evaluated" is the network that the
    teacher stage reports.
    """

    among: tuple[int, ...] = (0,)
    choice: Literal["best", "worst"] = "best"
    weights: Literal["last", "best"] = "last"
    role: Literal["student", "teacher", "evaluated"] = "evaluated"


@dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """Base of frozen dataclasses of hyper-parameters; every value of a field is part of the stage's key.

    What is not abstract has the value of plain supervised training.
    """

    @property
    def own_blocks(self) -> int:
        """Blocks of the auxiliary branch that it does not share; 0: no such branch."""
        return 0

    @property
    def unlabelled(self) -> bool:
        """Whether mini-batches hold unlabelled images."""
        return False

    @property
    def joint(self) -> bool:
        """Whether mini-batches are drawn from all training images alike, so that the number of labelled ones is random, even 0."""
        return False

    @property
    def evaluated(self) -> str:
        """Role whose score chooses the weights and is reported: "student" or "teacher"."""
        return "student"

    @property
    def masks(self) -> Pick | None:
        """Which network makes the pseudo-masks `Batch.pseudo` of all training images; None: the rule learns none."""
        return None

    @property
    def confidences(self) -> bool:
        """Whether `Batch.confidence` comes with the pseudo-masks."""
        return False

    @property
    def initial(self) -> Pick | None:
        """Which network's weights the student starts from; None: fresh ones."""
        return None

    def labelled(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Those of the labelled rows that the stage trains on."""
        return rows

    def filtered(self, masks: Mapping[int, np.ndarray], confidences: Mapping[int, np.ndarray]) -> Mapping[int, np.ndarray]:
        """The pseudo-masks (H,W) uint8 by row as they are learned, IGNORE where not; confidences (H,W) uint16, 65535 is 1."""
        return masks

    def start(self, build: Callable[[], nn.Module]) -> State:
        """Networks at step 0; `build()` makes one with the stage's initial weights."""
        return State(build())

    @abc.abstractmethod
    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Named, weighted terms, each a float32 scalar; the loop sums them."""

    def after_step(self, state: State, now: Moment) -> None:
        """Called after the optimiser's step `now.step`."""
        return


@dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """Base of frozen dataclasses of hyper-parameters that say which stages a seed trains."""

    SWITCHES: ClassVar[tuple[str, ...]] = ()
    """Boolean fields that the rows of an ablation set together: those a row does not name are off."""
    IMAGE_LEVEL: ClassVar[bool] = True
    """Whether it also trains on data sets with one class per image."""

    @abc.abstractmethod
    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """The stages of one seed, teachers before who learns from them; the last one is scored. SettingError when there are
        none."""


@dataclass(frozen=True, kw_only=True)
class OneStage(Method, Rule):
    """A method whose only stage follows itself as the rule."""

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(self).__name__).lstrip("_")
        return (Stage(name=name, number=1, rule=self, split=split, net=net, train=train, seed=seed),)
