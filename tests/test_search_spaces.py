"""The search spaces of the methods: what varies, that every base comes back exactly, and which points come first."""

import math
import pickle
from dataclasses import replace
from typing import Any

import optuna
import pytest
import torch
from declared import SEARCHES, TABLES
from optuna.distributions import FloatDistribution
from optuna.trial import FixedTrial
from search_tools import DEFAULTS, built, distributions, drawn, named

from semiseg.augment import CutMix, PhTPS, RandAugment, View
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, ThreeStage, name_of
from semiseg.search.space import Space, first_points
from semiseg.search.spaces import SPACES, decays, strengthened

BASES = [
    pytest.param(method, id=f"{declared.name}-{preset}-{'quick-' * quick}{name}")
    for declared in (*TABLES.values(), *SEARCHES.values())
    for preset, made in declared.presets.items()
    for quick in (False, True)
    for name, method in (declared.quick.apply(made) if quick else made).methods().items()
    if name in SPACES
]


@pytest.mark.parametrize("base", [*BASES, *DEFAULTS], ids=lambda base: name_of(base))
def test_the_base_is_a_point_of_its_space_and_comes_back_exactly(base: Method) -> None:
    space = SPACES[name_of(base)]
    point = space.point(base)
    assert point
    trial = FixedTrial(point)
    assert space.suggest(trial, base) == base
    assert trial.params == point  # nothing that is not asked for
    assert first_points(space, base)[0] == point


@pytest.mark.parametrize("base", DEFAULTS, ids=name_of)
def test_a_worker_rebuilds_every_draw_from_its_values(base: Method) -> None:
    space = SPACES[name_of(base)]
    assert space.name == name_of(base)
    found = drawn(pickle.loads(pickle.dumps(space)), base, 100)
    assert all(built(space, base, **params) == method for method, params in found)
    assert len({method for method, _ in found}) == 100


def test_three_stage_ties_or_frees_lambda2_and_takes_mse_only_of_soft_targets() -> None:
    found = drawn(SPACES["three_stage"], ThreeStage(), 200)
    for method, params in found:
        assert isinstance(method, ThreeStage)
        assert ("lambda2" in params) == (not params["tied"]) == (method.lambda1 != method.lambda2)
        assert ("distance" in params) == (method.target == "soft")
        assert method.perturbation == RandAugment(ops=params["ops"], levels=(1, params["level"]))
        first, *rest = method.ema.decay
        assert 1 - first == pytest.approx(params["one_minus_ema_decay"])
        assert [(1 - decay) / (1 - first) for decay in rest] == pytest.approx([0.5, 0.25, 0.1])
        assert replace(method, lambda1=0.5, lambda2=0.5, ema=ThreeStage().ema, perturbation=RandAugment()) in [
            ThreeStage(),
            ThreeStage(target="soft"),
            ThreeStage(target="soft", distance="mse"),
        ]
    assert {params["tied"] for _, params in found} == {True, False}
    assert {params["ops"] for _, params in found} == {1, 2, 3, 4}
    assert {params["level"] for _, params in found} == set(range(1, 11))


def test_the_lowest_level_is_never_above_the_highest() -> None:
    base = ThreeStage(perturbation=RandAugment(levels=(5, 9)))
    point = SPACES["three_stage"].point(base)
    levels = [built(SPACES["three_stage"], base, **point | {"level": level}).perturbation.levels for level in (2, 5, 10)]  # type: ignore[attr-defined]
    assert levels == [(2, 2), (5, 5), (5, 10)]


def test_mean_teacher_varies_the_loss_its_ramp_and_the_teacher() -> None:
    base = MeanTeacher(ramp=(0.1, 0.4), ema=Ema(decay=(0.9, 0.99), start=(0.0, 0.5)))
    for method, params in drawn(SPACES["mean_teacher"], base, 100):
        assert isinstance(method, MeanTeacher)
        assert method.ramp[0] == 0.1 <= method.ramp[1] == params["ramp_end"] <= 1
        assert method.ema.every == params["ema_every"]
        assert method.distance == params[f"{method.target}_distance"]
        assert (1 - method.ema.decay[0], 1 - method.ema.decay[1]) == pytest.approx(
            (params["one_minus_ema_decay"], params["one_minus_ema_decay"] / 10)
        )
        assert set(params) == {"weight", "ramp_end", "target", f"{method.target}_distance", "ema_every", "one_minus_ema_decay"}
    limits = distributions(SPACES["mean_teacher"], base)
    assert limits["weight"].log
    assert limits["one_minus_ema_decay"].log
    epochs = replace(base, ramp=(8.0, 33.0), ramp_unit="epoch")
    assert distributions(SPACES["mean_teacher"], epochs)["ramp_end_epochs"] == FloatDistribution(8.0, 66.0)


