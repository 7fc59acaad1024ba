"""Spaces from words, and what random searches draw of them. Not a test module."""

from typing import Any

import optuna
import tiny
from optuna.trial import FixedTrial

from semiseg.methods import DMT, MeanTeacher, Method, OneWay, ThreeStage
from semiseg.search.space import Space, named_space, split_words
from semiseg.stage import Stage

optuna.logging.set_verbosity(optuna.logging.WARNING)

DEFAULTS = [ThreeStage(), MeanTeacher(), OneWay(), DMT()]


def named(line: str, base: Method) -> Space:
    """The space of words such as "lambda1 0 2; log lambda1"."""
    words, rest = split_words([word for part in line.split("; ") if part for word in f"--space.{part}".split()])
    assert rest == []
    return named_space(words, base)


def built(space: Space, base: Method, **point: Any) -> Method:
    return space.suggest(FixedTrial(point), base)


def drawn(space: Space, base: Method, count: int, seed: int = 0) -> list[tuple[Method, dict[str, Any]]]:
    """Methods and configurations of a random search."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(count)]
    return [(space.suggest(trial, base), trial.params) for trial in trials]


def distributions(space: Space, base: Method) -> dict[str, Any]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    space.suggest(trial, base)
    return trial.distributions


def chain(method: Method) -> tuple[Stage, ...]:
    return method.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)
