"""Cityscapes (Cordts et al. 2016) with its fine masks: 19 of the 34 labels are classes, all others are ignored.

    root/leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png
    root/gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png       or, where it is not there, NAME_gtFine_labelTrainIds.png

These are the archives leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip unpacked into one folder. The split called test has
no true masks and is not used. The default size is half the real one (512 x 1024, grubisic2021 and ke2020); --data.size 1024 2048
is full.

What shows the ego vehicle (label 1) is ignored in every mask, so it is neither learned from labelled images nor scored. Unlabelled
images have no mask that says so: a network is taught whatever it or its teacher sees in the car's own bonnet. The code of ke2020
sets its pseudo-masks to ignore on a map of the ego vehicle (cityscapes_dataset.py:75), which the paper does not mention. Here the
variant `ego_black` paints those pixels black in the images of all splits, so that nothing is left there that looks like a class;
what is predicted on them still counts in losses on unlabelled images, unlike in that code. Without it images are as they are.
"""

from pathlib import Path

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet, Published
from semiseg.data.images import Photos
from semiseg.data.masks import Value, to_ids
from semiseg.data.source import IGNORE, Item, Source, folder_of, stamp_of

CLASSES = {  # name -> label id and colour; the train id is the position
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
EGO_VEHICLE = 1
LABEL_IDS: dict[Value, int] = {  # 255: the licence plate, -1 in a byte
    **dict.fromkeys((*range(34), 255), IGNORE),
    **{label: i for i, (label, _) in enumerate(CLASSES.values())},
}
TRAIN_IDS: dict[Value, int] = {**{i: i for i in range(len(CLASSES))}, IGNORE: IGNORE}
IMAGE, LABELS, TRAIN_LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
SPLITS = {"train": "train", "val": "test"}
SIZE = (512, 1024)
LABELLED = 100  # the smallest subset of ke2020, Table 1, and that of its ablation


def cityscapes(data: Data) -> Source:
    """The images of train are "train" and those of val "test"; selection is carved out of training."""
    root = folder_of(data.root, "cityscapes")
    for split in SPLITS:
        if not (root / "leftImg8bit" / split).is_dir():
            raise SettingError(
                f"data.root: got {str(root)!r} without leftImg8bit/{split}; "
                "allowed: a folder with leftImg8bit/ and gtFine/ of Cityscapes, each with train/ and val/"
            )
    black = "ego_black" in data.variant
    files = {}
    photos = Photos()
    for theirs, split in SPLITS.items():
        for image in sorted((root / "leftImg8bit" / theirs).glob(f"*/*{IMAGE}")):
            name = f"{theirs}/{image.parent.name}/{image.name.removesuffix(IMAGE)}"
            mask = label_file(root, name)
            if black and not mask.name.endswith(LABELS):
                raise SettingError(f"{mask}: got train ids; allowed: NAME{LABELS} with ego_black, as it tells the ego vehicle")
            files[Item(name, split)] = (image, mask)

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image, mask = files[item]
        pixels, values = photos.pair(image, mask, colour=False)
        if black and values.shape == pixels.shape[:2]:  # the pack refuses other shapes
            pixels[values == EGO_VEHICLE] = 0
        return pixels, to_ids(values, LABEL_IDS if mask.name.endswith(LABELS) else TRAIN_IDS, mask)

    return Source(
        items=tuple(files),
        classes=tuple(CLASSES),
        palette=tuple(colour for _, colour in CLASSES.values()),
        read=read,
        values=lambda: tuple((label,) for label, _ in CLASSES.values()),
        stamp=stamp_of(root, [file for pair in files.values() for file in pair], [*files], black),
        default_size=SIZE,
        default_labelled=LABELLED,
        where=lambda item: str(files[item][1]),
        finish=photos.finish,
        attributes={"city": lambda item: item.id.split("/")[1]},
    )


def label_file(root: Path, name: str) -> Path:
    """The file of label ids of an image SPLIT/CITY/NAME, or that of train ids if it is the only one."""
    labels, train_labels = (root / "gtFine" / f"{name}{ending}" for ending in (LABELS, TRAIN_LABELS))
    return train_labels if train_labels.is_file() and not labels.is_file() else labels


CITYSCAPES = DataSet(
    name="cityscapes",
    source=cityscapes,
    variants=("ego_black",),
    # Cordts et al. 2016, ke2020 section 4.1
    published=Published(train=2975, test=500, classes=19, size=(1024, 2048), default=SIZE, labelled=LABELLED),
    site="https://www.cityscapes-dataset.com",
)
