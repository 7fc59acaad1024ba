"""Configurations in files: what is written is read back the same, what cannot be is refused in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semiseg.augment import Chain, CutMix, Gentle, PhTPS, RandAugment
from semiseg.config import Data, SettingError, Train, Weak
from semiseg.ema import Ema
from semiseg.methods import DMT, METHODS, MeanTeacher, OneWay, Supervised, ThreeStage, name_of
from semiseg.nets import UNet
from semiseg.sweep.arguments import with_config
from semiseg.sweep.declaration import Preset
from semiseg.sweep.saved import Saved, read_config, write_config

FULL = Saved(
    Data(name="camvid", root=Path("/somewhere"), labelled=0.1, size=(96, 128), variant=("a", "b"), classes=("x", "y")),
    UNet(width=16, digest="d"),
    Train(steps=5, crop=(8, 16), precision="bf16", betas=(0.5, 0.75), weak=Weak(scale=(1.0, 2.0), flip=0.25)),
    ThreeStage(
        lambda1=0.1,
        ema=replace(ThreeStage().ema, decay=(0.5, 0.6, 0.7, 0.8)),
        perturbation=RandAugment(ops=1, levels=(2, 3)),
        CR=False,
    ),
)


@pytest.mark.parametrize("method", [kind() for kind in METHODS.values()], ids=list(METHODS))
def test_what_is_written_is_read_back_without_the_place_of_the_data(method: object, tmp_path: Path) -> None:
    saved = replace(FULL, method=method)
    write_config(tmp_path / "best.json", saved, {"score": {"selection": 0.5}})
    assert read_config(tmp_path / "best.json") == replace(saved, data=replace(FULL.data, root=None))
    assert json.loads((tmp_path / "best.json").read_text())["score"] == {"selection": 0.5}


def test_settings_away_from_every_default_come_back(tmp_path: Path) -> None:
    for method in (
        FULL.method,
        MeanTeacher(
            ema=Ema(every="epoch", mode="train", buffers="own"),
            perturbation=Gentle(noise=0.125, blur=(0, 0.5)),
            target="soft",
            distance="kl",
        ),
        OneWay(perturbation=Chain(steps=(PhTPS(hue=0), CutMix(area=(0.25, 0.5))))),
        Supervised(perturbation=RandAugment(ops=2)),
        DMT(phases=(0.5, 1.0)),
    ):
        write_config(tmp_path / "best.json", replace(FULL, method=method), {})
        assert read_config(tmp_path / "best.json").method == method


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "four_stage"}, "has no type among supervised, "),
        ({"settings": {"lambda3": 1}}, r"no setting \['lambda3'\] in ThreeStage"),
        ({"settings": {"lambda1": "much"}}, "'much' is not float"),
        ({"settings": {"CR": 1}}, "1 is not bool"),
        ({"settings": {"perturbation": {"type": "Blur"}}}, "Blur"),
        ({"train": {"steps": True}}, "True is not int"),
        ({"train": {"optimiser": "lion"}}, "'lion' is not adam, sgd"),
        ({"data": {"size": [8]}}, r"\[8\] is not"),
        ({"net": 3}, "TypeError"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(change: dict, said: str, tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    write_config(file, FULL, {})
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(SettingError, match=rf"config: .*best.json cannot be used \(.*{said}.*\); allowed: a best.json") as caught:
        read_config(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingError, match="nothing.json cannot be used"):
        read_config(tmp_path / "nothing.json")


def test_a_configuration_from_when_the_weak_augmentation_was_in_train_is_read(tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    write_config(file, FULL, {})
    values = json.loads(file.read_text())
    values["train"] |= {name: values["train"]["weak"][name] for name in ("scale", "scale_law", "flip")}
    del values["train"]["weak"]
    file.write_text(json.dumps(values))
    assert read_config(file).train == FULL.train


@pytest.mark.parametrize(("before", "now"), [(True, "delayed"), (False, "independent")])
def test_a_configuration_from_when_a_transform_was_delayed_or_not_is_read(before: bool, now: Any, tmp_path: Path) -> None:
    file, method = tmp_path / "best.json", MeanTeacher(delayed=now)
    write_config(file, replace(FULL, method=method), {})
    values = json.loads(file.read_text())
    assert values["settings"]["delayed"] == now
    values["settings"]["delayed"] = before
    file.write_text(json.dumps(values))
    assert read_config(file).method == method


def test_a_configuration_takes_the_place_of_the_method_of_its_name(tmp_path: Path) -> None:
    preset = Preset(method=ThreeStage(), others=(OneWay(), DMT(alpha=0.5)))
    own = with_config(preset, FULL, tmp_path)
    assert (own.method, own.others, own.train, own.net, own.data) == (FULL.method, preset.others, FULL.train, FULL.net, FULL.data)
    other = with_config(preset, replace(FULL, method=OneWay(weight=3.0)), tmp_path)
    assert other.method == ThreeStage()
    assert {name_of(one): one for one in other.others} == {"one_way": OneWay(weight=3.0), "dmt": DMT(alpha=0.5)}
    with pytest.raises(SettingError, match="is of the method mean_teacher; allowed: three_stage, one_way, dmt, supervised"):
        with_config(preset, replace(FULL, method=MeanTeacher()), tmp_path)
