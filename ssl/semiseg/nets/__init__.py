"""Networks by name: for segmentation, and for data sets with one class per image."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from semiseg.config import Net, SettingError, Train, require
from semiseg.nets.blocks import BlockNet, freeze_norm
from semiseg.nets.deeplabv2 import branch, deeplabv2
from semiseg.nets.multitask import MultiTask
from semiseg.nets.own import file_of, own_network, reason
from semiseg.nets.resnet import ENCODER
from semiseg.nets.swiftnet import swiftnet
from semiseg.nets.unet import unet
from semiseg.nets.unet_mri import unet_mri
from semiseg.nets.weights import load_weights, located
from semiseg.nets.wide_resnet import wide_resnet

__all__ = ["BACKBONES", "BRANCHES", "NETS", "BlockNet", "MultiTask", "build", "check_network", "located"]

NETS: Mapping[str, Callable[[Net, int], dict[str, nn.Module]]] = {
    "deeplabv2": deeplabv2,
    "swiftnet": swiftnet,
    "unet": unet,
    "unet_mri": unet_mri,
    "wide_resnet": wide_resnet,
}
"""Name -> function of (settings, number of classes) that makes the network's blocks in order."""

BACKBONES: Mapping[str, tuple[str, ...]] = {
    "deeplabv2": ENCODER,
    "swiftnet": ENCODER,
}
"""Name -> the blocks that pretraining is for and whose learning rate has a factor, of networks that have such blocks."""

BRANCHES: Mapping[str, Callable[[Net, int, int], dict[str, nn.Module]]] = {
    "deeplabv2": branch,
}
"""Name -> function of (settings, classes, k) that makes the k own blocks of an auxiliary branch, where they differ from f's."""


def build(
    net: Net, classes: int, *, mean: tuple[float, ...], std: tuple[float, ...], seed: int, own: int = 0
) -> BlockNet | MultiTask:
    """The network with initial weights that depend on `seed` and `net` alone; `own` > 0 adds an auxiliary branch with own blocks.

    The weights of f are the same with and without a branch. Raises SettingError for an unknown name, a branch that is too long,
    one output for other than two classes, or weights that do not fit.
    """
    require(
        net.outputs == "classes" or classes == 2, "net.outputs", net.outputs, f"'classes' for {classes} classes, 'one' for 2 only"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = make(net, classes)
        names = list(blocks)
        require(0 <= own < len(names), "own blocks of the auxiliary branch", own, f"0..{len(names) - 1} for {net.name}")
        fresh = own_blocks(net, classes, names[len(names) - own :])
    segmentation = BlockNet(blocks, mean, std, BACKBONES.get(net.name, ()))
    network = segmentation if own == 0 else MultiTask(segmentation, fresh)
    if net.frozen_norm:
        freeze_norm(network)
    return network


def make(net: Net, classes: int) -> dict[str, nn.Module]:
    """Blocks of f, of random weights but where the settings name others."""
    if file_of(net.name):
        blocks = own_network(net.name, classes)
    else:
        require(net.name in NETS, "net.name", net.name, f"{', '.join(sorted(NETS))}, or FILE.py:FUNCTION")
        blocks = NETS[net.name](net, classes)
    if net.weights:
        load_weights(blocks, net)
    return blocks


def own_blocks(net: Net, classes: int, names: list[str]) -> dict[str, nn.Module]:
    """The named last blocks once more, for an auxiliary branch."""
    if not names:
        return {}
    if net.name in BRANCHES:
        return BRANCHES[net.name](net, classes, len(names))
    again = make(net, classes)
    return {name: again[name] for name in names}


def sample(net: Net, classes: int) -> BlockNet:
    network = build(net, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0)
    assert isinstance(network, BlockNet)
    return network


def check_network(net: Net, classes: int, train: Train, image_level: bool = False, branch: int = 0) -> None:
    """Raise SettingError when the network cannot be built or cannot train on the crops, such as too small ones for its depth.

    `branch` is the largest number of blocks that an auxiliary branch is to have of its own; the network must have more.

    Data with one class per image (`image_level`) need a network with one output per image, other data one with an output per pixel.
    """
    assert train.crop is not None
    network = sample(net, classes)
    if network.image_level != image_level:
        fitting = [name for name in NETS if sample(Net(name=name, width=2), classes).image_level == image_level]
        what = "a whole image" if image_level else "each pixel"
        raise SettingError(f"net.name: got {net.name!r}; allowed: {', '.join(fitting)}, as the data set has a class for {what}")
    count = len(network.blocks)
    enough = f"one of more than {branch} blocks, as the method's second branch has {branch} of its own; this one has {count}"
    require(branch < count, "net.name", net.name, enough)
    images = train.batch_labelled + train.batch_unlabelled
    what = f"{net.name} cannot train on {images} crops of {train.crop}"
    own = file_of(net.name) is not None
    try:
        with torch.no_grad():
            network(torch.zeros(min(images, 2), 3, *train.crop))
    except SettingError:
        raise
    except Exception as error:
        if own:
            allowed = "a network that can, or other crops (train.crop)"
            raise SettingError(f"net.name: {what} ({reason(error, net.name)}); allowed: {allowed}") from error
        if not isinstance(error, RuntimeError | ValueError):
            raise
        raise SettingError(f"train.crop: {what} ({str(error).splitlines()[0]}); allowed: larger ones") from None
