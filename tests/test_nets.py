"""What every network of the registry must do, alone and with an auxiliary branch."""

import copy
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from semiseg.config import Net, SettingError, Train
from semiseg.nets import NETS, BlockNet, MultiTask, UNet, build, check_network, net_named

CLASSES = 5
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
EVERY_NET = pytest.mark.parametrize("name", NETS)
K = pytest.mark.parametrize("own", [1, 2])
HAVING = {
    setting: [name for name, kind in NETS.items() if setting in {field.name for field in fields(kind)}]
    for setting in ("width", "depth", "dropout", "outputs")
}
"""Networks by a setting that not all have."""


def net(name: str = "unet", **values: Any) -> Net:
    """Settings of a network: those of the values that it has a field for."""
    known = {field.name for field in fields(NETS[name])}
    return NETS[name](**{field: value for field, value in values.items() if field in known})


def made(name: str = "unet", *, seed: int = 0, own: int = 0, width: int = 4, depth: int = 3) -> BlockNet | MultiTask:
    return copy.deepcopy(built(net(name, width=width, depth=depth), seed, own))


@lru_cache(maxsize=4)
def built(net: Net, seed: int, own: int) -> BlockNet | MultiTask:
    """deeplabv2 takes a second to build."""
    return build(net, CLASSES, mean=MEAN, std=STD, seed=seed, own=own)


def images(height: int = 33, width: int = 47, count: int = 2) -> torch.Tensor:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def touched(net: nn.Module) -> set[str]:
    """Names of the parameters that a backward pass gave a gradient other than zero."""
    return {name for name, value in net.named_parameters() if value.grad is not None and value.grad.count_nonzero() > 0}


