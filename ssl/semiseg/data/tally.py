"""What is counted over a data set while it is packed."""

import hashlib
import json

import numpy as np

from semiseg.config import SettingError
from semiseg.data.source import IGNORE, Item, Labels
from semiseg.data.strips import flat, histogram, strips

LARGEST = 1e30
"""Of floating-point values: beyond it differences overflow; it is met as a mark of missing data."""


def counts_of(mask: np.ndarray | None, classes: int) -> np.ndarray:
    """Int64 (C+1,): pixels of each class in a mask, those to be ignored last; zeros without a mask."""
    met = np.zeros(256, np.int64) if mask is None else histogram(mask)
    return np.append(met[:classes], met[IGNORE])


class Tally:
    """What is counted while packing: fingerprint, type and channels, classes met, groups, volumes, spacings."""

    def __init__(self, labels: Labels) -> None:
        self.classes, self.palette = labels
        self.digest = hashlib.sha256(json.dumps(self.classes).encode())
        self.met = np.zeros(len(self.classes) + 1, np.int64)
        self.first: tuple[np.dtype, int, str] | None = None
        self.extremes: list[tuple[float, str]] = []  # of floating point: the smallest and the largest value, and where they are
        self.splits: set[str] = set()
        self.groups: list[str] = []
        self.grouped = False  # whether any image's group is another than its id
        self.volumes: list[str] = []
        self.stacked = False  # likewise of volumes
        self.spacings: list[tuple[float, float, float] | None] = []
        self.places: list[str] = []

    def check_alike(self, image: np.ndarray, where: str) -> None:
        """Raise SettingError for an image of another type or number of channels than the first, and for what is no number."""
        dtype, channels = image.dtype.newbyteorder("="), image.shape[2]
        self.first = self.first or (dtype, channels, where)
        if self.first[:2] != (dtype, channels):
            raise SettingError(
                f"{where}: got {dtype} with {channels} channel{'s' * (channels > 1)}; "
                f"allowed: {self.first[0]} with {self.first[1]}, as {self.first[2]} has"
            )
        if dtype.kind == "f":
            low, high = (float(end([end(strip) for strip in strips(image)])) for end in (np.min, np.max))  # NaN if any value is
            if not -LARGEST < low <= high < LARGEST:
                raise SettingError(f"{where}: got values {low:g}..{high:g}; allowed: finite numbers within {LARGEST:g}")
            self.extremes = [min([*self.extremes[:1], (low, where)]), max([*self.extremes[1:], (high, where)])]

    def check_unit(self, setting: str) -> None:
        """Raise SettingError for floating-point images that are not in [0,1] all."""
        for value, where in self.extremes:
            if not 0 <= value <= 1:
                raise SettingError(
                    f"data.normalise: got {setting!r}, with a value of {value:g} in {where}; allowed: floating-point images in 0..1, "
                    "or minmax, percentile, zscore, window"
                )

    def add(
        self,
        item: Item,
        image: np.ndarray,
        mask: np.ndarray | None,
        counts: np.ndarray,
        *,
        group: str,
        volume: str,
        spacing: tuple[float, float, float] | None,
        where: str,
    ) -> None:
        """An item as it is stored; `counts` are those of its mask."""
        self.splits.add(item.split)
        self.groups.append(group)
        self.grouped |= group != item.id
        self.volumes.append(volume)
        self.stacked |= volume != item.id
        self.spacings.append(spacing)
        self.places.append(where)
        self.met += counts
        about = [item.id, item.split, image.shape, mask is not None]
        if image.dtype != np.uint8 or image.shape[2] != 3:  # 8-bit colour has the fingerprint it had when there was nothing else
            about += [image.dtype.str, volume, spacing]
        self.digest.update(json.dumps(about).encode())
        self.digest.update(flat(image))
        if mask is not None:
            self.digest.update(flat(mask))

    def finish(self, name: str) -> None:
        """Raise SettingError for what can only be seen of all items together."""
        found = np.flatnonzero(self.met[:-1])
        if len(found) < 2:
            parts = [self.classes[i] for i in found] + [f"{IGNORE} (ignore)"] * bool(self.met[-1])
            raise SettingError(
                f"{name}: got only {' and '.join(parts) or 'nothing'} in all masks; allowed: two classes or more "
                f"(where {IGNORE} is a class, give classes.txt the lines '0 background' and '{IGNORE} name')"
            )
        known = [spacing is not None for spacing in self.spacings]
        if any(known) and not all(known):
            without, has = self.places[known.index(False)], self.places[known.index(True)]
            raise SettingError(
                f"{without}: got an image without spacing of its pixels, unlike {has}; allowed: a spacing for all images or none"
            )
