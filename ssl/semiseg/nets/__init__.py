"""Networks by name: for segmentation, and for data sets with one class per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from semiseg.config import Net, SettingError, Train, require
from semiseg.lazy import nn, torch
from semiseg.machine import need_memory
from semiseg.nets.deeplabv2 import DeepLabV2
from semiseg.nets.own import OwnNet, file_of, function, reason, takes_channels
from semiseg.nets.room import FLOAT, need_room
from semiseg.nets.smp import SMP
from semiseg.nets.strided import guard_backward, has_the_fault
from semiseg.nets.swiftnet import SwiftNet
from semiseg.nets.unet import UNet
from semiseg.nets.unet_mri import UNetMRI
from semiseg.nets.weights import brief, load_weights, located
from semiseg.nets.wide_resnet import WideResNet

if TYPE_CHECKING:
    from semiseg.nets.blocks import BlockNet
    from semiseg.nets.multitask import MultiTask

__all__ = [
    "NETS",
    "SMP",
    "BlockNet",
    "DeepLabV2",
    "MultiTask",
    "OwnNet",
    "SwiftNet",
    "UNet",
    "UNetMRI",
    "WideResNet",
    "build",
    "check_network",
    "located",
    "net_kind",
    "net_named",
]

NETS: Mapping[str, type[Net]] = {
    "deeplabv2": DeepLabV2,
    "smp:unet": SMP,
    "swiftnet": SwiftNet,
    "unet": UNet,
    "unet_mri": UNetMRI,
    "wide_resnet": WideResNet,
}
"""Name -> the settings that the network has, which make its blocks. A name FAMILY:ONE stands for all of its family."""


def __getattr__(name: str) -> Any:
    """The two classes of networks, whose modules import torch."""
    if name == "BlockNet":
        from semiseg.nets.blocks import BlockNet

        return BlockNet
    if name == "MultiTask":
        from semiseg.nets.multitask import MultiTask

        return MultiTask
    raise AttributeError(name)


def net_kind(name: str) -> type[Net]:
    """Class of the settings of the network `name`. SettingError for an unknown one."""
    if file_of(name):
        return OwnNet
    family = name.partition(":")[0] + ":"
    kinds = [kind for known, kind in NETS.items() if known == name or (":" in name and known.startswith(family))]
    require(bool(kinds), "net.name", name, f"{', '.join(sorted(NETS))}, or FILE.py:FUNCTION")
    return kinds[0]


def net_named(name: str, like: Net) -> Net:
    """The network `name` with the values that `like` has for the settings of both, and its defaults for the others."""
    kind = net_kind(name)
    shared = {field.name for field in fields(kind)} & {field.name for field in fields(like)}
    values: dict[str, Any] = {field: getattr(like, field) for field in shared}
    values["name"] = name
    return kind(**values)


def build(
    net: Net, classes: int, *, mean: tuple[float, ...], std: tuple[float, ...], seed: int, own: int = 0
) -> BlockNet | MultiTask:
    """The network with initial weights that depend on `seed` and `net` alone; `own` > 0 adds an auxiliary branch with own blocks.

    It takes images of as many channels as there are in `mean` and `std`, those of the training images per channel.
    The weights of f are the same with and without a branch. Where a layer's backward pass could corrupt the heap, it is safe in
    this process from here on (`guard_backward`). Raises SettingError for a branch that is too long, one output for other than two
    classes, or weights that do not fit.
    """
    from semiseg.nets.blocks import BlockNet, freeze_norm, set_momentum
    from semiseg.nets.multitask import MultiTask

    load = partial(load_if_named, net=net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = net.blocks(classes, len(mean))
        load(blocks)
        require(0 <= own < len(blocks), "own blocks of the auxiliary branch", own, f"0..{len(blocks) - 1} for {net.name}")
        fresh = net.branch(classes, own, load, len(mean)) if own else {}
    mean, std = net.statistics(len(mean)) or (mean, std)
    segmentation = BlockNet(blocks, mean, std, net.backbone(blocks), net.encoder_blocks(blocks))
    network = MultiTask(segmentation, fresh) if own else segmentation
    if net.frozen_norm:
        freeze_norm(network)
    if net.bn_momentum is not None:
        set_momentum(network, net.bn_momentum)
    if isinstance(net, OwnNet) or has_the_fault(network):  # a user's own file may call convolutions that are no layers
        guard_backward()
    return network


def load_if_named(blocks: dict[str, nn.Module], net: Net) -> None:
    """Give the blocks the weights that the settings name, if they name any."""
    if net.weights:
        load_weights(blocks, net)


def sample(net: Net, classes: int, channels: int) -> BlockNet:
    from semiseg.nets.blocks import BlockNet

    network = build(net, classes, mean=(0.5,) * channels, std=(0.25,) * channels, seed=0)
    assert isinstance(network, BlockNet)
    return network


def has_level(net: Net, classes: int, channels: int, image_level: bool) -> bool:
    """Whether the network is one of whole images or not, as asked; no network is either whose library is not installed."""
    try:
        return sample(net, classes, channels).image_level == image_level
    except SettingError:
        return False


def check_network(
    net: Net,
    classes: int,
    train: Train,
    image_level: bool = False,
    branch: int = 0,
    smallest: tuple[int, int] | None = None,
    channels: int = 3,
    largest: tuple[int, int] | None = None,
) -> None:
    """Raise SettingError when the network cannot be built or cannot train on the crops, such as too small ones for its depth.

    `branch` is the largest number of blocks that an auxiliary branch is to have of its own; the network must have more.

    Data with one class per image (`image_level`) need a network with one output per image, other data one with an output per pixel.
    `smallest` is the height and width of the smallest image that is scored, `largest` that of the largest one that is scored whole,
    `channels` how many all images have.
    """
    assert train.crop is not None
    images = train.batch_labelled + train.batch_unlabelled
    pixels = images * train.crop[0] * train.crop[1]
    need_memory("train.crop", train.crop, pixels * (channels + 2 * classes) * FLOAT, f"a step of {images} images")
    check_parameters(net, classes, channels)
    network = sample(net, classes, channels)
    if network.image_level != image_level:
        fitting = [name for name in NETS if has_level(NETS[name](), classes, channels, image_level)]
        what = "a whole image" if image_level else "each pixel"
        raise SettingError(f"net.name: got {net.name!r}; allowed: {', '.join(fitting)}, as the data set has a class for {what}")
    count = len(network.blocks)
    enough = f"one of more than {branch} blocks, as the method's second branch has {branch} of its own; this one has {count}"
    require(branch < count, "net.name", net.name, enough)
    what = f"{net.name} cannot train on {images} crops of {train.crop}"
    try:
        with torch.no_grad():
            network(torch.zeros(min(images, 2), channels, *train.crop))
    except SettingError:
        raise
    except Exception as error:
        if isinstance(net, OwnNet):
            allowed = "a network that can, or other crops (train.crop)"
            if channels != 3 and not takes_channels(function(net.name)):
                what, allowed = f"{what} with {channels} channels", f"a function with a parameter channels, {allowed}"
            raise SettingError(f"net.name: {what} ({reason(error, net.name)}); allowed: {allowed}") from error
        if not isinstance(error, RuntimeError | ValueError):
            raise
        raise SettingError(f"train.crop: {what} ({str(error).splitlines()[0]}); allowed: larger ones") from None
    if smallest is not None:
        try:
            with torch.inference_mode():
                network.eval()(torch.zeros(1, channels, *smallest))
        except Exception as error:  # noqa: BLE001  a network of one's own may raise anything
            said = reason(error, net.name) if isinstance(net, OwnNet) else brief(error)
            raise SettingError(
                f"data.size: {net.name} cannot score images of {smallest[0]}x{smallest[1]} pixels ({said}); allowed: larger ones"
            ) from None
    if largest is not None:
        need_room(network, classes, torch.zeros(1, channels, *(min(side, 256) for side in train.crop)), largest)


def check_parameters(net: Net, classes: int, channels: int) -> None:
    """Raise SettingError for a network that is too large for this machine, before any memory is taken for it."""
    if isinstance(net, OwnNet | SMP):  # code that is not ours may do anything; it is built to be checked
        return
    with torch.device("meta"):
        count = sum(value.numel() for block in net.blocks(classes, channels).values() for value in block.parameters())
    setting = "net.width" if hasattr(net, "width") else "net.name"
    value = getattr(net, "width", net.name)
    need_memory(setting, value, count * FLOAT * 4, "the network with its gradients and Adam's averages")
