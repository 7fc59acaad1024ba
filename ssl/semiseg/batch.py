"""The shapes that travel through a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = 255
"""Class id of a pixel that no loss and no metric counts."""


class Plane(Protocol):
    """A map (H,W) out of which crops are cut: an array, or what makes the part that is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, place: Any, /) -> Any: ...

    def __array__(self, dtype: Any = None, /) -> np.ndarray: ...


class Views(NamedTuple):
    """One view of N images and everything that moves with their pixels.

    image  (N,C,H,W) float32 in [0,1], the working range of its C channels, before standardisation
    masks  K tensors (N,H,W) int64, class ids or IGNORE
    valid  (N,H,W) bool, False where the pixel comes from outside the source frame
    """

    image: Tensor
    masks: tuple[Tensor, ...]
    valid: Tensor


class Shares(NamedTuple):
    """How common each class is among the pixels of a stage's labelled images that are not IGNORE; 0 where it is in none of them.

    of_all     (C,) float32 share of all these pixels
    where_met  (C,) float32 share of the pixels of the images that show the class
    """

    of_all: Tensor
    where_met: Tensor


class Batch(NamedTuple):
    """A weakly augmented mini-batch: `labelled` rows with a true mask, then unlabelled rows.

    image   (N,C,H,W) float32 in [0,1]
    mask    (N,H,W) int64; IGNORE everywhere on unlabelled rows
    pseudo  (N,H,W) int64 pseudo-mask of every row, or None when the stage learns none
    valid   (N,H,W) bool, False out of frame
    labelled  number of leading rows that carry a true mask
    confidence  (N,H,W) float32 in [0,1], how sure the teacher stage is of `pseudo` (`PseudoMasks.plane`), or None when the rule does not ask for it
    partner  another draw of as many training images as there are unlabelled rows, all without a true mask, or None likewise
    shares  of the classes among the labelled images of the stage; None in a batch that is not of a stage

    Where a class belongs to a whole image, mask, pseudo, valid and confidence are (N,1,1), like the network's logits (N,K,1,1).
    """

    image: Tensor
    mask: Tensor
    pseudo: Tensor | None
    valid: Tensor
    labelled: int
    confidence: Tensor | None = None
    partner: Batch | None = None
    shares: Shares | None = None
