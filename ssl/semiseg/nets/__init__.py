"""Networks by name: for segmentation, and for data sets with one class per image."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from semiseg.config import Net, SettingError, Train, require
from semiseg.nets.blocks import BlockNet
from semiseg.nets.multitask import MultiTask
from semiseg.nets.unet import unet
from semiseg.nets.wide_resnet import wide_resnet

NETS: Mapping[str, Callable[[Net, int], dict[str, nn.Module]]] = {
    "unet": unet,
    "wide_resnet": wide_resnet,
}
"""Name -> function of (settings, number of classes) that makes the network's blocks in order."""


def build(
    net: Net, classes: int, *, mean: tuple[float, ...], std: tuple[float, ...], seed: int, own: int = 0
) -> BlockNet | MultiTask:
    """The network with initial weights that depend on `seed` alone; `own` > 0 adds an auxiliary branch with that many own blocks.

    The weights of f are the same with and without a branch. Raises SettingError for an unknown name, a branch that is too long or
    one output for other than two classes.
    """
    require(net.name in NETS, "net.name", net.name, ", ".join(sorted(NETS)))
    require(
        net.outputs == "classes" or classes == 2, "net.outputs", net.outputs, f"'classes' for {classes} classes, 'one' for 2 only"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        segmentation = BlockNet(NETS[net.name](net, classes), mean, std)
        names = list(segmentation.blocks)
        require(0 <= own < len(names), "own blocks of the auxiliary branch", own, f"0..{len(names) - 1} for {net.name}")
        if own == 0:
            return segmentation
        fresh = NETS[net.name](net, classes)
        return MultiTask(segmentation, {name: fresh[name] for name in names[-own:]})


def sample(net: Net, classes: int) -> BlockNet | MultiTask:
    return build(net, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0, own=1)


def check_network(net: Net, classes: int, train: Train, image_level: bool = False) -> None:
    """Raise SettingError when the network cannot be built or cannot train on the crops, such as too small ones for its depth.

    Data with one class per image (`image_level`) need a network with one output per image, other data one with an output per pixel.
    """
    assert train.crop is not None
    network = sample(net, classes)
    if network.image_level != image_level:
        fitting = [name for name in NETS if sample(Net(name=name), classes).image_level == image_level]
        what = "a whole image" if image_level else "each pixel"
        raise SettingError(f"net.name: got {net.name!r}; allowed: {', '.join(fitting)}, as the data set has a class for {what}")
    images = train.batch_labelled + train.batch_unlabelled
    try:
        with torch.no_grad():
            network(torch.zeros(min(images, 2), 3, *train.crop))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"train.crop: {net.name} cannot train on {images} crops of {train.crop} ({reason}); allowed: larger ones"
        ) from None
