"""Mean teacher for segmentation: pets_mean_teacher (Pets) and perone2018 (Perone & Cohen-Adad, spinal cord) are two settings of
it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from semiseg.augment.gentle import Gentle
from semiseg.augment.perturbation import Perturbation, View, perturb_batch
from semiseg.batch import Batch
from semiseg.config import Net, Train, require, require_choices
from semiseg.ema import Ema
from semiseg.hard import likeliest, one_hot
from semiseg.lazy import torch
from semiseg.losses import DISTANCES, Dice, Loss
from semiseg.methods.rule import Build, Needs, OneStage, State, with_teacher
from semiseg.schedules import Moment, sigmoid_ramp
from semiseg.stage import AS_BEFORE, IN_KEYS, Split, Stage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(OneStage):
    """L_seg(student(g(x)), y) + w(t) d(student(g(x)), g(teacher(x))), the teacher being a moving average of the student.

    The student sees every image perturbed, labelled ones too; the teacher sees it plain. Where the papers differ, the default is
    pets_mean_teacher; "perone2018" in a field is the other reading. Shares are of the stage: pets_mean_teacher trains 100 epochs,
    perone2018 trains 350.
    """

    objective: Loss = field(default_factory=Dice)
    """Loss of labelled pixels: Dice with squared terms per image (pets_mean_teacher), soft Dice of the batch (perone2018:
    soft_dice) or another one of LOSSES."""
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
    """Unit of `ramp`: share of the stage, whole epochs done, or steps done; of what follows the label-only steps."""
    label_only: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of the stage, its first steps, without the consistency term (both papers: none); `ramp` counts from there."""
    threshold: float = 0.0
    """Pixels that the teacher gives a lower probability to every class do not count in consistency (perone2018 tried it; no
    value)."""
    consistency_on: Literal["all", "unlabelled"] = "all"
    """Images of the consistency term (both papers: all; perone2018's code: the unlabelled ones)."""
    draw: Literal["joint", "mixed"] = "joint"
    """Mini-batches drawn from all training images alike, with any number of labelled ones (pets_mean_teacher), or of fixed parts
    (perone2018's code)."""
    perturbation: Perturbation = field(default_factory=Gentle)
    """g. With one that mixes images each takes pixels from the one before it in the batch."""
    delayed: Literal["delayed", "shared", "independent"] = field(
        default="delayed", metadata={IN_KEYS: {"delayed": True, "independent": False}}
    )
    """What the teacher sees of g (perone2018, section 2.1): the plain image, and its output moves as the student's image did; the
    image moved and mixed as the student's, with noise of its own and its own colours, and its output stays; or, as Algorithm 1 is
    printed, the image moved by a draw of its own, and its output is not brought back."""
    mask_out_of_frame: bool = True
    """Only what lies in the frame counts in the consistency term; off: the padding of crops counts (perone2018's code, together with
    perturbation.background of `Gentle`, which does the same for what g brings in)."""
    ema: Ema = field(default_factory=lambda: Ema(decay=(0.9,), every="epoch"))
    """How the teacher follows. pets_mean_teacher: an update at the end of each epoch, and no decay given; 0.99 is slow then. perone2018:
    after each step, 0.99 and from epoch 50 (0.143) on 0.999; in its code with warm-up, own buffers and mode train."""
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
        require(0 <= self.label_only < 1, "method.label_only", self.label_only, "a share in [0, 1)")
        require(0 <= self.threshold <= 1, "method.threshold", self.threshold, "a probability in [0, 1]")
        fits = self.target == "soft" or self.distance in ("ce", "dice")
        require(fits, "method.distance", self.distance, "ce or dice, as method.target is hard")
        alone = self.delayed != "independent" or not self.perturbation.partner
        allowed = "delayed or shared, as two mixes of images show other images at the same place"
        require(alone, "method.delayed", self.delayed, allowed)

    @property
    def needs(self) -> Needs:
        return Needs(draw=self.draw)

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

    def labels_only(self) -> Mapping[str, Any]:
        """Labelled images are perturbed too, but not by what follows a teacher, as without one there is nothing to follow."""
        seen = None if self.perturbation.guided else self.perturbation
        return {**super().labels_only(), "perturbation": seen}

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """One stage; SettingError when it ends before the teacher's first update, at the end of an epoch as `Trainer` counts it."""
        drawn = train.batch_unlabelled + (train.batch_labelled if self.draw == "joint" else 0)
        epoch_steps = math.ceil(split.training / max(drawn, 1))
        updated = self.ema.every == "step" or not 0 < train.steps < epoch_steps
        allowed = f"step, as an epoch has {epoch_steps} steps and the stage {train.steps}"
        require(updated, "method.ema.every", self.ema.every, allowed)
        return super().stages(split, net, train, seed)

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        valid = batch.valid if self.mask_out_of_frame else torch.ones_like(batch.valid)
        view = View(batch.image, valid)
        if self.perturbation.guided:
            view = view._replace(probs=self._guess(state, view.image))
        if self.delayed == "independent":
            seen, other = self.perturbation.pair(view, generator)
            shown, counts = other.image, seen.valid & other.valid
        else:
            seen = perturb_batch(self.perturbation, view, generator)
            shown, counts = seen.clean if self.delayed == "delayed" else seen.shared(view.image), seen.valid
        guess = self._counted_guess(state, shown, batch.labelled) if self._consistent(now, batch) else None
        logits = state.student(seen.image)
        segmentation = self.objective(logits, seen.labels(batch.mask), batch.shares)
        if guess is None:
            return {"segmentation": segmentation, "consistency": torch.zeros_like(segmentation)}
        probs = seen.move(guess) if self.delayed == "delayed" else guess
        if self.threshold > 0:
            counts = counts & (probs.amax(1) >= self.threshold)
        if self.consistency_on == "unlabelled":
            counts = torch.cat([torch.zeros_like(counts[: batch.labelled]), counts[batch.labelled :]])
        if self.target == "hard":
            probs = one_hot(likeliest(probs), probs.shape[1])
        return {
            "segmentation": segmentation,
            "consistency": self.weight_at(now) * DISTANCES[self.distance](logits, probs, counts),
        }

    def _consistent(self, now: Moment, batch: Batch) -> bool:
        """Whether the teacher's output changes this step: that of one in mode train, whose BatchNorm gathers statistics of what it
        sees and whose dropout draws random numbers, always after the label-only steps."""
        if self.ema.mode == "train":
            return now.after(self.label_only) is not None
        return self.weight_at(now) > 0 and (self.consistency_on == "all" or batch.labelled < len(batch.image))

    def _counted_guess(self, state: State, image: Tensor, labelled: int) -> Tensor:
        """The teacher's probabilities (N,C,H,W), 0 for the labelled images that it need not see: whose output does not count, and of
        which none that counts takes pixels."""
        if self.consistency_on == "all" or self.ema.mode == "train":
            return self._guess(state, image)
        taken_from = self.delayed == "delayed" and self.perturbation.partner  # the one before each
        first = max(labelled - taken_from, 0)
        probs = self._guess(state, image[first:])
        return torch.cat([probs.new_zeros(first, *probs.shape[1:]), probs])

    def _guess(self, state: State, image: Tensor) -> Tensor:
        assert state.teacher is not None
        with torch.no_grad():
            return state.teacher(image).float().softmax(1)

    def weight_at(self, now: Moment) -> float:
        """w(t): 0 in label-only steps and before the ramp, weight exp(-5(1-t)^2) with t from 0 to 1 in it, weight after it
        (pets_mean_teacher, section 2.4)."""
        later = now.after(self.label_only)
        if later is None:
            return 0.0
        at = {"share": later.progress, "epoch": later.epoch, "step": later.step}[self.ramp_unit]
        low, high = self.ramp
        return self.weight * sigmoid_ramp(at - low, high - low) if at >= low else 0.0
