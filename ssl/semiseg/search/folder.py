"""A search's results folder, read: the journal, and what a finished search leaves beside it (best.json, search.json).

Scores are fractions in [0, 1].
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from semiseg.report.metrics import pretty
from semiseg.search.choice import Objective, choose, full
from semiseg.search.ledger import JOURNAL, PAID, STUDY, WARM

NO_TRIAL = "No trial has been trained with the full budget yet."


class SearchResults(NamedTuple):
    """What a search's results folder holds; `best` and `result` are empty until it has finished."""

    folder: Path
    about: dict[str, Any]
    objectives: int
    """How many."""
    trials: list[FrozenTrial]
    """Its own, without those of a warm start."""
    best: dict[str, Any]
    result: dict[str, Any]
    spent: float
    """Stage-seconds so far."""
    warm: tuple[str, ...] = ()
    """The trials of earlier searches that its sampler learned from."""

    @property
    def objective_names(self) -> tuple[Objective, ...]:
        """What the values of a trial are; journals name the score by its metric."""
        return ("score", *self.about.get("objectives", ())[1:])

    @property
    def chosen(self) -> FrozenTrial | None:
        """The trial of best.json; of an unfinished search the one that would be picked now."""
        number = self.best.get("trial")
        return next((one for one in full(self.trials) if one.number == number), None) or choose(self.trials)

    @property
    def label(self) -> str:
        """How the score is called, such as "selection mIoU"."""
        return f"selection {pretty(self.about.get('metric', 'score'))}"


def read_search(folder: Path) -> SearchResults:
    """Read a search's results folder. Raises ValueError naming the file that is missing or unreadable."""
    path = folder / JOURNAL
    if not path.is_file():  # Optuna would make one
        raise ValueError(f"{path}: cannot be read: no such file; expected the results folder of a search")
    try:
        study = optuna.load_study(study_name=STUDY, storage=JournalStorage(JournalFileBackend(str(path))))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}; expected the journal of a search") from error
    about, every = study.user_attrs.get("about", {}), study.get_trials()
    warm = tuple(one.user_attrs[WARM] for one in every if WARM in one.user_attrs)
    trials = [one for one in every if WARM not in one.user_attrs]
    spent = sum(value for name, value in study.user_attrs.items() if name.startswith(PAID))
    return SearchResults(
        folder, about, len(study.directions), trials, _read(folder / "best.json"), _read(folder / "search.json"), spent, warm
    )


def set_damaged_aside(folder: Path) -> None:
    """Move what a finished search has left out of the way, and say so, where it cannot be read; it is made again at the end."""
    for path in (folder / "best.json", folder / "search.json"):
        try:
            _read(path)
        except ValueError as error:
            place = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.replace(place)
            print(f"out: {error}; moved to {place}", file=sys.stderr)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def default_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The full-budget trial of the default configuration."""
    return next((one for one in full(trials) if one.user_attrs.get("default")), None)
