"""The optimiser of a network, in which the backbone has a learning rate and weight decay of its own."""

import torch
from torch import nn

from semiseg.config import Train
from semiseg.nets.blocks import BlockNet
from semiseg.nets.multitask import MultiTask


def optimiser(net: torch.nn.Module, train: Train) -> torch.optim.Optimizer:
    """The optimiser that the settings ask for, with a group for the backbone; fused: one pass over the parameters, on CPU too."""
    backbone, rest = parameters(net)
    kinds = ((backbone, train.backbone_rate, train.backbone_decay), (rest, 1.0, 1.0))
    groups = [
        {"params": found, "factor": rate, "weight_decay": train.weight_decay * decay} for found, rate, decay in kinds if found
    ]
    if train.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=train.learning_rate, momentum=train.betas[0], fused=True)
    return torch.optim.Adam(groups, lr=train.learning_rate, betas=train.betas, fused=True)


def parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trained parameters of the backbone, and all others; an auxiliary branch is not part of the backbone."""
    segmentation = network.segmentation if isinstance(network, MultiTask) else network
    backbone = [segmentation.blocks[name] for name in segmentation.backbone] if isinstance(segmentation, BlockNet) else []
    first = [one for block in backbone for one in block.parameters() if one.requires_grad]
    known = set(map(id, first))
    return first, [one for one in network.parameters() if one.requires_grad and id(one) not in known]
