"""What rules share whose teacher is a moving average of the student."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from semiseg.config import require
from semiseg.ema import Buffers, ema_update, warm_decay
from semiseg.methods.rule import Moment, Rule, State
from semiseg.schedules import piecewise


@dataclass(frozen=True, kw_only=True)
class Averaging(Rule):
    """The teacher's side of a rule; a subclass repeats the fields that users set, with defaults and sources."""

    ema_decay: tuple[float, ...]
    """Decays of the teacher, one after the other."""
    ema_start: tuple[float, ...]
    """Share of the stage from which each decay holds."""
    ema_warmup: bool
    """Bound the decay by 1 - 1/(k+1) at update k = 0, 1, ..."""
    ema_buffers: Buffers
    """BatchNorm statistics of the teacher: averaged, the student's, or its own."""
    teacher_mode: Literal["eval", "train"]
    """Teacher's BatchNorm and dropout in training."""
    evaluate: Literal["student", "teacher"]
    """Which network is reported."""

    def __post_init__(self) -> None:
        check_averaging(self)

    @property
    def unlabelled(self) -> bool:
        return True

    @property
    def evaluated(self) -> str:
        return self.evaluate

    def start(self, build: Callable[[], nn.Module]) -> State:
        student = build()
        teacher = copy.deepcopy(student).requires_grad_(False)
        return State(student, teacher.train(self.teacher_mode == "train"))

    def updates(self, now: Moment) -> int | None:
        """Number, from 0, of the update of the teacher that follows the optimiser's step `now.step`; None: no update."""
        return now.step

    def after_step(self, state: State, now: Moment) -> None:
        assert state.teacher is not None
        update = self.updates(now)
        if update is None:
            return
        decay = piecewise(now.progress, self.ema_start, self.ema_decay)
        ema_update(state.teacher, state.student, warm_decay(decay, update) if self.ema_warmup else decay, self.ema_buffers)


def check_averaging(settings: Any) -> None:
    """Raise SettingError unless decays and starts pair, the teacher ever moves, and its BatchNorm gets its statistics somewhere."""
    decays, starts = settings.ema_decay, settings.ema_start
    require(all(0 <= decay <= 1 for decay in decays), "method.ema_decay", decays, "decays in [0, 1]")
    paired = list(starts) == sorted(starts) and starts[:1] == (0.0,) and len(starts) == len(decays)
    require(paired, "method.ema_start", starts, "ascending shares from 0.0, as many as ema_decay")
    moves = settings.ema_warmup or any(decay < 1 and start < 1 for decay, start in zip(decays, starts, strict=True))
    require(moves, "method.ema_decay", decays, "a decay below 1, or ema_warmup, as the teacher would never be updated")
    own_eval = settings.ema_buffers == "own" and settings.teacher_mode == "eval"
    # in eval mode no forward pass gathers statistics: the teacher would keep mean 0 and variance 1 for ever
    require(not own_eval, "method.ema_buffers", settings.ema_buffers, "average or copy, or teacher_mode train")
