"""Cross pseudo supervision (Chen et al. 2021, arXiv:2106.01226): all that a new method takes, in one file. Not a test module."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semiseg.augment import Perturbation, View
from semiseg.batch import IGNORE, Batch
from semiseg.config import require
from semiseg.ema import Ema
from semiseg.losses import cross_entropy
from semiseg.methods.rule import Build, Needs, OneStage, State
from semiseg.schedules import Moment

TEACHERS = {"student": "teacher", "second": "second_teacher"}
"""Role of each student's moving average."""


@dataclass(frozen=True, kw_only=True)
class CrossPseudo(OneStage):
    """CE(f1, y) + CE(f2, y) + weight [CE(f1, argmax f2) + CE(f2, argmax f1)], the latter on labelled and unlabelled images.

    f1 and f2, of one architecture with different initial weights, teach each other; targets have no gradient.
    """

    weight: float = 1.5
    """Of the cross term (section 4.1: 1.5)."""
    ema: Ema | None = None
    """How a mean teacher follows each student and says what the other learns; None: the students themselves say it."""
    mix: Perturbation | None = None
    """Of the unlabelled images, with pixels of a second draw where it takes them (section 3.2: CutMix); None: none."""
    nearness: float = 0.0
    """Weight of the squared distance between embeddings of f1's probabilities and their running mean (ours); 0: no embedding."""

    def __post_init__(self) -> None:
        for name in ("weight", "nearness"):
            require(getattr(self, name) >= 0, f"method.{name}", getattr(self, name), "a number >= 0")

    @property
    def needs(self) -> Needs:
        return Needs(draw="mixed", partner=self.mix is not None and self.mix.partner)

    def start(self, build: Build) -> State:
        state = State({role: build(role) for role in TEACHERS})
        if self.ema is not None:
            for role, teacher in TEACHERS.items():
                state.averages[teacher], state.follows[teacher] = self.ema.teacher(state.trained[role]), role
        if self.nearness > 0:
            blank = next(state.student.parameters()).new_zeros(1, 3, 32, 32)
            state.trained["head"] = nn.Conv2d(build().eval()(blank).shape[1], 4, 1).to(blank.device)
            state.hidden, state.memory = frozenset({"head"}), {"mean": blank.new_zeros(4)}
        return state

    def loss(self, state: State, batch: Batch, now: Moment, generator: torch.Generator) -> Mapping[str, Tensor]:
        known, beside, image, made = batch.labelled, batch.partner, batch.image, None
        if self.mix is not None:
            partner = None if beside is None else View(beside.image, beside.valid)
            made = self.mix(View(image[known:], batch.valid[known:]), generator, partner=partner)
            image = torch.cat([image[:known], made.image])
        logits, targets = {role: state.trained[role](image) for role in TEACHERS}, {}
        for role, one in logits.items():
            targets[role] = self._target(state, role, batch, one if made is None else None)
            if made is not None:
                theirs = None if beside is None else self._target(state, role, beside)
                targets[role] = torch.cat([targets[role][:known], made.labels(targets[role][known:], theirs)])
        first, second = logits.values()
        terms = {
            "segmentation": cross_entropy(first, batch.mask) + cross_entropy(second, batch.mask),
            "cross": self.weight * (cross_entropy(first, targets["second"]) + cross_entropy(second, targets["student"])),
        }
        if self.nearness > 0:
            found, mean = state.trained["head"](first.softmax(1)), state.memory["mean"]
            terms["nearness"] = self.nearness * (found - mean[:, None, None]).square().mean()
            state.memory = {"mean": mean.lerp(found.detach().mean((0, 2, 3)), 0.1)}
        return terms

    def after_step(self, state: State, now: Moment) -> None:
        if self.ema is not None:
            state.follow(self.ema, now)

    def _target(self, state: State, role: str, batch: Batch, logits: Tensor | None = None) -> Tensor:
        """Classes (N,H,W) that a student, of which the logits may be known, or its teacher gives a batch; IGNORE out of frame."""
        with torch.no_grad():
            network = state.networks()[role if self.ema is None else TEACHERS[role]]
            says: Tensor = network(batch.image) if logits is None or self.ema is not None else logits
            return says.max(1).indices.masked_fill(~batch.valid, IGNORE)
