"""What is published about the data sets that need a folder, to plan a study on a machine that does not have them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from semiseg.config import Data
from semiseg.data import acdc, camvid, check_variant, cifar10, cityscapes, oxford_pets, scgm, voc_aug
from semiseg.data.pack import Pack

PIXELS = 4
"""Images that a stand-in has pixels of."""


class Known(NamedTuple):
    """Numbers of images per split as our loader makes them of the published files.

    selection is 0 where it is carved out of training, unlabelled are training images without a mask; size is height and width as
    published, of images that vary a common one, default what --data.size None means.
    """

    train: int
    test: int
    classes: int
    size: tuple[int, int]
    default: tuple[int, int]
    labelled: int | Literal["all"]
    selection: int = 0
    unlabelled: int = 0
    image_level: bool = False


KNOWN: Mapping[str, Known] = {
    # Brostow et al. 2009 in the lists of the SegNet tutorial (Badrinarayanan et al. 2017): 367, 101 and 233 frames
    "camvid": Known(train=367, selection=101, test=233, classes=11, size=(360, 480), default=camvid.SIZE, labelled=camvid.LABELLED),
    # Parkhi et al. 2012: 3680 and 3669 trimaps, split 70/20/10 like pets_mean_teacher
    "oxford_pets": Known(train=5146, selection=1469, test=734, classes=2, size=(375, 500), default=oxford_pets.SIZE, labelled=514),
    # Prados et al. 2017, slices with grey matter and unlabelled ones as perone2018 counts them (section 3.1)
    "scgm": Known(
        train=86, selection=90, test=137, unlabelled=613, classes=2, size=(200, 200), default=(scgm.CROP, scgm.CROP), labelled="all"
    ),
    # Krizhevsky 2009
    "cifar10": Known(
        train=50_000, test=10_000, classes=10, size=(32, 32), default=cifar10.SIZE, labelled=cifar10.LABELLED, image_level=True
    ),
    # Cordts et al. 2016, ke2020 section 4.1
    "cityscapes": Known(train=2975, test=500, classes=19, size=(1024, 2048), default=cityscapes.SIZE, labelled=cityscapes.LABELLED),
    # Everingham et al. 2010 with Hariharan et al. 2011, ke2020 section 4.1
    "voc_aug": Known(train=10_582, test=1449, classes=21, size=(375, 500), default=(375, 500), labelled=voc_aug.LABELLED),
    # Bernard et al. 2018 in SSL4MIS: 1312 slices of 70 patients to train; 590 of the 30 others, of whom 10 select and 20 test:
    # about a
    # third and two thirds
    "acdc": Known(train=1312, selection=197, test=393, classes=4, size=(216, 256), default=acdc.SIZE, labelled=131),
}
VARIANTS: Mapping[str, Mapping[str, int]] = {
    "split_feng2020_dmt": {"train": 5585, "selection": 293, "test": 1471, "labelled": 558},
    "split_official": {"train": 3680, "selection": 0, "test": 3669, "labelled": 368},
}
"""What a variant of oxford_pets changes."""


class StandIn(Pack):
    """As many rows as the published data set has, with random pixels for a few of them over and over."""

    def __init__(self, data: Data) -> None:
        check_variant(data)
        known = KNOWN[data.name]
        for variant in data.variant:
            changes: Mapping[str, Any] = VARIANTS.get(variant, {})
            known = known._replace(**changes)
        height, width = known.default if data.size is None else known.size if data.size == "native" else data.size
        self.path = Path()
        self.name = data.name
        self.split = [name for name in ("train", "unlabelled", "selection", "test") for _ in range(getattr(known, name))]
        self.ids = self.groups = [f"{row:06d}" for row in range(len(self.split))]
        self.classes = data.classes or tuple(f"class {i}" for i in range(known.classes))
        self.palette = ((0, 0, 0),) * len(self.classes)
        self.fingerprint = "unknown"
        self.heights, self.widths = (np.full(len(self.ids), side, np.int32) for side in (height, width))
        self.mean, self.std = np.full(3, 0.5), np.full(3, 0.25)
        self.default_labelled = known.labelled
        self.image_level = known.image_level
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (PIXELS, height, width, 3), np.uint8)
        size = (1, 1) if self.image_level else (height, width)
        drawn = rng.integers(0, len(self.classes), (PIXELS, *size), np.uint8)
        self.masks = np.ascontiguousarray(np.broadcast_to(drawn, (PIXELS, height, width)))

    def image(self, row: int) -> np.ndarray:
        return self.pixels[row % PIXELS]

    def mask(self, row: int) -> np.ndarray | None:
        return None if self.split[row] == "unlabelled" else self.masks[row % PIXELS]