@EVERY_NET
@pytest.mark.parametrize("size", [(33, 47), (65, 49), (32, 64), (9, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_any_size_gives_finite_logits_of_that_size_or_one_for_the_image(name: str, size: tuple[int, int], training: bool) -> None:
    net = made(name).train(training)
    with torch.no_grad():
        logits = net(images(*size))
    assert logits.shape == ((2, CLASSES, 1, 1) if net.image_level else (2, CLASSES, *size))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@EVERY_NET
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    net = made(name)
    net(images()).square().sum().backward()
    assert touched(net) == {name for name, _ in net.named_parameters()}


@EVERY_NET
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_stream_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    settings = net(name, width=4)
    one, same, other = (build(settings, CLASSES, mean=MEAN, std=STD, seed=seed) for seed in (3, 3, 4))
    assert torch.random.get_rng_state().equal(before)
    assert all(a.equal(b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True) if a.ndim == 4)


@EVERY_NET
def test_one_image_of_a_batch_does_not_see_the_others_in_evaluation(name: str) -> None:
    net = made(name).eval().double()
    batch = images(count=3).double()
    torch.testing.assert_close(net(batch)[1:2], net(batch[1:2]))


@EVERY_NET
def test_images_are_standardised_inside_the_network(name: str) -> None:
    net = made(name).eval().double()
    plain = copy.deepcopy(net)
    plain.register_buffer("mean", torch.zeros(1, 3, 1, 1))
    plain.register_buffer("std", torch.ones(1, 3, 1, 1))
    mean, std = (torch.tensor(values).double().reshape(1, 3, 1, 1) for values in (MEAN, STD))
    found = net(images().double())
    torch.testing.assert_close(found, plain((images().double() - mean) / std))
    assert not torch.allclose(found, plain(images().double()))


@EVERY_NET
def test_channels_last_changes_nothing_and_bf16_trains_every_parameter(name: str) -> None:
    net, batch = made(name).eval().double(), images(33, 41).double()
    expected = net(batch)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(net(batch.contiguous(memory_format=torch.channels_last)), expected)
    net.float().train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(images(33, 41).contiguous(memory_format=torch.channels_last))
    logits.float().square().sum().backward()
    assert logits.isfinite().all()
    assert touched(net) == {name for name, _ in net.named_parameters()}
    assert all(value.grad is not None and value.grad.isfinite().all() for value in net.parameters())


@EVERY_NET
@pytest.mark.parametrize("own", [0, 2])
def test_weights_from_a_file_make_the_same_network(name: str, own: int, tmp_path: Path) -> None:
    net, other = made(name, own=own), made(name, own=own)
    net(images())  # moves the statistics of BatchNorm
    with torch.no_grad():
        for value in other.parameters():
            value.fill_(0.5)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    assert other.eval()(images()).equal(net.eval()(images()))
    if isinstance(net, MultiTask) and isinstance(other, MultiTask):
        assert other.both(images())[1].equal(net.both(images())[1])


@pytest.mark.parametrize("name", HAVING["width"])
def test_twice_the_width_is_about_four_times_the_parameters(name: str) -> None:
    assert 3 < count(made(name, width=16)) / count(made(name, width=8)) < 4.5


def convs(source: int, channels: int) -> int:
    """Two 3x3 convolutions without bias, each with BatchNorm's scale and shift."""
    return 9 * source * channels + 2 * channels + 9 * channels * channels + 2 * channels


def test_the_unet_of_paper_000_has_the_parameters_of_its_layers() -> None:
    encoder = convs(3, 64) + convs(64, 128) + convs(128, 256)
    decoder = (256 * 128 * 4 + 128 + convs(256, 128)) + (128 * 64 * 4 + 64 + convs(128, 64))
    head = 64 * 2 + 2
    assert encoder + decoder + head == 1_864_194  # 1.86 M in methods.md 1.0
    net = build(UNet(width=64, depth=3), 2, mean=MEAN, std=STD, seed=0)
    assert count(net) == 1_864_194
    assert isinstance(net, BlockNet)
    assert net.first(images(64, 64, 1), 3)[-1].shape == (1, 256, 16, 16)  # the paper's bottleneck


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_unet_has_two_blocks_a_level_in_the_order_in_which_they_run(depth: int) -> None:
    names = list(UNet(width=2, depth=depth).blocks(CLASSES))
    down, up = [f"enc{level}" for level in range(1, depth + 1)], [f"dec{level}" for level in range(depth - 1, 0, -1)]
    assert names == [*down, *up, "head"]
    assert len(names) == 2 * depth
    assert made(depth=depth, width=2)(images()).shape == (2, CLASSES, 33, 47)


@EVERY_NET
@K
def test_the_branch_of_any_network_gives_logits_of_the_same_shape_and_trains(name: str, own: int) -> None:
    net = made(name, own=own)
    assert isinstance(net, MultiTask)
    assert net.image_level == net.segmentation.image_level
    assert len(net.auxiliary) == own
    assert all(a.equal(b) for a, b in zip(net.segmentation.parameters(), made(name).parameters(), strict=True))
    segmentation, auxiliary = net.both(images())
    assert segmentation.shape == auxiliary.shape
    (segmentation.square().sum() + auxiliary.square().sum()).backward()
    assert touched(net) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize("name", HAVING["outputs"])
@pytest.mark.parametrize("own", [0, 1])
def test_one_output_is_a_sigmoid_behind_the_logits_of_two_classes(name: str, own: int) -> None:
    one, classes = (
        build(net(name, width=4, outputs=outputs), 2, mean=MEAN, std=STD, seed=0, own=own).eval() for outputs in ("one", "classes")
    )
    logits = one(images())
    z = logits[:, 1]
    assert logits.shape[1] == 2
    assert (logits[:, 0] == 0).all()
    torch.testing.assert_close(logits.softmax(1), torch.stack([1 - z.sigmoid(), z.sigmoid()], 1))
    *_, last = (module for module in one.modules() if isinstance(module, nn.Conv2d))
    assert last.out_channels == 1
    assert count(classes) - count(one) == (1 + own) * count(last)
    if isinstance(one, MultiTask):
        assert (one.both(images())[1][:, 0] == 0).all()


@pytest.mark.parametrize("classes", [3, 5])
def test_one_output_is_for_two_classes_only(classes: int) -> None:
    with pytest.raises(SettingError, match=rf"net.outputs: got 'one'; allowed: 'classes' for {classes} classes, 'one' for 2 only"):
        build(UNet(outputs="one"), classes, mean=MEAN, std=STD, seed=0)
    with pytest.raises(SettingError, match=r"net.outputs: got 'two'; allowed: classes, one"):
        UNet(outputs="two")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_share(dropout: float) -> None:
    with pytest.raises(SettingError, match=rf"net.dropout: got {dropout}; allowed: a share in \[0, 1\)"):
        UNet(dropout=dropout)


@pytest.mark.parametrize("name", HAVING["dropout"])
def test_dropout_acts_in_training_alone_and_changes_no_weight(name: str) -> None:
    plain, dropping = (build(net(name, width=4, dropout=share), CLASSES, mean=MEAN, std=STD, seed=0) for share in (0.0, 0.5))
    assert all(a.equal(b) for a, b in zip(plain.parameters(), dropping.parameters(), strict=True))
    assert dropping.eval()(images()).equal(plain.eval()(images()))
    dropping.train()
    plain.train()
    assert plain(images()).equal(plain(images()))
    assert not dropping(images()).equal(dropping(images()))


def test_a_unet_drops_whole_channels_after_each_convolution() -> None:
    net = build(UNet(width=8, depth=2, dropout=0.5), CLASSES, mean=MEAN, std=STD, seed=0)
    assert isinstance(net, BlockNet)
    dropped = [module for module in net.modules() if isinstance(module, nn.Dropout2d)]
    assert len(dropped) == 6  # enc1, enc2, dec1
    features = net.first(images(), 1)[-1]
    empty = (features == 0).flatten(2).all(2)
    assert 0 < empty.float().mean() < 1


@EVERY_NET
def test_a_network_must_say_what_the_data_set_says(name: str) -> None:
    settings, train = net(name, width=2), Train(crop=(32, 32))
    image_level = not made(name).image_level
    assert made("wide_resnet").image_level
    fitting = ", ".join(other for other in NETS if made(other).image_level == image_level)
    what = "a whole image" if image_level else "each pixel"
    message = f"net.name: got '{name}'; allowed: {fitting}, as the data set has a class for {what}"
    check_network(settings, CLASSES, train, image_level=not image_level)
    with pytest.raises(SettingError, match=f"^{message}$"):
        check_network(settings, CLASSES, train, image_level=image_level)


def test_an_unknown_network_and_a_branch_that_owns_all_blocks_are_refused() -> None:
    with pytest.raises(SettingError, match=r"net.name: got 'vnet'; allowed: .*unet"):
        net_named("vnet", UNet())
    with pytest.raises(SettingError, match=r"own blocks of the auxiliary branch: got 6; allowed: 0..5 for unet"):
        made(own=6)


def test_a_network_without_enough_blocks_for_the_branch_is_refused() -> None:
    train = Train(batch_labelled=1, batch_unlabelled=1, crop=(16, 16))
    check_network(UNet(depth=2), CLASSES, train, branch=3)  # enc1 enc2 dec1 head
    with pytest.raises(SettingError, match=r"net.name: got 'unet'; allowed: one of more than 4 blocks, .* this one has 4"):
        check_network(UNet(depth=2), CLASSES, train, branch=4)


# ---- encoder and decoder


@EVERY_NET
@pytest.mark.parametrize("size", [(33, 47), (32, 64)])
@pytest.mark.parametrize("own", [0, 1])
def test_a_network_is_its_decoder_on_the_features_of_its_encoder(name: str, size: tuple[int, int], own: int) -> None:
    network = made(name, own=own).eval()
    features = network.encode(images(*size))
    expected = network(images(*size))
    assert network.decode(features, torch.Size(size)).equal(expected)
    heights = [x.shape[2] for x in features]
    assert heights == sorted(heights, reverse=True)
    f = network.segmentation if isinstance(network, MultiTask) else network
    maps = [f.first(images(*size), count)[-1].shape[2:].numel() for count in range(len(f.blocks))]
    assert features[-1].shape[2:].numel() == min(maps)
    assert 0 < f.encoder < len(f.blocks)
    dropped = network.decode(tuple(torch.zeros_like(x) for x in features), torch.Size(size))
    assert dropped.shape == expected.shape
    assert not torch.allclose(dropped, expected)
