"""Networks on images of one, three and five channels: every entry of NETS, files of weights, and networks from one's own file."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_nets import CLASSES, EVERY_NET, MEAN, STD, net, touched
from test_own_network import written
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.models.resnet import resnet18

from semiseg.config import Net, SettingError, Train
from semiseg.nets import BlockNet, MultiTask, OwnNet, SwiftNet, UNet, build, check_network
from semiseg.nets.weights import for_channels

CHANNELS = pytest.mark.parametrize("channels", [1, 3, 5])
OTHER = pytest.mark.parametrize("channels", [1, 5])
TRAIN = Train(batch_labelled=1, batch_unlabelled=1, crop=(32, 32))


@lru_cache(maxsize=4)
def made(settings: Net, channels: int, own: int = 0) -> BlockNet | MultiTask:
    """A network for as many channels, no two with the same mean or deviation."""
    mean, std = (0.3, 0.4, 0.5, 0.6, 0.7), (0.2, 0.25, 0.3, 0.35, 0.4)
    return build(settings, CLASSES, mean=mean[:channels], std=std[:channels], seed=0, own=own)


def images(channels: int) -> Tensor:
    return torch.rand((2, channels, 33, 47), generator=torch.Generator().manual_seed(1))


@EVERY_NET
@CHANNELS
def test_it_takes_images_of_any_channels_and_trains_with_a_branch(name: str, channels: int) -> None:
    network = made(net(name, width=4), channels, 1)
    assert isinstance(network, MultiTask)
    network.zero_grad()
    logits, auxiliary = network.both(images(channels))
    size = (1, 1) if network.image_level else (33, 47)
    assert logits.shape == auxiliary.shape == (2, CLASSES, *size)
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert touched(network) == {name for name, _ in network.named_parameters()}
    assert network.segmentation.mean.shape == network.segmentation.std.shape == (1, channels, 1, 1)
    network.eval()  # every channel counts
    changed = images(channels)
    for channel in range(channels):
        other = changed.clone()
        other[:, channel] = 1 - other[:, channel]
        assert not torch.allclose(network(other), network(changed))
    network.train()


@EVERY_NET
def test_three_channels_are_what_a_network_has_when_nothing_is_said(name: str) -> None:
    settings = net(name, width=4)
    with torch.device("meta"):
        said, unsaid = (nn.ModuleDict(blocks).state_dict() for blocks in (settings.blocks(CLASSES, 3), settings.blocks(CLASSES)))
    assert {key: value.shape for key, value in said.items()} == {key: value.shape for key, value in unsaid.items()}


@EVERY_NET
@CHANNELS
def test_only_the_first_layer_depends_on_the_channels(name: str, channels: int) -> None:
    with torch.device("meta"):
        own, rgb = (nn.ModuleDict(net(name, width=4).blocks(CLASSES, count)).state_dict() for count in (channels, 3))
    assert own.keys() == rgb.keys()
    other = {key for key in own if own[key].shape != rgb[key].shape}
    assert len(other) == (channels != 3)
    for key in other:
        assert (own[key].shape[1], rgb[key].shape[1]) == (channels, 3)
        assert (own[key].shape[0], own[key].shape[2:]) == (rgb[key].shape[0], rgb[key].shape[2:])


@EVERY_NET
@OTHER
def test_a_network_is_checked_on_images_of_the_channels(name: str, channels: int) -> None:
    settings = net(name, width=4)
    image_level = made(settings, channels, 1).image_level
    check_network(settings, CLASSES, TRAIN, image_level, 1, (32, 32), channels)


# ---- files of weights


def pretrained() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.rand_like(value) if value.ndim else value for name, value in resnet18().state_dict().items()}


@pytest.mark.parametrize("channels", range(1, 9))
def test_a_first_convolution_is_adapted_as_timm_does(channels: int) -> None:
    manipulate = pytest.importorskip("timm.models._manipulate", reason="timm is not installed")
    weight = torch.rand(4, 3, 7, 7)
    torch.testing.assert_close(for_channels(weight, channels), manipulate.adapt_input_conv(channels, weight.clone()))


def test_grey_images_give_what_the_same_in_rgb_gave() -> None:
    weight, grey = torch.rand(4, 3, 7, 7), torch.rand(2, 1, 16, 16)
    rgb = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(torch.nn.functional.conv2d(grey, for_channels(weight, 1)), rgb)


@OTHER
@pytest.mark.parametrize("imagenet", [True, False])
def test_a_pretrained_encoder_is_adapted(channels: int, imagenet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: pretrained())
    save_file({f"module.{name}": value for name, value in pretrained().items()}, tmp_path / "weights.safetensors")
    weights = "imagenet" if imagenet else str(tmp_path / "weights.safetensors")
    network = made(SwiftNet(weights=weights), channels, 1)
    assert isinstance(network, MultiTask)
    state = network.segmentation.blocks.state_dict()
    assert state["conv1.conv1.weight"].equal(for_channels(pretrained()["conv1.weight"], channels))
    assert state["conv2x.layer.0.conv1.weight"].equal(pretrained()["layer1.0.conv1.weight"])


@pytest.mark.parametrize("kind", [SwiftNet, UNet])
@pytest.mark.parametrize("role", ["", "best.student.", "best.teacher."])
def test_a_stages_own_weights_of_other_channels_are_refused_by_name(kind: type[Net], role: str, tmp_path: Path) -> None:
    rgb, file = build(kind(), CLASSES, mean=MEAN, std=STD, seed=0), tmp_path / "weights.safetensors"
    save_file({f"{role}{name}": value.clone() for name, value in rgb.state_dict().items()}, file)
    first = {SwiftNet: r"blocks.conv1.conv1.weight of shape \(64, 3, 7, 7\)", UNet: r"blocks.enc1.*weight of shape \(8, 3, 3, 3\)"}
    for channels in (1, 5):
        with pytest.raises(
            SettingError, match=rf"^net.weights: {file} has {first[kind]}; allowed: one of shape \(.*, {channels}, "
        ):
            made(kind(weights=str(file)), channels)


def test_an_encoder_of_other_channels_than_three_is_not_adapted(tmp_path: Path) -> None:
    tensors = pretrained()
    tensors["conv1.weight"] = torch.rand(64, 4, 7, 7)
    save_file(tensors, tmp_path / "weights.safetensors")
    settings = SwiftNet(weights=str(tmp_path / "weights.safetensors"))
    with pytest.raises(SettingError, match=r"has conv1.weight of shape \(64, 4, 7, 7\); allowed: one of shape \(64, 5, 7, 7\)"):
        made(settings, 5)
    four = made(settings, 4)
    assert isinstance(four, BlockNet)
    assert four.blocks.state_dict()["conv1.conv1.weight"].equal(tensors["conv1.weight"])


# ---- networks of one's own

TOLD = """
from torch import nn

