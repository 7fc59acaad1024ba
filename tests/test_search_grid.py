"""What a search space holds: all configurations of a grid, and the stages that all trials share."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import optuna
import pytest
from optuna.trial import BaseTrial
from search_tools import built, chain, named

import sweep_lambda
from semiseg.config import SettingError
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, ThreeStage, name_of
from semiseg.search.space import Space, grid_points, shared_stages
from semiseg.search.spaces import SPACES
from semiseg.stage import Stage
from semiseg.sweep.rows import resolve_row


def test_a_grid_over_lambda_gives_the_stages_of_the_lambda_sweep() -> None:
    table = sweep_lambda.TABLE
    base = table.presets["demo"].method
    words = "lambda1 0.125 0.25 0.5 1; tie lambda1 lambda2"
    space = named(words, base)
    points = grid_points(space, base)
    assert points == [{"lambda1": value} for value in sweep_lambda.VALUES]
    methods = table.presets["demo"].methods()
    rows = [resolve_row("t", row, table.rows[row], methods).method for row in sweep_lambda.VALUES.values()]
    keys = [[stage.key for stage in chain(built(space, base, **point))] for point in points]
    assert keys == [[stage.key for stage in chain(row)] for row in rows]
    assert len({key for row in keys for key in row}) == 1 + 4 * 2
    assert shared_stages(space, base, chain, 0) == 1


def tree(trial: BaseTrial, base: Method) -> Method:
    """Conditional parameters, a name asked for twice, whole numbers, and draws that the method refuses (mse with hard targets)."""
    changes: dict[str, Any] = {"target": trial.suggest_categorical("target", ("soft", "hard"))}
    if changes["target"] == "soft":
        changes["stages_total"] = trial.suggest_int("stages_total", 3, 7, step=2)
        if changes["stages_total"] == 5:
            changes["CR"] = trial.suggest_categorical("CR", (True, False))
    changes["distance"] = trial.suggest_categorical("distance", ("ce", "mse"))
    changes["lambda1"] = trial.suggest_categorical("lambda", (0.5, 1.0))
    return replace(base, **changes, lambda2=trial.suggest_categorical("lambda", (0.5, 1.0)))  # type: ignore[type-var]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_grid_holds_every_branch_once_and_nothing_that_the_method_refuses() -> None:
    space = Space("tree", tree, lambda base: {})
    found = grid_points(space, ThreeStage())
    ends = [{"distance": distance, "lambda": weight} for distance, weight in product(("ce", "mse"), (0.5, 1.0))]
    soft = [{"stages_total": 3}, {"stages_total": 5, "CR": True}, {"stages_total": 5, "CR": False}, {"stages_total": 7}]
    expected = [{"target": "soft"} | one | end for one in soft for end in ends]
    expected += [{"target": "hard"} | end for end in ends if end["distance"] == "ce"]
    assert found == expected
    study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        tree(trial, ThreeStage())
        return 0.0

    study.optimize(objective, catch=(SettingError,))
    complete = [trial.params for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))]
    assert sorted(map(str, map(sorted, map(dict.items, found)))) == sorted(map(str, map(sorted, map(dict.items, complete))))


def test_a_grid_of_named_fields_is_their_product() -> None:
    base = ThreeStage()
    space = named("perturbation.ops 1 3; N2 true false; target hard soft; distance ce mse", base)
    rows = product((1, 2, 3), (True, False), ("hard", "soft"), ("ce", "mse"))
    expected = [
        dict(zip(("perturbation.ops", "N2", "target", "distance"), row, strict=True)) for row in rows if row[2:] != ("hard", "mse")
    ]
    assert grid_points(space, base) == expected


def test_a_grid_has_no_range_of_floats_and_at_least_one_configuration() -> None:
    with pytest.raises(SettingError, match=r"^grid: got 'a range of lambda1'; allowed: choices or whole numbers$"):
        grid_points(named("lambda1 0 1; target hard soft", ThreeStage()), ThreeStage())
    with pytest.raises(SettingError, match=r"^grid: got 'a range of lambda1 .*'; allowed: choices or whole numbers$"):
        grid_points(SPACES["three_stage"], ThreeStage())
    hard = Space("hard", lambda trial, base: replace(base, distance=trial.suggest_categorical("d", ("mse",))), dict)  # type: ignore[type-var, arg-type]
    with pytest.raises(SettingError, match="^method.distance: got 'mse'"):
        grid_points(hard, ThreeStage())


@pytest.mark.parametrize(
    ("base", "words", "shared"),
    [
        (ThreeStage(), "N2 true false", 2),
        (ThreeStage(), "T2 true false", 1),
        (ThreeStage(), "masks-role teacher student", 2),
        (ThreeStage(), "stages-total 3 6", 3),
        (ThreeStage(), "S1 true false; N2 true false", 2),  # without S1 no chain, as T2 learns its masks
        (ThreeStage(), "target hard soft; distance ce mse", 1),
        (ThreeStage(CR=False), "lambda1 0 1", 3),
        (DMT(), "gamma1 1 5", 2),
        (DMT(), "alpha 0.5 1", 0),
        (PseudoLabel(), "weight 1 5", 1),
        (MeanTeacher(), "weight 1 5", 0),
        (ThreeStage(), None, 1),
        (DMT(), None, 0),
        (OneWay(), None, 0),
    ],
)
def test_shared_stages_are_those_before_the_first_that_differs(base: Method, words: str | None, shared: int) -> None:
    space = SPACES[name_of(base)] if words is None else named(words, base)
    assert [shared_stages(space, base, chain, seed) for seed in (0, 1)] == [shared] * 2


def counted(seen: list[Method]) -> Callable[[Method], tuple[Stage, ...]]:
    def chain_of(method: Method) -> tuple[Stage, ...]:
        seen.append(method)
        return chain(method)

    return chain_of


def test_shared_stages_draws_alike_with_one_seed_and_leaves_optuna_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    space, runs = SPACES["three_stage"], []
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        for seed in (5, 5, 6):
            runs.append(list[Method]())
            shared_stages(space, ThreeStage(), counted(runs[-1]), seed)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert capfd.readouterr().err == ""
    assert [len(run) for run in runs] == [4 + 32] * 3
    assert runs[0] == runs[1]
    assert runs[0][:4] == runs[2][:4]
    assert not set(runs[0][4:]) & set(runs[2][4:])


def test_shared_stages_says_why_nothing_makes_a_chain() -> None:
    base = ThreeStage(S2=False)
    with pytest.raises(SettingError, match="^switches: got .*; allowed: S3 only together with S2$"):
        shared_stages(named("lambda1 0 1", base), base, chain, 0)
