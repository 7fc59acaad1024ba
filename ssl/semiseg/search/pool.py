"""Which stage a search trains next, and what its scores mean for the trials. Knows the ledger and the store, not Ray."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
from optuna.trial import Trial, TrialState

from semiseg.config import SettingError
from semiseg.methods import Method
from semiseg.runner import selection_score
from semiseg.search.ledger import ENDED, Ledger
from semiseg.search.space import Space
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.monitor import LINE_SECONDS

Curve = Sequence[tuple[int, float]]
"""Selection scores (step, score) of a stage, in their order."""


@dataclass
class Candidate:
    """A trial in training: its configuration, the seeds it is trained with, and what it has cost."""

    trial: Trial
    method: Method
    seeds: list[int]
    chains: dict[int, tuple[Stage, ...]]
    exempt: bool = False
    """Never stopped early: the configuration that the others are compared with."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage-seconds that this trial has spent, by key."""
    scores: dict[int, float] = field(default_factory=dict)

    @property
    def stages(self) -> list[Stage]:
        return [stage for seed in self.seeds for stage in self.chains[seed]]


class Pool:
    """Trials in training, `slots` at a time, and the stages they wait for.

    `chain_of(method, seed)` are the stages of a configuration, of which the first `shared` are the same for all; scores of the others
    are compared, in the order of the chain. A trial is trained with the first of `seeds`; with the others too when its score is
    among the best of eta finished ones, and the mean is told.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        base: Method,
        *,
        chain_of: Callable[[Method, int], tuple[Stage, ...]],
        seeds: Sequence[int],
        shared: int,
        store: Store,
        slots: int,
        eta: int = 3,
        costs: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.ledger, self.space, self.base, self.chain_of, self.seeds = ledger, space, base, chain_of, tuple(seeds)
        self.shared, self.store, self.slots, self.eta, self.costs, self.say = shared, store, slots, eta, costs, say
        self.running: dict[str, Stage] = {}
        self.payers: dict[str, Candidate] = {}
        self.curves: dict[str, Curve] = {}
        self.unwanted: set[str] = set()
        self.errors: dict[str, str] = {}
        self.said: dict[str, float] = {}
        self.active: list[Candidate] = []
        for trial in ledger.left_running():
            self._begin(trial)

    @property
    def exhausted(self) -> bool:
        """Whether all trials have ended, when `take` found nothing to train."""
        return not self.active

    def take(self) -> Stage | None:
        """A stage that can start now, or None when there is none (yet); begins trials while fewer than `slots` are active."""
        while True:
            for candidate in self.active:
                for stage in candidate.stages:
                    if self._free(stage):
                        self.running[stage.key] = stage
                        self.payers[stage.key] = candidate
                        return stage
            trial = self.ledger.ask() if len(self.active) < self.slots else None
            if trial is None:
                return None
            self._begin(trial)

    def label(self, stage: Stage) -> str:
        """trial/seed/stage of the first trial that needs the stage: what people see of it."""
        for candidate in self.active:
            if any(stage.key == one.key for one in candidate.stages):
                return f"trial {candidate.trial.number}/seed {stage.seed}/{stage.name}"
        return f"no trial/seed {stage.seed}/{stage.name}"

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        """Figures of a running stage have come in; whether it is to stop, as no trial needs it any more."""
        self._tell_progress(key, figures)
        self.curves[key] = figures["selection_curve"]
        self.payers[key].seconds[key] = figures["seconds"]
        for candidate in self._needing(key):
            self._advance(candidate)
        if self._needing(key):
            return False
        self.unwanted.add(key)
        return True

    def finish(self, key: str) -> None:
        """A stage is in the store."""
        self.running.pop(key, None)
        payer = self.payers.pop(key)
        payer.seconds[key] = self.store.info(key)["seconds"]
        if payer in self.active:
            payer.trial.set_user_attr("paid", payer.seconds)
        for candidate in self._needing(key):
            self._advance(candidate)

    def stop(self, key: str) -> None:
        """A stage was stopped: its checkpoint goes if `progress` wished it, and stays for later if a signal came."""
        self.running.pop(key, None)
        if key in self.unwanted:
            self.unwanted.discard(key)
            self.store.drop_checkpoint(key)

    def fail(self, key: str, error: str) -> None:
        """A stage failed for good, and with it the trials that need it."""
        self.running.pop(key, None)
        self.errors[key] = error
        for candidate in self._needing(key):
            self._advance(candidate)

    def _tell_progress(self, key: str, figures: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if not figures.get("finished") and now - self.said.get(key, -LINE_SECONDS) >= LINE_SECONDS:
            self.said[key] = now
            stage = self.running[key]
            self.say(
                f"  {self.label(stage)}: step {figures['training_step']}/{stage.train.steps}, {figures['images_per_second']:.0f} images/s"
            )

    def _begin(self, trial: Trial) -> None:
        """Make a trial active; one whose drawn values do not go together fails."""
        try:
            method = self.space.suggest(trial, self.base)
            chains = {seed: self.chain_of(method, seed) for seed in self.seeds}
        except SettingError as error:
            self.ledger.tell(trial, None, TrialState.FAIL, {"seconds": 0.0, "used": 0.0, "scores": {}})
            self.say(f"trial {trial.number} FAILED: {error}")
            return
        candidate = Candidate(trial, method, [self.seeds[0]], chains, exempt=method == self.base)
        candidate.seconds = dict(trial.user_attrs.get("paid", {}))
        trial.set_user_attr("default", candidate.exempt)
        self.active.append(candidate)
        self._advance(candidate)

    def _needing(self, key: str) -> list[Candidate]:
        return [candidate for candidate in self.active if any(stage.key == key for stage in candidate.stages)]

    def _free(self, stage: Stage) -> bool:
        """Whether a stage is neither trained nor in training and has its teachers."""
        if stage.key in self.running or stage.key in self.errors or self.store.has(stage.key):
            return False
        return all(self.store.has(teacher.key) for teacher in stage.teachers)

    def _advance(self, candidate: Candidate) -> None:
        """Report what is known of a trial's scores; end it when it is behind the others or complete."""
        for stage in candidate.stages:
            if stage.key in self.errors:
                self._end(candidate, TrialState.FAIL, f"FAILED: {self.errors[stage.key]}")
                return
        chain = candidate.chains[self.seeds[0]]
        complete = all(map(self._done, chain))
        resource = 0
        for stage in chain[self.shared :]:
            for number, (_, score) in enumerate(self._curve(stage), resource + 1):
                behind = self.ledger.report(candidate.trial, number, score)
                if behind and not candidate.exempt and not complete:
                    self._end(candidate, TrialState.PRUNED, f"stopped at {number} of {self.total(chain)} with {score:.1%}")
                    return
            if not self._done(stage):
                return
            resource += evaluations(stage)
        if complete:
            self._score(candidate)

    def _score(self, candidate: Candidate) -> None:
        """End a trial whose seeds are all trained, or go on with further ones."""
        for seed in candidate.seeds:
            if seed not in candidate.scores and all(map(self._done, candidate.chains[seed])):
                candidate.scores[seed] = selection_score(candidate.chains[seed][-1], self.store)
        if len(candidate.scores) < len(candidate.seeds):
            return
        if len(candidate.seeds) < len(self.seeds) and self._matters(candidate):
            candidate.seeds = list(self.seeds)
            self._score(candidate)
            return
        score = fmean(candidate.scores.values())
        if score < 0:  # no class was there to score
            self._end(candidate, TrialState.FAIL, "FAILED: no selection score")
            return
        alone = sum(self._seconds(stage) for stage in candidate.chains[self.seeds[0]])
        self._end(candidate, TrialState.COMPLETE, f"selection {score:.1%}", [score, alone][: 2 if self.costs else 1])

    def _matters(self, candidate: Candidate) -> bool:
        """Whether a trial's first score is among the best of eta, so that further seeds tell something."""
        first = str(self.seeds[0])
        others = [trial.user_attrs["scores"][first] for trial in self.ledger.all(TrialState.COMPLETE)]
        better = sum(other > candidate.scores[self.seeds[0]] for other in others)
        return candidate.exempt or better * self.eta <= len(others)

    def _end(self, candidate: Candidate, state: TrialState, what: str, values: Sequence[float] | None = None) -> None:
        used = dict(candidate.seconds)
        for stage in candidate.stages:
            if self._done(stage):
                used[stage.key] = self._seconds(stage)
        attributes: dict[str, Any] = {
            "seconds": sum(candidate.seconds.values()),
            "used": sum(used.values()),
            "scores": {str(seed): score for seed, score in candidate.scores.items()},
        }
        if state == TrialState.COMPLETE:
            attributes["alone"] = attributes["used"]
        self.ledger.tell(candidate.trial, values, state, attributes)
        self.active.remove(candidate)
        ended = len(self.ledger.all(*ENDED))
        best = self.ledger.best()
        known = f", best {best.values[0]:.1%} (trial {best.number})" if best else ""
        settings = " ".join(f"{name}={shown(value)}" for name, value in candidate.trial.params.items())
        self.say(f"[{ended}/{self.ledger.trials}] trial {candidate.trial.number} {what}{known}: {settings}")

    def total(self, chain: Sequence[Stage]) -> int:
        """Selection scores of a chain that are compared."""
        return sum(map(evaluations, chain[self.shared :]))

    def _curve(self, stage: Stage) -> Curve:
        if self._done(stage):
            name = f"selection/{stage.rule.evaluated}/{stage.train.score}"
            lines = pq.read_table(self.store.folder(stage.key) / "curves.parquet").to_pylist()
            return [(line["step"], line["value"]) for line in lines if line["name"] == name]
        return self.curves.get(stage.key, ())

    def _done(self, stage: Stage) -> bool:
        return self.store.has(stage.key)

    def _seconds(self, stage: Stage) -> float:
        return self.store.info(stage.key)["seconds"]


def evaluations(stage: Stage) -> int:
    """Selection scores that a stage takes."""
    return min(stage.train.evaluations, stage.train.steps)


def shown(value: Any) -> str:
    """A parameter's value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
