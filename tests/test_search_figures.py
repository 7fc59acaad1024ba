"""Figures of a search: pruned trials marked, importance of full-budget trials only, contour, curves and Pareto front."""

import random
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from search_studies import ABOUT, SPACE, make_search, score_of

from semiseg.search import curves, importance
from semiseg.search import optuna_figures as figures
from semiseg.search.choice import full
from semiseg.search.folder import read_search
from semiseg.search.front import pareto


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return read_search(make_search(tmp_path_factory.mktemp("search"))).trials


def named(made: Any, name: str) -> Any:
    """The trace of that name."""
    (trace,) = [trace for trace in made.data if trace.name == name]
    return trace


def test_the_best_so_far_is_the_running_maximum(trials):
    made = figures.history(trials, "mIoU")
    slow = [max((100 * one.values[0] for one in trials[: i + 1] if one.values), default=None) for i in range(len(trials))]
    assert named(made, "best so far").y == pytest.approx(slow)
    points = named(made, "full budget")
    assert dict(zip(points.x, points.y, strict=True)) == pytest.approx(
        {i: 100 * score_of(one.params) for i, one in enumerate(trials) if one.values}
    )
    assert named(made, "default").x == (0,)


def test_every_pruned_trial_has_its_mark_at_its_last_selection_score(trials):
    pruned = [one for one in trials if one.state == TrialState.PRUNED]
    made: Any = curves.courses_figure(trials, ABOUT["resource"], "mIoU")
    ends = named(made, "pruned here")
    assert len(ends.x) == len(pruned) == 8
    assert [(int(number), step) for number, step in zip(ends.text, ends.x, strict=True)] == [
        (one.number, max(one.intermediate_values)) for one in pruned
    ]
    for one, y in zip(pruned, ends.y, strict=True):
        assert y == pytest.approx(100 * one.intermediate_values[max(one.intermediate_values)])
    assert named(made, "pruned").line.dash == "dash"
    for name, state in (("full budget", TrialState.COMPLETE), ("failed", TrialState.FAIL), ("running", TrialState.RUNNING)):
        numbers = {int(number) for number in named(made, name).text if number is not None}
        assert numbers == {one.number for one in trials if one.state == state}, name
    assert [note.text for note in made.layout.annotations] == ["s2", "s3"]


def test_importance_is_that_of_the_full_budget_trials_alone(trials):
    """Against Optuna on a study of those trials, and unmoved by pruned trials that say the opposite."""
    done = [one for one in trials if one.state == TrialState.COMPLETE]
    study = optuna.create_study(direction="maximize")
    study.add_trials(done)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=5 / len(done))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importance.importances(trials) == pytest.approx(known)
    liars = [
        create_trial(
            state=TrialState.PRUNED,
            params={"ops": ops},
            distributions={"ops": SPACE["ops"]},
            intermediate_values={1: ops / 4},
            value=ops / 4,
        )
        for ops in (1, 2, 3, 4) * 5
    ]
    assert importance.importances([*trials, *liars]) == importance.importances(trials)


