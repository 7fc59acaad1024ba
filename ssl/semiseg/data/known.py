"""Images that stand in for a published data set, to plan a study on a machine that does not have it."""

from pathlib import Path

import numpy as np

from semiseg.config import Data
from semiseg.data import DATASETS, check_variant
from semiseg.data.dataset import Published
from semiseg.data.memory import check_size
from semiseg.data.normalise import normalisation_of
from semiseg.data.pack import Pack
from semiseg.data.source import read_lines
from semiseg.data.tally import counts_of

PIXELS = 4
"""Images that a stand-in has pixels of."""


def published(data: Data) -> Published | None:
    """What is known of the data set that `data` names, in its variant and trimap; None for one that is not published."""
    if data.name not in DATASETS or (about := DATASETS[data.name].published) is None:
        return None
    for variant in (*data.variant, data.trimap):
        about = about._replace(**DATASETS[data.name].changes.get(variant or "", {}))
    return about


class StandIn(Pack):
    """As many rows as the published data set has, with random pixels for a few of them over and over."""

    def __init__(self, data: Data) -> None:
        check_variant(data)
        known = published(data)
        assert known is not None  # who asks has looked
        height, width = known.default if data.size is None else known.size if data.size == "native" else data.size
        self.dtype, self.channels = np.dtype(np.uint8), data.channels or known.channels
        check_size((height, width), PIXELS, pixel=self.channels)
        self.path = Path()
        self.name = data.name
        self.split = [name for name in ("train", "unlabelled", "selection", "test") for _ in range(getattr(known, name))]
        self.ids = self.groups = self.volumes = [f"{row:06d}" for row in range(len(self.split))]
        self.classes = data.classes or tuple(f"class {i}" for i in range(known.classes))
        self.palette = ((0, 0, 0),) * len(self.classes)
        self.values = tuple((number,) for number in range(len(self.classes)))
        self.size = None if data.size == "native" else (height, width)
        self.fingerprint = "unknown"
        self.heights, self.widths = (np.full(len(self.ids), side, np.int32) for side in (height, width))
        self.mean, self.std = np.full(self.channels, 0.5), np.full(self.channels, 0.25)
        self.normalise = str(normalisation_of(data))
        self.spacings = self._ranges = None
        self.unit = "pixels"
        self.listed, self.attributes = frozenset(), {}
        self.scored, self._scoring = "", None
        listed = None if data.labelled_list is None else len([*read_lines(data.labelled_list)])  # ids that nothing is known of
        self.default_labelled = listed or known.labelled
        self.image_level = known.image_level
        self.kinds = {}
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (PIXELS, height, width, self.channels), np.uint8)
        size = (1, 1) if self.image_level else (height, width)
        drawn = rng.integers(0, len(self.classes), (PIXELS, *size), np.uint8)
        self.masks = np.ascontiguousarray(np.broadcast_to(drawn, (PIXELS, height, width)))
        counts = [counts_of(mask, len(self.classes)) for mask in self.masks]
        none = np.zeros_like(counts[0])
        self.counts = np.array([none if name == "unlabelled" else counts[row % PIXELS] for row, name in enumerate(self.split)])

    def image(self, row: int) -> np.ndarray:
        return self.pixels[row % PIXELS]

    def mask(self, row: int) -> np.ndarray | None:
        return None if self.split[row] == "unlabelled" else self.masks[row % PIXELS]
