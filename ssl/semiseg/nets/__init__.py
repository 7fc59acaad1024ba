"""Segmentation networks by name."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from semiseg.config import Net, require
from semiseg.nets.blocks import BlockNet
from semiseg.nets.multitask import MultiTask
from semiseg.nets.unet import unet

NETS: Mapping[str, Callable[[Net, int], dict[str, nn.Module]]] = {
    "unet": unet,
}
"""Name -> function of (settings, number of classes) that makes the network's blocks in order."""


def build(
    net: Net, classes: int, *, mean: tuple[float, ...], std: tuple[float, ...], seed: int, own: int = 0
) -> BlockNet | MultiTask:
    """The network with initial weights that depend on `seed` alone; `own` > 0 adds an auxiliary branch with that many own blocks.

    The weights of f are the same with and without a branch. Raises SettingError for an unknown name or a branch that is too long.
    """
    require(net.name in NETS, "net.name", net.name, ", ".join(sorted(NETS)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        segmentation = BlockNet(NETS[net.name](net, classes), mean, std)
        names = list(segmentation.blocks)
        require(0 <= own < len(names), "own blocks of the auxiliary branch", own, f"0..{len(names) - 1} for {net.name}")
        if own == 0:
            return segmentation
        fresh = NETS[net.name](net, classes)
        return MultiTask(segmentation, {name: fresh[name] for name in names[-own:]})
