"""One stage of self-training: supervised, consistency and pseudo-mask terms in a two-task network (ke2020, equations 1-5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semiseg.augment.views import strong
from semiseg.batch import IGNORE, Batch, Views
from semiseg.config import Strong, require
from semiseg.losses import DISTANCES, cross_entropy
from semiseg.methods.averaging import Averaging
from semiseg.methods.rule import Moment, Pick, State
from semiseg.nets import MultiTask
from semiseg.schedules import sigmoid_ramp


@dataclass(frozen=True, kw_only=True)
class SelfTraining(Averaging):
    """L_seg + lambda1 L_con + lambda2 L_pl, the teacher being a moving average of the student.

    Labelled images stay weakly augmented, unlabelled ones pass through A (`strong`), their targets through B. Every term is a mean
    over the counted pixels of the whole mini-batch. A weight of 0 switches a term off.
    """

    lambda1: float
    """Weight of the consistency term L_con (equation 1)."""
    lambda2: float
    """Weight of the pseudo-mask term L_pl (equation 3); above 0 the stage needs a teacher stage that made the masks."""
    own: int
    """k: the auxiliary branch owns the last k blocks and shares the others."""
    strong: Strong | None
    """The operator A; None: unlabelled images are weakly augmented only."""
    target: Literal["hard", "soft"]
    distance: str
    ramp: float
    mask_out_of_frame: bool
    masks_role: Literal["teacher", "student"]
    """Network of the teacher stage that made the pseudo-masks; with `masks_weights` it says which masks are learned."""
    masks_weights: Literal["last", "best"]

    def __post_init__(self) -> None:
        require(self.target == "soft" or self.distance == "ce", "distance", self.distance, "ce with hard targets")
        super().__post_init__()

    @property
    def own_blocks(self) -> int:
        return self.own if self.lambda2 > 0 else 0

    @property
    def masks(self) -> Pick | None:
        return Pick(weights=self.masks_weights, role=self.masks_role) if self.lambda2 > 0 else None

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        masks: list[Tensor] = []
        probs: Tensor | None = None
        if self.lambda1 > 0:
            assert state.teacher is not None
            with torch.no_grad():
                predicted: Tensor = state.teacher(batch.image).float().softmax(1)
            # max, not argmax: the same, and several times faster on CPU
            masks.append(predicted.max(1).indices if self.target == "hard" else _pixel_numbers(predicted))
            probs = predicted
        if self.lambda2 > 0:
            assert batch.pseudo is not None
            masks.append(batch.pseudo)
        views = self._perturb(batch, tuple(masks), generator)

        if isinstance(state.student, MultiTask):
            logits, auxiliary = state.student.both(views.image)
        else:
            logits, auxiliary = state.student(views.image), None
        terms = {"segmentation": cross_entropy(logits, batch.mask)}
        if probs is not None:
            weight = self.lambda1 * sigmoid_ramp(now.progress, self.ramp)
            moved = views.masks[0]
            if self.target == "hard":
                distance = cross_entropy(logits, moved.masked_fill(~views.valid, IGNORE))
            else:
                distance = DISTANCES[self.distance](logits, _take_pixels(probs, moved, views.valid), views.valid)
            terms["consistency"] = weight * distance
        if auxiliary is not None:
            terms["pseudo"] = self.lambda2 * cross_entropy(auxiliary, views.masks[-1])
        return terms

    def _perturb(self, batch: Batch, masks: tuple[Tensor, ...], generator: torch.Generator) -> Views:
        """[x_l ; A x_u] with B applied to every mask; labelled rows stay as they are."""
        valid = batch.valid if self.mask_out_of_frame else torch.ones_like(batch.valid)
        whole = Views(batch.image, masks, valid)
        if self.strong is None:
            return whole
        kept, moved = _rows(whole, slice(0, batch.labelled)), _rows(whole, slice(batch.labelled, None))
        moved = strong(moved, self.strong, generator)
        return Views(
            torch.cat([kept.image, moved.image]),
            tuple(torch.cat(pair) for pair in zip(kept.masks, moved.masks, strict=True)),
            torch.cat([kept.valid, moved.valid]),
        )


def _rows(views: Views, rows: slice) -> Views:
    return Views(views.image[rows], tuple(mask[rows] for mask in views.masks), views.valid[rows])


def _pixel_numbers(probs: Tensor) -> Tensor:
    """(N,H,W) int64 holding 0..H*W-1: moved by B like a mask, it says where every pixel came from."""
    n, _, h, w = probs.shape
    return torch.arange(h * w, device=probs.device).reshape(1, h, w).expand(n, h, w).contiguous()


def _take_pixels(probs: Tensor, numbers: Tensor, valid: Tensor) -> Tensor:
    """Class probabilities (N,C,H,W) of the pixels that `numbers` (N,H,W) names; whatever where not valid."""
    n, c, h, w = probs.shape
    index = numbers.masked_fill(~valid, 0).reshape(n, 1, h * w).expand(n, c, h * w)
    return probs.flatten(2).gather(2, index).reshape(n, c, h, w)
