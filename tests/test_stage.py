"""Keys: the same wherever they are made, moved by everything that can change a weight and by nothing else."""

import os
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import tiny

from semiseg.config import Strong, Train
from semiseg.methods import ThreeStage
from semiseg.nets import UNet
from semiseg.stage import Split, Stage, hash_of, plain, stream, with_teachers

CODE = """
import tiny
from semiseg.methods import ThreeStage
print(*[stage.key for stage in ThreeStage().stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)])
"""
CHAIN = ThreeStage().stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)


def other(value: Any) -> Any:
    """A value of the same kind that is not equal."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, value[-1]) if value else ("x",)
    return {None: (16, 16)}.get(value, None)


def unchecked(instance: Any, name: str, value: Any) -> Any:
    """A copy of a frozen dataclass with one field changed, whatever its checks would say of it."""
    copy = object.__new__(type(instance))
    copy.__dict__.update({field.name: getattr(instance, field.name) for field in fields(instance)} | {name: value})
    return copy


def neighbours(instance: Any, kept: tuple[str, ...] = ()) -> dict[str, Any]:
    """Copies of a dataclass, of dataclasses in it too, that differ in one field."""
    found = {}
    for field in fields(instance):
        value = getattr(instance, field.name)
        if field.name in kept:
            continue
        if is_dataclass(value):
            found |= {f"{field.name}.{name}": unchecked(instance, field.name, near) for name, near in neighbours(value).items()}
        else:
            found[field.name] = unchecked(instance, field.name, other(value))
    return found


def test_keys_are_the_same_in_every_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [stage.key for stage in CHAIN]


def test_a_key_is_a_sha256() -> None:
    assert hash_of({"a": 1}) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"  # printf '{"a": 1}' | sha256sum
    assert len(CHAIN[0].key) == 64


def test_every_field_of_every_setting_moves_the_key() -> None:
    stage = CHAIN[-1]
    near = neighbours(stage, kept=("name", "teachers"))
    kinds = {"split": Split, "net": UNet, "train": Train, "rule": type(stage.rule), "rule.strong": Strong}
    for prefix, kind in kinds.items():
        plain_fields = {field.name for field in fields(kind)} - {"strong"}
        assert {f"{prefix}.{name}" for name in plain_fields} <= near.keys()
    assert {"number", "seed"} <= near.keys()
    keys = {name: copy.key for name, copy in near.items()} | {"itself": stage.key}
    assert len(set(keys.values())) == len(keys) >= 40


def test_the_name_is_no_part_of_the_key_and_teachers_are() -> None:
    stage = CHAIN[-1]
    assert replace(stage, name="other").key == stage.key
    assert replace(stage, teachers=()).key != stage.key
    assert replace(stage, teachers=(replace(CHAIN[1], seed=9),)).key != stage.key
    assert replace(stage, teachers=(replace(CHAIN[1], name="other"),)).key == stage.key


def test_settings_that_are_equal_have_equal_keys() -> None:
    """1 and 1.0 are one learning rate, whether a preset wrote it or the command line read it."""
    whole, real = (replace(CHAIN[0], train=replace(tiny.TRAIN, learning_rate=rate)) for rate in (1, 1.0))
    assert whole == real
    assert whole.key == real.key


def test_rules_of_two_kinds_with_the_same_fields_have_two_keys() -> None:
    kind = type("Another", (type(CHAIN[0].rule),), {})
    assert replace(CHAIN[0], rule=kind()).key != CHAIN[0].key


def test_settings_are_plain_values_that_say_every_default() -> None:
    settings = CHAIN[-1].settings()
    assert settings["rule"]["type"] == "SelfTraining"
    assert settings["rule"]["strong"]["cutouts"] == 3
    assert settings["train"]["flip"] == 0.5
    assert settings["teachers"] == [CHAIN[1].key]


def test_plain_values_keep_their_content() -> None:
    assert plain({"a": (1, 2.5, None, True), "b": PurePosixPath("x/y"), 3: Strong(ops=2, levels=(1, 2))}) == {
        "a": [1, 2.5, None, True],
        "b": "x/y",
        "3": {
            "ops": 2,
            "probability": 0.5,
            "levels": [1, 2],
            "translate": 10 / 256,
            "cutouts": 3,
            "cutout_size": 0.125,
        },
    }


@pytest.mark.parametrize("value", [{1}, object(), np.float32(1), np.arange(2), b"x", UNet, [{"a": 1j}]])
def test_what_could_not_be_read_back_has_no_plain_form(value: Any) -> None:
    with pytest.raises(TypeError, match="no plain form for"):
        plain(value)


def test_a_number_that_json_does_not_know_makes_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_of({"a": float("nan")})


def test_the_order_of_entries_does_not_move_a_hash() -> None:
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})


def test_teachers_come_before_those_who_learn_from_them_and_once() -> None:
    found = with_teachers([CHAIN[-1], CHAIN[0], *ThreeStage(CR=False).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)])
    places = {key: place for place, key in enumerate(found)}
    assert len(found) == 5
    assert all(places[teacher.key] < places[stage.key] for stage in found.values() for teacher in stage.teachers)
    assert all(isinstance(stage, Stage) and stage.key == key for key, stage in found.items())


def test_streams_are_named_and_numbered() -> None:
    asked = [(seed, name, *numbers) for seed in (0, 1, 10) for name in ("init", "order") for numbers in ((), (0,), (1, 2), (12,))]
    drawn = [stream(*words) for words in asked]  # type: ignore[arg-type]
    assert len(set(drawn)) == len(asked)
    assert all(0 <= value < 2**63 for value in drawn)
    assert stream(0, "init", 1) == stream(0, "init", 1)


def test_streams_of_neighbouring_steps_are_not_correlated() -> None:
    uniform = np.array([stream(0, "augment", 1, step) for step in range(4000)]) / 2**63
    assert abs(uniform.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.05
