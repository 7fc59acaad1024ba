"""The optimiser of a network, in which the backbone has a learning rate and weight decay of its own."""

from __future__ import annotations

from semiseg.config import Train
from semiseg.lazy import nn, torch
from semiseg.nets.eager import eager


def optimiser(net: torch.nn.Module, train: Train) -> torch.optim.Optimizer:
    """The optimiser that the settings ask for, with groups for the backbone; fused: one pass over the parameters, on CPU too.

    A group's "factor" is that of the learning rate: `backbone_rate` in the backbone, times `layer_decay` for each of its blocks
    that comes after the parameter's. AdamW decays what has two axes or more, as is usual with it; Adam and SGD, all.
    """
    blocks, rest = parameters(net)
    if train.layer_decay == 1:
        blocks = [[one for block in blocks for one in block]]
    kinds = [(block, train.backbone_rate * train.layer_decay**i, train.backbone_decay) for i, block in enumerate(blocks[::-1])]
    groups = [
        {"params": found, "factor": rate, "weight_decay": train.weight_decay * decay * share}
        for part, rate, decay in (*kinds[::-1], (rest, 1.0, 1.0))
        for found, share in zip(decayed_or_not(part, train.optimiser), (1.0, 0.0), strict=True)
        if found
    ]
    if train.optimiser == "sgd":
        return eager(torch.optim.SGD)(groups, lr=train.learning_rate, momentum=train.betas[0], fused=True)
    kind = torch.optim.AdamW if train.optimiser == "adamw" else torch.optim.Adam
    return eager(kind)(groups, lr=train.learning_rate, betas=train.betas, fused=True)


def decayed_or_not(found: list[nn.Parameter], kind: str) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that the optimiser decays, and those that it does not."""
    spared = {id(one) for one in found if kind == "adamw" and one.ndim <= 1}
    return [one for one in found if id(one) not in spared], [one for one in found if id(one) in spared]


def parameters(network: nn.Module) -> tuple[list[list[nn.Parameter]], list[nn.Parameter]]:
    """Trained parameters of the backbone by block, and all others; an auxiliary branch is not part of the backbone."""
    from semiseg.nets.blocks import BlockNet
    from semiseg.nets.multitask import MultiTask

    segmentation = network.segmentation if isinstance(network, MultiTask) else network
    backbone = [segmentation.blocks[name] for name in segmentation.backbone] if isinstance(segmentation, BlockNet) else []
    first = [[one for one in block.parameters() if one.requires_grad] for block in backbone]
    known = {id(one) for block in first for one in block}
    return first, [one for one in network.parameters() if one.requires_grad and id(one) not in known]
