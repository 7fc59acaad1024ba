"""Dynamic mutual training (feng2020_dmt, after Feng et al. 2020): two models that differ take turns in teaching each other."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from semiseg.config import Net, Train, require, require_choices
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.mutual import MutualTraining
from semiseg.methods.rule import Method, Needs, Pick, Rule
from semiseg.methods.supervised import Supervised
from semiseg.stage import Split, Stage, stream

OWN, OTHER, NEWEST = (Pick(among=(number,), weights="best") for number in range(3))
STRONGER = Pick(among=(0, 1), choice="best", weights="best")
WEAKER = Pick(among=(0, 1), choice="worst", weights="best")


@dataclass(frozen=True, kw_only=True)
class SubsetSupervised(Supervised):
    """Pretraining on one of the two subsets of difference-maximised sampling (feng2020_dmt, equation 1)."""

    alpha: float
    part: Literal["first", "last"]
    """D_A, the first alpha L of the shuffled labelled images, or D_B, the last."""

    @property
    def needs(self) -> Needs:
        return Needs(subset=self.labelled)

    def labelled(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """round(alpha L) of the L rows, half rounded up, so that the two subsets always cover them."""
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(stream(seed, "dms"))).numpy()
        count = int(self.alpha * len(rows) + 0.5)
        return rows[order[:count] if self.part == "first" else order[len(rows) - count :]]


@dataclass(frozen=True, kw_only=True)
class Better(Supervised):
    """The better of two models as it is, for a stage of no steps (feng2020_dmt, algorithm 1, line 12)."""

    weights: Literal["best", "last"]

    @property
    def needs(self) -> Needs:
        return Needs(initial={"student": Pick(among=(0, 1), weights=self.weights)})


@dataclass(frozen=True, kw_only=True)
class DMT(Method):
    """Hyper-parameters of feng2020_dmt; `stages` says which training runs they ask for.

    Where the paper is silent or contradicts itself, the field says what the code it builds on (DST-CBC) does.
    """

    alpha: float = 0.7
    """Share of the labelled images in each pretraining subset (section 4.1; DST-CBC: 0.8); 1: both models see all of them."""
    gamma1: float = 3.0
    """Exponent of the weight where both models agree (section 4.1; DST-CBC: 3 on Cityscapes, 5 on VOC)."""
    gamma2: float = 3.0
    """Exponent of the weight where they disagree and the teacher is at least as sure."""
    phases: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Share of the pseudo-labelled pixels learned in each phase (algorithm 1, line 5)."""
    phase_epochs: float = 10.0
    """Times a phase shows every training image to each model (section 4.1; figure 1: 5, 10, 20, 30); pretraining: train.steps."""
    phase_rate: float = 1.0
    """Factor of train.learning_rate in the phases, whose schedule starts afresh (section 4.1, DST-CBC on Cityscapes: same rate)."""
    teacher_first: Literal["selection", "a"] = "selection"
    """Which model teaches first in every phase: the better one on selection after pretraining (section 3), or always A
    (DST-CBC)."""
    update: Literal["sequential", "symmetric"] = "sequential"
    """The second half of a phase learns from the model just trained (algorithm 1, line 9) or from that before the phase
    (DST-CBC)."""
    ranking: Literal["class", "global"] = "class"
    """Confident pixels are those of each predicted class (DST-CBC) or of all pixels alike (a reading of algorithm 1, line 7)."""
    scope: Literal["dataset", "batch"] = "dataset"
    """They are ranked over all training images once a phase (DST-CBC), or within each mini-batch."""
    reduction: Literal["pooled", "separate"] = "pooled"
    """One mean over labelled and pseudo-labelled pixels together (DST-CBC), or the sum of a mean over each (equations 3 and 5)."""
    objective: Loss = field(default_factory=CrossEntropy)
    """Loss of labelled pixels in pretraining and phases (equation 3: cross-entropy); that of pseudo-labels stays weighted
    cross-entropy."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        require(0.5 <= self.alpha <= 1, "method.alpha", self.alpha, "a share in [0.5, 1]")
        for name in ("gamma1", "gamma2"):
            require(0 <= getattr(self, name) < math.inf, f"method.{name}", getattr(self, name), "a number >= 0")
        for name in ("phase_epochs", "phase_rate"):
            require(0 < getattr(self, name) < math.inf, f"method.{name}", getattr(self, name), "a number > 0")
        ascending = list(self.phases) == sorted(self.phases) and all(0 < share <= 1 for share in self.phases)
        require(ascending and len(self.phases) > 0, "method.phases", self.phases, "ascending shares in (0, 1], at least one")

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """Pretraining of A and B, for every phase the model taught first (follower) and the other (leader), then the better one."""
        require(train.batch_unlabelled >= 1, "train.batch_unlabelled", train.batch_unlabelled, "a whole number >= 1 with dmt")
        epoch_steps = math.ceil(split.training / train.batch_unlabelled)
        steps = max(round(self.phase_epochs * epoch_steps), 1)
        tuning = replace(train, steps=steps, learning_rate=train.learning_rate * self.phase_rate)
        chain: list[Stage] = []

        def add(name: str, rule: Rule, settings: Train, *teachers: Stage) -> Stage:
            number = len(chain) + 1  # of its own: it seeds initial weights, order and augmentation
            chain.append(
                Stage(name=name, number=number, rule=rule, split=split, net=net, train=settings, seed=seed, teachers=teachers)
            )
            return chain[-1]

        a = add("a0", SubsetSupervised(alpha=self.alpha, part="first", objective=self.objective), train)
        b = add("b0", SubsetSupervised(alpha=self.alpha, part="last", objective=self.objective), train)
        leader, follower = a, b
        for phase, share in enumerate(self.phases, 1):
            names, before = (f"follower{phase}", f"leader{phase}"), follower
            if phase == 1 and self.teacher_first == "selection":  # which is which shows when both are trained
                follower = add(names[0], self.rule(WEAKER, STRONGER, share), tuning, a, b)
                if self.update == "sequential":
                    leader = add(names[1], self.rule(STRONGER, NEWEST, share), tuning, a, b, follower)
                else:
                    leader = add(names[1], self.rule(STRONGER, WEAKER, share), tuning, a, b)
            else:
                follower = add(names[0], self.rule(OWN, OTHER, share), tuning, follower, leader)
                teacher = follower if self.update == "sequential" else before
                leader = add(names[1], self.rule(OWN, OTHER, share), tuning, leader, teacher)
        add("better", Better(weights=train.weights), replace(train, steps=0), leader, follower)
        return tuple(chain)

    def rule(self, student: Pick, teacher: Pick, share: float) -> MutualTraining:
        """The rule of one model's part of a phase."""
        return MutualTraining(
            student=student,
            teacher=teacher,
            share=share,
            gamma1=self.gamma1,
            gamma2=self.gamma2,
            ranking=self.ranking,
            scope=self.scope,
            reduction=self.reduction,
            objective=self.objective,
        )
