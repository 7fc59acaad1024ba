"""Metrics that take more than a confusion matrix, measured while images are predicted: at boundaries, along surfaces, of confidences."""

from __future__ import annotations

import abc
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from semiseg.batch import IGNORE
from semiseg.data.pack import Pack
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

DILATION = 0.02
"""Width of a boundary as a share of the image's diagonal (Cheng et al. 2021, section 4.2)."""
BINS = 15
"""Of confidence, equally wide (Guo et al. 2017)."""

Scores = dict[tuple[str, str], float]
"""By class index, or "" for all classes, and metric."""
Counts = dict[tuple[str, str, str], float]
"""By table, and what a count is of: in "calibration" the bin, from 0, and "pixels", "right" or "confidence"."""


class Gauge(abc.ABC):
    """One metric over the rows that are scored; it is shown every tile and, where it wants them, every whole mask."""

    WHOLE: ClassVar[bool] = False
    """Whether it wants whole masks."""

    def __init__(self, pack: Pack, rows: Sequence[int] | np.ndarray) -> None:
        self.pack = pack
        self.classes = len(pack.classes)

    def add(self, probs: Tensor, truth: Tensor) -> None:
        """A tile: probabilities (C,h,w) and true mask (h,w) int64."""
        return

    def add_image(self, row: int, predicted: np.ndarray, truth: np.ndarray) -> None:
        """An image: predicted and true mask (H,W) uint8, which it may keep but not change."""
        return

    @abc.abstractmethod
    def scores(self) -> Scores:
        """What all tiles or images gave; nan where nothing defines it."""

    def counts(self) -> Counts:
        """Of what the scores were made, where reports show more of it than those."""
        return {}


class CalibrationError(Gauge):
    """Expected calibration error (Guo et al. 2017, equation 5) over all pixels that count, 0 best.

    sum over bins of share of pixels * |share of right ones - mean confidence|, where a pixel's confidence is its largest probability,
    what it says the class of that one (whatever `train.threshold`), and bin k of BINS holds confidences in (k / BINS, (k + 1) / BINS].
    """

    def __init__(self, pack: Pack, rows: Sequence[int] | np.ndarray) -> None:
        super().__init__(pack, rows)
        self.sums = torch.zeros(3, BINS, dtype=torch.float64)
        """Pixels, right ones and summed confidence by bin."""

    def add(self, probs: Tensor, truth: Tensor) -> None:
        confidence, said = probs.max(0)
        counts = truth != IGNORE
        confidence, right = confidence[counts].double(), (said == truth)[counts]
        place = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
        weights = (torch.ones_like(confidence), right.double(), confidence)
        self.sums += torch.stack([torch.bincount(place, weight, BINS) for weight in weights]).cpu()

    def scores(self) -> Scores:
        pixels, right, confidence = self.sums
        return {("", "ece"): ((right - confidence).abs().sum() / pixels.sum()).item()}

    def counts(self) -> Counts:
        names = ("pixels", "right", "confidence")
        lines = zip(names, self.sums.tolist(), strict=True)
        return {("calibration", str(place), name): value for name, line in lines for place, value in enumerate(line) if value}


class BoundaryIou(Gauge):
    """Boundary IoU (Cheng et al. 2021, equation 2): the IoU of the pixels of both masks that lie near their own mask's boundary.

    Near: within DILATION of the image's diagonal, at least a pixel, counted in steps to one of eight neighbours; what lies outside
    the image is of no class. By class from the sums over all images, and the mean of all classes that occur, as for miou. An ignored
    pixel is of no class, in the prediction either.
    """

    WHOLE = True

    def __init__(self, pack: Pack, rows: Sequence[int] | np.ndarray) -> None:
        super().__init__(pack, rows)
        self.shared, self.either = np.zeros((2, self.classes), np.int64)

    def add_image(self, row: int, predicted: np.ndarray, truth: np.ndarray) -> None:
        reach = max(1, round(DILATION * math.hypot(*truth.shape)))
        for index in range(self.classes):
            one, other = ((mask == index) & (truth != IGNORE) for mask in (predicted, truth))
            if one.any() or other.any():
                one, other = near_boundary(one, reach), near_boundary(other, reach)
                self.shared[index] += np.count_nonzero(one & other)
                self.either[index] += np.count_nonzero(one | other)

    def scores(self) -> Scores:
        each = np.where(self.either > 0, self.shared / np.maximum(self.either, 1), math.nan)
        return by_class("boundary_iou", each) | {("", "boundary_iou"): mean_of(each)}


