"""How losses of labelled pixels are asked for: rows, flags, searches; and which settings are refused."""

import math
from dataclasses import replace
from typing import Any

import pytest
import tiny
from search_tools import built, named

from semiseg.change import Row
from semiseg.config import SettingError
from semiseg.losses import CrossEntropy, CrossEntropyDice, Dice, Focal, Loss, Ohem
from semiseg.methods import METHODS, Supervised, ThreeStage
from semiseg.search.space import first_points
from semiseg.sweep.arguments import parse
from semiseg.sweep.bench import Bench
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows
from semiseg.sweep.rows import resolve_row


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            CrossEntropy,
            {"weights": "rare"},
            "objective.weights: got 'rare'; allowed: equal, inverse, median or a number for each class",
        ),
        (CrossEntropy, {"weights": ()}, r"objective.weights: got \(\); allowed: a number >= 0 for each class, one of them above 0"),
        (CrossEntropy, {"weights": (0.0, 0.0)}, r"objective.weights: got \(0.0, 0.0\)"),
        (Focal, {"weights": (1.0, -1.0)}, r"objective.weights: got \(1.0, -1.0\)"),
        (Ohem, {"weights": (1.0, math.inf)}, r"objective.weights: got \(1.0, inf\)"),
        (Focal, {"gamma": -1.0}, "objective.gamma: got -1.0; allowed: a number >= 0"),
        (Focal, {"gamma": math.nan}, "objective.gamma: got nan"),
        (Ohem, {"threshold": 0.0}, r"objective.threshold: got 0.0; allowed: a probability in \(0, 1\]"),
        (Ohem, {"kept": 1.5}, r"objective.kept: got 1.5; allowed: a share in \[0, 1\]"),
        (CrossEntropyDice, {"dice": -1.0}, "objective.dice: got -1.0; allowed: a number >= 0"),
        (CrossEntropyDice, {"ce": 0.0, "dice": 0.0}, "objective.dice: got 0.0; allowed: a number above 0, as objective.ce is 0"),
    ],
    ids=str,
)
def test_unusable_values_name_field_value_and_what_is_allowed(kind: type[Loss], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}"):
        kind(**changes)


def test_equal_weights_are_equal_settings_with_equal_keys() -> None:
    whole, real = (
        tiny.chain(Supervised(objective=CrossEntropy(weights=weights)))[0]
        for weights in ((1, 2, 2, 2, 2), (1.0, 2.0, 2.0, 2.0, 2.0))
    )
    assert whole == real
    assert whole.key == real.key


def table(method: Any) -> Ablation:
    return Ablation(name="t", title="", question="", rows={"a": Row()}, reference="a", presets={"demo": Preset(method=method)})


@pytest.mark.parametrize("name", METHODS)
def test_rows_and_flags_choose_a_loss_and_its_settings(name: str) -> None:
    default = METHODS[name]()
    one = table(default)
    words = f"n={name} {default.switches() if isinstance(default, ThreeStage) else ''} objective=focal objective.gamma=3 objective.weights=(1.0,2.0)"
    row = chosen_rows(one, Preset(method=default, rows=(words,)))["n"]
    expected: Any = resolve_row("t", "n", row, {name: default}).method
    assert expected.objective == Focal(gamma=3.0, weights=(1.0, 2.0))
    for flags, loss in {
        ("--method.objective", "ohem", "--method.objective.kept", "0.5", "--method.objective.weights", "median"): Ohem(
            kept=0.5, weights="median"
        ),
        ("--method.objective", "ce", "--method.objective.weights", "1", "2", "3"): CrossEntropy(weights=(1.0, 2.0, 3.0)),
        ("--method.objective", "dice", "--method.objective.pooled"): Dice(pooled=True),
    }.items():
        found: Any = parse(one, flags)[1].method
        assert found.objective == loss
    with pytest.raises(SettingError, match=r"^objective: got 'mse'; allowed: ce, dice, soft_dice, ce_dice, focal, ohem$"):
        parse(one, ("--method.objective", "mse"))


def test_a_search_chooses_among_losses_and_their_settings() -> None:
    base = ThreeStage()
    space = named("objective ce dice focal; lambda1 0 1", base)
    assert first_points(space, base) == [{"objective": "ce", "lambda1": 0.5}]
    assert built(space, base, objective="focal", lambda1=0.5) == ThreeStage(objective=Focal())
    focal = ThreeStage(objective=Focal(weights=(1.0, 2.0)))
    space = named("objective.gamma 0 5; objective.weights equal median", focal)
    point = {"objective.gamma": 1.0, "objective.weights": "median"}
    assert built(space, focal, **point) == ThreeStage(objective=Focal(gamma=1.0, weights="median"))
    with pytest.raises(SettingError, match=r"^space.objective.weights: got '\(1,2\)'; allowed: equal, inverse, median$"):
        named("objective.weights (1,2) equal", focal)


def test_weights_for_another_number_of_classes_are_refused_before_training(tmp_path: Any) -> None:
    data, cache = tiny.data()
    preset = Preset(data=data, net=tiny.NET, train=tiny.TRAIN, method=Supervised())
    arguments, preset = parse(
        replace(table(Supervised()), presets={"demo": preset}), ("--cache", str(cache), "--store", str(tmp_path), "--dry-run")
    )
    bench = Bench(preset, arguments, "t")
    bench.check_data(
        {"mine": Supervised(objective=CrossEntropy(weights=(1.0,) * 5)), "by share": Supervised(objective=Focal(weights="median"))}
    )
    for method in (Supervised(objective=CrossEntropy(weights=(1.0, 2.0))), ThreeStage(objective=Focal(weights=(1.0, 2.0)))):
        message = r"^row 'mine': method.objective.weights: got \(1.0, 2.0\); allowed: 5 numbers, one for each of ground, disc, square, bar, corner$"
        with pytest.raises(SettingError, match=message):
            bench.check_data({"mine": method})