def test_importance_finds_what_high_scores_depend_on():
    """Not what low ones do: x decides within the best half, y only among the worst."""
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    chance, made = random.Random(1), []
    for _ in range(200):
        params = {"x": chance.random(), "y": chance.random()}
        value = params["x"] if params["x"] > 0.5 else 0.1 * params["y"]
        made.append(create_trial(value=value, params=params, distributions=space))
    found = importance.importances(made)
    assert found["x"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize(("trials", "best"), [(4, 2), (7, 3), (13, 5), (40, 5), (100, 10), (101, 11)])
def test_the_best_trials_of_the_importance_are_a_tenth_at_least_five_at_most_half(trials, best):
    assert importance.top(trials) == best


def test_equal_scores_constant_parameters_and_few_trials_have_no_importance(trials):
    done = full(trials)
    assert importance.importances(done[: importance.FEWEST]) != {}
    assert importance.importances(done[: importance.FEWEST - 1]) == {}
    params, space = {"ops": 2}, {"ops": SPACE["ops"]}
    assert (
        importance.importances([create_trial(value=0.5, params=one.params, distributions=one.distributions) for one in done]) == {}
    )
    assert importance.importances([create_trial(value=0.1 * i, params=params, distributions=space) for i in range(8)]) == {}


def test_slices_are_the_scores_over_each_parameter_on_one_scale(trials):
    made: Any = dict(zip(sorted(SPACE), figures.slices(trials, "mIoU"), strict=True))
    for name, one in made.items():
        having = [trial for trial in full(trials) if name in trial.params]
        wanted = sorted((str(trial.params[name]), 100 * score_of(trial.params)) for trial in having)
        (trace,) = one.data
        shown = sorted((str(x).strip("'"), y) for x, y in zip(trace.x, trace.y, strict=True))
        assert [x for x, _ in shown] == [x for x, _ in wanted], name
        assert [y for _, y in shown] == pytest.approx([y for _, y in wanted]), name
        assert one.layout.yaxis.range == made["lambda1"].layout.yaxis.range
    assert made["target"].layout.xaxis.ticktext == ("hard", "soft")
    assert [name for name, one in made.items() if one.layout.xaxis.type == "log"] == ["lambda1", "weight_decay"]


def test_the_contour_is_of_the_two_most_important_that_occur_together(trials, tmp_path):
    first, second = list(importance.importances(trials))[:2]
    assert figures.pair(trials, tmp_path) == (first, second)
    made: Any = figures.contour(trials, (first, second), "mIoU")
    assert {made.layout.xaxis.title.text, made.layout.yaxis.title.text} == {first, second}
    dots = [trace for trace in made.data if trace.type == "scatter" and trace.x]
    assert sum(len(trace.x) for trace in dots) == sum({first, second} <= one.params.keys() for one in full(trials))
    apart = [
        create_trial(value=i / 10, params={name: i / 10}, distributions={name: FloatDistribution(0, 1)})
        for i in range(10)
        for name in ("a", "b")
    ]
    assert len(importance.importances(apart)) == 2
    assert figures.pair(apart, tmp_path) is None


def test_curves_are_the_scores_over_weights_and_over_one_minus_the_decay(trials):
    done = full(trials)
    (weight,), (decay,) = curves.lambda_curves(trials), curves.ema_curves(trials)
    assert (weight.param, decay.axis) == ("lambda1", "1 − ema_decay")
    made: Any = curves.parameter_figure(decay, "mIoU")
    points, default = named(made, "full budget"), named(made, "default")
    assert points.x == pytest.approx([1 - one.params["ema_decay"] for one in done])
    assert points.y == pytest.approx([100 * score_of(one.params) for one in done])
    assert (made.layout.xaxis.type, default.x[0]) == ("log", pytest.approx(0.01))
    assert len(named(made, "each seed").x) == 2 * len(done)


@pytest.mark.parametrize(
    ("name", "weights", "decays"),
    [
        ("lambda2", 1, 0),
        ("weight", 1, 0),
        ("weight_decay", 0, 0),
        ("masks_weights", 0, 0),
        ("temperature", 0, 0),
        ("ema.start", 0, 0),
        ("ema.decay", 0, 1),
        ("ema_start", 0, 0),
        ("one_minus_ema_decay", 0, 1),
    ],
)
def test_which_parameters_are_weights_and_decays(name, weights, decays):
    made = [create_trial(value=0.5, params={name: 0.25}, distributions={name: FloatDistribution(0, 1)})]
    assert (len(curves.lambda_curves(made)), len(curves.ema_curves(made))) == (weights, decays)
    if decays:
        (curve,) = curves.ema_curves(made)
        spelled = name.removeprefix("one_minus_")
        assert (curve.axis, curve.place(made[0])) == (f"1 − {spelled}", 0.25 if name != spelled else 0.75)


def test_a_weight_of_zero_has_a_linear_axis():
    made = [create_trial(value=0.5, params={"lambda1": x}, distributions={"lambda1": FloatDistribution(0, 1)}) for x in (0.0, 1.0)]
    (curve,) = curves.lambda_curves(made)
    drawn: Any = curves.parameter_figure(curve, "mIoU")
    assert drawn.layout.xaxis.type == "linear"


def test_the_pareto_front_is_of_trials_that_none_beats_in_both(tmp_path):
    trials = read_search(make_search(tmp_path, objectives=["miou", "seconds"])).trials
    at = [(100 * one.values[0], one.values[1], f"trial {one.number}") for one in trials if one.values]
    slow = [one for one in at if not any(x >= one[0] and y <= one[1] and (x, y) != one[:2] for x, y, _ in at)]
    front, others = (named(pareto(trials, "mIoU", ("score", "seconds")), name) for name in ("Pareto front", "others"))
    assert sorted(zip(front.x, front.y, front.text, strict=True)) == sorted(slow)
    assert len(front.x) + len(others.x) == len(at)
