"""Keys: the same wherever they are made, moved by everything that can change a weight and by nothing else."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import tiny

import semiseg.runner
from semiseg.augment import CutMix, Gentle, PhTPS, RandAugment, perturbation_named
from semiseg.config import Train, Weak
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy
from semiseg.methods import MeanTeacher, Supervised, ThreeStage
from semiseg.nets import UNet
from semiseg.runner import run_stage
from semiseg.stage import AS_BEFORE, IN_KEYS, Split, Stage, for_key, hash_of, plain, stream, with_teachers
from semiseg.store import Store

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
    for one in fields(instance):
        value = getattr(instance, one.name)
        if one.name in kept:
            continue
        if is_dataclass(value):
            found |= {f"{one.name}.{name}": unchecked(instance, one.name, near) for name, near in neighbours(value).items()}
        else:
            found[one.name] = unchecked(instance, one.name, other(value))
    return found


def test_keys_are_the_same_in_every_process() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": path}
    ran = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [stage.key for stage in CHAIN]


def test_a_key_is_a_sha256() -> None:
    assert hash_of({"a": 1}) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"  # printf '{"a": 1}' | sha256sum
    assert len(CHAIN[0].key) == 64


def test_every_field_of_every_setting_moves_the_key() -> None:
    stage = CHAIN[-1]
    near = neighbours(stage, kept=("name", "teachers"))
    assert near.pop("split.opened").key == stage.key  # says how, not what
    kinds = {
        "split": Split,
        "net": UNet,
        "train": Train,
        "train.weak": Weak,
        "rule": type(stage.rule),
        "rule.perturbation": RandAugment,
        "rule.ema": Ema,
        "rule.objective": CrossEntropy,
    }
    for prefix, kind in kinds.items():
        plain_fields = {field.name for field in fields(kind)} - {"opened", "perturbation", "ema", "weak", "objective"}
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
    assert (settings["rule"]["perturbation"]["type"], settings["rule"]["perturbation"]["cutouts"]) == ("RandAugment", 3)
    assert settings["rule"]["ema"]["buffers"] == "average"
    assert (settings["train"]["flip"], "weak" in settings["train"]) == (0.5, False)
    assert settings["teachers"] == [CHAIN[1].key]


def test_plain_values_keep_their_content() -> None:
    assert plain({"a": (1, 2.5, None, True), "b": PurePosixPath("x/y"), 3: RandAugment(ops=2, levels=(1, 2))}) == {
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


# ---- several kinds of one field


def test_perturbations_of_two_kinds_have_two_keys_whatever_is_in_them() -> None:
    kinds = (Gentle(), PhTPS(), RandAugment(), CutMix(), perturbation_named("phtps+cutmix"), perturbation_named("cutmix+phtps"))
    twin = type("Twin", (Gentle,), {})()  # the same fields
    keys = {tiny.chain(MeanTeacher(perturbation=one))[0].key for one in (*kinds, twin)}
    assert len(keys) == len(kinds) + 1
    chain = tiny.chain(MeanTeacher(perturbation=perturbation_named("phtps+cutmix")))[0].settings()["rule"]["perturbation"]
    assert (chain["type"], [step["type"] for step in chain["steps"]]) == ("Chain", ["PhTPS", "CutMix"])
    inner = replace(perturbation_named("phtps+cutmix"), steps=(PhTPS(hue=0.2), CutMix()))
    assert tiny.chain(MeanTeacher(perturbation=inner))[0].key not in keys


# ---- keys survive upgrades


def upgraded(kind: type, default: Any, before: Any) -> type:
    """The class as a later version of the package has it, with one more field."""
    later = field(default=default, metadata={AS_BEFORE: before})
    return make_dataclass(kind.__name__, [("later", type(before), later)], bases=(kind,), frozen=True, kw_only=True)


def moved(stage: Stage, part: str, **later: Any) -> str:
    """The key of a stage of which a part is of an upgraded class."""
    path, old = part.split("."), stage
    for name in path:
        old = getattr(old, name)
    values = {one.name: getattr(old, one.name) for one in fields(old)}  # type: ignore[arg-type]
    new: Any = upgraded(type(old), default=2.0, before=1.0)(**values, **later)
    if len(path) == 1:
        return replace(stage, **{part: new}).key
    return replace(stage, rule=unchecked(stage.rule, path[1], new)).key


@pytest.mark.parametrize("part", ["rule", "split", "net", "train", "rule.perturbation"])
def test_a_field_added_later_leaves_keys_alone_where_it_means_what_was_done_before(part: str) -> None:
    stage = CHAIN[-1]
    assert moved(stage, part, later=1.0) == moved(stage, part, later=1) == stage.key
    keys = {stage.key, moved(stage, part), moved(stage, part, later=3.0)}
    assert len(keys) == 3
    assert moved(stage, part) == moved(stage, part, later=2.0)  # the new default
    teachers = replace(stage, teachers=(replace(CHAIN[1], seed=9),))
    assert moved(teachers, part, later=1.0) == teachers.key


@dataclass(frozen=True)
class Part:
    old: int = 1
    later: tuple[float, ...] = field(default=(2.0,), metadata={AS_BEFORE: ()})


@dataclass(frozen=True)
class Whole:
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    more: Part | None = field(default=None, metadata={AS_BEFORE: None})


@dataclass(frozen=True)
class Renamed:
    way: str = field(default="there", metadata={IN_KEYS: {"there": True, "back": False}})


def test_values_under_another_name_are_in_keys_as_they_were() -> None:
    assert [for_key(Renamed(way)) for way in ("there", "back", "round")] == [{"way": True}, {"way": False}, {"way": "round"}]
    assert plain(Renamed()) == {"way": "there"}
    keys = {way: tiny.chain(MeanTeacher(delayed=way))[0] for way in ("delayed", "shared", "independent")}  # type: ignore[arg-type]
    assert {way: stage.settings()["rule"]["delayed"] for way, stage in keys.items()} == {
        "delayed": True,
        "shared": "shared",
        "independent": False,
    }
    assert len({stage.key for stage in keys.values()}) == 3


def test_a_later_field_is_left_out_of_parts_and_of_parts_in_a_row() -> None:
    before = Part(later=())
    assert for_key(Whole(before, (before, Part()))) == {"part": {"old": 1}, "parts": [{"old": 1}, {"old": 1, "later": [2.0]}]}
    assert for_key(Whole(more=before)) == {"part": {"old": 1, "later": [2.0]}, "parts": [], "more": {"old": 1}}
    assert plain(Whole(before)) == {"part": {"old": 1, "later": []}, "parts": [], "more": None}


def test_a_stage_that_was_stored_before_a_field_was_added_is_still_a_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What means the same as then is read from the store; the new default is another stage."""
    (old,) = tiny.chain(Supervised(), train=replace(tiny.TRAIN, steps=1, evaluations=1))
    run_stage(old, tiny.place(tmp_path))
    kind = upgraded(Supervised, default=True, before=False)
    (same,), (other,) = (tiny.chain(kind(later=value), train=old.train) for value in (False, True))
    store = Store(str(tmp_path), tmp_path)
    assert (store.has(same.key), store.has(other.key)) == (True, False)
    assert store.info(same.key)["settings"] == same.settings() == old.settings()
    assert "later" not in same.settings()["rule"]
    assert other.settings()["rule"]["later"] is True
    monkeypatch.setattr(semiseg.runner, "StageRun", None)
    run_stage(same, tiny.place(tmp_path))
    with pytest.raises(TypeError):
        run_stage(other, tiny.place(tmp_path))


def test_the_weak_augmentation_is_in_keys_as_when_it_was_in_train() -> None:
    """What every stage was stored under before `Weak` and what it can do besides were there."""
    settings = replace(CHAIN[0], train=replace(tiny.TRAIN, weak=Weak(scale=(0.5, 1.5)))).settings()["train"]
    weak = {"scale": [0.5, 1.5], "scale_law": "uniform", "flip": 0.5}
    assert settings == {name: value for name, value in for_key(tiny.TRAIN).items() if name != "weak"} | weak
    assert not {field.name for field in fields(Weak)} & {field.name for field in fields(Train)}
    turned = replace(CHAIN[0], train=replace(tiny.TRAIN, weak=Weak(rot90=0.5, either=0.5)))
    assert turned.settings()["train"]["rot90"] == turned.settings()["train"]["either"] == 0.5


def test_settings_in_files_say_the_field_all_the_same() -> None:
    assert plain(upgraded(Supervised, default=True, before=False)(later=False))["later"] is False
