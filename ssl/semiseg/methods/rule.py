"""What a training rule says: what its batches hold, the networks it keeps, the loss of one step, and whom to score."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from semiseg.augment.perturbation import Perturbation
from semiseg.batch import Batch, Plane
from semiseg.config import Net, Train, require
from semiseg.ema import Ema
from semiseg.lazy import nn, torch
from semiseg.schedules import Moment
from semiseg.stage import Split, Stage

if TYPE_CHECKING:
    from torch import Tensor

Masks = Mapping[int, Plane]
"""Maps (H,W) by row of the pack: masks uint8, confidences uint16 with 65535 for 1."""


@dataclass
class State:
    """The networks of a running stage by role, and whatever else must survive a checkpoint: all that a rule may change.

    Everything goes by role: there is one optimiser per trained network, every network but the fixed ones is in the checkpoint and in the
    stage's weights, and all but the hidden ones are scored.
    """

    trained: dict[str, nn.Module]
    averages: dict[str, nn.Module] = field(default_factory=dict)
    """Moving averages, each of the trained network that `follows` names."""
    follows: dict[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    """Roles that predict no masks, such as a projection head."""
    fixed: dict[str, nn.Module] = field(default_factory=dict)
    """Networks of teacher stages as they are: never changed, so in no checkpoint, in no weights and not scored again."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that are neither weights nor optimiser's state, such as a memory bank; a rule may replace them."""

    @property
    def student(self) -> nn.Module:
        """The trained network of that role."""
        return self.trained["student"]

    @property
    def teacher(self) -> nn.Module | None:
        """The average of that role, if there is one."""
        return self.averages.get("teacher")

    def networks(self) -> dict[str, nn.Module]:
        """Networks that the stage changes, trained ones first."""
        return self.trained | self.averages

    def scored(self) -> dict[str, nn.Module]:
        """Networks that are evaluated."""
        return {role: net for role, net in self.networks().items() if role not in self.hidden}

    def follow(self, ema: Ema, now: Moment, label_only: float = 0.0) -> None:
        """Move every average after the optimiser's step `now.step`.

        In the first share `label_only` of the stage an average need not see images: it then takes BatchNorm's statistics of the network
        that it follows, where it otherwise gathers its own.
        """
        if ema.buffers == "own" and now.after(label_only) is None:
            ema = replace(ema, buffers="copy")
        for role, average in self.averages.items():
            ema.follow(average, self.trained[self.follows[role]], now)


class Build(Protocol):
    """Makes the network of a role with the stage's initial weights; each role's own differ, those of the student are the stage's."""

    def __call__(self, role: str = "student") -> nn.Module: ...


def with_teacher(build: Build, ema: Ema | None) -> State:
    """A student and, where `ema` says how it follows, a teacher."""
    student = build()
    return (
        State({"student": student})
        if ema is None
        else State({"student": student}, {"teacher": ema.teacher(student)}, {"teacher": "student"})
    )


class Pick(NamedTuple):
    """A network of a teacher stage: of the best or worst, by selection score, among those numbers of `Stage.teachers`.

    One number leaves nothing to choose; equal scores count in favour of the earlier one. `role` is that of a network there; "evaluated":
    the one that the teacher stage reports.
    """

    among: tuple[int, ...] = (0,)
    choice: Literal["best", "worst"] = "best"
    weights: Literal["last", "best"] = "last"
    role: str = "evaluated"


def keep_all(masks: Masks, confidences: Masks) -> Masks:
    """Pseudo-masks as they are."""
    return masks


