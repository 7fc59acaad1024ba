"""The chains of ke2020's table 3 (methods.md 1.4): which stages a row trains, which it shares, and what moves a key."""

from dataclasses import fields, replace
from typing import Any

import pytest
import tiny

from semiseg.augment import RandAugment
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.losses import Focal
from semiseg.methods import ThreeStage
from semiseg.methods.self_training import SelfTraining
from semiseg.methods.stage_train import StageTrain
from semiseg.methods.supervised import Supervised
from semiseg.stage import Stage

ROWS = {
    "S1": "S1",
    "S1+S2": "S1 S2 CR T2 SA",
    "no CR": "S1 S2 S3 T2 SA N2",
    "no T2": "S1 S2 S3 CR SA N2",
    "no SA": "S1 S2 S3 CR T2 N2",
    "no N2": "S1 S2 S3 CR T2 SA",
    "full": "S1 S2 S3 CR T2 SA N2",
}


def chains(method: ThreeStage | None = None, seed: int = 0) -> dict[str, tuple[Stage, ...]]:
    base = method or ThreeStage()
    return {row: base.with_switches(on).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, seed) for row, on in ROWS.items()}


def keys(method: ThreeStage | None = None, seed: int = 0) -> dict[str, list[str]]:
    return {row: [stage.key for stage in chain] for row, chain in chains(method, seed).items()}


def distinct(found: dict[str, list[str]]) -> set[str]:
    return {key for chain in found.values() for key in chain}


def changed(method: ThreeStage) -> dict[str, list[bool]]:
    """For every row which of its keys differ from those of the default settings."""
    before, after = keys(), keys(method)
    return {row: [a != b for a, b in zip(before[row], after[row], strict=True)] for row in ROWS}


def rules(row: str, method: ThreeStage | None = None) -> list[SelfTraining]:
    return [stage.rule for stage in chains(method)[row] if isinstance(stage.rule, SelfTraining)]


def test_seven_rows_take_eighteen_stages_of_which_ten_are_distinct() -> None:
    found = keys()
    assert [len(chain) for chain in found.values()] == [1, 2, 3, 3, 3, 3, 3]
    assert sum(map(len, found.values())) == 18
    assert len(distinct(found)) == 10


def test_rows_share_the_stages_that_the_table_says_and_no_others() -> None:
    s1, s2, s3 = keys()["full"]
    shared = {row: [{s1: "s1", s2: "s2", s3: "s3"}.get(key, "own") for key in chain] for row, chain in keys().items()}
    assert shared == {
        "S1": ["s1"],
        "S1+S2": ["s1", "s2"],
        "no CR": ["s1", "own", "own"],
        "no T2": ["s1", "own", "own"],
        "no SA": ["s1", "own", "own"],
        "no N2": ["s1", "s2", "own"],
        "full": ["s1", "s2", "s3"],
    }


def test_every_stage_learns_the_masks_of_the_one_before_it_except_stage_2_without_t2() -> None:
    for row, chain in chains().items():
        teachers = [[teacher.key for teacher in stage.teachers] for stage in chain]
        expected = [[], *([stage.key] for stage in chain[:-1])]
        if row == "no T2":
            expected[1] = []
        assert teachers == expected, row


def test_switches_are_the_terms_the_augmentation_and_the_branch_of_the_rules() -> None:
    def shape(row: str) -> list[tuple[float, float, int, bool]]:
        return [(rule.lambda1, rule.lambda2, rule.own_blocks, rule.perturbation is not None) for rule in rules(row)]

    assert shape("full") == [(0.5, 0.5, 2, True), (0.5, 0.5, 1, True)]
    assert shape("S1+S2") == [(0.5, 0.5, 2, True)]
    assert shape("no CR") == [(0, 0.5, 2, True), (0, 0.5, 1, True)]
    assert shape("no T2") == [(0.5, 0, 0, True), (0.5, 0.5, 1, True)]
    assert shape("no SA") == [(0.5, 0.5, 2, False), (0.5, 0.5, 1, False)]
    assert shape("no N2") == [(0.5, 0.5, 2, True), (0.5, 0.5, 2, True)]
    assert all(isinstance(chain[0].rule, Supervised) for chain in chains().values())


