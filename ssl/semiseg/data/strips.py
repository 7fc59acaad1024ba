"""Large arrays a few rows at a time: a mapped file is read through, and never held as a whole."""

from collections.abc import Iterator

import numpy as np

VALUES = 1 << 21
"""In a strip; what is computed from one may take eight bytes for each and a few copies."""


def strips(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of consecutive rows of (H,W) or (H,W,C), about VALUES values each and at least one row."""
    rows = max(1, VALUES // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def histogram(array: np.ndarray) -> np.ndarray:
    """Int64 (256,) or (65536,): how often each value occurs in an array of uint8 or uint16."""
    counts = np.zeros(np.iinfo(array.dtype).max + 1, np.int64)
    for strip in strips(array):
        counts += np.bincount(strip.ravel(), minlength=len(counts))
    return counts


def flat(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data
