"""The Optuna study of a search in its journal file, which is the only truth about it: asked, told and continued here and nowhere
else."""

import fcntl
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from semiseg.config import SettingError
from semiseg.results import write_bytes
from semiseg.search.choice import SIGNS, Objective
from semiseg.search.identity import IDENTITY, differing
from semiseg.stage import stream

STUDY = "search"
JOURNAL = "search.journal"
PAID = "paid:"
"""Begins the names of the study's attributes that hold seconds by stage."""
WARM = "warm"
"""Attribute of trials that an earlier search finished: which one, and their number there."""
Sampler = Literal["tpe", "random", "grid", "nsga2"]
STARTUP = 8
"""Trials that TPE draws at random before it begins to learn; the first points count among them."""
POPULATION = 8
"""Of NSGA-II."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def directions(objectives: Sequence[Objective]) -> list[StudyDirection | Literal["minimize", "maximize"]]:
    """Of the values of trials, as Optuna takes them."""
    return ["maximize" if SIGNS[name] > 0 else "minimize" for name in objectives]


class Seeded(BaseSampler):
    """A sampler whose random numbers are a function of (seed, parameter), whatever was drawn before or by a driver that died."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed
        self.joint = make(seed % 2**32)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.joint.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self.joint.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        alone = self.make(stream(self.seed, param_name) % 2**32)
        return alone.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.joint.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.joint.after_trial(study, trial, state, values)


def make_sampler(name: Sampler, seed: int, number: int, parallel: bool) -> Seeded:
    """The sampler of trial `number`, whose random numbers follow from (seed, number): nothing to save, nothing to restore."""

    def make(own: int) -> BaseSampler:
        if name == "tpe":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return TPESampler(
                    seed=own,
                    multivariate=True,
                    group=True,
                    constant_liar=parallel,
                    n_startup_trials=STARTUP,
                )
        if name == "nsga2":
            return NSGAIISampler(seed=own, population_size=POPULATION)
        return RandomSampler(seed=own)  # of a grid every point is waiting already

    return Seeded(make, stream(seed, "sampler", number))