def build(classes, channels=3):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 1))
"""
UNTOLD = TOLD.replace("(classes, channels=3)", "(classes)").replace("Conv2d(channels", "Conv2d(3")
GREY = UNTOLD.replace("Conv2d(3,", "Conv2d(1,")


@CHANNELS
def test_a_function_with_a_parameter_channels_gets_them(channels: int, tmp_path: Path) -> None:
    settings = written(tmp_path, TOLD)
    check_network(settings, CLASSES, TRAIN, channels=channels)
    assert made(settings, channels)(images(channels)).shape == (2, CLASSES, 33, 47)


def test_a_function_without_it_may_fit_all_the_same_or_is_refused_by_name(tmp_path: Path) -> None:
    check_network(written(tmp_path / "grey", GREY), CLASSES, TRAIN, channels=1)
    settings = written(tmp_path / "rgb", UNTOLD)
    check_network(settings, CLASSES, TRAIN)
    message = (
        rf"^net.name: {settings.name} cannot train on 2 crops of \(32, 32\) with 5 channels \(RuntimeError: .*\); "
        r"allowed: a function with a parameter channels, a network that can, or other crops \(train.crop\)$"
    )
    with pytest.raises(SettingError, match=message) as refused:
        check_network(settings, CLASSES, TRAIN, channels=5)
    assert "\n" not in str(refused.value)


def test_what_is_called_need_not_be_a_function(tmp_path: Path) -> None:
    text = "from torch import nn\nclass build(nn.Sequential):\n    def __init__(self, classes, *, channels):\n"
    text += "        super().__init__(nn.Conv2d(channels, classes, 1))\n"
    assert made(written(tmp_path, text), 2)(images(2)).shape == (2, CLASSES, 33, 47)
    partial = f"from functools import partial\n{TOLD}\nbuild = partial(build, channels=2)\n"
    assert isinstance(written(tmp_path, partial), OwnNet)
    check_network(written(tmp_path, partial), CLASSES, TRAIN, channels=5)  # a default may be told otherwise
