"""What every network of the registry must do, and the auxiliary branch that shares its first blocks."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from semiseg.config import Net, SettingError, Train
from semiseg.nets import NETS, BlockNet, MultiTask, build, check_network
from semiseg.nets.unet import unet

CLASSES = 5
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
EVERY_NET = pytest.mark.parametrize("name", NETS)
K = pytest.mark.parametrize("own", [1, 2])


def made(name: str = "unet", *, seed: int = 0, own: int = 0, width: int = 4, depth: int = 3) -> BlockNet | MultiTask:
    return build(Net(name=name, width=width, depth=depth), CLASSES, mean=MEAN, std=STD, seed=seed, own=own)


def multitask(own: int, depth: int = 3) -> MultiTask:
    net = made(own=own, depth=depth)
    assert isinstance(net, MultiTask)
    return net


def images(height: int = 33, width: int = 47, count: int = 2) -> torch.Tensor:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def touched(net: nn.Module) -> set[str]:
    """Names of the parameters that a backward pass gave a gradient other than zero."""
    return {name for name, value in net.named_parameters() if value.grad is not None and value.grad.count_nonzero() > 0}


@EVERY_NET
@pytest.mark.parametrize("size", [(33, 47), (32, 64), (9, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_any_size_gives_finite_logits_of_that_size_or_one_for_the_image(name: str, size: tuple[int, int], training: bool) -> None:
    net = made(name).train(training)
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
    one, same, other = made(name, seed=3), made(name, seed=3), made(name, seed=4)
    assert torch.random.get_rng_state().equal(before)
    assert all(a.equal(b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True) if a.ndim == 4)


@EVERY_NET
def test_one_image_of_a_batch_does_not_see_the_others_in_evaluation(name: str) -> None:
    net = made(name).eval()
    batch = images(count=3)
    torch.testing.assert_close(net(batch)[1:2], net(batch[1:2]), atol=1e-5, rtol=1e-5)


@EVERY_NET
def test_images_are_standardised_inside_the_network(name: str) -> None:
    net = made(name).eval()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    plain = build(Net(name=name, width=4), CLASSES, mean=(0.0,) * 3, std=(1.0,) * 3, seed=0).eval()
    torch.testing.assert_close(net(images()), plain((images() - mean) / std))


@EVERY_NET
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
    net = build(Net(width=64, depth=3), 2, mean=MEAN, std=STD, seed=0)
    assert count(net) == 1_864_194
    assert isinstance(net, BlockNet)
    assert net.first(images(64, 64, 1), 3)[-1].shape == (1, 256, 16, 16)  # the paper's bottleneck


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_unet_has_two_blocks_a_level_in_the_order_in_which_they_run(depth: int) -> None:
    names = list(unet(Net(width=2, depth=depth), CLASSES))
    down, up = [f"enc{level}" for level in range(1, depth + 1)], [f"dec{level}" for level in range(depth - 1, 0, -1)]
    assert names == [*down, *up, "head"]
    assert len(names) == 2 * depth
    assert made(depth=depth, width=2)(images()).shape == (2, CLASSES, 33, 47)


@EVERY_NET
def test_the_branch_of_any_network_gives_logits_of_the_same_shape(name: str) -> None:
    net = made(name, own=2)
    assert isinstance(net, MultiTask)
    assert net.image_level == net.segmentation.image_level
    segmentation, auxiliary = net.both(images())
    assert segmentation.shape == auxiliary.shape == net(images()).shape


@EVERY_NET
@pytest.mark.parametrize("own", [0, 1])
def test_one_output_is_a_sigmoid_behind_the_logits_of_two_classes(name: str, own: int) -> None:
    settings = Net(name=name, width=4, outputs="one")
    net = build(settings, 2, mean=MEAN, std=STD, seed=0, own=own).eval()
    logits = net(images())
    z = logits[:, 1]
    assert logits.shape[1] == 2
    assert (logits[:, 0] == 0).all()
    torch.testing.assert_close(logits.softmax(1), torch.stack([1 - z.sigmoid(), z.sigmoid()], 1))
    both = build(replace(settings, outputs="classes"), 2, mean=MEAN, std=STD, seed=0, own=own)
    head = 16 if name == "wide_resnet" else 4
    assert count(both) - count(net) == (1 + own) * (head + 1)
    if isinstance(net, MultiTask):
        assert (net.both(images())[1][:, 0] == 0).all()


@pytest.mark.parametrize("classes", [3, 5])
def test_one_output_is_for_two_classes_only(classes: int) -> None:
    with pytest.raises(SettingError, match=rf"net.outputs: got 'one'; allowed: 'classes' for {classes} classes, 'one' for 2 only"):
        build(Net(outputs="one"), classes, mean=MEAN, std=STD, seed=0)
    with pytest.raises(SettingError, match=r"net.outputs: got 'two'; allowed: classes, one"):
        Net(outputs="two")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_share(dropout: float) -> None:
    with pytest.raises(SettingError, match=rf"net.dropout: got {dropout}; allowed: a share in \[0, 1\)"):
        Net(dropout=dropout)


@EVERY_NET
def test_dropout_acts_in_training_alone_and_changes_no_weight(name: str) -> None:
    plain, net = (build(Net(name=name, width=4, dropout=share), CLASSES, mean=MEAN, std=STD, seed=0) for share in (0.0, 0.5))
    assert all(a.equal(b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))
    assert net.eval()(images()).equal(plain.eval()(images()))
    net.train()
    plain.train()
    assert plain(images()).equal(plain(images()))
    assert not net(images()).equal(net(images()))


def test_a_unet_drops_whole_channels_after_each_convolution() -> None:
    net = build(Net(width=8, depth=2, dropout=0.5), CLASSES, mean=MEAN, std=STD, seed=0)
    assert isinstance(net, BlockNet)
    dropped = [module for module in net.modules() if isinstance(module, nn.Dropout2d)]
    assert len(dropped) == 6  # enc1, enc2, dec1
    features = net.first(images(), 1)[-1]
    empty = (features == 0).flatten(2).all(2)
    assert 0 < empty.float().mean() < 1


@pytest.mark.parametrize(
    ("name", "image_level", "message"),
    [
        ("unet", True, "net.name: got 'unet'; allowed: wide_resnet, as the data set has a class for a whole image"),
        ("wide_resnet", False, "net.name: got 'wide_resnet'; allowed: unet, as the data set has a class for each pixel"),
    ],
)
def test_a_network_must_say_what_the_data_set_says(name: str, image_level: bool, message: str) -> None:
    net, train = Net(name=name, width=2), Train(crop=(32, 32))
    check_network(net, CLASSES, train, image_level=not image_level)
    with pytest.raises(SettingError, match=f"^{message}$"):
        check_network(net, CLASSES, train, image_level=image_level)


def test_an_unknown_network_and_a_branch_that_owns_all_blocks_are_refused() -> None:
    with pytest.raises(SettingError, match=r"net.name: got 'vnet'; allowed: .*unet"):
        made("vnet")
    with pytest.raises(SettingError, match=r"own blocks of the auxiliary branch: got 6; allowed: 0..5 for unet"):
        made(own=6)


@K
def test_own_and_shared_parameters_are_those_of_the_blocks(own: int) -> None:
    """Width 4, depth 3: dec1 takes 8 channels up to 4, the head is 1x1."""
    head, dec1 = 4 * CLASSES + CLASSES, 8 * 4 * 4 + 4 + convs(8, 4)
    expected_own = {1: head, 2: dec1 + head}[own]
    encoder = convs(3, 4) + convs(4, 8) + convs(8, 16)
    dec2 = 16 * 8 * 4 + 8 + convs(16, 8)
    whole = encoder + dec2 + dec1 + head
    net = multitask(own)
    assert count(net.auxiliary) == expected_own
    assert count(net.segmentation) == whole == count(made())
    assert count(net) == whole + expected_own
    assert net.shared == 6 - own


@K
def test_the_branchs_gradient_reaches_exactly_the_shared_and_its_own_blocks(own: int) -> None:
    net = multitask(own)
    blocks = list(net.segmentation.blocks)
    net.both(images())[1].square().sum().backward()
    shared = tuple(f"segmentation.blocks.{name}." for name in blocks[: 6 - own])
    assert touched(net) == {name for name, _ in net.named_parameters() if name.startswith((*shared, "auxiliary."))}


@K
def test_the_gradient_of_f_reaches_exactly_f(own: int) -> None:
    net = multitask(own)
    net.both(images())[0].square().sum().backward()
    assert touched(net) == {name for name, _ in net.named_parameters() if name.startswith("segmentation.")}


@K
@pytest.mark.parametrize("training", [True, False])
def test_f_is_the_same_with_and_without_its_branch(own: int, training: bool) -> None:
    net, alone = multitask(own).train(training), made().train(training)
    assert all(a.equal(b) for a, b in zip(net.segmentation.parameters(), alone.parameters(), strict=True))
    other = copy.deepcopy(net)
    expected = alone(images())
    assert net(images()).equal(expected)
    assert other.both(images())[0].equal(expected)


@K
def test_the_branch_starts_from_weights_of_its_own(own: int) -> None:
    net = multitask(own)
    theirs = dict(net.segmentation.blocks.named_parameters())
    weights = {name: value for name, value in net.auxiliary.named_parameters() if value.ndim == 4}
    assert weights
    assert not any(value.equal(theirs[name]) for name, value in weights.items())
    segmentation, auxiliary = net.eval().both(images())
    assert segmentation.shape == auxiliary.shape
    assert not segmentation.equal(auxiliary)


def test_both_runs_the_shared_blocks_once() -> None:
    net, calls = multitask(2), []
    for name, block in [*net.segmentation.blocks.items(), *net.auxiliary.items()]:
        block.register_forward_hook(lambda *_, name=name: calls.append(name))
    net.both(images())
    assert sorted(calls) == sorted(["enc1", "enc2", "enc3", "dec2", "dec1", "head", "dec1", "head"])


def test_own_blocks_that_are_not_the_networks_last_ones_are_refused() -> None:
    blocks = unet(Net(width=2), CLASSES)
    net = BlockNet(unet(Net(width=2), CLASSES), MEAN, STD)
    for names in (["enc1"], ["dec1"], ["head", "dec1"], [], list(blocks)):
        with pytest.raises(ValueError, match=r"own blocks: expected the last 1..5 of .*'head'\], got \["):
            MultiTask(net, {name: blocks[name] for name in names})
