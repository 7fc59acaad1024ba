"""Networks of segmentation_models_pytorch: what all networks must do, for one encoder of each family and for every architecture."""

import copy
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_nets import CLASSES, MEAN, STD, images, touched
from torch import Tensor, nn

from semiseg.config import SettingError, Train
from semiseg.methods import Supervised
from semiseg.nets import NETS, SMP, BlockNet, MultiTask, build, check_network, net_kind, net_named
from semiseg.nets.blocks import Frozen
from semiseg.nets.cut import model_blocks
from semiseg.nets.pieces import original_names
from semiseg.nets.smp import found_cut

ARCHITECTURES = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
FAMILIES = {
    "resnet18": 5,
    "tf_efficientnet_lite0": 5,
    "mobilenetv3_small_050": 5,
    "mit_b0": 4,
    "convnext_atto": 4,
    "efficientnet-b0": 1,
}
"""An encoder of each family, and of how many blocks it is: smp's efficientnet hands its modules more than one tensor."""
EVERY_FAMILY = pytest.mark.parametrize("encoder", FAMILIES)
SWIN = "swin_s3_tiny_224"
"""Hands on (N,H,W,C)."""
SMALL = "mobilenetv3_small_050"
VIT = "vit_tiny_patch16_224"


def net(encoder: str = SMALL, name: str = "smp:unet", **values: Any) -> SMP:
    return SMP(name=name, encoder=encoder, **values)


def made(settings: SMP, own: int = 0) -> BlockNet | MultiTask:
    return copy.deepcopy(built(settings, own))


@lru_cache(maxsize=3)
def built(settings: SMP, own: int) -> BlockNet | MultiTask:
    return build(settings, CLASSES, mean=MEAN, std=STD, seed=0, own=own)


