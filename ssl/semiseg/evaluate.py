"""Scoring a network on images of the pack, and predicting masks for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from semiseg.augment.views import plain
from semiseg.data.pack import Pack
from semiseg.device import autocast
from semiseg.metrics import confusion_matrix, scores


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
    network: nn.Module, pack: Pack, rows: Sequence[int] | np.ndarray, *, batch: int, precision: str, device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """(row, predicted class ids (H,W) int64 on `device`) for every row, whole images, no augmentation.

    Images are batched with their neighbours of the same size, at most `batch` at a time.
    """
    for group in _same_size(pack, rows, batch):
        views = plain([pack.image(row) for row in group], [], device=device)
        with evaluating(network), autocast(device, precision):
            predicted = network(views.image).max(1).indices
        yield from zip(group, predicted, strict=True)


def evaluate(
    network: nn.Module, pack: Pack, rows: Sequence[int] | np.ndarray, *, batch: int, precision: str, device: torch.device
) -> dict[tuple[str, str], float]:
    """`scores` of the network on the rows' true masks, from one confusion matrix over all their pixels; classes by name."""
    count = len(pack.classes)
    confusion = torch.zeros(count, count, dtype=torch.int64, device=device)
    for row, predicted in predict(network, pack, rows, batch=batch, precision=precision, device=device):
        mask = pack.mask(row)
        assert mask is not None, pack.ids[row]
        confusion += confusion_matrix(predicted, torch.from_numpy(mask.astype(np.int64)).to(device), count)
    return {
        (pack.classes[int(index)] if index else "", metric): value for (index, metric), value in scores(confusion.cpu()).items()
    }


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
