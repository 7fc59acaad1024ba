"""Scoring a network on images of the pack, and predicting their class probabilities, whole or in windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from semiseg.augment.views import unaugmented
from semiseg.batch import IGNORE
from semiseg.config import ALIGNED, Train, require
from semiseg.data.pack import Pack
from semiseg.device import autocast
from semiseg.gauges import GAUGES, Counts, numbered
from semiseg.lazy import nn, torch
from semiseg.measures import METRICS
from semiseg.metrics import confusion_matrices, decide, scores

if TYPE_CHECKING:
    from torch import Tensor

MOST_WHOLE, MOST_WINDOWS, MOST_CPU = 1 << 23, 1 << 20, 1 << 17
"""Pixels of images, or of windows, that are predicted at a time, and on a CPU, beyond whose caches they would be slower; of a single one
more."""

Place = tuple[slice, slice]
"""Rows and columns of an image."""


class Shown(Protocol):
    """Images by row, as a pack has them."""

    @property
    def heights(self) -> np.ndarray: ...
    @property
    def widths(self) -> np.ndarray: ...
    def image(self, row: int, /) -> np.ndarray: ...
    def ranges_of(self, rows: Sequence[int], /) -> list[np.ndarray] | None: ...


class Window(NamedTuple):
    """What the network is shown of an image, and the part in the middle of it for which its answer counts."""

    seen: Place
    kept: Place


class Tile(NamedTuple):
    """Class probabilities (C,h,w) float32 of a place of the image in a row; those of all tiles of an image cover it once.

    Where a class belongs to a whole image, its only tile has probabilities (C,1,1).
    """

    row: int
    place: Place
    probs: Tensor


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
    network: nn.Module, pack: Shown, rows: Sequence[int] | np.ndarray, train: Train, *, batch: int, device: torch.device
) -> Iterator[Tile]:
    """Tiles of every row on `device`, no augmentation: an image is one tile unless `train.sliding_window` cuts it into several.

    Images or windows are batched with their neighbours of the same size, at most `batch` and some million pixels at a time. Only what
    the network is shown is read from the pack.
    """
    for group, probs in _predicted(network, pack, rows, train, batch=batch, device=device):
        yield from _tiles(group, probs)


def _predicted(
    network: nn.Module, pack: Shown, rows: Sequence[int] | np.ndarray, train: Train, *, batch: int, device: torch.device
) -> Iterator[tuple[list[tuple[int, Window]], Tensor]]:
    """Windows of one size with their rows, and the probabilities (N,C,h,w) of all that they see."""
    most = MOST_WHOLE if train.sliding_window is None else MOST_WINDOWS
    for group in _same_size(_seen(pack, rows, train), batch, min(most, MOST_CPU) if device.type == "cpu" else most):
        views = unaugmented(
            [pack.image(row)[window.seen] for row, window in group],
            [],
            ranges=pack.ranges_of([row for row, _ in group]),
            device=device,
        )
        with evaluating(network), autocast(device, train.precision):
            probs = network(views.image).float().softmax(1)
        yield group, probs


def _tiles(group: list[tuple[int, Window]], probs: Tensor) -> Iterator[Tile]:
    for (row, window), found in zip(group, probs, strict=True):
        yield Tile(row, window.kept, found if window.seen == window.kept else found[:, *_inside(window)])


def windows(height: int, width: int, size: tuple[int, int] | None, overlap: int) -> list[Window]:
    """Windows of at most `size` whose kept parts cover an image once, in reading order.

    Every window begins at a multiple of ALIGNED, so that what a network pools together is the same in all of them, and sees at least
    `overlap` pixels more than it keeps on each side, but at the image's edge, where it ends like the image does. An image that is no
    larger, or a `size` of None, has one window.
    """
    high, wide = size or (height, width)
    return [
        Window((rows[0], columns[0]), (rows[1], columns[1]))
        for rows in _spans(height, high, overlap)
        for columns in _spans(width, wide, overlap)
    ]


def _spans(length: int, window: int, overlap: int) -> list[tuple[slice, slice]]:
    """What the windows along one axis see and keep."""
    if length <= window:
        return [(slice(0, length), slice(0, length))]
    last = -(-(length - window) // ALIGNED) * ALIGNED
    starts = [*range(0, length - window, window - 2 * overlap), last]
    cuts = [0, *(start + window - overlap for start in starts[:-1]), length]
    seen = [slice(start, min(start + window, length)) for start in starts]
    return list(zip(seen, [slice(*cut) for cut in pairwise(cuts)], strict=True))


def _inside(window: Window) -> Place:
    """Where in the window the kept part is."""
    rows, columns = (
        slice(kept.start - seen.start, kept.stop - seen.start) for seen, kept in zip(window.seen, window.kept, strict=True)
    )
    return rows, columns


def spread_over(found: np.ndarray, place: Place) -> np.ndarray:
    """A map predicted for a place as it is, the one value of a whole image repeated over it."""
    return np.broadcast_to(found, [part.stop - part.start for part in place])


class Evaluated(NamedTuple):
    """What an evaluation found. `counts` are of what scores were made: ("confusion", true class, predicted class) has pixels, none where
    there are none, and what gauges count."""

    scores: dict[tuple[str, str], float]
    counts: Counts


def evaluate(
    network: nn.Module,
    pack: Pack,
    rows: Sequence[int] | np.ndarray,
    train: Train,
    *,
    batch: int,
    device: torch.device,
    metrics: Sequence[str] = (),
) -> Evaluated:
    """`scores` of the network on the rows' true masks, with the decision rule of the training settings; classes by name. And the counts.

    `metrics` names further ones, of GAUGES. Without those that need whole masks, no more of an image is held than a tile.
    """
    count = len(pack.classes)
    gauges = {name: GAUGES[name](pack, rows) for name in metrics}
    whole = [gauge for gauge in gauges.values() if gauge.WHOLE]
    confusions: dict[int, Tensor] = {}
    canvas = np.zeros((0, 0), np.uint8)
    missing = 0
    for group, probs in _predicted(network, pack, rows, train, batch=batch, device=device):
        truths = torch.from_numpy(np.stack([_truth(pack, row, window) for row, window in group])).to(device)
        matrices = confusion_matrices(decide(probs, train.threshold), truths.long(), count)
        for (row, _), matrix in zip(group, matrices, strict=True):
            confusions[row] = confusions[row] + matrix if row in confusions else matrix
        for row, place, shown in _tiles(group, probs) if gauges else ():
            mask = pack.mask(row)
            assert mask is not None
            part = mask[:1, :1] if pack.image_level else mask[place]
            truth = torch.from_numpy(part.astype(np.int64)).to(device)
            for gauge in gauges.values():
                gauge.add(shown, truth)
            if whole:
                if missing == 0:
                    canvas, missing = np.empty(mask.shape, np.uint8), mask.size
                predicted = decide(shown[None], train.threshold)[0].to("cpu", torch.uint8)
                canvas[place] = spread_over(predicted.numpy(), place)
                missing -= part.size
                for gauge in whole if missing == 0 else ():
                    gauge.add_image(row, canvas, mask)
    volumes = torch.tensor(list(numbered(pack, confusions).values()), dtype=torch.int64)
    matrices = torch.stack(list(confusions.values())).cpu()
    found = scores(matrices, train.empty_images, volumes)
    counts: Counts = {}
    for truth, line in zip(pack.classes, matrices.sum(0).tolist(), strict=True):
        counts |= {
            ("confusion", truth, predicted): float(value) for predicted, value in zip(pack.classes, line, strict=True) if value
        }
    for gauge in gauges.values():
        found |= gauge.scores()
        counts |= gauge.counts()
    return Evaluated(
        {(pack.classes[int(index)] if index else "", metric): value for (index, metric), value in found.items()}, counts
    )


def _truth(pack: Pack, row: int, window: Window) -> np.ndarray:
    """The true mask of what a window sees, IGNORE where its answer does not count, or the class (1,1) of a whole image."""
    mask = pack.mask(row)
    assert mask is not None, pack.ids[row]
    if pack.image_level:
        return mask[:1, :1]
    seen = np.full([part.stop - part.start for part in window.seen], IGNORE, np.uint8)
    seen[_inside(window)] = mask[window.kept]
    return seen


def thinned_masks(
    network: nn.Module,
    pack: Pack,
    rows: Sequence[int] | np.ndarray,
    train: Train,
    *,
    batch: int,
    device: torch.device,
) -> dict[int, np.ndarray]:
    """Predicted masks uint8 by row for people, by the decision rule of the training settings, with the rows and columns that
    `Pack.picture` has."""
    found: dict[int, np.ndarray] = {}
    for row, place, probs in predict(network, pack, rows, train, batch=batch, device=device):
        size, step = (int(pack.heights[row]), int(pack.widths[row])), pack.step(row)
        picture = found.setdefault(row, np.empty([-(-side // step) for side in size], np.uint8))
        mask = spread_over(decide(probs[None], train.threshold)[0].to("cpu", torch.uint8).numpy(), place)
        thin = mask[-place[0].start % step :: step, -place[1].start % step :: step]
        top, left = (-(-part.start // step) for part in place)
        picture[top : top + thin.shape[0], left : left + thin.shape[1]] = thin
    return found


def check_scoring(train: Train, pack: Pack) -> None:
    """Raise SettingError for metrics and windows that the data have no use for."""
    masks = "where a data set has a class for each pixel"
    if pack.image_level:
        require(train.sliding_window is None, "train.sliding_window", train.sliding_window, f"windows only {masks}")
        for name in train.metrics:
            require(not METRICS[name].whole, "train.metrics", name, f"this one only {masks}")
    sizes: dict[str, tuple[int, int]] = {}
    for name in (name for name in train.metrics if METRICS[name].unit == "distance"):
        for row, volume in enumerate(pack.volumes):
            size = (int(pack.heights[row]), int(pack.widths[row]))
            allowed = (
                f"this one only where all slices of a volume are of one size, unlike those of {volume}; --data.size makes them so"
            )
            require(sizes.setdefault(volume, size) == size, "train.metrics", name, allowed)


def _seen(pack: Shown, rows: Sequence[int] | np.ndarray, train: Train) -> Iterator[tuple[int, Window]]:
    for row in (int(row) for row in rows):
        for window in windows(int(pack.heights[row]), int(pack.widths[row]), train.sliding_window, train.window_overlap):
            yield row, window


def _same_size(parts: Iterable[tuple[int, Window]], batch: int, most: int) -> Iterator[list[tuple[int, Window]]]:
    group: list[tuple[int, Window]] = []
    held = (0, 0)
    for row, window in parts:
        rows, columns = window.seen
        size = (rows.stop - rows.start, columns.stop - columns.start)
        full = len(group) == batch or (len(group) + 1) * size[0] * size[1] > most
        if group and (size != held or full):
            yield group
            group = []
        group.append((row, window))
        held = size
    if group:
        yield group
