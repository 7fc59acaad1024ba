"""Which stage a search trains next, and what its scores mean for the trials. Knows the ledger and the store, not Ray."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
from optuna.trial import Trial, TrialState
from rich.console import Console

from semiseg.config import SettingError
from semiseg.published import selection_score
from semiseg.search.candidate import Candidate
from semiseg.search.choice import Judged, Objective, beaten, leaders, settings_said
from semiseg.search.configuration import Configuration
from semiseg.search.ledger import ENDED, Ledger
from semiseg.search.monitor import SearchMonitor
from semiseg.search.space import Space
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.monitor import Counts, Monitor


class TrialFeed:
    """The feed of a search: trials in training, `slots` at a time, and the stages they wait for.

    `chain_of(configuration, seed)` are the stages of a configuration, of which the first `shared` are the same for all; scores of the
    others are compared, in the order of the chain. A trial is trained with the first of `seeds`; with the others too when its score is
    among the best of eta finished ones, or it is on the front of several `objectives`, and the mean is told. `parameters` counts those
    of a configuration's network; `news` is called when a trial has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        base: Configuration,
        *,
        chain_of: Callable[[Configuration, int], tuple[Stage, ...]],
        seeds: Sequence[int],
        shared: int,
        store: Store,
        slots: int,
        eta: int = 3,
        objectives: Sequence[Objective] = ("score",),
        parameters: Callable[[Configuration], int] | None = None,
        news: Callable[[], None] = lambda: None,
        console: Console | None = None,
    ) -> None:
        self.ledger, self.space, self.base, self.chain_of, self.seeds = ledger, space, base, chain_of, tuple(seeds)
        self.first = self.seeds[0]
        self.shared, self.store, self.slots, self.eta, self.news = shared, store, slots, eta, news
        self.objectives, self.parameters = tuple(objectives), parameters
        self.running: dict[str, Stage] = {}
        self.curves: dict[str, Sequence[tuple[int, float]]] = {}
        """Selection scores (step, score) of running stages, in their order."""
        self.spent: dict[str, float] = {}
        self.unwanted: set[str] = set()
        self.errors: dict[str, str] = {}
        self.broken = ""
        """Why the search cannot go on: a stage that all trials share has failed."""
        self.active: list[Candidate] = []
        self.ended = self.before = len(ledger.all(*ENDED))
        self.leaders: Sequence[Judged] = leaders(ledger.all())
        self.monitor: Monitor = SearchMonitor(self, console)
        for key in ledger.paid():
            if store.has(key):  # perhaps finished when the driver had died
                ledger.pay(key, store.info(key)["seconds"])
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
                        self.ledger.pay(stage.key, 0.0)
                        return stage
            trial = self.ledger.ask() if len(self.active) < self.slots and not self.broken else None
            if trial is None:
                return None
            self._begin(trial)

    def label(self, stage: Stage) -> str:
        """trial/seed/stage of the first trial that needs the stage: what people see of it."""
        for candidate in self.active:
            if any(stage.key == one.key for one in candidate.stages):
                return f"trial {candidate.trial.number}/seed {stage.seed}/{stage.name}"
        return f"no trial/seed {stage.seed}/{stage.name}"

    def counts(self) -> Counts:
        return Counts(self.ended, self.ledger.trials, "trials", self.before)

    def progress(self, key: str, figures: Mapping[str, Any]) -> bool:
        """Figures of a running stage have come in; whether it is to stop, as no trial needs it any more."""
        self.monitor.progress(self.running[key], figures)
        self.curves[key] = figures["selection_curve"]
        self.spent[key] = figures["seconds"]
        for candidate in self._needing(key):
            self._advance(candidate)
        if self._needing(key):
            return False
        self.ledger.pay(key, figures["seconds"])
        self.unwanted.add(key)
        return True

    def finish(self, key: str) -> None:
        """A stage is in the store."""
        self._gone(key)
        self.ledger.pay(key, self._seconds(key))
        for candidate in self._needing(key):
            self._advance(candidate)

    def stop(self, key: str) -> None:
        """A stage was stopped: its checkpoint goes if `progress` wished it, and stays for later if a signal came."""
        self._gone(key)
        if key in self.unwanted:
            self.unwanted.discard(key)
            self.store.drop_checkpoint(key)

    def fail(self, key: str, error: str) -> None:
        """A stage failed for good, and with it the trials that need it; if all do, the search stops and they stay for the next
        run."""
        self._gone(key)
        self.errors[key] = error
        self.ledger.pay(key, self.spent.get(key, 0.0))
        for candidate in self._needing(key):
            if any(stage.key == key for stage in candidate.chains[self.first][: self.shared]):
                self.broken = error
                self.active.remove(candidate)
            else:
                self._advance(candidate)

    def tidy(self) -> None:
        """Drop the checkpoints of stages that no trial needs any more; for when all trials have ended."""
        for key in self.ledger.paid():
            if not self.store.has(key):
                self.store.drop_checkpoint(key)

    def _gone(self, key: str) -> None:
        self.running.pop(key, None)
        self.monitor.gone(key)

    def _begin(self, trial: Trial) -> None:
        """Make a trial active; one whose drawn values do not go together fails."""
        try:
            made = self.space.suggest(trial, self.base)
            chains = {seed: self.chain_of(made, seed) for seed in self.seeds}
        except SettingError as error:
            self.ledger.tell(trial, None, TrialState.FAIL, {"used": 0.0, "scores": {}})
            self.ended += 1
            self.monitor.say(f"trial {trial.number} FAILED: {error}")
            return
        attributes = self.ledger.frozen(trial).user_attrs
        if "answered" not in attributes:  # noted once: a driver that goes on with the trial finds more in the store
            trial.set_user_attr("default", made == self.base)
            trial.set_user_attr("digest", made.digest)
            trial.set_user_attr("stages", [stage.key for chain in chains.values() for stage in chain])  # kept in the store for it
            trial.set_user_attr("answered", all(map(self._done, chains[self.first])))
            attributes = self.ledger.frozen(trial).user_attrs
        exempt = attributes["default"] or attributes["answered"]
        self.active.append(Candidate(trial, made, [self.first], chains, exempt))
        self._advance(self.active[-1])

    def _needing(self, key: str) -> list[Candidate]:
        return [candidate for candidate in self.active if any(stage.key == key for stage in candidate.stages)]

    def _free(self, stage: Stage) -> bool:
        """Whether a stage is neither trained nor in training and has its teachers."""
        if stage.key in self.running or stage.key in self.errors or self.store.has(stage.key):
            return False
        return all(self.store.has(teacher.key) for teacher in stage.teachers)

    def _advance(self, candidate: Candidate) -> None:
        """Report what is known of a trial's scores; end it when it is behind the others or complete."""
        chain = candidate.chains[self.first]
        failed = next((self.errors[stage.key] for stage in chain if stage.key in self.errors), None)
        if failed is not None:
            self._end(candidate, TrialState.FAIL, f"FAILED: {failed}")
            return
        resource = 0
        for stage in chain[self.shared :]:
            for number, (_, score) in enumerate(self._curve(stage), resource + 1):
                if self.ledger.report(candidate.trial, number, score) and not candidate.exempt:
                    self._end(candidate, TrialState.PRUNED, f"stopped at {number} of {self.total(chain)} with {score:.1%}")
                    return
            if not self._done(stage):
                return
            resource += evaluations(stage)
        if all(map(self._done, chain)):
            self._score(candidate)

    def _score(self, candidate: Candidate) -> None:
        """End a trial whose seeds are all trained, or go on with further ones."""
        for seed in list(candidate.seeds):
            if any(stage.key in self.errors for stage in candidate.chains[seed]):  # a further one; the others tell enough
                candidate.seeds.remove(seed)
            elif seed not in candidate.scores and all(map(self._done, candidate.chains[seed])):
                candidate.scores[seed] = selection_score(candidate.chains[seed][-1], self.store)
        if len(candidate.scores) < len(candidate.seeds):
            return
        if candidate.seeds == [self.first] and len(self.seeds) > 1 and not candidate.further and self._matters(candidate):
            candidate.seeds, candidate.further = list(self.seeds), True
            self._score(candidate)
            return
        score = fmean(candidate.scores.values())
        if score < 0:  # no class was there to score
            self._end(candidate, TrialState.FAIL, "FAILED: no selection score")
            return
        self._end(candidate, TrialState.COMPLETE, f"selection {score:.1%}", self._values(candidate, score))

    def _values(self, candidate: Candidate, score: float) -> list[float]:
        """What is told of a trial whose score is known."""
        known: dict[Objective, float] = {"score": score, "seconds": self._alone(candidate)}
        if self.parameters is not None:
            known["parameters"] = self.parameters(candidate.made)
        return [known[name] for name in self.objectives]

    def _alone(self, candidate: Candidate) -> float:
        """Seconds of the first seed's stages."""
        return sum(self._seconds(stage.key) for stage in candidate.chains[self.first])

    def _matters(self, candidate: Candidate) -> bool:
        """Whether a trial's first score is among the best of eta, or no finished trial beats it in every objective, so that further seeds
        tell something."""
        mine, first = candidate.scores[self.first], str(self.first)
        finished = [trial for trial in self.ledger.all(TrialState.COMPLETE) if first in trial.user_attrs.get("scores", {})]
        others = [[trial.user_attrs["scores"][first], *trial.values[1:]] for trial in finished]
        better = sum(other[0] > mine for other in others)
        if candidate.made == self.base or better * self.eta <= len(others):
            return True
        return len(self.objectives) > 1 and not beaten(self._values(candidate, mine), others, self.objectives)

    def _end(self, candidate: Candidate, state: TrialState, what: str, values: Sequence[float] | None = None) -> None:
        attributes: dict[str, Any] = {
            "used": sum(self._seconds(stage.key) for stage in candidate.stages),
            "scores": {str(seed): score for seed, score in candidate.scores.items()},
        }
        if state == TrialState.COMPLETE:
            attributes |= {"alone": attributes["used"], "seconds": self._alone(candidate)}
        self.ledger.tell(candidate.trial, values, state, attributes)
        self.active.remove(candidate)
        self.ended = len(self.ledger.all(*ENDED))
        self.leaders = leaders(self.ledger.all())
        known = f", best {self.leaders[0].mean:.1%} (trial {self.leaders[0].trial.number})" if self.leaders else ""
        settings = settings_said(candidate.trial)
        self.monitor.say(f"[{self.ended}/{self.ledger.trials}] trial {candidate.trial.number} {what}{known}: {settings}")
        self.news()

    def total(self, chain: Sequence[Stage]) -> int:
        """Selection scores of a chain that are compared."""
        return sum(map(evaluations, chain[self.shared :]))

    def _curve(self, stage: Stage) -> Sequence[tuple[int, float]]:
        if self._done(stage):
            name = f"selection/{stage.rule.evaluated}/{stage.train.score}"
            lines = pq.read_table(self.store.folder(stage.key) / "curves.parquet").to_pylist()
            return [(line["step"], line["value"]) for line in lines if line["name"] == name]
        return self.curves.get(stage.key, ())

    def _done(self, stage: Stage) -> bool:
        return self.store.has(stage.key)

    def _seconds(self, key: str) -> float:
        """What a stage has taken so far, whoever trained it."""
        return self.store.info(key)["seconds"] if self.store.has(key) else self.spent.get(key, self.ledger.paid().get(key, 0.0))


def evaluations(stage: Stage) -> int:
    """Selection scores that a stage takes."""
    return min(stage.train.evaluations, stage.train.steps)
