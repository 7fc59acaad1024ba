"""One-way consistency: the student under perturbation agrees with a teacher that sees clean images (grubisic2021)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from semiseg.augment.perturbation import Perturbation, View, perturb_batch
from semiseg.augment.phtps import PhTPS
from semiseg.batch import Batch
from semiseg.config import Net, Train, require, require_choices
from semiseg.ema import Ema
from semiseg.lazy import nn, torch
from semiseg.losses import DISTANCES, CrossEntropy, Loss
from semiseg.methods.rule import Build, Needs, OneStage, State, with_teacher
from semiseg.schedules import Moment, sigmoid_ramp
from semiseg.stage import AS_BEFORE, Split, Stage

if TYPE_CHECKING:
    from torch import Tensor

TINY = 2.0**-126
"""The smallest normal float32 number."""


@dataclass(frozen=True, kw_only=True)
class OneWay(OneStage):
    """L_seg + weight * D(teacher, student) on unlabelled images, D a mean over valid pixels.

    Labelled, clean and perturbed images pass through the student apart, so none shares BatchNorm statistics with another, and
    perturbed ones leave no trace in the running statistics (in 1w-p2 the authors' code lets the simple teacher's do so, by an
    inverted condition). Logits are moved with the pixels, then turned into probabilities. Where a class belongs to a whole image
    only the image is perturbed; CutMix then mixes the two targets by area (Yun et al. 2019, arXiv:1905.04899).
    """

    direction: Literal["1w-ps", "1w-pt", "2w-p1", "1w-p2"] = "1w-ps"
    """Who sees perturbed images (table of grubisic2021): the student; the teacher; one of two branches that both learn; both,
    apart.

    The distance is KL(target || prediction); the perturbed branch is the target in 1w-pt and, as in the authors' code, in 2w-p1.
    """
    teacher: Literal["simple", "mean"] = "mean"
    """Whose targets: the student's own, in training mode without gradient, or those of its moving average, in evaluation mode."""
    perturbation: Perturbation = field(default_factory=PhTPS)
    """Colours and thin-plate splines (colours alone: perturbation.tps_sd 0). CutMix mixes each image with the one before it in the
    mini-batch (the authors' code pairs 0 with 1, 2 with 3 and so on); their CutMix* and French et al.'s (arXiv:1906.01916) go with
    distance mse_sum and threshold 0.97."""
    distance: Literal["kl", "mse_sum"] = "kl"
    """KL divergence (slides) or L2 summed over classes (French et al. 2020)."""
    threshold: float = 0.0
    """Probability of the target's class below which a pixel is not sure (French et al.: 0.97)."""
    threshold_on: Literal["pixel", "batch"] = field(default="pixel", metadata={AS_BEFORE: "pixel"})
    """A pixel that is not sure adds 0 to the mean (grubisic2021's code), or all pixels weigh as much as the share of sure ones in the
    mini-batch (French et al.)."""
    mean_over: Literal["valid", "all"] = field(default="valid", metadata={AS_BEFORE: "valid"})
    """The mean, and the share of sure pixels, are of the valid pixels (grubisic2021's code), or of all, so that padding and cut pixels
    add 0 to the mean and may be sure (French et al.)."""
    weight: float = 0.5
    """alpha of the consistency term (authors' code: 0.5 on Cityscapes, 1 on CIFAR-10 and with cutmix*)."""
    label_only: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of the stage, its first steps, without the consistency term and without unlabelled images (grubisic2021: none)."""
    ramp: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of what follows them over which the weight ramps up as exp(-5(1-t)^2) (grubisic2021: none)."""
    ema: Ema = field(default_factory=Ema)
    """How the mean teacher follows: decay 0.99 per step, averaged BatchNorm statistics, mode eval (authors' code)."""
    evaluate: Literal["student", "teacher"] = "student"
    """Which network is reported (authors' code: the student)."""
    objective: Loss = field(default_factory=CrossEntropy, metadata={AS_BEFORE: CrossEntropy()})
    """Loss of labelled pixels (grubisic2021: cross-entropy)."""
    paper_compat: bool = False
    """With a mean teacher in 1w-pt reproduce a slip of the authors' code, whose gradient goes to the teacher: the student sees the
    perturbed images and learns nothing from them, so the table's cells repeat the supervised baseline. No effect elsewhere."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        mean = self.teacher == "mean"
        require(0 <= self.weight < math.inf, "method.weight", self.weight, "a number >= 0")
        require(0 <= self.threshold <= 1, "method.threshold", self.threshold, "a probability in [0, 1]")
        used = self.threshold > 0 or self.threshold_on == "pixel"
        require(used, "method.threshold_on", self.threshold_on, "pixel, as method.threshold is 0")
        require(0 <= self.label_only < 1, "method.label_only", self.label_only, "a share in [0, 1)")
        require(0 <= self.ramp <= 1, "method.ramp", self.ramp, "a share in [0, 1]")
        require(not mean or self.direction != "2w-p1", "method.teacher", self.teacher, "simple, as both branches of 2w-p1 learn")
        require(mean or self.evaluate == "student", "method.evaluate", self.evaluate, "student, as method.teacher is simple")
        meet = self.direction != "1w-p2" or self.perturbation.meets
        name = type(self.perturbation).__name__
        require(meet, "method.perturbation", name, "one such as PhTPS or Cutout, as 1w-p2 compares two perturbed views")

    @property
    def needs(self) -> Needs:
        return Needs(draw="mixed")

    @property
    def student_perturbation(self) -> Perturbation | None:
        return None if self.direction == "1w-pt" and not self.paper_compat else self.perturbation

    @property
    def evaluated(self) -> str:
        return self.evaluate

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        paired = not self.perturbation.partner or train.batch_unlabelled != 1
        require(
            paired,
            "train.batch_unlabelled",
            train.batch_unlabelled,
            "2 or more with a perturbation that mixes images, which needs pairs",
        )
        return super().stages(split, net, train, seed)

    @property
    def least(self) -> float:
        return self.threshold

    def start(self, build: Build) -> State:
        return with_teacher(build, self.ema if self.teacher == "mean" else None)

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        known, rest = slice(0, batch.labelled), slice(batch.labelled, None)
        segmentation = self.objective(state.student(batch.image[known]), batch.mask[known], batch.shares)
        later = now.after(self.label_only)
        if later is None or len(batch.image) == batch.labelled:
            return {"segmentation": segmentation, "consistency": torch.zeros_like(segmentation)}
        logits, target, valid = self._pair(state, batch.image[rest], batch.valid[rest], generator)
        # in 2w-p1 the target learns too, and 0 log 0 has no gradient
        probs = target.float().softmax(1).clamp(min=TINY)
        sure = probs.amax(1) >= self.threshold
        frame = valid if self.mean_over == "valid" else torch.ones_like(valid)
        counted, whole = valid & sure if self.threshold_on == "pixel" else valid, frame.sum().clamp(min=1)
        each = DISTANCES[self.distance](logits, probs, counted)
        share = counted.sum() / whole  # the mean is over the frame, that of the distance over what counts
        if self.threshold_on == "batch":
            share = share * (frame & sure).sum() / whole
        weight = self.weight * sigmoid_ramp(later.progress, self.ramp)
        return {"segmentation": segmentation, "consistency": weight * share * each}

    def after_step(self, state: State, now: Moment) -> None:
        state.follow(self.ema, now, self.label_only)

    def _pair(self, state: State, image: Tensor, valid: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the prediction and of its target (N,C,H,W), both where the perturbed images show them, and which pixels count."""
        student, teacher, view = state.student, state.teacher or state.student, View(image, valid)
        if self.perturbation.guided:
            view = view._replace(probs=_run_held(teacher, image, learns=False).float().softmax(1))
        if self.direction == "1w-p2":
            seen, other = self.perturbation.pair(view, generator)
            across = seen.move.meet(other.move)
            prediction = _run_held(student, seen.image)
            target = across.logits(_run_held(teacher, other.image, learns=False))
            return prediction, target, seen.valid & across(other.valid)
        seen = perturb_batch(self.perturbation, view, generator)
        sees_clean = teacher if self.direction == "1w-ps" else student
        sees_perturbed = teacher if self.direction == "1w-pt" else student
        if self.direction == "1w-pt" and self.paper_compat:
            sees_clean, sees_perturbed = sees_perturbed, sees_clean
        with torch.no_grad() if self.direction == "1w-ps" else nullcontext():
            clean = seen.move.logits(sees_clean(seen.clean))
        perturbed = _run_held(sees_perturbed, seen.image, learns=self.direction != "1w-pt")
        return (perturbed, clean, seen.valid) if self.direction == "1w-ps" else (clean, perturbed, seen.valid)


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm in training mode goes on to normalise by the batch, but leaves its running statistics and counter alone."""
    layers = [
        module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def _run_held(network: nn.Module, image: Tensor, *, learns: bool = True) -> Tensor:
    with held_statistics(network), nullcontext() if learns else torch.no_grad():
        return network(image)
