"""What is counted over a data set while it is packed."""

import hashlib
import json

import numpy as np

from semiseg.config import SettingError
from semiseg.data.source import IGNORE, Item, Labels

SMALLEST_STD = 1 / 255  # of constant images, which would otherwise be divided by zero


def counts_of(mask: np.ndarray | None, classes: int) -> np.ndarray:
    """Int64 (C+1,): pixels of each class in a mask, those to be ignored last; zeros without a mask."""
    met = np.bincount(np.zeros(0, np.uint8) if mask is None else mask.ravel(), minlength=256)
    return np.append(met[:classes], met[IGNORE]).astype(np.int64)


class Tally:
    """What is counted while packing: fingerprint, mean and spread of the training images, classes met, groups."""

    def __init__(self, labels: Labels) -> None:
        self.classes, self.palette = labels
        self.digest = hashlib.sha256(json.dumps(self.classes).encode())
        self.levels: list[np.ndarray] = []
        self.volumes: list[str] = []
        self.spacings: list[tuple[float, float, float] | None] = []
        self.met = np.zeros(256, np.int64)
        self.splits: set[str] = set()
        self.groups: list[str] = []
        self.grouped = False  # whether any image's group is another than its id

    def add(self, item: Item, image: np.ndarray, mask: np.ndarray | None, group: str) -> None:
        self.splits.add(item.split)
        self.groups.append(group)
        self.grouped |= group != item.id
        self.digest.update(json.dumps([item.id, item.split, image.shape, mask is not None]).encode())
        self.digest.update(image.tobytes())
        if mask is not None:
            self.digest.update(mask.tobytes())
            self.met += np.bincount(mask.ravel(), minlength=256)
        if item.split in ("train", "unlabelled"):
            self.dtype, self.channels = image.dtype, image.shape[2]
            top = {"uint8": 255, "uint16": 65535}.get(image.dtype.name, 1)
            levels = [
                np.bincount((image[..., c].ravel() * (255 / top)).astype(np.uint8), minlength=256) for c in range(self.channels)
            ]
            self.levels = [a + b for a, b in zip(self.levels or [0] * self.channels, levels, strict=True)]

    def finish(self, name: str) -> dict[str, object]:
        """The entries of the file's metadata."""
        found = np.flatnonzero(self.met[:IGNORE])
        if len(found) < 2:
            parts = [self.classes[i] for i in found] + [f"{IGNORE} (ignore)"] * bool(self.met[IGNORE])
            raise SettingError(
                f"{name}: got only {' and '.join(parts) or 'nothing'} in all masks; allowed: two classes or more "
                f"(where {IGNORE} is a class, give classes.txt the lines '0 background' and '{IGNORE} name')"
            )
        counted = np.array(self.levels)
        shares = counted / counted.sum(1, keepdims=True)
        values = np.arange(256) / 255
        mean = shares @ values
        std = np.sqrt(np.maximum((shares * (values - mean[:, None]) ** 2).sum(1), SMALLEST_STD**2))
        return {
            "classes": self.classes,
            "palette": self.palette,
            "fingerprint": self.digest.hexdigest(),
            "mean": mean.tolist(),
            "std": std.tolist(),
            "dtype": self.dtype.str,
            "channels": self.channels,
        }