def test_one_way_scales_phtps_only_where_it_is_used() -> None:
    space = SPACES["one_way"]
    base = OneWay(perturbation=(strong := PhTPS(tps_sd=0.2)))
    method = built(space, base, weight=2.0, photometric=0.5, geometric=1.5)
    assert method == OneWay(weight=2.0, perturbation=strengthened(strong, 0.5, 1.5))
    assert set(distributions(space, OneWay(perturbation=CutMix()))) == {"weight"}


def test_the_strength_of_phtps_goes_from_nothing_over_the_base_to_more() -> None:
    base = PhTPS(permute=False)
    assert strengthened(base, 1.0, 1.0) == base
    image = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    view = View(image, torch.ones(2, 8, 8, dtype=torch.bool))

    def changed(colours: float, warp: float) -> float:
        seen = strengthened(base, colours, warp)(view, torch.Generator().manual_seed(1)).image
        return (seen - image).abs().mean().item()

    assert changed(0.0, 0.0) == pytest.approx(0, abs=1e-5)
    assert 0.01 < changed(0.25, 0.0) < changed(1.0, 0.0)
    assert 0.01 < changed(0.0, 0.25) < changed(0.0, 1.0)
    half = strengthened(base, 0.5, 0.5)
    assert half.saturation == pytest.approx((0.5, math.sqrt(2)))
    assert (half.value_shift, half.hue, half.tps_sd) == pytest.approx((0.125, 0.05, 0.05))
    assert strengthened(replace(base, hue=0.4), 1.5, 1.0).hue == 0.5


def test_decays_keep_their_ratio_and_one_that_never_moves_is_refused() -> None:
    trial = FixedTrial({"one_minus_ema_decay": 0.1})
    assert decays(trial, (0.99, 0.999)) == pytest.approx((0.9, 0.99))
    assert decays(trial, (0.98,)) == (0.9,)
    with pytest.raises(SettingError, match=r"^method.ema.decay: got \(1.0,\); allowed: a decay below 1$"):
        decays(trial, (1.0,))


# ---- first points


def test_first_points_are_the_base_and_then_the_published_values() -> None:
    def methods(base: Method) -> list[Any]:
        space = SPACES[name_of(base)]
        return [built(space, base, **point) for point in first_points(space, base)]

    short = ThreeStage(ema=Ema(decay=(0.98,), warmup=True), lambda1=0.3, lambda2=0.9, target="soft", distance="mse")
    tied = [replace(short, lambda1=value, lambda2=value) for value in (0.5, 0.25, 1.25, 0.625)]
    assert methods(short) == [short, *tied]
    assert [method.lambda1 for method in methods(ThreeStage())] == [0.5, 0.25, 1.25, 0.625]  # once, though also published
    coded = MeanTeacher(distance="mse", target="soft", ema=Ema(decay=(0.9,)))
    perone = replace(coded, distance="bce", weight=2.9, ramp=(0.08, 100 / 350), ema=Ema())
    assert methods(MeanTeacher()) == [MeanTeacher(), perone, coded]
    assert methods(OneWay(weight=2.0)) == [OneWay(weight=value) for value in (2.0, 0.5, 1.0)]
    figure = [DMT(phase_epochs=epochs) for epochs in (5.0, 20.0, 30.0)]
    assert methods(DMT()) == [DMT(), DMT(gamma1=5.0, gamma2=5.0, alpha=0.8), *figure]
    quick = DMT(phase_epochs=0.1)  # phases of 5 epochs are no longer in the space
    assert methods(quick) == [quick, replace(quick, gamma1=5.0, gamma2=5.0, alpha=0.8)]


@pytest.mark.parametrize("base", DEFAULTS, ids=name_of)
def test_optuna_tries_the_first_points_as_they_are(base: Method) -> None:
    space = SPACES[name_of(base)]
    study = optuna.create_study()
    for point in (points := first_points(space, base)):
        study.enqueue_trial(point)
    trials = [study.ask() for _ in points]
    assert [space.suggest(trial, base) for trial in trials] == [built(space, base, **point) for point in points]
    assert [trial.params for trial in trials] == points


@pytest.mark.parametrize(
    ("space", "base"),
    [
        (SPACES["three_stage"], ThreeStage(lambda1=0.0)),
        (SPACES["three_stage"], ThreeStage(perturbation=RandAugment(ops=7))),
        (SPACES["mean_teacher"], MeanTeacher(ema=Ema(decay=(0.0,)))),
        (SPACES["dmt"], DMT(gamma1=9.0)),
        (named("lambda1 1 2", ThreeStage()), ThreeStage()),
        (named("lambda1 0.25 1 2", ThreeStage()), ThreeStage()),
        (named("ema.decay 0.9 0.9999", ThreeStage()), ThreeStage()),
        (named("lambda1 0.1 1; tie lambda1 lambda2", ThreeStage()), ThreeStage(lambda2=1.0)),
        (named("threshold 0.5 0.9", OneWay()), OneWay()),
    ],
)
def test_a_base_outside_the_space_has_no_point(space: Space, base: Method) -> None:
    assert space.point(base) == {}
    assert first_points(space, base) == []
