"""Random logits, probabilities and masks of two images of three classes, and slow ways to read them. Not a test module."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from semiseg.batch import IGNORE

SHAPE = (2, 3, 4, 5)


def logits(seed: int = 0) -> Tensor:
    return 3 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def probs(seed: int = 1) -> Tensor:
    return logits(seed).softmax(1)


def some_mask(share_ignored: float = 0.3, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, SHAPE[1], (SHAPE[0], *SHAPE[2:]), generator=generator)
    return mask.masked_fill(torch.rand(mask.shape, generator=generator) < share_ignored, IGNORE)


def one_hot(mask: Tensor) -> Tensor:
    return F.one_hot(mask.clamp(max=SHAPE[1] - 1), SHAPE[1]).movedim(-1, 1).float()


def everywhere() -> Tensor:
    return torch.ones(SHAPE[0], *SHAPE[2:], dtype=torch.bool)


def binary(p: float) -> Tensor:
    """Logits (1,2,1,1) whose softmax gives class 1 the probability p."""
    return torch.tensor([0.0, math.log(p / (1 - p))]).reshape(1, 2, 1, 1)


def pixels(score: Tensor) -> list[list[float]]:
    """Logits or probabilities of every pixel, one list of classes each, in the order of a flattened mask."""
    return score.movedim(1, -1).reshape(-1, score.shape[1]).tolist()


def log_softmax(values: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]
