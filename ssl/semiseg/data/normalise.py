"""What of a stored image is 0 and what is 1 to a network (low and high of each channel), and mean and spread of the result.

    dataset, none   the type's range: 0..255, 0..65535, and of floating point, which has to lie in it, 0..1
    minmax          the smallest and the largest value
    percentile      two percentiles, interpolated linearly as numpy.percentile does
    zscore          four standard deviations below and above the mean
    window          two given numbers

The three in the middle are of the image's own pixels, of those of its group, or of all training images' ("data set"); other
images' values outside are clipped. Percentiles of whole numbers are exact, and of floating-point ones up to SAMPLED values; beyond
it they are those of every k-th row and column, the smallest k that leaves at most so many.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from semiseg.config import Data
from semiseg.data.source import Normalise, Scope
from semiseg.data.strips import histogram, strips

TOP = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1}
"""Largest value of a type's range; the smallest one is 0."""
SAMPLED = 1 << 24
SMALLEST_STD = {"uint8": 1 / 255, "uint16": 1 / 65535, "float16": 1 / 65535, "float32": 1 / 65535}
"""Of constant images, which would otherwise be divided by zero: a level of the type, of floating point as of 16 bits."""
DEVIATIONS = 4.0

Images = Sequence[np.ndarray]
"""(H,W,C) of one type, mapped."""


class Normalisation(NamedTuple):
    """A kind, what it is over, and its two numbers: percentiles or a window. `kind` None: what the data set says."""

    kind: Normalise | None = None
    over: Scope = "image"
    low: float = 1.0
    high: float = 99.0

    def resolved(self, default: tuple[Normalise, Scope] | None, dtype: np.dtype) -> "Normalisation":
        """This one, or where it has no kind the data set's default for images of a type."""
        if self.kind is not None:
            return self
        kind, over = default or (("dataset", "dataset") if dtype == np.uint8 else ("minmax", "dataset"))
        return self._replace(kind=kind, over=over)

    def __str__(self) -> str:
        """As keys name it: "" for "dataset", under which they are as before there were others."""
        if self.kind in (None, "dataset", "none"):
            return "none" if self.kind == "none" else ""
        if self.kind == "window":
            return f"window {self.low!r}..{self.high!r}"
        return f"{self.kind}{f' {self.low!r}..{self.high!r}' if self.kind == 'percentile' else ''} over {self.over}"

    @classmethod
    def read(cls, text: str) -> "Normalisation":
        """What `str` has made of one."""
        kind, _, rest = text.partition(" ")
        numbers, _, over = rest.rpartition("over ") if kind != "window" else (rest, "", "image")
        low, _, high = numbers.strip().partition("..")
        found = cls(kind or "dataset", over or "image")  # type: ignore[arg-type]  # the words are those of `str`
        return found._replace(low=float(low), high=float(high)) if high else found


AS_THE_SET_SAYS = Normalisation()


def normalisation_of(data: Data) -> Normalisation:
    """What the settings ask for."""
    low, high = data.window or data.percentiles
    return Normalisation(data.normalise, data.normalise_over, float(low), float(high))


def ranges_of(how: Normalisation, images: Images, groups: Sequence[str], training: Sequence[int]) -> np.ndarray | None:
    """Float32 (N,2,C), low and high, high above low, of a resolved normalisation; None for uint8's own range, 0 and 255.

    groups are of every image, training the rows that "data set" means.
    """
    dtype, channels = images[0].dtype, images[0].shape[2]
    if how.kind in ("none", "dataset") and dtype == np.uint8:
        return None
    if how.kind in ("none", "dataset", "window"):
        low, high = (how.low, how.high) if how.kind == "window" else (0, TOP[dtype.name])
        found = np.array([[[low] * channels, [high] * channels]], np.float64).repeat(len(images), 0)
        return apart(found)
    members: dict[str | int, list[int]] = {}
    for row in range(len(images)):
        members.setdefault({"image": row, "group": groups[row]}.get(how.over, ""), []).append(row)
    found = np.empty((len(images), 2, channels))
    for rows in members.values():
        of = [images[row] for row in (training if how.over == "dataset" else rows)]
        found[rows] = np.transpose([limits(how, [image[..., channel] for image in of]) for channel in range(channels)])
    return apart(found)


