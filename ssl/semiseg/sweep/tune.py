"""One Tune experiment in which one trial is one stage. Beside `cluster` the only module that imports ray."""

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from semiseg.sweep import cluster  # first: sets what Ray and Tune read when they are imported

# isort: split
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.util.metrics import Gauge

from semiseg.config import SettingError
from semiseg.outside import temporary_folder
from semiseg.runner import Place, StageRun
from semiseg.stage import Stage
from semiseg.sweep.awaited import Awaited
from semiseg.sweep.feed import Careful, Feed
from semiseg.sweep.monitor import parts_of, shown_by_metrics
from semiseg.sweep.resources import Ray
from semiseg.sweep.stop import as_user_signal, halt
from semiseg.sweep.turns import Turns
from semiseg.train import StageError

REPORT_SECONDS = 2.0
"""A running stage says how it is doing this often."""
FIRST_REST, LONGEST_REST = 0.02, 1.0
"""Seconds after which a process without a stage asks for one, first and when it has asked often."""
RETRIES = 2
"""Restarts of a stage whose process died; a StageError is final at once."""
TAGS: tuple[str, ...] = ("study", "row", "seed", "stage")


class StageTrial(tune.Trainable):
    """A Tune trial that trains one stage; its repr is what the dashboard's Actors page shows."""

    def setup(self, config: dict[str, Any], place: Place, study: str) -> None:  # type: ignore[override]
        self.place, self.study = place, study
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another stage in the same process; nothing of the last one is kept but the opened data."""
        self.stage: Stage = new_config["stage"]
        self.label = str(new_config["label"])
        self.run: StageRun | None = None
        self.last: dict[str, Any] | None = None
        """What was reported when the stage ended."""
        self.rest = FIRST_REST
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while and report; once the stage has ended, wait and report the same, until the driver ends the trial."""
        if self.last is not None:
            time.sleep(self.rest)
            self.rest = min(2 * self.rest, LONGEST_REST)
            return self.last
        try:
            if self.run is None:
                self.run = StageRun(self.stage, self.place)
            figures: dict[str, Any] = dict(self.run.advance(REPORT_SECONDS))
        except StageError as error:
            self.run, self.last = None, {"finished": False, "error_text": str(error)}
            return self.last
        self._publish_metrics(figures)
        result = figures | {"finished": self.run.finished, "error_text": ""}
        if self.run.finished:
            self.run, self.last = None, result
        return result

    def cleanup(self) -> None:
        """Tune stops the trial: when it is not finished, keep what it has done."""
        if self.run is not None:
            self.run.checkpoint()

    def save_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Tune may ask at any time; ours goes into the store."""
        self.cleanup()

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a `StageRun` finds its checkpoint in the store."""

    def __repr__(self) -> str:
        return f"{self.study}/{self.label}"

    def _publish_metrics(self, figures: Mapping[str, float]) -> None:
        tags = dict(zip(TAGS, (self.study, *parts_of(self.label)), strict=True))
        for name, value in shown_by_metrics(figures).items():
            if not math.isnan(value):  # a stage has no selection score before its first evaluation
                _gauge(f"semiseg_{name}").set(value, tags)


class FeedSearcher(Searcher):
    """Suggests a stage as soon as its teachers are finished."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.turns = turns

    def suggest(self, trial_id: str) -> Any:
        """Config of the next trial, None to wait, FINISHED when no stage is left."""
        stage = self.turns.suggest(trial_id)
        if stage is None:
            return Searcher.FINISHED if self.turns.exhausted else None
        return {"stage": stage, "label": self.turns.feed.label(stage)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if not error:  # of which `Processes` is told with the cause
            self.turns.stopped(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the only truth about what is finished."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


class FeedScheduler(FIFOScheduler):
    """Hands every report on and ends trials that have no more to do, or that nobody wants."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.turns = turns

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return FIFOScheduler.STOP if self.turns.report(trial.trial_id, result) else FIFOScheduler.CONTINUE


class Processes(tune.Callback):
    """Takes note of trials that have got a process, have lost it, or were given up."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.turns.started(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.turns.restarts(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        lines = [line for line in str(trial.get_error() or "").splitlines() if line.strip()]
        cause = lines[-1].strip() if lines else "its process died"
        label = self.turns.feed.label(self.turns.stages[trial.trial_id])
        self.turns.failed(trial.trial_id, f"{label}: {cause} (tried {RETRIES + 1} times)")


class Starting(Awaited, tune.Callback):
    """`Awaited` as Tune calls it."""


@contextlib.contextmanager
def warm_taken() -> Iterator[None]:
    """Tune's trials take the processes that a private Ray has begun to warm: these have no environment of their own, so a trial must
    not ask for one. It need not: they have inherited what Tune would give it. A Tune without these private names starts new ones."""
    class_cache = import_module("ray.tune.execution.class_cache") if find_spec("ray.tune.execution.class_cache") else None
    names: dict[str, Any] = {"DEFAULT_ENV_VARS": {}, "ENV_VARS_TO_PROPAGATE": set()}
    kept = {name: getattr(class_cache, name) for name in names if hasattr(class_cache, name)}
    given = {name: os.environ[name] for name in kept.get("ENV_VARS_TO_PROPAGATE", ()) if name in os.environ}
    if kept.keys() == names.keys() and given.items() <= cluster.inherited.items():
        for name, nothing in names.items():
            setattr(class_cache, name, nothing)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(class_cache, name, value)


def run(feed: Feed, place: Place, settings: Ray, *, study: str, count: int, limit: float) -> int:
    """Train what the feed gives, `count` stages at a time; returns the signal that stopped it, or 0.

    SIGINT, SIGTERM and SIGHUP let running stages save a checkpoint. Raises SettingError when a cluster has had no free resources for a
    first stage for `limit` seconds.
    """
    trainable = tune.with_parameters(StageTrial, place=place, study=study)
    trainable = tune.with_resources(trainable, {"cpu": settings.cpus_per_trial, "gpu": settings.gpus})
    with temporary_folder() as folder, as_user_signal() as stopped_by:
        careful = Careful(feed, halt)
        reuse = not settings.dashboard  # Ray fixes an actor's repr when it starts, so the page would name its first stage
        turns = Turns(careful, reuse=reuse)
        starting = Starting(settings, limit)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=FeedSearcher(turns),
                scheduler=FeedScheduler(turns),
                num_samples=-1,
                max_concurrent_trials=count,
                reuse_actors=reuse,
                trial_name_creator=lambda trial: trial.config["stage"].key[:12],
                trial_dirname_creator=lambda trial: trial.config["stage"].key[:12],
            ),
            run_config=tune.RunConfig(
                name=study,
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Processes(turns), starting],
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the monitor and at the end
        with contextlib.redirect_stdout(None), warm_taken():  # Tune prints a box about a folder that is about to go
            tuner.fit()
    if careful.error is not None:
        raise careful.error
    if starting.gave_up:
        raise SettingError(starting.gave_up)
    return stopped_by[0] if stopped_by else 0


@cache  # one of each name in a process
def _gauge(name: str) -> Gauge:
    return Gauge(name, description=f"{name.removeprefix('semiseg_')} of a running stage", tag_keys=TAGS)