def test_names_say_which_switches_are_off() -> None:
    assert {row: [stage.name for stage in chain] for row, chain in chains().items()} == {
        "S1": ["s1"],
        "S1+S2": ["s1", "s2"],
        "no CR": ["s1", "s2-CR", "s3-CR"],
        "no T2": ["s1", "s2-T2", "s3-T2"],
        "no SA": ["s1", "s2-SA", "s3-SA"],
        "no N2": ["s1", "s2", "s3-N2"],
        "full": ["s1", "s2", "s3"],
    }


def test_the_defaults_are_those_of_paper_and_code() -> None:
    """Sources: methods.md 1.4; lambdas of 4.2 on Cityscapes, everything else of RK621 main.py:96-324 and apply_rand.py:5-51."""
    method = ThreeStage()
    assert (method.lambda1, method.lambda2, method.stages_total, method.ramp) == (0.5, 0.5, 3, 0.0)
    assert (method.target, method.distance) == ("hard", "ce")
    assert method.ema.decay == (0.99, 0.995, 0.9975, 0.999)
    assert method.ema.start == pytest.approx((0, 20 / 60, 40 / 60, 50 / 60))
    assert (method.ema.every, method.ema.warmup, method.ema.buffers, method.ema.mode) == ("step", True, "average", "eval")
    assert (method.evaluate, method.masks_role, method.masks_weights) == ("teacher", "teacher", "last")
    assert method.mask_out_of_frame  # where the code differs; methods.md 3 recommends it
    strong = method.perturbation
    assert isinstance(strong, RandAugment)
    assert (strong.ops, strong.probability, strong.levels, strong.cutouts) == (3, 0.5, (1, 9), 3)
    assert strong.cutout_size * 256 == 32
    assert method.switches() == ROWS["full"]


def test_the_masks_of_stage_1_come_from_its_student_and_later_ones_from_the_teacher() -> None:
    assert [(rule.masks_role, rule.masks_weights) for rule in rules("full")] == [("student", "last"), ("teacher", "last")]


def test_lambda1_moves_only_stages_with_consistency_and_what_learns_from_them() -> None:
    assert changed(ThreeStage(lambda1=0.25)) == {
        "S1": [False],
        "S1+S2": [False, True],
        "no CR": [False, False, False],
        "no T2": [False, True, True],
        "no SA": [False, True, True],
        "no N2": [False, True, True],
        "full": [False, True, True],
    }


def test_lambda2_moves_only_stages_that_learn_masks_and_what_learns_from_them() -> None:
    assert changed(ThreeStage(lambda2=0.25)) == {
        "S1": [False],
        "S1+S2": [False, True],
        "no CR": [False, True, True],
        "no T2": [False, False, True],
        "no SA": [False, True, True],
        "no N2": [False, True, True],
        "full": [False, True, True],
    }


@pytest.mark.parametrize(
    ("changes", "unmoved"),
    [
        ({"target": "soft"}, "no CR"),
        ({"target": "soft", "distance": "mse"}, "no CR"),
        ({"ramp": 0.3}, "no CR"),
        ({"label_only": 0.3}, "no CR"),
        ({"threshold": 0.9}, "no CR"),
        ({"mask_out_of_frame": False}, "no CR"),
        ({"perturbation": RandAugment(ops=2)}, "no SA"),
    ],
    ids=str,
)
def test_a_setting_of_a_term_that_is_off_moves_no_key(changes: dict[str, Any], unmoved: str) -> None:
    found = changed(ThreeStage(**changes))
    assert not any(found[unmoved])
    assert found["full"] == [False, True, True]


@pytest.mark.parametrize("changes", [{"masks_role": "student"}, {"masks_weights": "best"}], ids=str)
def test_which_masks_are_learned_moves_only_stages_that_learn_them(changes: dict[str, Any]) -> None:
    found = changed(ThreeStage(**changes))
    assert found["S1"] == [False]
    assert found["no T2"] == [False, False, True]
    assert found["full"] == [False, "masks_weights" in changes, True]  # stage 1 has only a student


def test_a_weight_of_zero_is_the_switch_turned_off() -> None:
    assert keys(ThreeStage(lambda1=0.0))["full"] == keys(ThreeStage(lambda1=0.0))["no CR"] == keys()["no CR"]
    assert [rule.own_blocks for rule in rules("full", ThreeStage(lambda2=0.0))] == [0, 0]
    assert all(not stage.teachers for stage in chains(ThreeStage(lambda2=0.0))["full"])


def test_another_seed_gives_ten_other_keys() -> None:
    zero, one = distinct(keys(seed=0)), distinct(keys(seed=1))
    assert len(one) == 10
    assert not zero & one