def apart(found: np.ndarray) -> np.ndarray:
    """As float32, with high where low is raised by 1, or by as much as float32 can tell: a constant image is 0 everywhere."""
    ranges = found.astype(np.float32)
    low, high = ranges[:, 0], ranges[:, 1]
    ranges[:, 1] = np.where(high > low, high, low + np.maximum(1, abs(low) * np.float32(2**-20)))
    return ranges


def limits(how: Normalisation, planes: Images) -> tuple[float, float]:
    """Low and high of one channel (H,W) of the images."""
    if how.kind == "minmax":
        return min(float(plane.min()) for plane in planes), max(float(plane.max()) for plane in planes)
    if how.kind == "zscore":
        total = sum(plane.size for plane in planes)
        mean = summed(planes, lambda values: values) / total
        std = (summed(planes, lambda values: (values - mean) ** 2) / total) ** 0.5
        if std <= abs(mean) * 2**-24:  # float32 cannot tell: a constant image is 0.5 everywhere
            std = max(1.0, abs(mean) * 2**-20)
        return mean - DEVIATIONS * std, mean + DEVIATIONS * std
    if planes[0].dtype.kind == "u":
        return quantiles(occurring(planes), (how.low / 100, how.high / 100))
    found = np.percentile(spaced(planes).astype(np.float64), (how.low, how.high), overwrite_input=True)
    return float(found[0]), float(found[1])


def summed(planes: Images, of: Callable[[np.ndarray], np.ndarray]) -> float:
    """Sum over all values of a function of them."""
    return float(sum(of(strip.astype(np.float64)).sum() for plane in planes for strip in strips(plane)))


def occurring(planes: Images) -> np.ndarray:
    """`histogram` of all the planes."""
    counts = histogram(planes[0])
    for plane in planes[1:]:
        counts += histogram(plane)
    return counts


def quantiles(counts: np.ndarray, shares: Iterable[float]) -> tuple[float, float]:
    """Two quantiles of the whole numbers that occur so often: linear between the two nearest in rank, as numpy's."""
    ends, found = counts.cumsum(), []
    for share in shares:
        rank = share * (int(ends[-1]) - 1)
        below, above = np.searchsorted(ends, [int(rank), min(int(rank) + 1, ends[-1] - 1)], side="right").tolist()
        found.append(below + (above - below) * (rank % 1))
    low, high = found
    return low, high


def spaced(planes: Images) -> np.ndarray:
    """All values, or of more than SAMPLED every k-th row and column, float (n,)."""
    for k in count(1):
        taken = [plane[::k, ::k] for plane in planes]
        if sum(one.size for one in taken) <= max(SAMPLED, len(planes)):
            return np.concatenate([one.ravel() for one in taken])
    raise AssertionError  # one value of each image is few enough


def scaled(strip: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Stored values (...,C) as float32 in [0,1], what the network's first step gets: clip((v - low) / (high - low))."""
    low, high = ranges
    return ((strip.astype(np.float32) - low) / (high - low)).clip(0, 1)


def statistics(how: Normalisation, images: Images, ranges: Sequence[np.ndarray] | np.ndarray | None) -> tuple[list, list]:
    """Mean and standard deviation per channel that the network subtracts and divides by: of the images in [0,1]; 0 and 1 for none."""
    dtype, channels = images[0].dtype, images[0].shape[2]
    if how.kind == "none":
        return [0.0] * channels, [1.0] * channels
    if ranges is None:  # exact in any order, by how often each value occurs
        counts = np.array([occurring([image[..., channel] for image in images]) for channel in range(channels)])
        shares = counts / counts.sum(1, keepdims=True)
        values = np.arange(256) / 255
        mean = shares @ values
        variance = (shares * (values - mean[:, None]) ** 2).sum(1)
    else:
        total = sum(image[..., 0].size for image in images)

        def mean_of(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
            found = np.zeros(channels)
            for image, one in zip(images, ranges, strict=True):
                for strip in strips(image):
                    found += of(scaled(strip, one).astype(np.float64)).sum((0, 1))
            return found / total

        mean = mean_of(lambda values: values)
        variance = mean_of(lambda values: (values - mean) ** 2)
    return mean.tolist(), np.sqrt(np.maximum(variance, SMALLEST_STD[dtype.name] ** 2)).tolist()
