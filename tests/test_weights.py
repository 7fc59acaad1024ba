"""Initial weights come from the files and the downloads that a network's settings name, or are refused in one line."""

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_nets import MEAN, STD, images
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet101_Weights, WeightsEnum
from torchvision.models.resnet import resnet18

from semiseg.config import Net, SettingError
from semiseg.nets import BlockNet, DeepLabV2, MultiTask, OwnNet, SwiftNet, UNet, WideResNet, build, located
from semiseg.nets.deeplabv2_layers import Aspp
from semiseg.nets.own import function
from semiseg.nets.resnet import encoder
from semiseg.nets.weights import load_weights, read_weights
from semiseg.sweep.dry_run import offline

CLASSES = 5
SEQUENTIAL = """
from torch import nn
def build(classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))
"""
MODULE = """
from torch import nn
class Own(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(4, classes, 1)])
    def forward(self, x):
        return self.blocks[1](self.blocks[0](x))
def build(classes):
    return Own(classes)
"""


def small(classes: int = CLASSES) -> dict[str, nn.Module]:
    """Blocks of a DeepLabv2 on ResNet-18, whose names differ from those of ResNet-101 in number alone."""
    torch.manual_seed(0)
    return {**encoder(resnet18()), "aspp": Aspp(512, classes, 4)}


def pretrained() -> dict[str, Tensor]:
    """torchvision's tensors, every one another than what a network starts from."""
    torch.manual_seed(1)
    return {name: torch.rand_like(value) if value.ndim else value + 7 for name, value in resnet18().state_dict().items()}


def save(tensors: dict[str, Tensor], folder: Path, *, torch_file: bool = False) -> str:
    file = folder / ("weights.pth" if torch_file else "weights.safetensors")
    if torch_file:
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    return str(file)


def loaded(blocks: dict[str, nn.Module], weights: str) -> dict[str, Tensor]:
    load_weights(blocks, DeepLabV2(weights=weights))
    return nn.ModuleDict(blocks).state_dict()


