"""A phase of dynamic mutual training: a student learns the pseudo-masks of another model, weighted by how both judge each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from semiseg.batch import IGNORE, Batch
from semiseg.lazy import F, torch
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.kept import Kept
from semiseg.methods.rule import Build, Masks, Needs, Pick, PseudoMasks, PseudoOn, Rule, State, with_teacher
from semiseg.schedules import Moment, sigmoid_ramp
from semiseg.stage import AS_BEFORE

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 65536
"""Steps of a stored confidence; LEVELS - 1 is probability 1."""
STRIP = 1 << 22
"""Pixels that are counted at a time."""


@dataclass(frozen=True, kw_only=True)
class MutualTraining(Rule):
    """L_X + L_U of feng2020_dmt (equations 2-5): a loss of all labelled images, and dynamically weighted cross-entropy on pseudo-masks.

    Pseudo-masks y_A and confidences c_A are those of whole plain images, made before the stage, or the teacher makes them of the
    mini-batch as the student sees it.
    """

    student: Pick
    """Whose weights the student starts from; optimiser and schedule start afresh."""
    teacher: Pick
    """Whose pseudo-masks and confidences are learned."""
    share: float
    """Share alpha_i of the pseudo-labelled pixels that are learned, those of highest confidence."""
    gamma1: float
    gamma2: float
    ranking: Literal["class", "global"]
    scope: Literal["dataset", "batch"]
    reduction: Literal["pooled", "separate"]
    """Pooled, L_X has n / (n + m) of its weight and L_U m / (n + m), of n labelled and m pseudo-labelled pixels."""
    objective: Loss = field(default_factory=CrossEntropy, metadata={AS_BEFORE: CrossEntropy()})
    """L_X."""
    masks: Literal["phase", "online"] = field(default="phase", metadata={AS_BEFORE: "phase"})
    """Made once, before the phase, or of every mini-batch; those are ranked within its unlabelled images, out of frame left out."""
    pseudo_on: PseudoOn = field(default="all", metadata={AS_BEFORE: "all"})
    gamma_schedule: Literal["constant", "sigmoid"] = field(default="constant", metadata={AS_BEFORE: "constant"})

    @property
    def needs(self) -> Needs:
        apart = self.pseudo_on == "unlabelled"
        if self.masks == "online":
            return Needs(draw="mixed", apart=apart, initial={"student": self.student, "teacher": self.teacher})
        learned = PseudoMasks(of=self.teacher, confidences=True, keep=self.filtered)
        return Needs(draw="mixed", apart=apart, masks=learned, initial={"student": self.student})

    def start(self, build: Build) -> State:
        state = with_teacher(build, None)
        if self.masks == "online":
            state.fixed["teacher"] = build("teacher").requires_grad_(False).eval()
        return state

    def filtered(self, masks: Masks, confidences: Masks) -> Masks:
        """The masks with only the most confident `share` of all pixels of the data set, or of each predicted class, left."""
        if self.scope == "batch":
            return masks
        counts = np.zeros((IGNORE, LEVELS), np.int64)
        groups = 1
        for row, mask in masks.items():
            height = max(STRIP // mask.shape[1], 1)
            for top in range(0, mask.shape[0], height):
                strip = mask[top : top + height]
                group = strip if self.ranking == "class" else np.zeros_like(strip)
                np.add.at(counts, (group, confidences[row][top : top + height]), 1)
                groups = max(groups, 1 + int(group.max()))
        lowest = lowest_kept(torch.from_numpy(counts[:groups]), self.share).numpy()
        return {row: Kept(mask, confidences[row], lowest) for row, mask in masks.items()}

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        logits = state.student(batch.image).float()
        pseudo, confidence = self._taught(state, batch)
        if self.scope == "batch":
            pseudo = self._ranked(pseudo, confidence, logits.shape[1])
        part = gamma_part(self.gamma_schedule, now)
        weight = dynamic_weight(logits, pseudo, confidence, part * self.gamma1, part * self.gamma2)
        learned = (weight * F.cross_entropy(logits, pseudo, ignore_index=IGNORE, reduction="none")).sum()
        known, others = ((one != IGNORE).sum() for one in (batch.mask, pseudo))
        if self.reduction == "separate":
            segmentation, counted = self.objective(logits, batch.mask, batch.shares), others
        else:
            segmentation, counted = self.objective.among(others, logits, batch.mask, batch.shares), known + others
        return {"segmentation": segmentation, "pseudo": learned / counted.clamp(min=1)}

    def _taught(self, state: State, batch: Batch) -> tuple[Tensor, Tensor]:
        """y_A (N,H,W) int64, IGNORE on labelled rows, which are learned with their true masks, and c_A (N,H,W) in [0,1]."""
        known = batch.labelled
        if self.masks == "online":
            with torch.no_grad():
                confidence, found = state.fixed["teacher"](batch.image[known:]).float().softmax(1).max(1)
            found = found.masked_fill(~batch.valid[known:], IGNORE)
            return F.pad(found, (0, 0, 0, 0, known, 0), value=IGNORE), F.pad(confidence, (0, 0, 0, 0, known, 0))
        assert batch.pseudo is not None
        assert batch.confidence is not None
        pseudo = batch.pseudo.clone()
        pseudo[:known] = IGNORE
        return pseudo, batch.confidence

    def _ranked(self, pseudo: Tensor, confidence: Tensor, classes: int) -> Tensor:
        """`filtered` with the pixels of the mini-batch in place of the data set."""
        counted = pseudo != IGNORE
        group = pseudo.masked_fill(~counted, 0) if self.ranking == "class" else torch.zeros_like(pseudo)
        level = (confidence * (LEVELS - 1)).round().long()
        places = (group * LEVELS + level).flatten()
        # as torch.bincount of those that count, which waits for a GPU
        counts = level.new_zeros(classes * LEVELS).scatter_add_(0, places, counted.flatten().long()).reshape(classes, LEVELS)
        return pseudo.masked_fill(level < lowest_kept(counts, self.share)[group], IGNORE)


def gamma_part(schedule: Literal["constant", "sigmoid"], now: Moment) -> float:
    """The part of gamma1 and gamma2 that is in force in a step: 1, or exp(-5 (1 - t/T)^2) in step t = 1 ... T of the phase.

    The latter is Feng et al. 2020's for CIFAR-10 (DST-CBC, classification/utils/losses.py, SigmoidAscendingMixupDMTLoss), whose very
    first step has the whole gamma, by a slip.

    >>> gamma_part("sigmoid", Moment(999, 1000, 10))
    1.0
    """
    return 1.0 if schedule == "constant" else sigmoid_ramp(now.step + 1, now.steps)


def lowest_kept(counts: Tensor, share: float) -> Tensor:
    """Lowest confidence of the most confident `share` of the pixels of each group, as the paper's code (DST-CBC) ranks them.

    Of n values in ascending order it is number n - 1 - int(n share), so one more than int(n share) pixels are kept, and all that
    tie with the lowest; all pixels when share is 1 or n share is below 1. The code ranks every 16th pixel to save memory, which on
    small images means a few columns; counts need no memory, so here every pixel is ranked.

    Args: counts (G,LEVELS) int64, pixels per group and confidence level. Returns: (G,) int64 levels.
    """
    total = counts.sum(1)
    kept = (total.double() * share).long()
    place = total - 1 - kept  # -1 when all are kept, which comes before level 0
    found = torch.searchsorted(counts.cumsum(1), place[:, None], right=True)[:, 0]
    return found.masked_fill(kept < 1, 0)


def dynamic_weight(logits: Tensor, pseudo: Tensor, confidence: Tensor, gamma1: float, gamma2: float) -> Tensor:
    """Weight w_u of every pseudo-labelled pixel, without a gradient (feng2020_dmt, equation 2).

    p_B^gamma1 where the student predicts the pseudo-label too; p_B^gamma2 where it predicts another class and is no surer of it
    than the teacher of the pseudo-label; 0 where it is surer. p_B is the student's probability of the pseudo-label, its sureness
    c_B that of its own prediction.

    Args: student's logits (N,C,H,W), of the augmented crop in training mode; pseudo (N,H,W) int64, class ids or IGNORE; confidence
    (N,H,W) in [0,1], the teacher's c_A. Returns: (N,H,W) float32 in [0,1]; 0 where pseudo is IGNORE.
    """
    with torch.no_grad():
        probs = logits.float().softmax(1)
        own, predicted = probs.max(1)
        counted = pseudo != IGNORE
        label = pseudo.masked_fill(~counted, 0)
        probability = probs.gather(1, label[:, None])[:, 0]
        disagreeing = torch.where(confidence >= own, probability**gamma2, 0.0)
        return torch.where(predicted == label, probability**gamma1, disagreeing) * counted
