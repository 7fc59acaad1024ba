"""Which of the trials of a search is the best: by its mean over the judging seeds, and how sure that is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from optuna.trial import BaseTrial, FrozenTrial, TrialState

from semiseg.config import SettingError

Objective = Literal["score", "seconds", "parameters"]
SIGNS: Mapping[Objective, int] = {"score": 1, "seconds": -1, "parameters": -1}
"""1 where more is better, else -1: of the selection score, of the seconds that a seed's chain of stages trains, and of the parameters of
the network that is evaluated."""
PICKS = ("simplest", "best")
"""What may be picked besides a trial's number."""


class Judged(NamedTuple):
    """A trial that was trained in full, by its selection scores in [0, 1]: their mean over n seeds and its standard error (NaN for
    n < 2). Old journals may not say the scores of seeds."""

    trial: FrozenTrial
    scores: Mapping[int, float]
    n: int
    mean: float
    error: float


def full(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that ended with the full budget and finite values, in their order."""
    return [one for one in trials if one.state == TrialState.COMPLETE and one.values and all(map(math.isfinite, one.values))]


def leaders(trials: Iterable[FrozenTrial]) -> list[Judged]:
    """The full-budget trials, the highest mean first, of equal ones the earlier."""
    return sorted((_judged(one) for one in full(trials)), key=lambda one: -one.mean)


def choose(trials: Iterable[FrozenTrial], pick: str = "simplest") -> FrozenTrial | None:
    """The trial that is picked; None where none was trained in full. SettingError for a number of no such trial.

    Only trials that were judged with the most seeds are compared. "best" has the highest mean. "simplest" is, of those that are within
    one standard error of it (of the difference, paired by seed: sd / sqrt(n); with one seed there is none), the one that changes
    the fewest parameters of the default, of these the one with the highest mean.
    """
    ranked = leaders(trials)
    if not ranked:
        return None
    if pick not in PICKS:
        numbers = {str(one.trial.number): one.trial for one in ranked}
        if pick not in numbers:
            known = ", ".join(sorted(numbers, key=int))
            raise SettingError(f"pick: got {pick!r}; allowed: {', '.join(PICKS)}, or a trial that was trained in full: {known}")
        return numbers[pick]
    most = max(one.n for one in ranked)
    compared = [one for one in ranked if one.n == most]
    best = compared[0]
    if pick == "best":
        return best.trial
    default = next((one.trial.params for one in ranked if one.trial.user_attrs.get("default")), None)
    good = [one for one in compared if one is best or _as_good(one, best)]
    return min(good, key=lambda one: _changes(one.trial.params, default)).trial


def front(trials: Iterable[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """The Pareto front of the full-budget trials: those that are not `beaten`, the highest score first."""
    done = full(trials)
    values = [one.values for one in done]
    return sorted((one for one in done if not beaten(one.values, values, objectives)), key=lambda one: -one.values[0])


def beaten(mine: Sequence[float], others: Iterable[Sequence[float]], objectives: Sequence[Objective]) -> bool:
    """Whether one of the others is at least as good in every objective and better in one."""

    def ahead(other: Sequence[float]) -> list[float]:
        return [SIGNS[name] * (a - b) for name, a, b in zip(objectives, other, mine, strict=True)]

    return any(min(lead) >= 0 and max(lead) > 0 for lead in map(ahead, others))


def _judged(trial: FrozenTrial) -> Judged:
    from semiseg.report.statistics import spread  # and with it scipy, which `--help` does not need

    scores = {int(seed): score for seed, score in trial.user_attrs.get("scores", {}).items()}
    n, _, sd = spread(scores.values())
    return Judged(trial, scores, max(n, 1), trial.values[0], sd / math.sqrt(n) if n > 1 else math.nan)


def _as_good(one: Judged, best: Judged) -> bool:
    from semiseg.report.statistics import paired  # and with it scipy, which `--help` does not need

    delta = paired(best.scores, one.scores)
    return delta.n > 1 and delta.mean <= delta.sd / math.sqrt(delta.n)


def _changes(params: Mapping[str, Any], default: Mapping[str, Any] | None) -> int:
    """How many parameters are not as in the default; all where the default lies outside the space."""
    return sum(default is None or params.get(name) != default.get(name) for name in params.keys() | (default or {}).keys())


def shown(value: object) -> str:
    """A parameter's value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings_said(trial: BaseTrial) -> str:
    """The parameters of a trial as words: "lambda1=0.5 target=soft"."""
    return " ".join(f"{name}={shown(value)}" for name, value in trial.params.items())
