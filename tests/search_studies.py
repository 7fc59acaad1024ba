"""Made-up results folders of searches, written with plain Optuna.

`python tests/search_studies.py <folder>` writes a finished one with its page, to look at.
"""

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from semiseg.search.report import write_search_report

SPACE = {
    "ema_decay": FloatDistribution(0.5, 0.999),
    "lambda1": FloatDistribution(0.05, 2.0, log=True),
    "target": CategoricalDistribution(("hard", "soft")),
    "soft_distance": CategoricalDistribution(("ce", "mse")),  # with soft targets only
    "ops": IntDistribution(1, 4),
    "weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
}
ABOUT: dict[str, Any] = {
    "title": "Search: three-stage self-training",
    "question": "Which weights, decay and augmentation suit these images? (made-up numbers)",
    "method": "three_stage",
    "data": {
        "name": "synthetic",
        "labelled": 8,
        "train": 96,
        "selection": 24,
        "test": 64,
        "size": [48, 64],
        "fingerprint": "9c2bf00d",
    },
    "metric": "miou",
    "objectives": ["miou"],
    "resource": {"stages": ["s2", "s3"], "evaluations": 8, "total": 16},
    "trials": 24,
    "sampler": "tpe",
    "sampler_seed": 0,
    "pruner": "asha",
    "eta": 3,
    "seeds": [0, 1],
    "command": "python sweeps/search.py three_stage --trials 24",
    "git": "abc1234",
    "versions": {"optuna": "5.0.0"},
    "settings": {"train": {"steps": 400}},
}


def states_of(trials: int) -> list[TrialState]:
    """The default in full, then per eight trials five in full and three pruned; one failed and the last one runs."""
    found = [TrialState.PRUNED if i % 8 in (2, 4, 7) else TrialState.COMPLETE for i in range(trials)]
    if trials > 10:
        found[9], found[-1] = TrialState.FAIL, TrialState.RUNNING
    return found


def draw(i: int, chance: random.Random) -> dict[str, Any]:
    """Parameters of trial i; soft_distance belongs to soft targets."""
    if i == 0:
        return {"lambda1": 0.5, "ema_decay": 0.99, "target": "hard", "ops": 3, "weight_decay": 1e-4}
    params: dict[str, Any] = {"lambda1": 0.05 * 40 ** chance.random(), "ema_decay": chance.uniform(0.5, 0.999)}
    params |= {"target": chance.choice(("hard", "soft")), "ops": chance.randint(1, 4), "weight_decay": 10 ** chance.uniform(-6, -3)}
    return params | ({"soft_distance": chance.choice(("ce", "mse"))} if params["target"] == "soft" else {})


def score_of(params: dict[str, Any]) -> float:
    """Lambda matters most, then the decay; best near 0.3."""
    return 0.7 - 0.06 * abs(math.log10(params["lambda1"] / 0.3)) - 0.02 * params["ema_decay"] + 0.002 * params["ops"]


def make_search(
    folder: Path, trials: int = 24, states: list[TrialState] | None = None, finished: bool = True, **changes: Any
) -> Path:
    """A results folder of a search, written with plain Optuna; scores are those of `score_of`."""
    about, chance = ABOUT | changes, random.Random(0)
    objectives = len(about["objectives"])
    folder.mkdir(exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / "search.journal")))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [optuna.study.StudyDirection.MAXIMIZE, *[optuna.study.StudyDirection.MINIMIZE] * 2][:objectives]
    study = optuna.create_study(storage=storage, study_name="search", directions=directions)
    study.set_user_attr("about", about)
    for i, state in enumerate(states if states is not None else states_of(trials)):
        params = draw(i, chance)
        score, seconds = score_of(params), 60 + 10 * params["ops"] + chance.uniform(0, 5)
        ends = {TrialState.COMPLETE: 16, TrialState.PRUNED: 2 + 4 * (i % 2), TrialState.FAIL: 3, TrialState.RUNNING: 7}.get(
            state, 0
        )
        known = {step: score - 0.15 * math.exp(-step / 5) + chance.gauss(0, 0.005) for step in range(1, ends + 1)}
        attributes = {"used": seconds * ends / 16, "alone": 2 * seconds, "default": i == 0}
        study.set_user_attr(f"paid:{i:064x}", seconds * ends / 16)
        if state == TrialState.COMPLETE:
            attributes["scores"] = {"0": score - 0.01, "1": score + 0.01}
        study.add_trial(
            create_trial(
                state=state,
                values=[score, seconds, 1000.0 * params["ops"]][:objectives] if state == TrialState.COMPLETE else None,
                params=params,
                distributions={name: SPACE[name] for name in params},
                user_attrs=attributes,
                intermediate_values=known if objectives == 1 else {},
            )
        )
    if finished:
        best = {"method": "three_stage", "settings": {"lambda1": 0.3, "ema_decay": [0.99, 0.995]}, "score": {"selection": 0.6912}}
        (folder / "best.json").write_text(json.dumps(best))
        result = {
            "best": {"trial": 14, "selection": 0.6912, "test": {"n": 3, "mean": 0.6789, "sd": 0.0123}, "params": {"lambda1": 0.3}},
            "default": {"selection": 0.6702, "test": {"n": 3, "mean": 0.6666, "sd": None}},
            "anchors": {"labels only": {"n": 3, "mean": 0.61, "sd": 0.01}, "all labels": {"n": 3, "mean": 0.7, "sd": None}},
            "verdict": ["All labels add +9.00 points.", "'best' is better here."],
            "delta_selection": 0.021,
            "delta_test": {"mean": 0.0123, "sd": 0.004, "n": 3, "low": -0.002, "high": 0.0266},
            "seconds": {"spent": 1234.5, "alone": 4321.0, "saved_by_sharing": 2000.0, "saved_by_pruning": 1086.5},
        }
        (folder / "search.json").write_text(json.dumps(result))
        (folder / "final").mkdir(exist_ok=True)
        (folder / "final" / "report.html").write_text("<!DOCTYPE html><title>final</title>")
    return folder


if __name__ == "__main__":
    print(write_search_report(make_search(Path(sys.argv[1]))))