@dataclass(frozen=True, kw_only=True)
class PseudoMasks:
    """Pseudo-masks of all training images, made once before the stage by a network of a teacher stage."""

    of: Pick
    confidences: bool = False
    """Whether a plane of how sure the network is comes with them."""
    plane: Literal["confidence", "certainty"] = "confidence"
    """What that is, a name in `semiseg.pseudo.PLANES`."""
    keep: Callable[[Masks, Masks], Masks] = keep_all
    """(masks, confidences) -> the masks as they are learned, IGNORE where not."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the mini-batches of a stage hold, and what it takes from its teacher stages; the default is plain supervised training."""

    draw: Literal["labelled", "mixed", "joint"] = "labelled"
    """Labelled images alone; fixed parts of labelled and of all training images; or all training images alike, so that the number of
    labelled ones in a batch is random, even 0."""
    apart: bool = False
    """Whether the unlabelled part of a mixed draw leaves out the labelled images; pseudo-masks are then filtered without theirs."""
    partner: bool = False
    """A second draw of training images, `Batch.partner`."""
    masks: PseudoMasks | None = None
    """Pseudo-masks, `Batch.pseudo`."""
    initial: Mapping[str, Pick] = field(default_factory=dict)
    """Networks that start from weights of a teacher stage, or are one of its, by role; the others start afresh."""
    subset: Callable[[np.ndarray, int], np.ndarray] | None = None
    """(labelled rows, seed) -> those of them that the stage trains on; None: all."""

    @property
    def unlabelled(self) -> bool:
        """Whether mini-batches hold unlabelled images."""
        return self.draw != "labelled"


PseudoOn = Literal["all", "unlabelled"]
"""Whose pseudo-masks are learned: those of all training images, the labelled ones among them, or of the unlabelled ones alone."""


def learned_from(split: Split, which: PseudoOn) -> int:
    """How many training images those are; SettingError where none is left."""
    if which == "all":
        return split.training
    require(split.labelled < split.training, "method.pseudo_on", which, "all where every training image is labelled")
    return split.training - split.labelled


@dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """Base of frozen dataclasses of hyper-parameters; every value of a field is part of the stage's key.

    What is not abstract has the value of plain supervised training.
    """

    @property
    def needs(self) -> Needs:
        """What mini-batches hold, and what comes from teacher stages."""
        return Needs()

    @property
    def own_blocks(self) -> int:
        """Blocks of the auxiliary branch that it does not share; 0: no such branch."""
        return 0

    @property
    def evaluated(self) -> str:
        """Role of the network whose score chooses the weights and is reported."""
        return "student"

    @property
    def least(self) -> float:
        """Probability of the class that its own networks give an unlabelled pixel below which this is not learned; 0: all are."""
        return 0.0

    @property
    def student_perturbation(self) -> Perturbation | None:
        """What unlabelled images go through, after weak augmentation, before the student learns from them."""
        return getattr(self, "perturbation", None)

    def start(self, build: Build) -> State:
        """Networks at step 0."""
        return with_teacher(build, None)

    @abc.abstractmethod
    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Named, weighted terms, each a float32 scalar; the loop sums them."""

    def after_step(self, state: State, now: Moment) -> None:
        """Called after the optimisers' step `now.step`."""
        return


@dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """Base of frozen dataclasses of hyper-parameters that say which stages a seed trains."""

    SWITCHES: ClassVar[tuple[str, ...]] = ()
    """Boolean fields that the rows of an ablation set together: those a row does not name are off."""
    IMAGE_LEVEL: ClassVar[bool] = True
    """Whether it also trains on data sets with one class per image."""

    def check_switches(self) -> None:
        """Raise SettingError for switches that do not go together."""
        return

    def labels_only(self) -> Mapping[str, Any]:
        """Fields of `Supervised` with which it treats labelled images as this method's student does: their loss, if that is a setting,
        and, in methods that perturb them, the perturbation."""
        return {name: getattr(self, name) for name in ("objective",) if hasattr(self, name)}

    @abc.abstractmethod
    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """The stages of one seed, teachers before who learns from them; the last one is scored. SettingError when there are none."""


@dataclass(frozen=True, kw_only=True)
class OneStage(Method, Rule):
    """A method whose only stage follows itself as the rule."""

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(self).__name__).lstrip("_")
        return (Stage(name=name, number=1, rule=self, split=split, net=net, train=train, seed=seed),)