def by_smp(settings: SMP, image: Tensor) -> tuple[Tensor, BlockNet]:
    """Logits of smp's own model on the padded image, and the network with the same weights."""
    options, cut = found_cut(settings.name, settings.encoder)
    inner = settings.encoder if settings.encoder in smp.encoders.encoders else f"tu-{settings.encoder}"
    torch.manual_seed(3)
    architecture = settings.name.removeprefix("smp:")
    model = smp.create_model(architecture, inner, encoder_weights=None, classes=CLASSES, **options).eval()
    for layer in model.modules():  # statistics of BatchNorm other than those of the start
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    size = [max(-(-side // cut.multiple) * cut.multiple, cut.least) for side in image.shape[-2:]]
    standard = (image - torch.tensor(MEAN).reshape(1, -1, 1, 1)) / torch.tensor(STD).reshape(1, -1, 1, 1)
    rows, columns = (torch.arange(n).clamp(max=side - 1) for n, side in zip(size, image.shape[-2:], strict=True))
    with torch.no_grad():
        expected = model(standard[:, :, rows][..., columns])[..., : image.shape[-2], : image.shape[-1]]
    return expected, BlockNet(model_blocks(model, cut), MEAN, STD).eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_smps_own_logits_on_images_of_any_size(architecture: str) -> None:
    settings = net(VIT if architecture == "dpt" else SMALL, f"smp:{architecture}")
    image = images(33, 47, 1)
    expected, network = by_smp(settings, image)
    with torch.no_grad():
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-4)
    *stages, decoder, head = network.blocks
    assert head == "head"
    assert decoder in ("dec1", "decoder")
    assert stages[0] == ("encoder" if architecture == "dpt" else "stage1")


@pytest.mark.parametrize(("encoder", "count"), [*FAMILIES.items(), (SWIN, 4)])
def test_an_encoder_of_every_family_is_cut_into_its_stages_and_gives_smps_own_logits(encoder: str, count: int) -> None:
    image = images(33, 47, 1)
    expected, network = by_smp(net(encoder), image)
    with torch.no_grad():
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-4)
    names = [f"stage{i + 1}" for i in range(count)] if count > 1 else ["encoder"]
    assert list(network.blocks) == [*names, "dec5", "dec4", "dec3", "dec2", "dec1", "head"]


@EVERY_FAMILY
def test_a_gradient_reaches_every_parameter_of_the_network_and_its_branch(encoder: str) -> None:
    for own in (1, 2):
        network = made(net(encoder), own)
        assert isinstance(network, MultiTask)
        assert list(network.auxiliary) == ["dec1", "head"][-own:]
        segmentation, auxiliary = network.both(images())
        assert segmentation.shape == auxiliary.shape == (2, CLASSES, 33, 47)
        (segmentation.square().sum() + auxiliary.square().sum()).backward()
        assert touched(network) == {name for name, _ in network.named_parameters()}


def test_a_branch_can_own_stages_of_the_encoder_and_begins_like_the_network() -> None:
    network = made(net(), 8)
    assert isinstance(network, MultiTask)
    assert list(network.auxiliary) == ["stage4", "stage5", "dec5", "dec4", "dec3", "dec2", "dec1", "head"]
    assert network.both(images())[1].isfinite().all()


@EVERY_FAMILY
def test_features_are_the_maps_that_the_decoder_reads_from_large_to_small(encoder: str) -> None:
    network = made(net(encoder)).eval()
    assert isinstance(network, BlockNet)
    features = network.encode(images())
    sides = [tuple(x.shape[-2:]) for x in features]
    assert sides == [(64 >> i, 64 >> i) for i in range(6 - len(sides), 6)]
    assert all(x.shape[1] > 0 for x in features)
    assert network.decode(features, torch.Size((33, 47))).equal(network(images()))
    assert network.encoder == FAMILIES[encoder]
    assert network.backbone == tuple(network.blocks)[: network.encoder]


@EVERY_FAMILY
def test_frozen_norm_freezes_batchnorm_with_all_that_is_in_it(encoder: str) -> None:
    plain, frozen = made(net(encoder)).eval(), made(net(encoder, frozen_norm=True)).train()
    for layer in frozen.modules():
        if isinstance(layer, nn.Dropout) or type(layer).__name__ == "DropPath":
            layer.eval()
    before = {name: value.clone() for name, value in frozen.named_buffers()}
    with torch.no_grad():
        torch.testing.assert_close(frozen(images()), plain(images()), rtol=1e-4, atol=1e-4)
    assert all(value.equal(before[name]) for name, value in frozen.named_buffers())
    layers = [layer for layer in frozen.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers
    for layer in layers:
        assert isinstance(layer, Frozen)
        assert not any(value.requires_grad for value in layer.parameters())
    again = copy.deepcopy(frozen).train()
    assert not any(layer.training for layer in again.modules() if isinstance(layer, nn.BatchNorm2d))


# ---- training


def test_a_stage_that_was_cut_short_ends_bit_for_bit_the_same() -> None:
    train = Train(
        **{name: getattr(tiny.TRAIN, name) for name in ("batch_labelled", "batch_unlabelled", "crop", "precision", "decay")},
        steps=4,
        evaluations=2,
        optimiser="adamw",
        layer_decay=0.7,
        recompute_norm=1,
    )
    (stage,) = tiny.chain(Supervised(), train=train, net=net())
    whole, broken = tiny.run(stage), tiny.trainer(stage)
    while broken.progress.step < 3:
        broken.advance(0.0)
    again = tiny.trainer(stage)
    again.restore(copy.deepcopy(broken.checkpoint()))
    while not again.finished:
        again.advance(60)
    assert tiny.flat(whole.state.student).equal(tiny.flat(again.state.student))
    assert whole.best.keys() == again.best.keys()
    assert all(value.equal(again.best[name]) for name, value in whole.best.items())


# ---- names


def test_the_line_in_the_registry_stands_for_every_architecture() -> None:
    assert [name for name in NETS if name.startswith("smp:")] == ["smp:unet"]
    assert net_kind("smp:fpn") is SMP
    assert net_named("smp:fpn", SMP(encoder="resnet18", weights="lite0")) == SMP(
        name="smp:fpn", encoder="resnet18", weights="lite0"
    )
    for name in ("smp", "other:unet", "unet:smp"):
        with pytest.raises(SettingError, match=rf"^net.name: got '{name}'; allowed: .*smp:unet.*, or FILE.py:FUNCTION$"):
            net_kind(name)
    with pytest.raises(SettingError, match="^net.name: got 'smp:vnet'; allowed: smp:deeplabv3, .*smp:upernet$"):
        build(net(name="smp:vnet"), CLASSES, mean=MEAN, std=STD, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (net("resnet5"), "net.encoder: got 'resnet5'; allowed: a name of .* or timm, such as .*resnet50.*"),
        (net("!"), "net.encoder: got '!'; allowed: a name of segmentation_models_pytorch or timm"),
        (net("mit_b0", "smp:linknet"), "net.encoder: got 'mit_b0' (.*); allowed: one that smp:linknet takes"),
        (net(VIT), f"net.encoder: got '{VIT}' (.*); allowed: one that smp:unet takes"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(settings: SMP, message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}$") as refused:
        check_network(settings, CLASSES, Train(crop=(32, 32)))
    assert "\n" not in str(refused.value)


def test_without_the_library_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    allowed = "without the library segmentation_models_pytorch; allowed: after pip install 'semiseg[encoders]'"
    with pytest.raises(SettingError, match=f"^net.name: got an smp network {re.escape(allowed)}$"):
        build(net(), CLASSES, mean=MEAN, std=STD, seed=0)
    with pytest.raises(
        SettingError, match="^net.name: got 'wide_resnet'; allowed: .*unet, .* as the data set has a class for each"
    ):
        check_network(NETS["wide_resnet"](), CLASSES, Train(crop=(32, 32)))


# ---- files of weights


@pytest.mark.parametrize("form", ["smp", "encoder", "timm", "stage"])
@pytest.mark.parametrize("encoder", ["convnext_atto", "resnet18"])
def test_a_file_of_smps_or_timms_names_or_of_a_stage_is_taken(encoder: str, form: str, tmp_path: Path) -> None:
    network = made(net(encoder))
    assert isinstance(network, BlockNet)
    state = network.blocks.state_dict()
    names = original_names(dict(network.blocks.items()))
    assert names.keys() == state.keys()
    other = {name: torch.rand_like(value) if value.is_floating_point() else value + 3 for name, value in state.items()}
    inner = {name for name in state if name.startswith("stage")}
    theirs = {
        "smp": {names[name]: value for name, value in other.items()},
        "encoder": {names[name].removeprefix("encoder."): other[name] for name in inner},
        "timm": {as_timm(names[name]): other[name] for name in inner} | {"head.fc.weight": torch.ones(3)},
        "stage": {f"best.student.blocks.{name}": value for name, value in other.items()},
    }[form]
    save_file({name: value.contiguous() for name, value in theirs.items()}, tmp_path / "w.safetensors")
    loaded = built(net(encoder, weights=str(tmp_path / "w.safetensors")), 0)
    found = {name.removeprefix("blocks."): value for name, value in loaded.state_dict().items()}
    for name, value in state.items():
        assert found[name].equal(other[name] if form in ("smp", "stage") or name in inner else value), name
    save_file({name: value.contiguous() for name, value in list(theirs.items())[1:]}, tmp_path / "short.safetensors")
    with pytest.raises(SettingError, match="^net.weights: .*short.safetensors has no .*; allowed: one of shape .* for smp:unet$"):
        build(net(encoder, weights=str(tmp_path / "short.safetensors")), CLASSES, mean=MEAN, std=STD, seed=0)


def as_timm(name: str) -> str:
    """encoder.model.stages_0.blocks.1.x -> stages.0.blocks.1.x"""
    return re.sub(r"^(stem|stages)_(\d)", r"\1.\2", name.removeprefix("encoder.").removeprefix("model."))


def test_images_are_continued_by_their_last_row_and_column() -> None:
    image = images(33, 47)
    padded = found_cut("smp:unet", SMALL)
    assert (padded[1].multiple, padded[1].least) == (32, 32)
    network = made(net()).eval()
    assert isinstance(network, BlockNet)
    first = next(iter(network.blocks.values()))
    standard = (image - network.mean) / network.std
    whole = F.pad(standard, (0, 17, 0, 31), mode="replicate")
    assert first((standard,))[0].equal(first((whole,))[0])
