"""Mean teacher for segmentation: pets_mean_teacher (Pets) and perone2018 (Perone & Cohen-Adad, spinal cord) are two settings of
it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.augment.gentle import colours, draw_motion, move, noisy
from semiseg.batch import Batch, Views
from semiseg.config import Gentle, Net, Train, require, require_choices
from semiseg.ema import Buffers
from semiseg.losses import DISTANCES, SEGMENTATION
from semiseg.methods.averaging import Averaging
from semiseg.methods.rule import Moment, OneStage, State
from semiseg.schedules import sigmoid_ramp
from semiseg.stage import Split, Stage


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(Averaging, OneStage):
    """L_seg(student(g(x)), y) + w(t) d(student(g(x)), g(teacher(x))), the teacher being a moving average of the student.

    The student sees every image perturbed, labelled ones too; the teacher sees it plain. Where the papers differ, the default is
    pets_mean_teacher; "perone2018" in a field is the other reading. Shares are of the stage: pets_mean_teacher trains 100 epochs,
    perone2018 trains 350.
    """

    objective: Literal["ce", "dice", "soft_dice"] = "dice"
    """Loss of labelled pixels: Dice with squared terms per image (pets_mean_teacher), soft Dice of the batch (perone2018:
    soft_dice)."""
    distance: Literal["dice", "bce", "mse", "mse_sum", "kl", "ce"] = "dice"
    """Between student and teacher (pets_mean_teacher: dice; perone2018: bce; perone2018's later code: mse, weight 1.5)."""
    target: Literal["hard", "soft"] = "hard"
    """The teacher's argmax (pets_mean_teacher) or its probabilities (perone2018)."""
    weight: float = 1.5
    """Of the consistency term after its ramp-up (pets_mean_teacher: 1.5; perone2018: 2.9)."""
    ramp: tuple[float, float] = (0.08, 0.33)
    """Where the weight leaves 0 and where it is full, exp(-5(1-t)^2) between (pets_mean_teacher: epochs 8, 33; perone2018: 0, 100,
    so 0, 0.286)."""
    ramp_unit: Literal["share", "epoch", "step"] = "share"
    """Unit of `ramp`: share of the stage, whole epochs done, or steps done."""
    threshold: float = 0.0
    """Pixels that the teacher gives a lower probability to every class do not count in consistency (perone2018 tried it; no
    value)."""
    consistency_on: Literal["all", "unlabelled"] = "all"
    """Images of the consistency term (both papers: all; perone2018's code: the unlabelled ones)."""
    draw: Literal["joint", "mixed"] = "joint"
    """Mini-batches drawn from all training images alike, with any number of labelled ones (pets_mean_teacher), or of fixed parts
    (perone2018's code)."""
    gentle: Gentle = field(default_factory=Gentle)
    """The perturbation g."""
    delayed: bool = True
    """The teacher's output moves as the student's image did (perone2018, section 2.1); off: as perone2018's Algorithm 1 is
    printed, the teacher sees the image moved by a draw of its own, and its output is not brought back."""
    mask_out_of_frame: bool = True
    """Only what lies in the frame counts in the consistency term; off: where g brings in nothing the image is black and the teacher
    says class 0 (perone2018's code), and the padding of crops counts."""
    ema_decay: tuple[float, ...] = (0.9,)
    """Decays of the teacher, one after the other (pets_mean_teacher gives none; with an update per epoch 0.99 is slow; perone2018:
    0.99, 0.999)."""
    ema_start: tuple[float, ...] = (0.0,)
    """Share of the stage from which each decay holds (perone2018: epochs 0 and 50, so 0.0 and 0.143)."""
    ema_every: Literal["epoch", "step"] = "epoch"
    """When the teacher is updated: at the end of each epoch (pets_mean_teacher), which takes a stage of many, or after each step
    (perone2018)."""
    ema_warmup: bool = False
    """Bound the decay by 1 - 1/(k+1) at update k = 0, 1, ... (perone2018's code; the papers have none)."""
    ema_buffers: Buffers = "average"
    """BatchNorm statistics of the teacher: averaged, the student's, or its own (perone2018's code; with teacher_mode train)."""
    teacher_mode: Literal["eval", "train"] = "eval"
    """Teacher's BatchNorm and dropout in training (perone2018's code: train; the papers do not say)."""
    evaluate: Literal["student", "teacher"] = "student"
    """Which network is reported (pets_mean_teacher calls the student its primary model, perone2018 does not say). Both are
    scored."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        require(0 <= self.weight < math.inf, "method.weight", self.weight, "a number >= 0")
        low, high = self.ramp
        limit = 1 if self.ramp_unit == "share" else math.inf
        allowed = "two shares in [0, 1], low <= high" if limit == 1 else "two numbers, 0 <= low <= high"
        require(0 <= low <= high <= limit, "method.ramp", self.ramp, allowed)
        require(0 <= self.threshold <= 1, "method.threshold", self.threshold, "a probability in [0, 1]")
        fits = self.target == "soft" or self.distance in ("ce", "dice")
        require(fits, "method.distance", self.distance, "ce or dice, as method.target is hard")
        super().__post_init__()

    @property
    def joint(self) -> bool:
        return self.draw == "joint"

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """One stage; SettingError when it ends before the teacher's first update, at the end of an epoch as `Trainer` counts it."""
        drawn = train.batch_unlabelled + (train.batch_labelled if self.joint else 0)
        epoch_steps = math.ceil(split.training / max(drawn, 1))
        updated = self.ema_every == "step" or not 0 < train.steps < epoch_steps
        allowed = f"step, as an epoch has {epoch_steps} steps and the stage {train.steps}"
        require(updated, "method.ema_every", self.ema_every, allowed)
        return super().stages(split, net, train, seed)

    def updates(self, now: Moment) -> int | None:
        if self.ema_every == "step":
            return now.step
        return now.epoch if now.ends_epoch else None

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        assert state.teacher is not None
        views, probs = self._views(state.teacher, batch, generator)
        logits = state.student(views.image)
        counts = views.valid & (probs.amax(1) >= self.threshold)
        if self.consistency_on == "unlabelled":
            counts = torch.cat([torch.zeros_like(counts[: batch.labelled]), counts[batch.labelled :]])
        if self.target == "hard":
            probs = F.one_hot(probs.max(1).indices, probs.shape[1]).movedim(-1, 1)
        return {
            "segmentation": SEGMENTATION[self.objective](logits, views.masks[0]),
            "consistency": self.weight_at(now) * DISTANCES[self.distance](logits, probs, counts),
        }

    def weight_at(self, now: Moment) -> float:
        """w(t): 0 before the ramp, weight exp(-5(1-t)^2) with t from 0 to 1 in it, weight after it (pets_mean_teacher, section
        2.4)."""
        at = {"share": now.progress, "epoch": now.epoch, "step": now.step}[self.ramp_unit]
        low, high = self.ramp
        return self.weight * sigmoid_ramp(at - low, high - low) if at >= low else 0.0

    def _views(self, teacher: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Views, Tensor]:
        """What the student sees, with the labels; and the teacher's probabilities (N,C,H,W) to compare it with, where valid."""

        def guess(image: Tensor) -> Tensor:
            with torch.no_grad():
                return teacher(noisy(image, self.gentle.noise_teacher, generator)).float().softmax(1)

        valid = batch.valid if self.mask_out_of_frame else torch.ones_like(batch.valid)
        views, fill = Views(colours(batch.image, self.gentle, generator), (batch.mask,), valid), not self.mask_out_of_frame
        if not self.gentle.moves:
            probs = guess(batch.image)
        elif self.delayed:
            views, probs = move(views, guess(batch.image), draw_motion(batch.image, self.gentle, generator), fill=fill)
        else:
            nothing = batch.image[:, :0]
            views, _ = move(views, nothing, draw_motion(batch.image, self.gentle, generator), fill=fill)
            theirs = Views(batch.image, (), valid)
            theirs, _ = move(theirs, nothing, draw_motion(batch.image, self.gentle, generator), fill=fill)
            views, probs = views._replace(valid=views.valid & theirs.valid), guess(theirs.image)
        return views._replace(image=noisy(views.image, self.gentle.noise, generator)), probs
