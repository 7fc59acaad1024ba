"""Pseudo-labels (Lee 2013; the baseline of feng2020_dmt): a model learns its own argmax masks with a weight that rises from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from semiseg.batch import Batch
from semiseg.config import Net, Train, require, require_choices
from semiseg.lazy import torch
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.kept import Kept
from semiseg.methods.rule import Masks, Method, Needs, Pick, PseudoMasks, PseudoOn, Rule, State, keep_all, learned_from
from semiseg.methods.stage_train import StageTrain
from semiseg.methods.supervised import Supervised
from semiseg.schedules import Moment
from semiseg.stage import AS_BEFORE, Split, Stage

if TYPE_CHECKING:
    from torch import Tensor

PREVIOUS = Pick(weights="best")


@dataclass(frozen=True, kw_only=True)
class PseudoLabelled(Rule):
    """L = L(labelled) + alpha(t) L(pseudo-labelled) (Lee 2013).

    Pseudo-masks are made once before the stage from the best weights of the stage before (feng2020_dmt, section 4.2); Lee makes them
    anew in every step.
    """

    objective: Loss
    weight: float
    rise: tuple[float, float]
    threshold: float
    start_from: Literal["teacher", "scratch"]
    pseudo_on: PseudoOn = field(default="all", metadata={AS_BEFORE: "all"})

    @property
    def needs(self) -> Needs:
        initial = {"student": PREVIOUS} if self.start_from == "teacher" else {}
        keep = self.filtered if self.threshold > 0 else keep_all
        learned = PseudoMasks(of=PREVIOUS, keep=keep)
        return Needs(draw="mixed", apart=self.pseudo_on == "unlabelled", masks=learned, initial=initial)

    def filtered(self, masks: Masks, confidences: Masks) -> Masks:
        """The masks without the pixels whose confidence is below the threshold."""
        lowest = np.array([math.ceil(self.threshold * 65535)])
        return {row: Kept(mask, confidences[row], lowest) for row, mask in masks.items()}

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        assert batch.pseudo is not None
        logits, known = state.student(batch.image), batch.labelled
        weight = rising(now.progress, self.rise, self.weight)
        return {
            "segmentation": self.objective(logits[:known], batch.mask[:known], batch.shares),
            "pseudo": weight * self.objective(logits[known:], batch.pseudo[known:], batch.shares),
        }


@dataclass(frozen=True, kw_only=True)
class PseudoLabel(Method):
    """A supervised stage, the same as the supervised baseline's, then rounds of learning the masks of the stage before."""

    objective: Loss = field(default_factory=CrossEntropy)
    """Loss of labelled and of pseudo-labelled pixels (Lee 2013, feng2020_dmt: cross-entropy)."""
    rounds: int = 1
    """Stages after the supervised one (feng2020_dmt: 1)."""
    weight: float = 3.0
    """alpha_f, the final weight of the pseudo-labelled term (Lee 2013; feng2020_dmt gives none)."""
    rise: tuple[float, float] = (0.1, 0.6)
    """Shares of the stage between which the weight rises from 0 (Lee 2013: T1 = 100 and T2 = 600, read as of 1000)."""
    threshold: float = 0.0
    """Confidence below which a pixel is not learned; 0: all are (Lee 2013)."""
    start_from: Literal["teacher", "scratch"] = "teacher"
    """Best weights of the stage before, one model that goes on learning (Lee 2013, feng2020_dmt), or fresh ones."""
    pseudo_on: PseudoOn = "all"
    """Pseudo-masks are learned of all training images or of the unlabelled ones alone (Lee 2013; feng2020_dmt, section 4.2)."""
    stage1: StageTrain = field(default_factory=StageTrain, metadata={AS_BEFORE: StageTrain()})
    """What the supervised stage trains with."""
    stage2: StageTrain = field(default_factory=StageTrain, metadata={AS_BEFORE: StageTrain()})
    """What every later stage trains with."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        require(self.rounds >= 1, "method.rounds", self.rounds, "a whole number >= 1")
        require(0 <= self.weight < math.inf, "method.weight", self.weight, "a number >= 0")
        low, high = self.rise
        require(0 <= low <= high <= 1, "method.rise", self.rise, "two shares, 0 <= low <= high <= 1")
        require(0 <= self.threshold < 1, "method.threshold", self.threshold, "a probability in [0, 1)")

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        later = self.stage2.of(train)
        require(
            later.batch_unlabelled >= 1, "train.batch_unlabelled", later.batch_unlabelled, "a whole number >= 1 with pseudo_label"
        )
        learned_from(split, self.pseudo_on)
        rule = PseudoLabelled(
            objective=self.objective,
            weight=self.weight,
            rise=self.rise,
            threshold=self.threshold,
            start_from=self.start_from,
            pseudo_on=self.pseudo_on,
        )
        chain = list(Supervised(objective=self.objective).stages(split, net, self.stage1.of(train), seed))
        for turn in range(1, self.rounds + 1):
            before = chain[-1]
            chain.append(replace(before, name=f"pseudo{turn}", number=turn + 1, rule=rule, train=later, teachers=(before,)))
        return tuple(chain)


def rising(progress: float, rise: tuple[float, float], weight: float) -> float:
    """0 before the first share of the stage, linear up to the second, then `weight` (Lee 2013, alpha(t)).

    >>> rising(0.5, (0.25, 0.75), 3.0)
    1.5
    """
    low, high = rise
    if progress < low:
        return 0.0
    return weight if progress >= high else weight * (progress - low) / (high - low)