class SurfaceDistance(Gauge):
    """A distance between the surfaces of predicted and true volumes, whose slices are those of one entry of `Pack.volumes`.

    Of classes 1..C-1, in the units of `Pack.spacings`, or in pixels without them; 0 best. The mean over the classes of a volume, then
    over volumes; by class over volumes. A class in neither mask of a volume is left out; one in a single of the two counts the
    volume's diagonal. A volume of one slice is an image. An ignored pixel is of no class, in the prediction either.
    """

    WHOLE = True

    def __init__(
        self,
        name: str,
        distance: Callable[[np.ndarray, np.ndarray, Sequence[float]], float],
        pack: Pack,
        rows: Sequence[int] | np.ndarray,
    ) -> None:
        super().__init__(pack, rows)
        self.name, self.distance = name, distance
        self.waiting = Counter(pack.volumes[int(row)] for row in rows)
        self.slices: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        self.found: list[np.ndarray] = []

    def add_image(self, row: int, predicted: np.ndarray, truth: np.ndarray) -> None:
        name = self.pack.volumes[row]
        self.slices.setdefault(name, []).append((np.where(truth == IGNORE, np.uint8(IGNORE), predicted), truth))
        if len(self.slices[name]) < self.waiting[name]:
            return
        one, other = (np.stack(masks) for masks in zip(*self.slices.pop(name), strict=True))
        spacing = [1.0] * 3 if self.pack.spacings is None else self.pack.spacings[row].tolist()
        if len(one) == 1:
            one, other, spacing = one[0], other[0], spacing[1:]
        self.found.append(np.array([self._of_class(one == index, other == index, spacing) for index in range(1, self.classes)]))

    def _of_class(self, one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> float:
        if one.any() and other.any():
            return self.distance(one, other, spacing)
        return math.hypot(*(a * b for a, b in zip(one.shape, spacing, strict=True))) if one.any() or other.any() else math.nan

    def scores(self) -> Scores:
        found = np.array(self.found).reshape(-1, self.classes - 1)
        each = np.array([math.nan, *(mean_of(values) for values in found.T)])
        return by_class(self.name, each) | {("", self.name): mean_of([mean_of(values) for values in found])}


def hd95(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> float:
    """The larger of the two 95th percentiles of distances from a surface to the other one (MONAI); masks bool of one shape, not empty."""
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # an extra, and slow to import

    return _measured(compute_hausdorff_distance, one, other, spacing, percentile=95)


def asd(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> float:
    """The mean of all distances from either surface to the other one (MONAI); masks bool of one shape, not empty."""
    from monai.metrics.surface_distance import compute_average_surface_distance

    return _measured(compute_average_surface_distance, one, other, spacing, symmetric=True)


def _measured(
    measure: Callable[..., Tensor], one: np.ndarray, other: np.ndarray, spacing: Sequence[float], **options: object
) -> float:
    masks = (torch.from_numpy(mask)[None, None] for mask in (one, other))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's, of what it calls itself
        return measure(*masks, include_background=True, spacing=list(spacing), **options).item()


def near_boundary(mask: np.ndarray, reach: int) -> np.ndarray:
    """The pixels of a mask (H,W) bool within `reach` steps of a pixel that is not in it, or outside."""
    from scipy.ndimage import minimum_filter1d

    inner = mask.view(np.uint8)
    for axis in (0, 1):  # a square is eroded along one side, then along the other
        inner = minimum_filter1d(inner, 2 * reach + 1, axis=axis, mode="constant", cval=0)
    return mask & (inner == 0)


def numbered(pack: Pack, rows: Iterable[int]) -> dict[int, int]:
    """The number 0, 1, ... of each row's volume, in order of appearance."""
    numbers: dict[str, int] = {}
    return {row: numbers.setdefault(pack.volumes[row], len(numbers)) for row in rows}


def mean_of(values: Sequence[float] | np.ndarray) -> float:
    """The mean of the values that are not nan; nan where all are."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def by_class(name: str, values: np.ndarray) -> Scores:
    """One value per class index, under the metric's name."""
    return {(str(index), name): value for index, value in enumerate(values.tolist())}


GAUGES: Mapping[str, Callable[[Pack, Sequence[int] | np.ndarray], Gauge]] = {
    "boundary_iou": BoundaryIou,
    "hd95": lambda pack, rows: SurfaceDistance("hd95", hd95, pack, rows),
    "asd": lambda pack, rows: SurfaceDistance("asd", asd, pack, rows),
    "ece": CalibrationError,
}
"""The metrics of `semiseg.measures.METRICS` that are computed only when they are asked for."""