def in_torchvisions_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors, renamed by hand: conv1.conv1 -> conv1, conv2x.layer.0 -> layer1.0, ..."""
    renamed = {name.removeprefix("conv1."): value for name, value in state.items() if name.startswith("conv1.")}
    for i in (1, 2, 3, 4):
        here = f"conv{i + 1}x.layer."
        renamed |= {f"layer{i}.{name.removeprefix(here)}": value for name, value in state.items() if name.startswith(here)}
    return renamed


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


@pytest.mark.parametrize("torch_file", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "Scale.", "model.backbone.", "module.encoder."])
def test_an_encoder_takes_torchvisions_tensors_behind_any_usual_prefix(tmp_path: Path, torch_file: bool, prefix: str) -> None:
    theirs = pretrained()
    file = save({prefix + name: value for name, value in theirs.items()}, tmp_path, torch_file=torch_file)
    fresh, state = nn.ModuleDict(small()).state_dict(), loaded(small(), file)
    assert same(in_torchvisions_names(state), {name: value for name, value in theirs.items() if not name.startswith("fc.")})
    assert all(state[name].equal(value) for name, value in fresh.items() if name.startswith("aspp."))


@pytest.mark.parametrize("layer", ["layer5", "classifier"])
@pytest.mark.parametrize("classes", [21, CLASSES])
def test_the_classifier_of_the_published_codes_is_taken_when_it_has_as_many_classes(
    tmp_path: Path, layer: str, classes: int
) -> None:
    head = Aspp(512, 21, 4).state_dict()
    theirs = {name: torch.rand_like(value) for name, value in head.items()}
    renamed = {name.replace("convs.", f"{layer}.conv2d_list."): value for name, value in theirs.items()}
    fresh = nn.ModuleDict(small(classes)).state_dict()
    state = loaded(small(classes), save(pretrained() | renamed, tmp_path))
    for name in head:
        assert state[f"aspp.{name}"].equal(theirs[name] if classes == 21 else fresh[f"aspp.{name}"])


def test_a_swiftnet_takes_the_encoder_alone_from_torchvisions_tensors(tmp_path: Path) -> None:
    fresh, net = (made(SwiftNet(weights=file)) for file in ("", save(pretrained(), tmp_path)))
    assert isinstance(fresh, BlockNet)
    assert isinstance(net, BlockNet)
    theirs, state = pretrained(), net.blocks.state_dict()
    assert same(in_torchvisions_names(state), {name: value for name, value in theirs.items() if not name.startswith("fc.")})
    decoder = {name: value for name, value in fresh.blocks.state_dict().items() if not name.startswith("conv")}
    assert same({name: state[name] for name in decoder}, decoder)


def test_counters_of_batches_may_be_absent(tmp_path: Path) -> None:
    old = {name: value for name, value in pretrained().items() if not name.endswith("num_batches_tracked")}
    state = loaded(small(), save(old, tmp_path))
    assert state["conv1.bn1.running_var"].equal(old["bn1.running_var"])
    assert state["conv1.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"layer3.1.conv2.weight": None}, r"has no layer3.1.conv2.weight; allowed: one of shape \(256, 256, 3, 3\) for deeplabv2"),
        ({"bn1.weight": torch.ones(3)}, r"has bn1.weight of shape \(3,\); allowed: one of shape \(64,\) for deeplabv2"),
        (
            {"layer4.0.bn1.bias": None, "layer2.0.bn1.bias": None},
            r"has no layer2.0.bn1.bias; allowed: one of shape \(128,\) for deeplabv2",
        ),
    ],
)
def test_the_first_tensor_that_an_encoder_misses_is_named(tmp_path: Path, spoil: dict[str, Tensor | None], message: str) -> None:
    spoilt = {name: value for name, value in (pretrained() | spoil).items() if value is not None}
    file = save(spoilt, tmp_path)
    with pytest.raises(SettingError, match=f"^net.weights: {file} {message}$"):
        loaded(small(), file)


def test_imagenet_means_torchvisions_checked_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def get(self: WeightsEnum, *args: object, **options: object) -> dict[str, Tensor]:
        calls.append((self, args, options))
        return pretrained()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get)
    state = loaded(small(), "imagenet")
    assert state["conv3x.layer.1.conv2.weight"].equal(pretrained()["layer2.1.conv2.weight"])
    assert calls == [(ResNet101_Weights.IMAGENET1K_V1, (), {"check_hash": True, "progress": False})]
    assert SwiftNet().pretrained() is ResNet18_Weights.IMAGENET1K_V1


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route\nto host"), RuntimeError("invalid hash value"), TimeoutError("late")]
)
def test_a_download_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    expected = r"^net.weights: ResNet101_Weights.IMAGENET1K_V1 cannot be downloaded \(.+\); allowed: a file of weights$"
    with pytest.raises(SettingError, match=expected) as caught:
        loaded(small(), "imagenet")
    assert "\n" not in str(caught.value)


def test_weights_that_nobody_offers_are_asked_for_as_a_file() -> None:
    net = DeepLabV2(weights="coco")
    assert located(net) == net
    assert offline(net) == DeepLabV2()
    with pytest.raises(SettingError, match=r"^net.weights: got 'coco'; allowed: the file of such weights, as they cannot be down"):
        build(net, CLASSES, mean=MEAN, std=STD, seed=0)


def test_a_network_that_torchvision_has_no_weights_for_is_told_so() -> None:
    with pytest.raises(SettingError, match="^net.weights: got 'imagenet'; allowed: '' or a file for unet$"):
        build(UNet(weights="imagenet"), CLASSES, mean=MEAN, std=STD, seed=0)


def of_stage(net: nn.Module, role: str, which: str = "best") -> dict[str, Tensor]:
    """Names as in a stage's weights.safetensors."""
    return {f"{which}.{role}.{name}": value for name, value in net.state_dict().items()}


def made(net: Net, seed: int = 0, own: int = 0, classes: int = CLASSES) -> BlockNet | MultiTask:
    return build(net, classes, mean=MEAN, std=STD, seed=seed, own=own)


@pytest.mark.parametrize("kind", [UNet, WideResNet])
@pytest.mark.parametrize("own", [0, 2])
def test_a_network_starts_from_the_best_weights_of_a_stage(tmp_path: Path, kind: type[UNet | WideResNet], own: int) -> None:
    """Not from the last ones, nor from the student where a teacher is; a branch's are left out, and so are mean and deviation."""
    student, teacher, last = (made(kind(width=4), seed, own) for seed in (1, 2, 3))
    other = build(kind(width=4), CLASSES, mean=(0.1,) * 3, std=(0.9,) * 3, seed=2)
    student_only = of_stage(student, "student") | of_stage(last, "student", "last")
    for tensors, expected in ((student_only, student), (student_only | of_stage(teacher, "teacher"), teacher)):
        settings = kind(width=4, weights=save(tensors, tmp_path))
        f = expected.segmentation if isinstance(expected, MultiTask) else expected
        found = made(settings)
        assert same(found.state_dict(), f.state_dict())
    plain = made(kind(width=4, weights=save(other.state_dict(), tmp_path)))
    assert isinstance(plain, BlockNet)
    assert isinstance(other, BlockNet)
    assert same(plain.blocks.state_dict(), other.blocks.state_dict())
    assert plain.mean.flatten().tolist() == pytest.approx(MEAN)


