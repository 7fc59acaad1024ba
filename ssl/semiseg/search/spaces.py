"""The search spaces that come with the methods. Ranges hold the papers' values, which are the first points of a search."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from optuna.trial import BaseTrial

from semiseg.augment import PhTPS, RandAugment
from semiseg.config import require
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, ThreeStage
from semiseg.search.space import Params, Space

DISTANCES_OF: Mapping[str, tuple[str, ...]] = {
    "hard": ("ce", "dice"),
    "soft": get_args(get_type_hints(MeanTeacher)["distance"]),
}
"""Of the mean teacher, by target."""


def three_stage(trial: BaseTrial, base: Method) -> Method:
    """ke2020: both weights, tied or free, the teacher's decay, strong augmentation, and target and distance of the consistency
    term.

    The strength of RandAugment is its two numbers: operations drawn, and their highest level. A distance is drawn for soft targets
    only.
    """
    assert isinstance(base, ThreeStage)
    perturbation = base.perturbation
    assert isinstance(perturbation, RandAugment)
    changes: dict[str, Any] = {"lambda1": trial.suggest_float("lambda1", 0.05, 2.0, log=True)}
    tied = trial.suggest_categorical("tied", (True, False))
    changes["lambda2"] = changes["lambda1"] if tied else trial.suggest_float("lambda2", 0.05, 2.0, log=True)
    changes["ema"] = replace(base.ema, decay=decays(trial, base.ema.decay))
    ops, level = trial.suggest_int("ops", 1, 4), trial.suggest_int("level", 1, 10)
    changes["perturbation"] = replace(perturbation, ops=ops, levels=(min(perturbation.levels[0], level), level))
    changes["target"] = trial.suggest_categorical("target", ("hard", "soft"))
    changes["distance"] = trial.suggest_categorical("distance", ("ce", "mse")) if changes["target"] == "soft" else "ce"
    return replace(base, **changes)


def three_stage_values(base: Method) -> Params:
    assert isinstance(base, ThreeStage)
    assert isinstance(base.perturbation, RandAugment)
    return {
        "lambda1": base.lambda1,
        "tied": base.lambda1 == base.lambda2,
        "lambda2": base.lambda2,
        "one_minus_ema_decay": furthest(base.ema.decay),
        "ops": base.perturbation.ops,
        "level": base.perturbation.levels[1],
        "target": base.target,
        "distance": base.distance,
    }


def mean_teacher(trial: BaseTrial, base: Method) -> Method:
    """pets_mean_teacher and perone2018: weight, target, distance and ramp-up of the consistency term, and when and how far the
    teacher moves.

    The ramp starts where the base's does, and ends within the stage or, if counted in epochs or steps, at up to twice the base's
    end.
    """
    assert isinstance(base, MeanTeacher)
    changes: dict[str, Any] = {"weight": trial.suggest_float("weight", 0.1, 100.0, log=True)}
    low, high = base.ramp
    changes["ramp"] = (low, trial.suggest_float(ramp_end(base), low, 1.0 if base.ramp_unit == "share" else 2 * high))
    changes["target"] = target = trial.suggest_categorical("target", tuple(DISTANCES_OF))
    changes["distance"] = trial.suggest_categorical(f"{target}_distance", DISTANCES_OF[target])
    every = trial.suggest_categorical("ema_every", ("epoch", "step"))
    changes["ema"] = replace(base.ema, every=every, decay=decays(trial, base.ema.decay))
    return replace(base, **changes)


def mean_teacher_values(base: Method) -> Params:
    assert isinstance(base, MeanTeacher)
    return {
        "weight": base.weight,
        ramp_end(base): base.ramp[1],
        "target": base.target,
        f"{base.target}_distance": base.distance,
        "ema_every": base.ema.every,
        "one_minus_ema_decay": furthest(base.ema.decay),
    }


def one_way(trial: BaseTrial, base: Method) -> Method:
    """grubisic2021: weight and, with PhTPS, two factors of its strength, of colours and of the warp; 1 is the base's."""
    assert isinstance(base, OneWay)
    changes: dict[str, Any] = {"weight": trial.suggest_float("weight", 0.05, 5.0, log=True)}
    if isinstance(base.perturbation, PhTPS):
        colours, warp = trial.suggest_float("photometric", 0.0, 1.5), trial.suggest_float("geometric", 0.0, 2.0)
        changes["perturbation"] = strengthened(base.perturbation, colours, warp)
    return replace(base, **changes)


