"""How much each parameter matters to the score, and how sure that is.

Functional ANOVA looks at all trials and bears resampling; PED-ANOVA at what the best ones have in common, which is what a contour shall show.
In resamples of few trials its best ones are copies of one another, and any parameter looks important.
"""

import math
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from semiseg.report.style import BLUE, NEUTRAL, Drawn, figure
from semiseg.search.choice import full
from semiseg.search.folder import SearchResults
from semiseg.search.shares import SHARES, Importance, keep_shares, read_shares
from semiseg.stage import hash_of

if TYPE_CHECKING:
    from optuna.importance import PedAnovaImportanceEvaluator

FEWEST = 4
"""Full-budget trials below which an importance would be noise."""
FEWEST_SHOWN = 10
"""And below which resamples of them say nothing of how sure it is, so that it is not shown."""
TOP = 5
"""Trials that PED-ANOVA's top quantile should hold (its documentation), of at most half of all."""
RESAMPLES, LEVEL = 100, 0.95
TREES, ALL_TREES = 8, 64
"""Of the forest for a resample, and for all trials."""
ABSENT = "(absent)"


def in_percent(trials: Iterable[FrozenTrial]) -> optuna.Study:
    """A study in memory with the same numbers of trials and scores in percent, where only full-budget trials have values.

    Optuna's plots then need no `target`, with which they would turn their colours round and PED-ANOVA would look for low scores.
    """
    study = _in_memory()
    trials = list(trials)
    known = {one.number: one for one in full(trials)}
    for number in range(
        max((one.number for one in trials), default=-1) + 1
    ):  # of numbers without a value, such as those of a warm start, too
        one = known.get(number)
        if one is None:
            study.add_trial(create_trial(state=TrialState.FAIL))
        else:
            study.add_trial(create_trial(value=100 * one.values[0], params=one.params, distributions=one.distributions))
    return study


def _in_memory() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would name every study
    return optuna.create_study(direction="maximize")


def importances(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Share of each parameter by PED-ANOVA, the highest first; empty with fewer than FEWEST trials, equal scores or constant
    parameters.

    How the parameters of the best trials are distributed against those of all (Watanabe et al. 2023, arXiv:2304.10255).
    """
    done = full(trials)
    names = varied(done)
    if not names or len(done) < FEWEST or len({one.values[0] for one in done}) < 2:
        return {}
    from optuna.importance import get_param_importances  # and with it scikit-learn, a second

    study = _in_memory()
    study.add_trials(create_trial(value=one.values[0], params=one.params, distributions=one.distributions) for one in done)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about conditional parameters with one trial, which it leaves out
        found = get_param_importances(study, evaluator=evaluator(done), params=names)
    return found if sum(found.values()) > 0 else {}


def sure(trials: Iterable[FrozenTrial], resamples: int | None = None) -> dict[str, Importance]:
    """Share of each parameter in the variance of the score by functional ANOVA (Hutter et al. 2014), the highest first, with the interval
    that holds LEVEL of the shares in RESAMPLES bootstrap resamples of the trials, drawn with one seed.

    A parameter that a trial does not have counts as in the middle of its range, or as a choice of its own. In a resample whose trials do
    not differ in a parameter its share is 0. Empty with fewer than FEWEST_SHOWN trials, equal scores or constant parameters.
    """
    done = full(trials)
    found = _variance_shares(done, ALL_TREES) if len(done) >= FEWEST_SHOWN else {}
    chance = random.Random(0)
    resampled = (_variance_shares(chance.choices(done, k=len(done)), TREES) for _ in range(resamples or RESAMPLES) if found)
    drawn = [one for one in resampled if one]
    tail = (1 - LEVEL) / 2

    def interval(name: str) -> tuple[float, float]:
        shares = sorted(one.get(name, 0.0) for one in drawn)
        return shares[math.floor(tail * (len(shares) - 1))], shares[math.ceil((1 - tail) * (len(shares) - 1))]

    return {name: Importance(share, *interval(name)) for name, share in found.items()} if drawn else {}


def kept_sure(trials: Sequence[FrozenTrial], folder: Path) -> dict[str, Importance]:
    """`sure`, from the folder of the search where it is kept."""
    found = _kept("sure", lambda: sure(trials), trials, folder, (FEWEST_SHOWN, RESAMPLES, LEVEL, TREES, ALL_TREES))
    return {name: Importance(*numbers) for name, numbers in found.items()}


def kept_importances(trials: Sequence[FrozenTrial], folder: Path) -> dict[str, float]:
    """`importances`, from the folder of the search where they are kept."""
    found = _kept("best", lambda: {name: (one,) for name, one in importances(trials).items()}, trials, folder, (FEWEST, TOP))
    return {name: share for name, (share,) in found.items()}


def _kept(
    name: str,
    made: Callable[[], Mapping[str, Sequence[float]]],
    trials: Iterable[FrozenTrial],
    folder: Path,
    how: tuple[float, ...],
) -> Mapping[str, Sequence[float]]:
    """What was made of the same trials in the same way, or is made, and kept, now."""
    said = [(one.values[0], sorted(one.params.items()), sorted(one.distributions.items())) for one in full(trials)]
    file, of = folder / SHARES, hash_of(repr((said, how, optuna.__version__)))
    found: Mapping[str, Sequence[float]] | None = read_shares(file, name, of)
    if found is None and (found := made()):
        keep_shares(found, file, name, of)
    return found


def _variance_shares(done: Sequence[FrozenTrial], trees: int) -> dict[str, float]:
    names = varied(done)
    if not names or len({one.values[0] for one in done}) < 2:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    spaces = {name: space for one in done for name, space in one.distributions.items() if name in names}
    filled = {name: _with_absent(space) for name, space in spaces.items()}
    study = _in_memory()
    for one in done:
        params = {name: one.params.get(name, absent) for name, (_, absent) in filled.items()}
        study.add_trial(
            create_trial(value=one.values[0], params=params, distributions={name: space for name, (space, _) in filled.items()})
        )
    try:
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=trees, seed=0), params=names)
    except RuntimeError:  # no tree found a difference
        return {}


def _with_absent(space: Any) -> tuple[BaseDistribution, Any]:
    """A range or choices as they are with a value that stands for none."""
    if isinstance(space, CategoricalDistribution):
        return CategoricalDistribution((*space.choices, ABSENT)), ABSENT
    middle = math.sqrt(space.low * space.high) if space.log else (space.low + space.high) / 2
    return space, round(middle) if isinstance(space, IntDistribution) else middle


def varied(done: Iterable[FrozenTrial]) -> list[str]:
    """Parameters with at least two values; others would get an importance from PED-ANOVA's prior alone."""
    pairs = {(name, value) for one in done for name, value in one.params.items()}
    return sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)


