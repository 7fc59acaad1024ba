"""The training loop of one stage. It asks nothing about the method it runs; every random number is a function of (seed, step)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from semiseg.batches import Batches
from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.development import is_development
from semiseg.device import autocast
from semiseg.evaluate import Evaluated, evaluate, thinned_masks
from semiseg.graphs import Graphs
from semiseg.lazy import torch
from semiseg.measures import METRICS, TRACED
from semiseg.nets.optimiser import optimiser
from semiseg.norms import recomputed
from semiseg.outcome import Outcome, Progress, count_lines
from semiseg.pseudo import Learned, load_role, network
from semiseg.quality import quality_lines, watch, watched_rows
from semiseg.schedules import DECAYS, Moment, warmed_up
from semiseg.stage import Stage, stream

if TYPE_CHECKING:
    from torch import Tensor

    from semiseg.nets import BlockNet, MultiTask

SAMPLES = 12
"""Test images (selection images with a development seed), the first ones, whose predictions are kept for the report."""
WATCHED = 8
"""Unlabelled images that are predicted at a time by several networks at once, so that their probabilities take little memory."""
IN_CURVES = ("miou", "accuracy", "kept", "confidence", "entropy")
"""Of the targets that a stage's own networks make, over all classes."""


def sampled_rows(splits: Splits, seed: int) -> np.ndarray:
    """Those images."""
    return (splits.selection if is_development(seed) else splits.test)[:SAMPLES]


class StageError(RuntimeError):
    """A stage that cannot go on, and would not when tried again; the message names step and cause."""


