"""The teacher as an exponential moving average of the student."""

from typing import Literal

import torch
from torch import nn

Buffers = Literal["average", "copy", "own"]


def warm_decay(decay: float, updates: int) -> float:
    """min(decay, 1 - 1/(updates + 1)): the first updates weigh the student more (Tarvainen & Valpola 2017's code)."""
    return min(decay, 1 - 1 / (updates + 1))


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, decay: float, buffers: Buffers = "average") -> None:
    """teacher <- decay * teacher + (1 - decay) * student, in place, for every parameter.

    BatchNorm's running statistics follow `buffers`: "average" moves them like parameters, "copy" takes the student's, "own" leaves
    those that the teacher's own forward passes gathered. Integer buffers (num_batches_tracked) are copied, because a counter has no
    average; they stay with "own".
    """
    for target, source in zip(teacher.parameters(), student.parameters(), strict=True):
        target.lerp_(source, 1 - decay)
    if buffers == "own":
        return
    for target, source in zip(teacher.buffers(), student.buffers(), strict=True):
        if buffers == "average" and target.is_floating_point():
            target.lerp_(source, 1 - decay)
        else:
            target.copy_(source)