def test_an_encoder_takes_a_stages_weights_and_its_classifier_where_it_fits(tmp_path: Path) -> None:
    trained = nn.ModuleDict({"blocks": nn.ModuleDict(small())})
    for value in trained.parameters():
        nn.init.uniform_(value)
    file = save(of_stage(trained, "teacher"), tmp_path)
    theirs, fresh = trained["blocks"].state_dict(), nn.ModuleDict(small(7)).state_dict()
    assert same(loaded(small(), file), theirs)
    state = loaded(small(7), file)
    assert all(value.equal((fresh if name.startswith("aspp.") else theirs)[name]) for name, value in state.items())


@pytest.mark.parametrize(("text", "first"), [(SEQUENTIAL, "0.weight"), (MODULE, "blocks.0.weight")])
def test_a_network_of_ones_own_takes_the_names_of_its_module_or_those_of_a_stage(tmp_path: Path, text: str, first: str) -> None:
    code = tmp_path / "own.py"
    code.write_text(text)
    module = function(f"{code}:build")(CLASSES)
    assert first in module.state_dict()
    file = save(module.state_dict(), tmp_path)
    net = made(OwnNet(name=f"{code}:build", weights=file)).eval()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(net(images()), module.eval()((images() - mean) / std))
    again = made(OwnNet(name=f"{code}:build", weights=save(of_stage(net, "student"), tmp_path)), seed=1)
    assert same(again.state_dict(), net.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.head.conv.bias": None}, r"has no blocks.head.conv.bias; allowed: one of shape \(5,\) for unet"),
        (
            {"blocks.head.conv.bias": torch.zeros(7)},
            r"has blocks.head.conv.bias of shape \(7,\); allowed: one of shape \(5,\) for unet",
        ),
        ({"blocks.more": torch.zeros(1)}, r"has blocks.more; allowed: the tensors of unet alone"),
    ],
)
def test_any_other_network_needs_all_of_its_tensors_and_no_further_ones(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    tensors = {name: value for name, value in (made(UNet(width=2)).state_dict() | change).items() if value is not None}
    file = save(tensors, tmp_path)
    with pytest.raises(SettingError, match=f"^net.weights: {file} {message}$"):
        made(UNet(width=2, weights=file))


def test_a_state_dict_may_lie_in_a_training_checkpoint_and_no_code_is_run(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0)}
    file = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": tensors, "epoch": 4}, file)
    assert same(read_weights(file), tensors)
    for content, reason in (
        (nn.Conv2d(1, 1, 1), r"cannot be read \(.*\)"),
        ({"epoch": 4}, "holds no tensors by name"),
        ([1], "holds no"),
    ):
        torch.save(content, file)
        with pytest.raises(SettingError, match=rf"^net.weights: {file} {reason}.*; allowed: safetensors or a torch state dict$"):
            read_weights(file)
    for name in ("text.safetensors", "text.pth"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(SettingError, match=r"^net.weights: .*text.* cannot be read \(.*\); allowed: "):
            read_weights(tmp_path / name)


def test_a_files_place_is_made_absolute_and_its_content_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save({"a": torch.zeros(1)}, tmp_path)
    one = located(UNet(weights="weights.safetensors"))
    assert one.weights == str(tmp_path / "weights.safetensors")
    save({"a": torch.ones(1)}, tmp_path)
    two = located(UNet(weights="weights.safetensors"))
    assert len(one.digest) == len(two.digest) == 64
    assert one.digest != two.digest
    assert located(DeepLabV2(weights="imagenet")) == DeepLabV2(weights="imagenet")
    with pytest.raises(
        SettingError, match=r"^net.weights: none.pth cannot be read \(No such file or directory\); allowed: a file that exists$"
    ):
        located(UNet(weights="none.pth"))
