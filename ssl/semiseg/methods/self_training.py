"""One stage of self-training: supervised, consistency and pseudo-mask terms in a two-task network (ke2020, equations 1-5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from semiseg.augment.perturbation import Perturbation, View, perturb_batch
from semiseg.batch import IGNORE, Batch
from semiseg.config import require
from semiseg.ema import Ema
from semiseg.hard import likeliest
from semiseg.lazy import F, torch
from semiseg.losses import DISTANCES, CrossEntropy, Loss, cross_entropy
from semiseg.methods.rule import Build, Needs, Pick, PseudoMasks, Rule, State, with_teacher
from semiseg.schedules import Moment, sigmoid_ramp
from semiseg.stage import AS_BEFORE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SelfTraining(Rule):
    """L_seg + lambda1 L_con + lambda2 L_pl, the teacher being a moving average of the student.

    Labelled images stay weakly augmented, unlabelled ones are perturbed (A), their targets move along (B). Every term is a mean over the
    counted pixels of the whole mini-batch. A weight of 0 switches a term off.
    """

    lambda1: float
    """Weight of the consistency term L_con (equation 1)."""
    lambda2: float
    """Weight of the pseudo-mask term L_pl (equation 3); above 0 the stage needs a teacher stage that made the masks."""
    own: int
    """k: the auxiliary branch owns the last k blocks and shares the others."""
    perturbation: Perturbation | None
    """The operators A and B; None: unlabelled images are weakly augmented only."""
    target: Literal["hard", "soft"]
    distance: str
    ramp: float
    mask_out_of_frame: bool
    ema: Ema
    evaluate: Literal["teacher", "student"]
    masks_role: Literal["teacher", "student"]
    """Network of the teacher stage that made the pseudo-masks; with `masks_weights` it says which masks are learned."""
    masks_weights: Literal["last", "best"]
    pseudo_weight: Literal["none", "confidence", "uncertainty"] = field(default="none", metadata={AS_BEFORE: "none"})
    """w_i of every pixel of L_pl = sum_i w_i CE_i / n, n the counted pixels: 1; c_i = max_c p_i(c) of the teacher stage; or
    1 - H(p_i) / ln C. Not normalised by sum_i w_i: masks that are unsure weigh less altogether."""
    ramp2: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of the stage over which lambda2 ramps up as exp(-5(1-t)^2)."""
    objective: Loss = field(default_factory=CrossEntropy, metadata={AS_BEFORE: CrossEntropy()})
    """L_seg; the targets of L_con and L_pl are the network's own, of which the distance is."""

    label_only: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of the stage, its first steps, without L_con; `ramp` counts from there."""
    threshold: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Probability of the teacher's class below which a pixel does not count in L_con."""

    def __post_init__(self) -> None:
        require(self.target == "soft" or self.distance == "ce", "distance", self.distance, "ce with hard targets")

    @property
    def needs(self) -> Needs:
        if self.lambda2 == 0:
            return Needs(draw="mixed")
        teacher = Pick(weights=self.masks_weights, role=self.masks_role)
        weighted, plane = self.pseudo_weight != "none", "certainty" if self.pseudo_weight == "uncertainty" else "confidence"
        return Needs(draw="mixed", masks=PseudoMasks(of=teacher, confidences=weighted, plane=plane))

    @property
    def own_blocks(self) -> int:
        return self.own if self.lambda2 > 0 else 0

    @property
    def evaluated(self) -> str:
        return self.evaluate

    @property
    def least(self) -> float:
        return self.threshold

    def start(self, build: Build) -> State:
        return with_teacher(build, self.ema)

    def after_step(self, state: State, now: Moment) -> None:
        state.follow(self.ema, now, self.label_only)

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        guided = self.perturbation is not None and self.perturbation.guided
        later = now.after(self.label_only) if self.lambda1 > 0 else None
        known, valid = batch.labelled, batch.valid if self.mask_out_of_frame else torch.ones_like(batch.valid)
        probs = self._guess(state, batch.image) if later is not None else None
        guide = probs[known:] if probs is not None else self._guess(state, batch.image[known:]) if guided else None
        view = View(batch.image[known:], valid[known:], guide)
        seen = perturb_batch(self.perturbation, view, generator)

        def moved(own: Tensor) -> Tensor:
            return torch.cat([own[:known], seen.move(own[known:])])

        image, counts = torch.cat([batch.image[:known], seen.image]), torch.cat([valid[:known], seen.valid])
        from semiseg.nets.multitask import MultiTask

        if isinstance(state.student, MultiTask):
            logits, auxiliary = state.student.both(image)
        else:
            logits, auxiliary = state.student(image), None
        terms = {"segmentation": self.objective(logits, batch.mask, batch.shares)}
        if probs is not None and later is not None:
            sure = counts & moved(probs.amax(1) >= self.threshold) if self.threshold > 0 else counts
            if self.target == "hard":
                distance = cross_entropy(logits, moved(likeliest(probs)).masked_fill(~sure, IGNORE))
            else:
                distance = DISTANCES[self.distance](logits, moved(probs), sure)
            terms["consistency"] = self.lambda1 * sigmoid_ramp(later.progress, self.ramp) * distance
        elif self.lambda1 > 0:
            terms["consistency"] = torch.zeros_like(terms["segmentation"])
        if auxiliary is not None:
            assert batch.pseudo is not None
            learned = moved(batch.pseudo).masked_fill(~counts, IGNORE)
            if self.pseudo_weight == "none":
                each = cross_entropy(auxiliary, learned)
            else:
                assert batch.confidence is not None
                each = weighted_cross_entropy(auxiliary, learned, moved(batch.confidence))
            terms["pseudo"] = self.lambda2 * sigmoid_ramp(now.progress, self.ramp2) * each
        return terms

    def _guess(self, state: State, image: Tensor) -> Tensor:
        """The teacher's probabilities (N,C,H,W) for weakly augmented images."""
        assert state.teacher is not None
        with torch.no_grad():
            return state.teacher(image).float().softmax(1)


def weighted_cross_entropy(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """sum_i w_i CE_i / n over the n pixels that are not IGNORE; 0 when there is none.

    Args: logits (N,C,H,W); mask (N,H,W) int64; weight (N,H,W) >= 0. Returns: scalar, float32.
    """
    each = weight * F.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="none")
    return each.sum() / (mask != IGNORE).sum().clamp(min=1)