class Trainer:
    """One stage, from its initial weights or a checkpoint to an `Outcome`.

    `learned` is what it takes from its teacher stages. The stage's train settings must be resolved (`resolve`). `graphs`: a backend of
    torch.compile that replays the networks' passes (`Graphs`); "": they run as they are.
    """

    def __init__(
        self, stage: Stage, pack: Pack, splits: Splits, device: torch.device, learned: Learned | None = None, graphs: str = ""
    ) -> None:
        self.stage, self.pack, self.splits, self.device = stage, pack, splits, device
        self.learned = learned or Learned()
        self.rule, self.train = stage.rule, stage.train
        self.batches = Batches(stage, pack, splits, device, self.learned)
        torch.manual_seed(stream(stage.seed, "start", stage.number))  # of what a rule adds itself, such as a projection head
        self.state = self.rule.start(self._initial_network)
        self.optimisers = {role: optimiser(net, self.train) for role, net in self.state.trained.items()}
        self.graphs = Graphs((self.state.networks() | self.state.fixed).values(), graphs) if graphs else None
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.unread: list[tuple[int, tuple[str, ...], Tensor]] = []
        """Losses of steps, with their names, that are still on the device: to read them is to wait for it."""
        self.sample = watched_rows(pack, splits, self.train)

    @property
    def images_per_step(self) -> int:
        return self.batches.per_step

    @property
    def finished(self) -> bool:
        return self.progress.step >= self.train.steps

    def advance(self, seconds: float) -> None:
        """Train until the stage ends, a selection score is due and taken, or `seconds` have passed; at least one step."""
        started = time.perf_counter()
        self._training_mode()
        while not self.finished:
            self.train_step()
            if self._evaluation_due():
                self._score_selection()
                break
            if time.perf_counter() - started > seconds:
                break
        self.progress.seconds += time.perf_counter() - started

    def train_step(self) -> None:
        """One optimiser step, with the random numbers of its number. Raises StageError naming step and term when a loss is not
        finite."""
        step = self.progress.step
        now = Moment(step, self.train.steps, self.batches.epoch_steps)

        # learning rate
        decayed = warmed_up(now.progress, DECAYS[self.train.decay], self.train.warmup)
        for group in (group for one in self.optimisers.values() for group in one.param_groups):
            group["lr"] = self.train.learning_rate * group["factor"] * decayed

        # batch
        generator = torch.Generator().manual_seed(stream(self.stage.seed, "augment", self.stage.number, step))
        batch = self.batches.make(step, generator)
        seed = stream(self.stage.seed, "dropout", self.stage.number, step)  # it knows no other generator
        if self.device.type == "cpu":  # for all kinds of devices it takes a tenth of a millisecond
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

        # loss
        if self.graphs is not None:
            self.graphs.begin_step()
        with autocast(self.device, self.train.precision):
            terms = self.rule.loss(self.state, batch, now, generator)
        total = torch.stack(list(terms.values())).sum()
        self._log(terms, total, step)

        # update
        for one in self.optimisers.values():
            one.zero_grad(set_to_none=True)
        total.backward()
        for one in self.optimisers.values():
            one.step()
        self.rule.after_step(self.state, now)
        self.progress.step += 1

    def selection_curve(self) -> list[tuple[int, float]]:
        """(step, selection score) of the network that is reported, for every scoring so far."""
        name = f"selection/{self.rule.evaluated}/{self.train.score}"
        return [(line["step"], line["value"]) for line in self.progress.curves if line["name"] == name]

    def _log(self, terms: Mapping[str, Tensor], total: Tensor, step: int) -> None:
        """Note the losses of a step; those of a GPU are read at the end of a window of the curves, before scoring and checkpoints."""
        self.unread.append((step, (*terms, "total"), torch.stack([one.detach() for one in (*terms.values(), total)])))
        if self.device.type == "cpu" or self._ends_window(step):
            self._read_losses()

    def _ends_window(self, step: int) -> bool:
        return (step + 1) % max(self.train.steps // 50, 1) == 0 or step + 1 == self.train.steps

    def _read_losses(self) -> None:
        for step, names, losses in self.unread:
            for name, value in zip(names, losses.tolist(), strict=True):
                if not np.isfinite(value):
                    raise StageError(f"{self.stage.name}, seed {self.stage.seed}: the {name} loss is {value} at step {step}")
                self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
            self.progress.summed += 1
            if self._ends_window(step):
                for name, value in self.progress.sums.items():
                    self._record(f"loss/{name}", value / self.progress.summed, step + 1)
                self.progress.sums, self.progress.summed = {}, 0
        self.unread = []

    def _record(self, name: str, value: float, step: int) -> None:
        self.progress.curves.append({"key": self.stage.key, "step": step, "name": name, "value": value})

    def _evaluation_due(self) -> bool:
        done, steps, count = self.progress.step, self.train.steps, min(self.train.evaluations, self.train.steps)
        return done * count // steps > (done - 1) * count // steps

    def _score_selection(self) -> None:
        self._read_losses()
        self._record("epoch", self.progress.step / self.batches.epoch_steps, self.progress.step)
        with self._without_graphs(), self._scored_norms():
            for role, net in self.state.scored().items():
                found = self._evaluated(net, self.splits.selection).scores
                for metric in dict.fromkeys((self.train.score, *TRACED)):
                    self._record(f"selection/{role}/{metric}", found["", metric], self.progress.step)
                score = found["", self.train.score]
                if role == self.rule.evaluated:
                    self.progress.selection = score
                    if score > self.progress.best_score or not self.best:  # a score of no class is nan
                        self.progress.best_score = np.nan_to_num(score, nan=-1.0).item()
                        self.progress.best_step = self.progress.step
                        self.best = self._weights("best")
            self._watch_unlabelled()
        self._training_mode()

    def _watch_unlabelled(self) -> None:
        """Note how good the stage's own targets are, and how far averages are from what they follow: for reports, never to choose."""
        seen = watch(self.state, self.rule, self.pack, self.sample, self.train, batch=WATCHED, device=self.device)
        if seen is None:
            return
        here = {"key": self.stage.key, "teacher": self.stage.key, "weights": "last", "step": self.progress.step}
        self.progress.targets = []
        for role, quality in seen.quality.items():
            numbers = quality.numbers()
            self.progress.targets += quality_lines(numbers, here | {"role": role})
            for metric in (name for part, name in numbers if not part and name in IN_CURVES):
                self._record(f"unlabelled/{role}/{metric}", numbers["", metric], self.progress.step)
        for role, share in seen.disagreement.items():
            self._record(f"disagreement/{role}", share, self.progress.step)

    def _scored_norms(self) -> AbstractContextManager[None]:
        """Inside, the networks have the statistics of BatchNorm with which they are scored; training goes on with its own."""
        count = self.train.recompute_norm
        if not count:
            return nullcontext()
        generators = (
            torch.Generator().manual_seed(stream(self.stage.seed, "norm", self.stage.number, step)) for step in range(count)
        )
        images = (self.batches.make(step, generator).image for step, generator in enumerate(generators))
        return recomputed(self.state.scored().values(), images, autocast(self.device, self.train.precision))

    def _without_graphs(self) -> AbstractContextManager[None]:
        return nullcontext() if self.graphs is None else self.graphs.off()

    def _training_mode(self) -> None:
        for net in self.state.trained.values():
            net.train()

    def _evaluated(self, net: torch.nn.Module, rows: np.ndarray, metrics: tuple[str, ...] = ()) -> Evaluated:
        batch = max(self.images_per_step, 16)
        return evaluate(net, self.pack, rows, self.train, batch=batch, device=self.device, metrics=metrics)

    def _initial_network(self, role: str = "student") -> BlockNet | MultiTask:
        net = network(self.stage, self.pack, self.device, role)
        if role in self.learned.initial:
            net.load_state_dict(self.learned.initial[role])
        return net

    def _weights(self, prefix: str) -> dict[str, Tensor]:
        return {
            f"{prefix}.{role}.{name}": value.detach().cpu().contiguous().clone()
            for role, net in self.state.networks().items()
            for name, value in net.state_dict().items()
        }

    def checkpoint(self) -> dict[str, Any]:
        """Everything that a later `restore` needs to go on as if training had not stopped."""
        self._read_losses()
        return {
            "key": self.stage.key,
            "networks": {role: net.state_dict() for role, net in self.state.networks().items()},
            "optimisers": {role: one.state_dict() for role, one in self.optimisers.items()},
            "memory": self.state.memory,
            "best": self.best,
            "progress": vars(self.progress),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from `checkpoint()`. Raises ValueError when it is of another stage."""
        if saved["key"] != self.stage.key:
            raise ValueError(f"checkpoint of stage {saved['key']}, expected {self.stage.key}")
        for role, net in self.state.networks().items():
            net.load_state_dict(saved["networks"][role])
        for role, one in self.optimisers.items():
            one.load_state_dict(saved["optimisers"][role])
        self.state.memory = dict(saved["memory"])
        self.best = dict(saved["best"])
        self.progress = Progress(**saved["progress"])

    def finish(self) -> Outcome:
        """Score last and best weights of every role on selection and test, and keep what later stages and the report need.

        With a development seed no test image is read.
        """
        started = time.perf_counter()
        if not self.best:  # a stage of no steps
            self._score_selection()
        with self._without_graphs():
            return self._outcome(started)

    def _outcome(self, started: float) -> Outcome:
        with self._scored_norms():
            weights = self._weights("last") | self.best
        metrics: list[dict[str, Any]] = []
        counts: list[dict[str, Any]] = []
        samples: dict[int, np.ndarray] = {}
        asked = tuple(name for name in self.train.metrics if METRICS[name].asked)
        parts = {"selection": self.splits.selection}
        if not is_development(self.stage.seed):
            parts["test"] = self.splits.test
        for which, step in (("last", self.progress.step), ("best", self.progress.best_step)):
            for role, net in self.state.scored().items():
                load_role(net, weights, f"{which}.{role}.")
                for split, rows in parts.items():
                    place = {"key": self.stage.key, "role": role, "weights": which, "split": split, "step": step}
                    found = self._evaluated(net, rows, asked)
                    for (name, metric), value in found.scores.items():
                        metrics.append(place | {"class": name, "metric": metric, "value": value})
                    if (which, split) == (self.train.weights, [*parts][-1]):
                        counts += count_lines(found.counts, {name: place[name] for name in ("key", "role", "weights", "split")})
                if (which, role) == (self.train.weights, self.rule.evaluated):
                    first = sampled_rows(self.splits, self.stage.seed)
                    samples = thinned_masks(net, self.pack, first, self.train, batch=SAMPLES, device=self.device)
        self.progress.seconds += time.perf_counter() - started
        chosen = self.progress.best_step if self.train.weights == "best" else self.progress.step
        images = self.progress.step * self.images_per_step
        return Outcome(
            weights, metrics, self.progress.curves, samples, chosen, self.progress.seconds, images, self.progress.targets, counts
        )
