"""A search without training: stages whose scores are a formula, driven through the real feed, ledger and store. Not a test
module."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from math import log
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tiny
from optuna.trial import BaseTrial, TrialState
from rich.console import Console

from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, Method
from semiseg.search.configuration import Configuration
from semiseg.search.feed import TrialFeed, evaluations
from semiseg.search.ledger import JOURNAL, Ledger
from semiseg.search.space import Space
from semiseg.stage import Stage
from semiseg.store import Store

Score = Callable[[Stage, int], float]
"""Selection score of a stage after so many evaluations."""

TRAIN = replace(tiny.TRAIN, steps=18, evaluations=9)
RESOURCE = 9


def weight_and_decay(trial: BaseTrial, base: Method) -> Method:
    weight = trial.suggest_float("weight", 0.1, 10.0, log=True)
    return MeanTeacher(weight=weight, ema=Ema(decay=(trial.suggest_float("ema_decay", 0.5, 0.99),)))


def values(method: Method) -> dict[str, Any]:
    assert isinstance(method, MeanTeacher)
    return {"weight": method.weight, "ema_decay": method.ema.decay[0]}


BASE = MeanTeacher(weight=0.3, ema=Ema(decay=(0.6,)))
SPACE = Space("mean_teacher", weight_and_decay, values)


def chain_of(method: Method, seed: int) -> tuple[Stage, ...]:
    return method.stages(tiny.SPLIT, tiny.NET, TRAIN, seed)


def hill(stage: Stage, evaluation: int) -> float:
    """Best, 0.8, at weight 2 and decay 0.9, and growing with training."""
    rule = stage.rule
    distance = (log(rule.weight / 2) / log(10)) ** 2 + ((rule.ema.decay[0] - 0.9) / 0.4) ** 2
    return (0.8 - min(distance, 0.7)) * (evaluation / evaluations(stage)) ** 0.2


def open_ledger(folder: Path, trials: int, **settings: Any) -> Ledger:
    return Ledger(folder / JOURNAL, trials=trials, **settings)


def make_feed(folder: Path, ledger: Ledger, space: Space = SPACE, base: Method = BASE, **settings: Any) -> TrialFeed:
    store = Store(str(folder / "store"), folder / "mirror")
    options: dict[str, Any] = {
        "chain_of": lambda made, seed: chain_of(made.method, seed),
        "seeds": (0,),
        "shared": 0,
        "slots": 1,
        "console": Console(file=StringIO()),
    } | settings
    return TrialFeed(ledger, with_net(space), Configuration(base, tiny.NET), store=store, **options)


def with_net(space: Space) -> Space:
    """The same space of a method with a network that nothing varies."""
    return Space(
        space.name,
        lambda trial, base: Configuration(space.suggest(trial, base.method), base.net),
        lambda base: space.values(base.method),
    )


def publish(store: Store, stage: Stage, score: Score, seconds: float) -> None:
    curve = [(number, score(stage, number)) for number in range(1, evaluations(stage) + 1)]
    train, role = stage.train, stage.rule.evaluated

    def write(folder: Path) -> None:
        lines = [{"step": step, "name": f"selection/{role}/{train.score}", "value": value} for step, value in curve]
        pq.write_table(pa.Table.from_pylist(lines), folder / "curves.parquet")
        place = {"split": "selection", "class": "", "metric": train.score, "role": role, "weights": train.weights}
        pq.write_table(pa.Table.from_pylist([place | {"value": max(value for _, value in curve)}]), folder / "metrics.parquet")

    store.publish(stage.key, write, {"seconds": seconds})


def drive(
    feed: TrialFeed, score: Score, *, most: int | None = None, dies: Callable[[Stage], bool] = lambda stage: False
) -> list[str]:
    """Train as Tune would, an evaluation of every running stage a round; keys of finished stages. After `most` rounds the driver
    dies."""
    done: list[str] = []
    running: dict[str, tuple[Stage, int]] = {}
    rounds = 0
    while most is None or rounds < most:
        while len(running) < feed.slots and (stage := feed.take()) is not None:
            running[stage.key] = (stage, 0)
        if not running:
            assert feed.exhausted
            return done
        rounds += 1
        for key, (stage, number) in list(running.items()):
            number += 1
            running[key] = (stage, number)
            if dies(stage):
                del running[key]
                feed.fail(key, "its process died")
                continue
            curve = [(one, score(stage, one)) for one in range(1, number + 1)]
            figures = {"training_step": 2 * number, "steps": stage.train.steps, "images_per_second": 1.0, "seconds": float(number)}
            stop = feed.progress(key, figures | {"selection_curve": curve, "selection_score": max(score for _, score in curve)})
            if stop:
                feed.stop(key)
                del running[key]
            elif number == evaluations(stage):
                publish(feed.store, stage, score, seconds=float(number))
                feed.finish(key)
                done.append(key)
                del running[key]
    return done


def states(ledger: Ledger) -> list[TrialState]:
    return [trial.state for trial in ledger.all()]