def test_a_fourth_stage_repeats_the_third_on_its_masks() -> None:
    chain = ThreeStage(stages_total=5).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)
    assert [stage.name for stage in chain] == ["s1", "s2", "s3", "s4", "s5"]
    assert [stage.key for stage in chain[:3]] == keys()["full"]
    assert chain[2].rule == chain[3].rule == chain[4].rule
    assert [stage.teachers[0].name for stage in chain[1:]] == ["s1", "s2", "s3", "s4"]
    assert len({stage.key for stage in chain}) == 5


def test_every_field_of_the_method_that_is_on_moves_the_last_key() -> None:
    """A field added to ThreeStage but forgotten in its rules would be a setting that changes nothing."""
    other: dict[str, Any] = {
        "lambda1": 0.1, "lambda2": 0.1, "target": "soft", "ramp": 0.1, "mask_out_of_frame": False, "ema": Ema(warmup=True),
        "evaluate": "student", "masks_role": "student", "masks_weights": "best", "perturbation": RandAugment(ops=1), "stages_total": 4,
        "objective": Focal(), "label_only": 0.1, "threshold": 0.9,
        "pseudo_weight": "confidence", "ramp2": 0.1, "stage1": StageTrain(steps=3), "stage2": StageTrain(rate=0.5), "stage3": StageTrain(batch_labelled=1),
    }  # fmt: skip
    names = {field.name for field in fields(ThreeStage)} - set(ThreeStage.SWITCHES) - {"distance"}
    assert names == other.keys()
    full = keys()["full"][-1]
    for name, value in other.items():
        assert ThreeStage(**{name: value}).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[-1].key != full, name
    averages: dict[str, Any] = {
        "decay": (0.1,) * 4, "start": (0.0, 0.1, 0.2, 0.3), "every": "epoch", "warmup": False, "buffers": "copy", "mode": "train",
    }  # fmt: skip
    assert {field.name for field in fields(Ema)} == averages.keys()
    for name, value in averages.items():
        changed = ThreeStage(ema=replace(ThreeStage().ema, **{name: value}))
        assert changed.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[-1].key != full, name


@pytest.mark.parametrize(
    ("switches", "allowed"),
    [
        ("CR SA", "S1 or S2 at least"),
        ("S1 S3 T2", "S3 only together with S2"),
        ("S2 S3 CR T2", "T2 only together with S1, whose masks it learns"),
    ],
)
def test_switches_that_make_no_chain_are_refused(switches: str, allowed: str) -> None:
    with pytest.raises(SettingError, match=rf"switches: got '{switches}'; allowed: {allowed}"):
        ThreeStage().with_switches(switches).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)


def test_an_unknown_switch_is_refused_naming_all() -> None:
    with pytest.raises(SettingError, match="switch: got 'SZ'; allowed: S1 S2 S3 CR T2 SA N2"):
        ThreeStage().with_switches("S1 SZ")


def test_switches_are_read_in_any_order_and_written_in_one() -> None:
    assert ThreeStage().with_switches("N2 S2  S1").switches() == "S1 S2 N2"
    assert replace(ThreeStage(), **dict.fromkeys(ThreeStage.SWITCHES, False)).switches() == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda1": -1}, r"method.lambda1: got -1; allowed: a number >= 0"),
        ({"lambda2": float("nan")}, r"method.lambda2: got nan; allowed: a number >= 0"),
        ({"stages_total": 2}, r"method.stages_total: got 2; allowed: a whole number >= 3"),
        ({"ramp": 1.5}, r"method.ramp: got 1.5; allowed: a share in \[0, 1\]"),
        ({"distance": "mse"}, r"method.distance: got 'mse'; allowed: ce, as method.target is hard"),
    ],
    ids=str,
)
def test_unusable_values_name_field_value_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ThreeStage(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": (1.2,), "start": (0.0,)}, r"ema.decay: got \(1.2,\); allowed: decays in \[0, 1\]"),
        ({"start": (0.0, 0.5)}, r"ema.start: .* as many as ema.decay"),
        ({"start": (0.1, 0.2, 0.3, 0.4)}, r"ema.start: .* ascending shares from 0.0"),
        ({"start": (0.0, 0.5, 0.2, 0.6)}, r"ema.start: .* ascending shares from 0.0"),
    ],
    ids=str,
)
def test_unusable_averages_name_field_value_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(ThreeStage().ema, **changes)
