"""A network has the settings that it needs and no others, and the command line offers those of the network that it names."""

import inspect
import re
from dataclasses import fields

import pytest

from semiseg.change import Row
from semiseg.config import Net, SettingError
from semiseg.methods.three_stage import parts
from semiseg.nets import NETS, DeepLabV2, OwnNet, SwiftNet, UNet, UNetMRI, WideResNet, net_named
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation, Preset

TABLE = Ablation(
    name="table",
    title="",
    question="",
    rows={"full": Row(parts("S1"))},
    reference="full",
    presets={"demo": Preset(), "pretrained": Preset(net=DeepLabV2(weights="imagenet", caffe_stride=True))},
)


@pytest.mark.parametrize("name", NETS)
def test_a_networks_settings_have_its_name_and_say_what_each_is_for(name: str) -> None:
    kind = NETS[name]
    assert kind().name == kind.name == name
    with pytest.raises(SettingError, match=f"^net.name: got 'other'; allowed: '{name}' for {kind.__name__}$"):
        kind(name="other")
    text = inspect.getsource(kind)
    for field in fields(kind):
        assert field.name in Net.__annotations__ or re.search(rf'^    {field.name}: .*\n    """[A-Z]', text, re.MULTILINE), (
            field.name
        )


def test_another_network_keeps_the_values_that_both_have() -> None:
    like = UNet(width=16, depth=2, dropout=0.5, weights="file", frozen_norm=True, digest="d")
    assert net_named("unet", like) == like
    assert net_named("wide_resnet", like) == WideResNet(
        width=16, depth=2, dropout=0.5, weights="file", frozen_norm=True, digest="d"
    )
    assert net_named("swiftnet", like) == SwiftNet(weights="file", frozen_norm=True, digest="d")
    assert net_named("unet", SwiftNet(outputs="one")) == UNet(outputs="one")
    assert net_named("a/b.py:build", like) == OwnNet(name="a/b.py:build", weights="file", frozen_norm=True, digest="d")
    with pytest.raises(TypeError, match="width"):
        SwiftNet(width=8)  # pyright: ignore[reportCallIssue]


# ---- the command line


def test_a_named_network_takes_its_own_settings_and_keeps_what_the_preset_says_of_them() -> None:
    assert parse(TABLE, ["--net.name", "unet_mri", "--net.dropout", "0.5"])[0].net == UNetMRI(width=8, dropout=0.5)
    words = ["--preset", "pretrained", "--net.name=swiftnet", "--net.outputs", "one"]
    assert parse(TABLE, words)[0].net == SwiftNet(weights="imagenet", outputs="one")
    assert parse(TABLE, ["--preset", "pretrained", "--net.aux-width", "half"])[0].net == DeepLabV2(
        weights="imagenet", caffe_stride=True, aux_width="half"
    )
    assert parse(TABLE, ["--net.name", "a/b.py:build"])[0].net == OwnNet(name="a/b.py:build")


@pytest.mark.parametrize(
    "words",
    [
        "--net.name swiftnet --net.width 8",
        "--net.width 8 --net.name deeplabv2",
        "--net.caffe-stride",
        "--net.name x.py:f --net.depth 2",
    ],
)
def test_a_setting_of_another_network_is_refused(words: str) -> None:
    with pytest.raises(SettingError, match="^arguments: got '--net"):
        parse(TABLE, words.split())


def test_an_unknown_network_is_refused_in_one_line() -> None:
    allowed = f"{', '.join(sorted(NETS))}, or FILE.py:FUNCTION"
    with pytest.raises(SettingError, match=f"^net.name: got 'vgg'; allowed: {allowed}$"):
        parse(TABLE, ["--net.name", "vgg", "--net.width", "8"])


def test_help_shows_the_settings_of_the_named_network_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for name, there, absent in (("unet", "--net.depth", "--net.aux-width"), ("deeplabv2", "--net.aux-width", "--net.depth")):
        with pytest.raises(SystemExit):
            parse(TABLE, ["--net.name", name, "--help"])
        said = capsys.readouterr().out
        assert there in said
        assert "--net.weights" in said
        assert absent not in said
