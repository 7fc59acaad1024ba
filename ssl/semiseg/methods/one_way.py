"""One-way consistency: the student under perturbation agrees with a teacher that sees clean images (grubisic2021)."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from semiseg.augment.cutmix import cut, cutmix_masks, cutout_masks, mix
from semiseg.augment.tps import Perturbed, invert, phtps, warp, warp_valid
from semiseg.batch import Batch
from semiseg.config import Net, PhTPS, Train, require, require_choices
from semiseg.ema import ema_update
from semiseg.losses import DISTANCES, cross_entropy
from semiseg.methods.rule import Moment, OneStage, State
from semiseg.stage import Split, Stage

OWN: Mapping[str, tuple[str, float]] = {
    "phtps": ("kl", 0.0),
    "cutmix": ("kl", 0.0),
    "cutmix*": ("mse_sum", 0.97),
    "cutout": ("mse_sum", 0.97),
}
"""Distance and confidence threshold that go with a perturbation, unless the settings name others."""

TINY = torch.finfo(torch.float32).tiny


class Seen(NamedTuple):
    """Perturbed images, and how what belongs to the clean ones moves along.

    image   (N,3,H,W)
    valid   (N,H,W) bool, or (N,1,1) where a class belongs to a whole image
    move    takes logits of the clean images to where the perturbed ones show the same
    warped  the geometry, when `move` is a warp
    """

    image: Tensor
    valid: Tensor
    move: Callable[[Tensor], Tensor]
    warped: Perturbed | None = None


@dataclass(frozen=True, kw_only=True)
class OneWay(OneStage):
    """L_seg + weight * D(teacher, student) on unlabelled images, D a mean over valid pixels; no ramp.

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
    perturbation: Literal["phtps", "cutmix", "cutmix*", "cutout"] = "phtps"
    """Colours and thin-plate splines (colours alone: phtps.tps_sd 0); CutMix of each image with the one before it in the
    mini-batch (the authors' code pairs 0 with 1, 2 with 3 and so on), "*" with L2 distance and confidence threshold as in French
    et al. 2020 (arXiv:1906.01916); their Cutout, whose pixels do not count."""
    phtps: PhTPS = field(default_factory=PhTPS)
    """Ranges of the perturbation "phtps"."""
    distance: Literal["auto", "kl", "mse_sum"] = "auto"
    """KL divergence or L2 summed over classes; "auto": the perturbation's own, KL (slides) or L2 for cutmix* and cutout."""
    threshold: float | None = None
    """Probability of the target's class below which a pixel adds 0 to the mean; None: the perturbation's own, 0.97 for cutmix* and
    cutout (French et al.), else 0. Per pixel, as in grubisic2021's code; French et al. weigh all pixels by the share above it."""
    weight: float = 0.5
    """alpha of the consistency term (authors' code: 0.5 on Cityscapes, 1 on CIFAR-10 and with cutmix*)."""
    ema_decay: float = 0.99
    """Of the mean teacher, per step (authors' code)."""
    ema_buffers: Literal["average", "copy"] = "average"
    """BatchNorm statistics of the mean teacher: averaged (authors' code) or the student's."""
    evaluate: Literal["student", "teacher"] = "student"
    """Which network is reported (authors' code: the student)."""
    paper_compat: bool = False
    """With a mean teacher in 1w-pt reproduce a slip of the authors' code, whose gradient goes to the teacher: the student sees the
    perturbed images and learns nothing from them, so the table's cells repeat the supervised baseline. No effect elsewhere."""

    def __post_init__(self) -> None:
        require_choices(self, "method")
        mean = self.teacher == "mean"
        require(0 <= self.weight < math.inf, "method.weight", self.weight, "a number >= 0")
        require(0 <= self.ema_decay <= 1, "method.ema_decay", self.ema_decay, "a decay in [0, 1]")
        require(self.threshold is None or 0 <= self.threshold <= 1, "method.threshold", self.threshold, "a probability in [0, 1]")
        require(not mean or self.direction != "2w-p1", "method.teacher", self.teacher, "simple, as both branches of 2w-p1 learn")
        require(mean or self.evaluate == "student", "method.evaluate", self.evaluate, "student, as method.teacher is simple")
        # two mixes show other images at the same place
        meet = not self.mixes or self.direction != "1w-p2"
        require(meet, "method.perturbation", self.perturbation, "phtps or cutout, as 1w-p2 compares two perturbed views")

    @property
    def mixes(self) -> bool:
        return self.perturbation.startswith("cutmix")

    @property
    def unlabelled(self) -> bool:
        return True

    @property
    def evaluated(self) -> str:
        return self.evaluate

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        paired = not self.mixes or train.batch_unlabelled != 1
        require(paired, "train.batch_unlabelled", train.batch_unlabelled, "2 or more with CutMix, which needs pairs")
        return super().stages(split, net, train, seed)

    def start(self, build: Callable[[], nn.Module]) -> State:
        student = build()
        return State(student, copy.deepcopy(student).requires_grad_(False).eval() if self.teacher == "mean" else None)

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        known, rest = slice(0, batch.labelled), slice(batch.labelled, None)
        segmentation = cross_entropy(state.student(batch.image[known]), batch.mask[known])
        if len(batch.image) == batch.labelled:
            return {"segmentation": segmentation, "consistency": torch.zeros_like(segmentation)}
        logits, target, valid = self._pair(state, batch.image[rest], batch.valid[rest], generator)
        # in 2w-p1 the target learns too, and 0 log 0 has no gradient
        probs = target.float().softmax(1).clamp(min=TINY)
        distance, threshold = OWN[self.perturbation]
        sure = valid & (probs.amax(1) >= (threshold if self.threshold is None else self.threshold))
        each = DISTANCES[distance if self.distance == "auto" else self.distance](logits, probs, sure)
        share = sure.sum() / valid.sum().clamp(min=1)  # of a mean over the sure pixels: the mean is over all valid ones
        return {"segmentation": segmentation, "consistency": self.weight * share * each}

    def after_step(self, state: State, now: Moment) -> None:
        if state.teacher is not None:
            ema_update(state.teacher, state.student, self.ema_decay, self.ema_buffers)

    def _pair(self, state: State, image: Tensor, valid: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the prediction and of its target (N,C,H,W), both where the perturbed images show them, and which pixels
        count."""
        student, teacher = state.student, state.teacher or state.student
        seen = self._perturb(image, valid, generator)
        if self.direction == "1w-p2":
            other = self._perturb(image, valid, generator)
            return _run_held(student, seen.image), *_meet(_run_held(teacher, other.image, learns=False), other, seen)
        sees_clean = teacher if self.direction == "1w-ps" else student
        sees_perturbed = teacher if self.direction == "1w-pt" else student
        if self.direction == "1w-pt" and self.paper_compat:
            sees_clean, sees_perturbed = sees_perturbed, sees_clean
        with torch.no_grad() if self.direction == "1w-ps" else nullcontext():
            clean = seen.move(sees_clean(image))
        perturbed = _run_held(sees_perturbed, seen.image, learns=self.direction != "1w-pt")
        return (perturbed, clean, seen.valid) if self.direction == "1w-ps" else (clean, perturbed, seen.valid)

    def _perturb(self, image: Tensor, valid: Tensor, generator: torch.Generator) -> Seen:
        count, _, *size = image.shape
        whole = valid.shape[1:] != image.shape[2:]  # a class belongs to a whole image
        if self.perturbation == "phtps":
            made = phtps(image, self.phtps, generator)
            if whole:
                return Seen(made.image, valid, _same)
            return Seen(made.image, warp_valid(valid, made.grid), partial(warp, grid=made.grid), made)
        if self.perturbation == "cutout":
            mask = cutout_masks(count, (size[0], size[1]), generator, image.device)
            covered, left = cut(mask, image, valid)
            return Seen(covered, valid if whole else left, _same)
        mask = cutmix_masks(count, (size[0], size[1]), generator, image.device)
        mixed = mix(mask, image, image.roll(1, 0))
        if whole:
            return Seen(mixed, valid, partial(_mix_shares, mask))
        return Seen(mixed, mix(mask, valid, valid.roll(1, 0)), lambda logits: mix(mask, logits, logits.roll(1, 0)))


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm in training mode goes on to normalise by the batch, but leaves its running statistics and counter alone."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
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


def _meet(logits: Tensor, source: Seen, goal: Seen) -> tuple[Tensor, Tensor]:
    """Logits of one perturbed view where another one shows the same, and which pixels are valid in both.

    One sampling by both warps, where the authors' code splats to the clean frame and warps from there.
    """
    if source.warped is None or goal.warped is None:
        return logits, source.valid & goal.valid
    grid = invert(source.warped.spline, goal.warped.grid)
    return warp(logits, grid), goal.valid & warp_valid(source.valid, grid)


def _same(logits: Tensor) -> Tensor:
    return logits


def _mix_shares(mask: Tensor, logits: Tensor) -> Tensor:
    """Logits (N,C,1,1) whose softmax mixes the probabilities of each image and of the one before it by the areas of the mask."""
    inner = mask.float().mean((2, 3), keepdim=True)
    log = logits.float().log_softmax(1)
    return torch.logaddexp(log + (1 - inner).log(), log.roll(1, 0) + inner.log())
