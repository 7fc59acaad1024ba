"""Pseudo-masks without the pixels that are not sure enough, filtered as they are read: no copy of them is ever made."""

from typing import Any

import numpy as np

from semiseg.batch import IGNORE, Plane


class Kept:
    """A pseudo-mask (H,W) uint8 that is IGNORE where its confidence is below the lowest that counts.

    Args: mask, class ids; confidence, uint16; lowest, of each class (K,), or a single one of all (1,).
    """

    def __init__(self, mask: Plane, confidence: Plane, lowest: np.ndarray) -> None:
        self.mask, self.confidence, self.lowest = mask, confidence, lowest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.mask.dtype

    def __getitem__(self, place: Any) -> Any:
        mask = self.mask[place]
        lowest = self.lowest[mask if len(self.lowest) > 1 else 0]
        return np.where(self.confidence[place] >= lowest, mask, np.uint8(IGNORE))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)