def rungs(total: int, eta: int) -> tuple[int, ...]:
    """Where asynchronous successive halving compares trials: at least 2 of `total` selection scores, then eta times as many.

    >>> rungs(8, 3), rungs(16, 3), rungs(40, 3)
    ((2, 6), (2, 6), (5, 15))
    """
    found = [max(2, -(-total // eta**2))]
    while found[-1] * eta < total:
        found.append(found[-1] * eta)
    return tuple(found[:-1]) if found[-1] >= total else tuple(found)


class Ledger:
    """One study for one driver at a time; a context manager.

    `identity` is everything that trials must have in common: continuing with another one raises SettingError (`meant` as in
    `differing`). `trials` is how many to ask for in all, those of earlier searches not counted. With `total` resources a trial that is
    behind at a rung is to stop (ASHA: Li et al. 2020, arXiv:1810.05934).
    """

    def __init__(
        self,
        path: Path,
        *,
        trials: int,
        sampler: Sampler = "tpe",
        seed: int = 0,
        objectives: Sequence[Objective] = ("score",),
        total: int = 0,
        eta: int = 3,
        parallel: bool = False,
        identity: Mapping[str, Any] | None = None,
        meant: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.trials, self.seed, self.parallel = trials, seed, parallel
        self.sampler: Sampler = sampler
        self.eta, self.rungs = eta, rungs(total, eta) if total and len(objectives) == 1 else ()
        self._lock = _locked(path)
        try:
            mend(path)
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(path))),
                study_name=STUDY,
                directions=directions(objectives),
                pruner=NopPruner(),  # `behind` decides
                load_if_exists=True,
            )
            self._check(path, dict(identity or {}), meant or {})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another driver use the journal."""
        os.close(self._lock)

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Points to try before the sampler proposes any, in their order; those that the study has are left out."""
        for point in points:
            self.study.enqueue_trial(dict(point), skip_if_exists=True)

    def add(self, trials: Iterable[FrozenTrial]) -> int:
        """Let the sampler know finished trials of other searches, marked WARM; how many of them it did not know yet."""
        known = [(one.params, one.values) for one in self.study.get_trials(deepcopy=False) if WARM in one.user_attrs]
        new = [one for one in trials if (one.params, one.values) not in known]
        for one in new:
            self.study.add_trial(one)
        return len(new)

    @property
    def asked(self) -> int:
        """Trials that have begun."""
        return sum(trial.state != TrialState.WAITING for trial in self.all())

    def all(self, *states: TrialState) -> list[FrozenTrial]:
        """This search's own trials in their order, of the given states or of all."""
        return [one for one in self.study.get_trials(deepcopy=False, states=states or None) if WARM not in one.user_attrs]

    def left_running(self) -> list[Trial]:
        """Trials that a driver began and did not end, to go on with."""
        return [self._open(trial) for trial in self.all(TrialState.RUNNING)]

    def ask(self) -> Trial | None:
        """The next trial; None when all have begun, or of a grid no point is left."""
        waiting = self.all(TrialState.WAITING)
        if self.asked >= self.trials or (self.sampler == "grid" and not waiting):
            return None
        number = waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))
        self.study.sampler = make_sampler(self.sampler, self.seed, number, self.parallel)
        return self.study.ask()

    def report(self, trial: Trial, resource: int, score: float) -> bool:
        """Note a selection score, unless it is known; whether the trial is behind there. With several objectives neither."""
        if len(self.study.directions) > 1:
            return False
        if resource not in self.frozen(trial).intermediate_values:
            trial.report(score, resource)
        return resource in self.rungs and self._behind(trial, resource)

    def _behind(self, trial: Trial, rung: int) -> bool:
        """Whether the score at a rung is not among the best 1/eta of those that came there so far, itself one of them.

        Of fewer than eta the best one goes on. The verdict is written down, so that a later driver finds it again.
        """
        name = f"behind_at_{rung}"
        known = self.frozen(trial).user_attrs.get(name)
        if known is None:
            scores = {one.number: one.intermediate_values[rung] for one in self.all() if rung in one.intermediate_values}
            ranked = sorted((-math.inf if math.isnan(score) else score for score in scores.values()), reverse=True)
            known = not scores[trial.number] >= ranked[max(len(ranked) // self.eta, 1) - 1]
            trial.set_user_attr(name, known)
        return known

    def tell(self, trial: Trial, values: Sequence[float] | None, state: TrialState, attributes: Mapping[str, Any]) -> None:
        """End a trial."""
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, list(values) if values is not None else None, state=state)

    def frozen(self, trial: Trial) -> FrozenTrial:
        """What the journal says of a trial."""
        return self.study.get_trials(deepcopy=False)[trial.number]

    def pay(self, key: str, seconds: float) -> None:
        """Note what this search has spent on a stage so far; the largest number counts."""
        if seconds > self.paid().get(key, -1.0):
            self.study.set_user_attr(f"{PAID}{key}", seconds)

    def paid(self) -> dict[str, float]:
        """Seconds that this search has spent, by stage."""
        return {name.removeprefix(PAID): value for name, value in self.study.user_attrs.items() if name.startswith(PAID)}

    def best(self) -> FrozenTrial | None:
        """The finished trial of the highest score, of equal ones the first."""
        done = [trial for trial in self.all(TrialState.COMPLETE) if trial.values]
        return max(done, key=lambda trial: trial.values[0], default=None)

    def _open(self, trial: FrozenTrial) -> Trial:
        self.study.sampler = make_sampler(self.sampler, self.seed, trial.number, self.parallel)
        return Trial(self.study, trial._trial_id)

    def _check(self, path: Path, identity: dict[str, Any], meant: Mapping[str, Mapping[str, Any]]) -> None:
        text = json.dumps(identity, sort_keys=True)
        before = self.study.user_attrs.get(IDENTITY)
        if before is None:
            self.study.set_user_attr(IDENTITY, text)
        elif changed := differing(json.loads(text), json.loads(before), meant):
            raise SettingError(
                f"out: {path} holds a search with another {', '.join(changed)}; allowed: the same settings, or another --out"
            )


def _locked(path: Path) -> int:
    """Descriptor of the journal's lock, which the system frees when the process ends, however it does."""
    descriptor = os.open(path.with_name(f"{path.name}.driver"), os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingError(f"out: {path} is being written by another search; allowed: wait for it, or another --out") from None
    except OSError as error:  # ENOLCK of a network disk
        os.close(descriptor)
        reason = error.strerror or error
        raise SettingError(f"out: {path} cannot be locked ({reason}); allowed: a folder on a disk that has locks") from None
    return descriptor


def mend(path: Path) -> None:
    """Undo what a killed driver left half done: a last line without an end, which Optuna would refuse, and Optuna's own lock.

    Other lines that are no record of Optuna's, which a disk may have damaged, are taken out; the journal as it was is kept beside it and named.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        whole = [line for line in lines if _is_record(line)]
        if len(whole) < len(lines):
            kept = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            write_bytes(kept, content)
            write_bytes(path, b"".join(whole))
            count = len(lines) - len(whole)
            print(f"out: {path} had {count} damaged line{'s' * (count > 1)}, left out now; as it was: {kept}", file=sys.stderr)


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
        return isinstance(record, dict) and {"op_code", "worker_id"} <= record.keys()
    except (ValueError, RecursionError):
        return False
