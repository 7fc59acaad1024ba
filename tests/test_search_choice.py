"""Which trial is picked: by mean, standard error and simplicity; the Pareto front; the importance with its intervals."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from semiseg.config import SettingError
from semiseg.search import importance
from semiseg.search.choice import choose, front, leaders


def trial(number: int, scores: tuple[float, ...], **settings: Any) -> FrozenTrial:
    """A finished trial; its parameters are x and y, 0 unless `settings` say otherwise, `default` when both are 0."""
    params = {"x": 0.0, "y": 0.0} | settings
    made = create_trial(
        value=sum(scores) / len(scores),
        params=params,
        distributions={name: FloatDistribution(0, 9) for name in params},
        user_attrs={"scores": {str(seed): score for seed, score in enumerate(scores)}, "default": not any(params.values())},
    )
    made.number = number
    return made


@pytest.mark.parametrize(
    ("trials", "number"),
    [
        ([trial(0, (0.5,)), trial(1, (0.6,), x=1)], 1),  # one seed: no standard error
        ([trial(0, (0.5, 0.5)), trial(1, (0.6, 0.6), x=1)], 1),  # no spread: the better one
        ([trial(0, (0.5, 0.5)), trial(1, (0.5, 0.6), x=1)], 0),  # ahead by 0.05, standard error 0.05
        ([trial(0, (0.5, 0.5)), trial(1, (0.51, 0.6), x=1)], 1),  # ahead by 0.055, standard error 0.045
        ([trial(0, (0.1, 0.1)), trial(1, (0.5, 0.63), x=1, y=1), trial(2, (0.6, 0.5), x=1)], 2),  # as good, one change fewer
        ([trial(0, (0.1, 0.1)), trial(1, (0.5, 0.63), x=1), trial(2, (0.6, 0.5), y=1)], 1),  # as simple: the better mean
        ([trial(0, (0.5, 0.5)), trial(1, (0.9,), x=1)], 0),  # one seed is not compared with two
        ([trial(1, (0.5, 0.63), x=1), trial(2, (0.6, 0.5), x=1, y=2)], 1),  # no default: all change everything
    ],
)
def test_the_simplest_within_one_standard_error_of_the_best_mean_is_picked(trials: list[FrozenTrial], number: int) -> None:
    picked = choose(trials)
    assert picked is not None
    assert picked.number == number


def test_a_pick_is_the_best_mean_or_a_number() -> None:
    trials = [trial(0, (0.5, 0.5)), trial(1, (0.5, 0.6), x=1), trial(2, (0.4,), y=1)]
    assert [choose(trials, pick).number for pick in ("best", "2", "0")] == [1, 2, 0]  # type: ignore[union-attr]
    assert choose([]) is None
    with pytest.raises(
        SettingError, match=r"^pick: got '7'; allowed: simplest, best, or a trial that was trained in full: 0, 1, 2$"
    ):
        choose(trials, "7")


def test_leaders_have_mean_and_standard_error() -> None:
    found = leaders([trial(0, (0.5, 0.7, 0.9)), trial(1, (0.8,)), create_trial(state=TrialState.PRUNED)])
    assert [one.trial.number for one in found] == [1, 0]
    assert found[1][2:] == pytest.approx((3, 0.7, 0.2 / math.sqrt(3)))
    assert math.isnan(found[0].error)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_who_none_beats(values: list[tuple[int, int, int]]) -> None:
    """The definition as a slow loop: score up, seconds and parameters down."""
    trials = []
    for number, one in enumerate(values):
        trials.append(create_trial(values=[float(value) for value in one]))
        trials[-1].number = number

    def dominates(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
        return a[0] >= b[0] and a[1] <= b[1] and a[2] <= b[2] and a != b

    expected = {number for number, one in enumerate(values) if not any(dominates(other, one) for other in values)}
    assert {one.number for one in front(trials, ("score", "seconds", "parameters"))} == expected


def made_up(count: int, seed: int, strong: float) -> list[FrozenTrial]:
    """Scores that follow x with that strength, never y."""
    chance = random.Random(seed)
    draws = [(chance.random(), chance.random(), chance.gauss(0, 0.1)) for _ in range(count)]
    return [
        create_trial(value=strong * x + noise, params={"x": x, "y": y}, distributions=dict.fromkeys("xy", FloatDistribution(0, 1)))
        for x, y, noise in draws
    ]


def test_intervals_tell_what_matters_from_what_does_not() -> None:
    """Where x decides, its interval lies above y's; where nothing does, the intervals overlap."""
    clear, none = (importance.sure(made_up(30, 1, strong), resamples=20) for strong in (3.0, 0.0))
    assert clear["x"].low > clear["y"].high
    assert none["x"].low < none["y"].high
    assert none["y"].low < none["x"].high
    assert clear["x"].share > 0.9
    assert all(0 <= one.low <= one.high <= 1 for found in (clear, none) for one in found.values())


def test_parameters_that_some_trials_do_not_have_take_part() -> None:
    """z decides where x is above 1/2, the only trials that have it; a choice is absent elsewhere too."""
    chance, made = random.Random(2), []
    for _ in range(40):
        x, z, c = chance.random(), chance.random(), chance.choice("ab")
        params = {"x": x} | ({"z": z, "c": c} if x > 0.5 else {})
        spaces = {"x": FloatDistribution(0, 1), "z": FloatDistribution(0, 1), "c": CategoricalDistribution("ab")}
        value = 3 * z if x > 0.5 else 1.5
        made.append(create_trial(value=value, params=params, distributions={name: spaces[name] for name in params}))
    found = importance.sure(made, resamples=5)
    assert found.keys() == {"x", "z", "c"}
    assert found["z"].share == max(one.share for one in found.values())


def test_intervals_need_trials() -> None:
    assert importance.sure(made_up(importance.FEWEST_SHOWN - 1, 0, 3.0)) == {}
    assert importance.sure(made_up(importance.FEWEST_SHOWN, 0, 3.0), resamples=5) != {}


@pytest.mark.parametrize("name", ["sure", "importances"])
def test_importance_is_worked_out_once_for_the_same_trials(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "RESAMPLES", 3)
    made, kept = getattr(importance, name), getattr(importance, f"kept_{name}")
    trials = made_up(importance.FEWEST_SHOWN, 0, 3.0)
    found = kept(trials, tmp_path)
    assert found == made(trials) != {}
    assert [*found] == [*made(trials)]  # the order of the bars
    calls: list[int] = []
    other: dict[str, Any] = {"x": importance.Importance(1.0, 1.0, 1.0)} if name == "sure" else {"x": 1.0}
    monkeypatch.setattr(importance, name, lambda trials: calls.append(len(trials)) or other)
    assert kept(trials, tmp_path) == found
    assert not calls
    more = [*trials, *made_up(1, 9, 3.0)]
    for asked in (more, trials, trials[::-1]):  # of other trials, or drawn in another order
        assert kept(asked, tmp_path) == other
    for content in ("", "[]", "{", json.dumps({"sure": 1, "best": {"of": "", "names": ["x"], "shares": {}}})):
        (tmp_path / "importance.json").write_text(content)
        assert kept(trials, tmp_path) == other
    assert calls == [len(more), *[len(trials)] * 6]


def test_importance_is_shown_where_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "sure", lambda trials: {"x": importance.Importance(1, 1, 1)})
    (tmp_path / "file").write_text("")
    assert importance.kept_sure(made_up(3, 0, 3.0), tmp_path / "file") == {"x": (1, 1, 1)}
