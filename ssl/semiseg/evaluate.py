"""Scoring a network on images of the pack, and predicting masks for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from semiseg.augment.views import unaugmented
from semiseg.config import Train
from semiseg.data.pack import Pack
from semiseg.device import autocast
from semiseg.metrics import confusion_matrix, decide, scores


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the training mode comes back afterwards."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(training)


def predict(
    network: nn.Module, pack: Pack, rows: Sequence[int] | np.ndarray, train: Train, *, batch: int, device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """(row, class probabilities (C,H,W) float32 on `device`) for every row, whole images, no augmentation.

    Where a class belongs to a whole image they are (C,1,1). Images are batched with their neighbours of the same size, at most
    `batch` at a time.
    """
    for group in _same_size(pack, rows, batch):
        views = unaugmented([pack.image(row) for row in group], [], ranges=pack.ranges_of(group), device=device)
        with evaluating(network), autocast(device, train.precision):
            probs = network(views.image).float().softmax(1)
        yield from zip(group, probs, strict=True)


def evaluate(
    network: nn.Module, pack: Pack, rows: Sequence[int] | np.ndarray, train: Train, *, batch: int, device: torch.device
) -> dict[tuple[str, str], float]:
    """`scores` of the network on the rows' true masks, with the decision rule of the training settings; classes by name."""
    count = len(pack.classes)
    confusions = []
    for row, probs in predict(network, pack, rows, train, batch=batch, device=device):
        mask = pack.mask(row)
        assert mask is not None, pack.ids[row]
        if pack.image_level:
            mask = mask[:1, :1]
        truth = torch.from_numpy(mask.astype(np.int64)).to(device)
        confusions.append(confusion_matrix(decide(probs[None], train.threshold)[0], truth, count))
    found = scores(torch.stack(confusions).cpu(), train.empty_images)
    return {(pack.classes[int(index)] if index else "", metric): value for (index, metric), value in found.items()}


def _same_size(pack: Pack, rows: Sequence[int] | np.ndarray, batch: int) -> Iterator[list[int]]:
    group: list[int] = []
    for row in (int(row) for row in rows):
        same = group and (pack.heights[row], pack.widths[row]) == (pack.heights[group[0]], pack.widths[group[0]])
        if group and (not same or len(group) == batch):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