def one_way_values(base: Method) -> Params:
    assert isinstance(base, OneWay)
    return {"weight": base.weight, "photometric": 1.0, "geometric": 1.0}


def dmt(trial: BaseTrial, base: Method) -> Method:
    """feng2020_dmt: both exponents, the share of the labels in each pretraining subset, and the length of a phase.

    That is what a trial costs, so it goes from a quarter to three times the base's; figure 1 left goes from 5 to 30 epochs about
    10.
    """
    assert isinstance(base, DMT)
    return replace(
        base,
        gamma1=trial.suggest_float("gamma1", 0.0, 8.0),
        gamma2=trial.suggest_float("gamma2", 0.0, 8.0),
        alpha=trial.suggest_float("alpha", 0.5, 1.0),
        phase_epochs=trial.suggest_float("phase_epochs", base.phase_epochs / 4, base.phase_epochs * 3, log=True),
    )


def dmt_values(base: Method) -> Params:
    return {name: getattr(base, name) for name in ("gamma1", "gamma2", "alpha", "phase_epochs")}


def decays(trial: BaseTrial, base: tuple[float, ...]) -> tuple[float, ...]:
    """EMA decays 1 - x with x log-uniform; of several, x is that of the smallest, and the others' keep their ratio to it."""
    require(furthest(base) > 0, "method.ema.decay", base, "a decay below 1")
    factor = trial.suggest_float("one_minus_ema_decay", 1e-3, 0.5, log=True) / furthest(base)
    return tuple(1 - (1 - decay) * factor for decay in base)


def furthest(base: tuple[float, ...]) -> float:
    """The largest 1 - decay."""
    return 1 - min(base)


def ramp_end(base: MeanTeacher) -> str:
    """Name of the parameter, which says a unit other than the share of a stage: published values have no meaning in it."""
    return "ramp_end" if base.ramp_unit == "share" else f"ramp_end_{base.ramp_unit}s"


def strengthened(base: PhTPS, colours: float, warp: float) -> PhTPS:
    """Every range that many times as wide, factors on their log scale: 0 is the identity, 1 the base; channels are permuted as
    before.

    A turn of the hue stays within half the circle, beyond which it starts again.
    """

    def power(limits: tuple[float, float]) -> tuple[float, float]:
        low, high = (math.pow(limit, colours) for limit in limits)
        return low, high

    return replace(
        base,
        value_shift=base.value_shift * colours,
        saturation=power(base.saturation),
        hue=min(base.hue * colours, 0.5),
        value_scale=power(base.value_scale),
        tps_sd=base.tps_sd * warp,
    )


SPACES: Mapping[str, Space] = {
    "three_stage": Space(
        "three_stage",
        three_stage,
        three_stage_values,
        tuple({"lambda1": weight, "tied": True} for weight in (0.5, 0.25, 1.25, 0.625)),  # section 4.2: Cityscapes, VOC
    ),
    "mean_teacher": Space(
        "mean_teacher",
        mean_teacher,
        mean_teacher_values,
        (
            {
                "weight": 1.5,
                "ramp_end": 0.33,
                "target": "hard",
                "hard_distance": "dice",
                "ema_every": "epoch",
            },  # pets_mean_teacher; no decay given
            {
                "weight": 2.9,
                "ramp_end": 100 / 350,
                "target": "soft",
                "soft_distance": "bce",
                "ema_every": "step",
                "one_minus_ema_decay": 0.01,
            },  # perone2018
            {"weight": 1.5, "target": "soft", "soft_distance": "mse", "ema_every": "step"},  # perone2018's later code
        ),
    ),
    "one_way": Space("one_way", one_way, one_way_values, ({"weight": 0.5}, {"weight": 1.0})),  # Cityscapes, CIFAR-10
    "dmt": Space(
        "dmt",
        dmt,
        dmt_values,
        (
            {"gamma1": 3.0, "gamma2": 3.0, "alpha": 0.7, "phase_epochs": 10.0},  # section 4.1
            {"gamma1": 5.0, "gamma2": 5.0, "alpha": 0.8},  # DST-CBC on VOC
            *({"phase_epochs": epochs} for epochs in (5.0, 20.0, 30.0)),  # figure 1 left
        ),
    ),
}
"""Spaces by method."""