def evaluator(done: Sequence[FrozenTrial]) -> "PedAnovaImportanceEvaluator":
    from optuna.importance import PedAnovaImportanceEvaluator

    return PedAnovaImportanceEvaluator(target_quantile=top(len(done)) / len(done))


def top(trials: int) -> int:
    """Of so many full-budget trials, how many are the best ones of PED-ANOVA: a tenth, at least 5, at most half."""
    return min(trials // 2, max(TOP, math.ceil(trials / 10)))


def too_few(search: SearchResults, fewest: int = FEWEST) -> str:
    """Why nothing is shown."""
    count = len(full(search.trials))
    return f"Needs at least {fewest} trials of the full budget whose scores and parameters differ; there are {count}."


def draw_importance(search: SearchResults) -> Drawn | str:
    """What high scores depend on."""
    found = kept_sure(search.trials, search.folder)
    if not found:
        return too_few(search, FEWEST_SHOWN)
    count = len(full(search.trials))
    note = f"Functional ANOVA: shares of the variance of the score over the {count} trials of the full budget, within the ranges searched. "
    note += f"Lines: {LEVEL:.0%} of {RESAMPLES} bootstrap resamples of these trials; where they overlap, the order is not known. "
    note += "Pruned trials do not count."
    return Drawn(note, (importance(found),))


def importance(found: dict[str, Importance]) -> go.Figure:
    """A bar per parameter with its interval, the highest on top."""
    names = list(found)[::-1]
    shown = [found[name] for name in names]
    bars = go.Bar(
        x=[one.share for one in shown],
        y=names,
        orientation="h",
        marker={"color": BLUE},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(one.high - one.share, 0) for one in shown],
            "arrayminus": [max(one.share - one.low, 0) for one in shown],
            "color": NEUTRAL,
            "thickness": 1.5,
        },
        customdata=[[one.low, one.high] for one in shown],
        hovertemplate="%{y}: %{x:.0%} [%{customdata[0]:.0%}, %{customdata[1]:.0%}]<extra></extra>",
    )
    made = figure([bars], 110 + 30 * len(names))
    made.update_xaxes(title_text="share of the variance", range=[0, 1.08], tickformat=".0%")
    return made.update_yaxes(showgrid=False).update_layout(showlegend=False)
