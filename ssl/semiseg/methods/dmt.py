"""Dynamic mutual training (feng2020_dmt, after Feng et al. 2020): two models that differ take turns in teaching each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from semiseg.config import Net, Train, require, require_choices
from semiseg.lazy import torch
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.mutual import MutualTraining
from semiseg.methods.rule import Method, Needs, Pick, PseudoOn, Rule, learned_from
from semiseg.methods.supervised import Supervised
from semiseg.stage import Split, Stage, stream

OWN, OTHER, NEWEST = (Pick(among=(number,), weights="best") for number in range(3))
STRONGER = Pick(among=(0, 1), choice="best", weights="best")
WEAKER = Pick(among=(0, 1), choice="worst", weights="best")


@dataclass(frozen=True, kw_only=True)
class SubsetSupervised(Supervised):
    """Pretraining on one of the two subsets of difference-maximised sampling (feng2020_dmt, equation 1).

    `alpha` is this subset's own share, so that the two may differ in size.
    """

    alpha: float
    part: Literal["first", "last"]
    """D_A, the first alpha L of the shuffled labelled images, or D_B, the last."""

    @property
    def needs(self) -> Needs:
        return Needs(subset=self.labelled)

    def labelled(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """round(alpha L) of the L rows, at least 1; half rounded up, so that two subsets of alpha >= 1/2 always cover them."""
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(stream(seed, "dms"))).numpy()
        count = max(int(self.alpha * len(rows) + 0.5), 1)
        return rows[order[:count] if self.part == "first" else order[len(rows) - count :]]


@dataclass(frozen=True, kw_only=True)
class SubsetFrom(SubsetSupervised):
    """The same from the weights of a stage of no steps, so that both models start alike (feng2020_dmt, algorithm 1, line 1)."""

    @property
    def needs(self) -> Needs:
        return replace(super().needs, initial={"student": Pick()})


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
    alpha_a: float | None = None
    """Share of A's subset, the first alpha_a L of the shuffled labelled images; None: alpha."""
    alpha_b: float | None = None
    """Share of B's subset, the last alpha_b L; None: alpha."""
    same_start: bool = False
    """Both models start from the same random weights (algorithm 1, line 1) or each from its own (sections 2.3 and 4.1)."""
    gamma1: float = 3.0
    """Exponent of the weight where both models agree (section 4.1; DST-CBC: 3 on Cityscapes, 5 on VOC)."""
    gamma2: float = 3.0
    """Exponent of the weight where they disagree and the teacher is at least as sure."""
    gamma_schedule: Literal["constant", "sigmoid"] = "constant"
    """Both exponents as they are, or rising over each phase to that, exp(-5 (1 - t/T)^2) of it in step t of T (Feng et al. 2020 on
    CIFAR-10; "a sigmoid-like function for gamma", section 4.2)."""
    phases: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Share of the pseudo-labelled pixels learned in each phase (algorithm 1, line 5)."""
    phase_epochs: float = 10.0
    """Times a phase shows every training image to each model (section 4.1; figure 1: 5, 10, 20, 30); pretraining: train.steps."""
    phase_rate: float = 1.0
    """Factor of train.learning_rate in the phases, whose schedule starts afresh (section 4.1, DST-CBC on Cityscapes: same rate)."""
    teacher_first: Literal["selection", "a", "each_phase"] = "selection"
    """Which model teaches first: in all phases the better one on selection after pretraining (section 3), or A (DST-CBC), or in
    each phase the one that is better before it (proposed in section 4.2)."""
    update: Literal["sequential", "symmetric"] = "sequential"
    """The second half of a phase learns from the model just trained (algorithm 1, line 9) or from that before the phase
    (DST-CBC)."""
    masks: Literal["phase", "online"] = "phase"
    """The teacher makes pseudo-masks once before its phase, of whole plain images (algorithm 1, line 7; DST-CBC), or of each
    mini-batch as the student sees it ("online self-training", section 4.2)."""
    pseudo_on: PseudoOn = "all"
    """Pseudo-masks are learned of all training images or of the unlabelled ones alone (algorithm 1, lines 7-8; DST-CBC)."""
    ranking: Literal["class", "global"] = "class"
    """Confident pixels are those of each predicted class (DST-CBC) or of all pixels alike ("direct ranking", section 2.3)."""
    scope: Literal["dataset", "batch"] = "dataset"
    """They are ranked over all images that `pseudo_on` names once a phase (DST-CBC), or within the unlabelled images of each
    mini-batch, as masks made online must be."""
    reduction: Literal["pooled", "separate"] = "pooled"
    """One mean over labelled and pseudo-labelled pixels together (DST-CBC), or the sum of a mean over each (equations 3 and 5)."""
    objective: Loss = field(default_factory=CrossEntropy)
    """Loss of labelled pixels in pretraining and phases (equation 3: cross-entropy); that of pseudo-labels stays weighted
    cross-entropy."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        require(0.5 <= self.alpha <= 1, "method.alpha", self.alpha, "a share in [0.5, 1]")
        for name in ("alpha_a", "alpha_b"):
            value = getattr(self, name)
            require(value is None or 0 < value <= 1, f"method.{name}", value, "a share in (0, 1] or None")
        for name in ("gamma1", "gamma2"):
            require(0 <= getattr(self, name) < math.inf, f"method.{name}", getattr(self, name), "a number >= 0")
        for name in ("phase_epochs", "phase_rate"):
            require(0 < getattr(self, name) < math.inf, f"method.{name}", getattr(self, name), "a number > 0")
        ascending = list(self.phases) == sorted(self.phases) and all(0 < share <= 1 for share in self.phases)
        require(ascending and len(self.phases) > 0, "method.phases", self.phases, "ascending shares in (0, 1], at least one")
        require(self.masks == "phase" or self.scope == "batch", "method.scope", self.scope, "batch with masks made online")

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """Pretraining of A and B, for every phase the model taught first (follower) and the other (leader), then the better one."""
        require(train.batch_unlabelled >= 1, "train.batch_unlabelled", train.batch_unlabelled, "a whole number >= 1 with dmt")
        epoch_steps = math.ceil(learned_from(split, self.pseudo_on) / train.batch_unlabelled)
        steps = max(round(self.phase_epochs * epoch_steps), 1)
        tuning = replace(train, steps=steps, learning_rate=train.learning_rate * self.phase_rate)
        chain: list[Stage] = []

        def add(name: str, rule: Rule, settings: Train, *teachers: Stage) -> Stage:
            number = len(chain) + 1  # of its own: it seeds initial weights, order and augmentation
            chain.append(
                Stage(name=name, number=number, rule=rule, split=split, net=net, train=settings, seed=seed, teachers=teachers)
            )
            return chain[-1]

        subset, start = SubsetSupervised, ()
        if self.same_start:
            subset, start = SubsetFrom, (add("start", Supervised(objective=self.objective), replace(train, steps=0)),)
        sizes = [self.alpha if share is None else share for share in (self.alpha_a, self.alpha_b)]
        leader = add("a0", subset(alpha=sizes[0], part="first", objective=self.objective), train, *start)
        follower = add("b0", subset(alpha=sizes[1], part="last", objective=self.objective), train, *start)
        for phase, share in enumerate(self.phases, 1):
            names, before = (f"follower{phase}", f"leader{phase}"), follower
            if self.teacher_first == "each_phase" or (phase == 1 and self.teacher_first == "selection"):
                pair = leader, follower  # which is which shows when both are trained
                follower = add(names[0], self.rule(WEAKER, STRONGER, share), tuning, *pair)
                if self.update == "sequential":
                    leader = add(names[1], self.rule(STRONGER, NEWEST, share), tuning, *pair, follower)
                else:
                    leader = add(names[1], self.rule(STRONGER, WEAKER, share), tuning, *pair)
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
            masks=self.masks,
            pseudo_on=self.pseudo_on,
            gamma_schedule=self.gamma_schedule,
        )
