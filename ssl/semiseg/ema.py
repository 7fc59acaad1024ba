"""The teacher as an exponential moving average of the student."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from semiseg.config import require, require_choices
from semiseg.lazy import nn, torch
from semiseg.schedules import Moment, piecewise

if TYPE_CHECKING:
    from torch import Tensor

Buffers = Literal["average", "copy", "own"]


@dataclass(frozen=True, kw_only=True)
class Ema:
    """How a teacher follows the network that is trained; every method with a mean teacher embeds one."""

    decay: tuple[float, ...] = (0.99,)
    """Decays, one after the other; 0 is a plain copy of the network, such as in a method's label-only steps: (0, 0.99) from (0, 0.3)."""
    start: tuple[float, ...] = (0.0,)
    """Share of the stage from which each decay holds."""
    every: Literal["step", "epoch"] = "step"
    """When the teacher is updated: after each step, or at the end of each epoch, which takes a stage of many."""
    warmup: bool = False
    """Bound the decay by 1 - 1/(k+1) at update k = 0, 1, ..., counted from the stage's first step (Tarvainen & Valpola 2017's
    code)."""
    buffers: Buffers = "average"
    """BatchNorm statistics of the teacher: averaged, the student's, or its own, which take mode train."""
    mode: Literal["eval", "train"] = "eval"
    """Teacher's BatchNorm and dropout in training."""

    def __post_init__(self) -> None:
        require_choices(self, "ema")
        require(all(0 <= decay <= 1 for decay in self.decay), "ema.decay", self.decay, "decays in [0, 1]")
        paired = list(self.start) == sorted(self.start) and self.start[:1] == (0.0,) and len(self.start) == len(self.decay)
        require(paired, "ema.start", self.start, "ascending shares from 0.0, as many as ema.decay")
        moves = self.warmup or any(decay < 1 and start < 1 for decay, start in zip(self.decay, self.start, strict=True))
        require(moves, "ema.decay", self.decay, "a decay below 1, or ema.warmup, as the teacher would never be updated")
        own_eval = self.buffers == "own" and self.mode == "eval"
        # in eval mode no forward pass gathers statistics: the teacher would keep mean 0 and variance 1 for ever
        require(not own_eval, "ema.buffers", self.buffers, "average or copy, or ema.mode train")

    def teacher(self, student: nn.Module) -> nn.Module:
        """A teacher at step 0: the student's weights, without gradients, in the mode that it keeps."""
        return copy.deepcopy(student).requires_grad_(False).train(self.mode == "train")

    def update_number(self, now: Moment) -> int | None:
        """Number, from 0, of the update that follows the optimiser's step `now.step`; None: no update."""
        if self.every == "step":
            return now.step
        return now.epoch if now.ends_epoch else None

    def follow(self, teacher: nn.Module, student: nn.Module, now: Moment) -> None:
        """Move the teacher towards the student after the optimiser's step `now.step`, when it is time."""
        number = self.update_number(now)
        if number is not None:
            decay = piecewise(now.progress, self.start, self.decay)
            ema_update(teacher, student, warm_decay(decay, number) if self.warmup else decay, self.buffers)


def warm_decay(decay: float, updates: int) -> float:
    """min(decay, 1 - 1/(updates + 1)): the first updates weigh the student more (Tarvainen & Valpola 2017's code)."""
    return min(decay, 1 - 1 / (updates + 1))


def ema_update(teacher: nn.Module, student: nn.Module, decay: float, buffers: Buffers = "average") -> None:
    """teacher <- decay * teacher + (1 - decay) * student, in place, for every parameter.

    BatchNorm's running statistics follow `buffers`: "average" moves them like parameters, "copy" takes the student's, "own" leaves
    those that the teacher's own forward passes gathered. Integer buffers (num_batches_tracked) are copied, because a counter has no
    average; they stay with "own".
    """
    (mine, kept), (theirs, given) = _tensors(teacher), _tensors(student)
    moved = list(zip(mine, theirs, strict=True))
    copied: list[tuple[Tensor, Tensor]] = []
    for target, source in zip(kept, given, strict=True) if buffers != "own" else ():
        (moved if buffers == "average" and target.is_floating_point() else copied).append((target, source))
    with torch.no_grad():
        if copied:
            targets, sources = [one for one, _ in copied], [one for _, one in copied]
            torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]
        if moved:
            targets, sources = [one for one, _ in moved], [one for _, one in moved]
            # the same to the last bit as one by one
            torch._foreach_lerp_(targets, sources, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def _tensors(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, each once: as `parameters()` and `buffers()`, which make names on the way and take thrice as long."""
    modules = list(network.modules())
    parameters = {id(one): one for module in modules for one in module._parameters.values() if one is not None}
    buffers = {id(one): one for module in modules for one in module._buffers.values() if one is not None}
    return list(parameters.values()), list(buffers.values())
