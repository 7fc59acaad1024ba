"""Search spaces named on a command line: what the words mean, and which are refused."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from search_tools import built, distributions, drawn, named

from semiseg.augment import Gentle
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.search.space import first_points, split_words


@pytest.mark.parametrize(
    ("line", "words", "rest"),
    [
        ("--seeds 0 1 --quick", {}, "--seeds 0 1 --quick"),
        ("--space.lambda1 0.05 2.0", {"lambda1": ["0.05", "2.0"]}, ""),
        ("--space.ema.decay 0.9 0.9999 --quick", {"ema.decay": ["0.9", "0.9999"]}, "--quick"),
        ("--trials 3 --space.perturbation.cutout-size 0 1 --out x", {"perturbation.cutout_size": ["0", "1"]}, "--trials 3 --out x"),
        ("--space.perturbation.noise -1 -.5 -h", {"perturbation.noise": ["-1", "-.5"]}, "-h"),
        ("--space.log=lambda-1 ema.decay", {"log": ["lambda_1", "ema.decay"]}, ""),
        (
            "--space.target=hard soft --space.tie a-b c --space.choices lambda-1",
            {"target": ["hard", "soft"], "tie": ["a_b", "c"], "choices": ["lambda_1"]},
            "",
        ),
        ("--space.distance mse-sum --space.weight", {"distance": ["mse-sum"], "weight": []}, ""),
    ],
)
def test_words_of_a_space_are_taken_out_of_a_command_line(line: str, words: dict[str, list[str]], rest: str) -> None:
    assert split_words(line.split()) == (words, rest.split())


def test_a_field_is_named_once() -> None:
    with pytest.raises(SettingError, match=r"^space.mask_out_of_frame: got it twice; allowed: once, with all its words$"):
        split_words(["--space.mask-out-of-frame", "true", "--space.mask_out_of_frame=false"])


@pytest.mark.parametrize(
    ("base", "line", "name", "distribution"),
    [
        (ThreeStage(), "lambda1 0 2", "lambda1", FloatDistribution(0.0, 2.0)),
        (ThreeStage(), "lambda1 0.05 2; log lambda1", "lambda1", FloatDistribution(0.05, 2.0, log=True)),
        (ThreeStage(), "lambda1 0.25 0.5; choices lambda1", "lambda1", CategoricalDistribution((0.25, 0.5))),
        (ThreeStage(), "lambda1 0.25 0.5 1", "lambda1", CategoricalDistribution((0.25, 0.5, 1.0))),
        (ThreeStage(), "lambda1 0.25", "lambda1", CategoricalDistribution((0.25,))),
        (ThreeStage(), "stages-total 3 5", "stages_total", IntDistribution(3, 5)),
        (ThreeStage(), "perturbation.ops 1 4; log perturbation.ops", "perturbation.ops", IntDistribution(1, 4, log=True)),
        (ThreeStage(), "target hard soft", "target", CategoricalDistribution(("hard", "soft"))),
        (ThreeStage(), "CR true false", "CR", CategoricalDistribution((True, False))),
        (ThreeStage(), "ema.decay 0.9 0.99", "ema.decay", FloatDistribution(0.9, 0.99)),
        (MeanTeacher(), "perturbation.noise 0 0.1", "perturbation.noise", FloatDistribution(0.0, 0.1)),
        (OneWay(), "perturbation.tps-sd 0 0.2", "perturbation.tps_sd", FloatDistribution(0.0, 0.2)),
        (OneWay(), "threshold 0.5 0.9", "threshold", FloatDistribution(0.5, 0.9)),
        (
            OneWay(),
            "perturbation.tps-grid as_coded corners",
            "perturbation.tps_grid",
            CategoricalDistribution(("as_coded", "corners")),
        ),
        (OneWay(), "distance kl mse_sum", "distance", CategoricalDistribution(("kl", "mse_sum"))),
        (MeanTeacher(), "ema.every step epoch", "ema.every", CategoricalDistribution(("step", "epoch"))),
        (PseudoLabel(), "weight 0.5 5", "weight", FloatDistribution(0.5, 5.0)),
        (Supervised(), "objective ce dice", "objective", CategoricalDistribution(("ce", "dice"))),
    ],
)
def test_two_numbers_are_a_range_and_anything_else_are_choices(base: Method, line: str, name: str, distribution: Any) -> None:
    space = named(line, base)
    found = distributions(space, base)
    assert found == {name: distribution}
    if isinstance(distribution, FloatDistribution):
        assert isinstance(found[name].low, float)
    again = pickle.loads(pickle.dumps(space))
    assert all(built(again, base, **params) == method for method, params in drawn(space, base, 10))


def test_a_named_parameter_sets_its_fields_and_no_other() -> None:
    base = MeanTeacher(ema=Ema(decay=(0.9, 0.99), start=(0.0, 0.5)), perturbation=Gentle(hue=0.2))
    space = named("ema.decay 0.5 0.9; perturbation.noise 0 1; weight 1 2; draw joint mixed", base)
    method = built(space, base, **{"ema.decay": 0.6, "perturbation.noise": 0.3, "weight": 1.25, "draw": "mixed"})
    ema, gentle = Ema(decay=(0.6, 0.6), start=(0.0, 0.5)), Gentle(hue=0.2, noise=0.3)
    assert method == replace(base, ema=ema, perturbation=gentle, weight=1.25, draw="mixed")
    tied = named("lambda2 0.1 1; tie lambda1 lambda2", ThreeStage())
    assert built(tied, ThreeStage(), lambda2=0.7) == ThreeStage(lambda1=0.7, lambda2=0.7)
    assert tied.point(ThreeStage()) == {"lambda2": 0.5}


def test_values_that_go_together_need_not_go_with_the_base_alone() -> None:
    base = ThreeStage()
    space = named("target hard soft; distance ce mse", base)
    assert built(space, base, target="soft", distance="mse") == ThreeStage(target="soft", distance="mse")
    with pytest.raises(SettingError, match="method.distance"):
        built(space, base, target="hard", distance="mse")
    assert first_points(space, base) == [{"target": "hard", "distance": "ce"}]


NUMBERS = "two numbers, low < high"


@pytest.mark.parametrize(
    ("base", "line", "error"),
    [
        (
            ThreeStage(),
            "lamda1 0 1",
            "space.lamda1: no number or choice of three_stage; there are S1, S2, .*lambda1, .*perturbation.ops",
        ),
        (ThreeStage(), "perturbation 0 1", "space.perturbation: got '0'; allowed: gentle, randaugment, phtps, cutmix, cutout"),
        (ThreeStage(), "perturbation.levels 1 2", "space.perturbation.levels: no number or choice of three_stage; there are S1"),
        (MeanTeacher(), "ramp 0 1", "space.ramp: no number or choice of mean_teacher; there are objective, .*ema.decay"),
        (DMT(), "", "space: got no field; allowed: --space.FIELD LOW HIGH with FIELD one of alpha, alpha_a, alpha_b"),
        (DMT(), "log alpha", "space: got no field; allowed: --space.FIELD LOW HIGH with FIELD one of alpha"),
        (ThreeStage(), "lambda1 a b", "space.lambda1: got 'a'; allowed: float$"),
        (ThreeStage(), "lambda1 0 inf", "space.lambda1: got 'inf'; allowed: float$"),
        (ThreeStage(), "lambda1 nan 1", "space.lambda1: got 'nan'; allowed: float$"),
        (ThreeStage(), "ema.decay 0.9 x", "space.ema.decay: got 'x'; allowed: float$"),
        (ThreeStage(), "stages-total 3 4.5", "space.stages_total: got '4.5'; allowed: int$"),
        (ThreeStage(), "CR yes", "space.CR: got 'yes'; allowed: bool$"),
        (ThreeStage(), "target hard sof", "space.target: got 'sof'; allowed: hard, soft$"),
        (OneWay(), "threshold none", "space.threshold: got 'none'; allowed: float$"),
        (ThreeStage(), "lambda1", f"space.lambda1: got ''; allowed: {NUMBERS}, or different choices$"),
        (ThreeStage(), "lambda1 1 0.5", f"space.lambda1: got '1.0 0.5'; allowed: {NUMBERS}$"),
        (ThreeStage(), "lambda1 1 1", f"space.lambda1: got '1.0 1.0'; allowed: {NUMBERS}$"),
        (ThreeStage(), "target soft soft", f"space.target: got 'soft soft'; allowed: {NUMBERS}, or different choices$"),
        (ThreeStage(), "lambda1 0 1; log lambda1", "space.log: got 'lambda1 0.0 1.0'; allowed: a range of numbers above 0$"),
        (ThreeStage(), "target hard soft; log target", "space.log: got 'target hard soft'; allowed: a range of numbers above 0$"),
        (ThreeStage(), "lambda1 1 2; log lambda2", "space.log: got 'lambda2'; allowed: lambda1$"),
        (ThreeStage(), "lambda1 1 2; log", "space.log: got ''; allowed: lambda1$"),
        (ThreeStage(), "lambda1 1 2; choices lamda1", "space.choices: got 'lamda1'; allowed: lambda1$"),
        (ThreeStage(), "lambda1 -1 2", "space.lambda1: method.lambda1: got -1.0; allowed: a number >= 0$"),
        (ThreeStage(), "stages-total 2 3 5", "space.stages_total: method.stages_total: got 2; allowed: a whole number >= 3$"),
        (ThreeStage(), "ema.decay 0.9 1.5", r"space.ema.decay: ema.decay: got \(1.5, .*; allowed: decays in \[0, 1\]$"),
        (ThreeStage(), "ema.start 0 0.5", "space.ema.start: ema.start: "),
        (
            ThreeStage(),
            "perturbation.probability 0 2",
            "space.perturbation.probability: randaugment.probability: got 2.0; allowed: a probability",
        ),
        (ThreeStage(), "distance ce mse", "space.distance: method.distance: got 'mse'; allowed: ce, as method.target is hard$"),
        (
            ThreeStage(),
            "distance ce mse; lambda1 1 2; CR true false",
            "space.distance: method.distance: got 'mse'; allowed: ce, as method.target is hard$",
        ),
        (ThreeStage(), "lambda1 1 2; tie lambda1 lamda2", "space.lamda2: no number or choice"),
    ],
)
def test_words_that_make_no_space_are_refused_in_one_line(base: Method, line: str, error: str) -> None:
    with pytest.raises(SettingError, match=f"^{error}") as caught:
        named(line, base)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "lambda1 1 2; tie lambda1",
        "lambda1 1 2; tie",
        "lambda1 1 2; tie lambda1 lambda1",
        "lambda1 1 2; lambda2 1 2; tie lambda1 lambda2",
        "target hard soft; tie lambda1 lambda2",
        "lambda1 3 4; tie lambda1 stages-total",
    ],
)
def test_only_fields_of_one_kind_are_tied_and_one_of_them_has_values(words: str) -> None:
    with pytest.raises(
        SettingError, match=r"^space.tie: got '.*'; allowed: different fields of one kind, exactly one of them with values$"
    ):
        named(words, ThreeStage())
