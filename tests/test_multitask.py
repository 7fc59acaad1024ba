"""The auxiliary branch of a U-Net shares all blocks but its own last ones, and nothing else of f changes."""

import copy

import pytest
from test_nets import CLASSES, MEAN, STD, K, convs, count, images, made, touched

from semiseg.nets import BlockNet, MultiTask, UNet


def multitask(own: int, depth: int = 3) -> MultiTask:
    net = made(own=own, depth=depth)
    assert isinstance(net, MultiTask)
    return net


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
    blocks = UNet(width=2).blocks(CLASSES)
    net = BlockNet(UNet(width=2).blocks(CLASSES), MEAN, STD)
    for names in (["enc1"], ["dec1"], ["head", "dec1"], [], list(blocks)):
        with pytest.raises(ValueError, match=r"own blocks: expected the last 1..5 of .*'head'\], got \["):
            MultiTask(net, {name: blocks[name] for name in names})
