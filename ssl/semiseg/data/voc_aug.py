"""PASCAL VOC 2012 (Everingham et al. 2010) with the masks of SBD (Hariharan et al. 2011), 10,582 training images, or VOC alone.

    JPEGImages/NAME.jpg
    SegmentationClass/NAME.png, SegmentationClassAug/NAME.png       palette or grey, 255 on borders; one of the two suffices
    ImageSets/Segmentation/train_aug.txt                            or trainaug.txt, or either in ImageSets/SegmentationAug
    ImageSets/Segmentation/train.txt, val.txt, test.txt             train.txt counts if there is no list of the augmented set

in VOCdevkit/VOC2012, VOC2012 or --data.root itself; the same of VOC2007 is looked for last. torchvision's VOCSegmentation makes
this layout without the augmented set. That comes as SBD's cls/NAME.mat and has to be converted, as --data.download does:
SegmentationClassAug/NAME.png is a picture of the indexes in GTcls.Segmentation, and train_aug.txt lists all images of VOC or SBD
that have a mask and are not in val.txt. Lines are a name, or an image path and a mask path whose last parts count.

Training takes the augmented mask of an image where there is one and VOC's otherwise; scoring prefers VOC's. Images differ in size
and keep it unless --data.size says otherwise, so training needs --train.crop (ke2020: 321 321). Other data in this layout name
their classes 0, 1, ... with --data.classes.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet, Published
from semiseg.data.download import above, torchvision
from semiseg.data.images import Photos
from semiseg.data.masks import Value, to_ids
from semiseg.data.source import IGNORE, Item, Source, folder_of, read_lines, stamp_of

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".", "VOCdevkit/VOC2007", "VOC2007")
LISTS = (*(f"{folder}/{name}.txt" for folder in ("Segmentation", "SegmentationAug") for name in ("train_aug", "trainaug")),)
LABELLED = 212  # 1/50 of 10,582: the subset of the ablation in ke2020, Table 3


def voc_aug(data: Data) -> Source:
    """Images of the training list are "train"; those of val.txt "test", or "selection" where test.txt has masks too (VOC 2007)."""
    root = devkit(folder_of(data.root, "voc_aug"))
    sets = root / "ImageSets"
    train = next((sets / name for name in LISTS if (sets / name).is_file()), sets / "Segmentation" / "train.txt")
    lists = {train: "train", sets / "Segmentation" / "val.txt": "test"}
    last = sets / "Segmentation" / "test.txt"
    if last.is_file() and any(mask_in(root, name, "test").is_file() for _, name in names_in(last)):
        lists = {train: "train", sets / "Segmentation" / "val.txt": "selection", last: "test"}
    files: dict[Item, tuple[Path, Path]] = {}
    seen: set[str] = set()
    for file, split in lists.items():
        for number, name in names_in(file):
            if name in seen:
                raise SettingError(
                    f"{file}, line {number}: got {name!r}, which is listed before; allowed: each name once, in one list"
                )
            seen.add(name)
            files[Item(name, split)] = (root / "JPEGImages" / f"{name}.jpg", mask_in(root, name, split))
    photos = Photos()
    classes = data.classes or CLASSES
    ids: dict[Value, int] = {**{i: i for i in range(len(classes))}, IGNORE: IGNORE}

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image, mask = files[item]
        pixels, raw = photos.pair(image, mask, colour=False)
        return pixels, to_ids(raw, ids, mask)

    return Source(
        items=tuple(files),
        classes=classes,
        palette=tuple(voc_colour(i) for i in range(len(classes))),
        read=read,
        stamp=stamp_of(root, [file for pair in files.values() for file in pair], [*files]),
        default_size="native",
        default_labelled=LABELLED,
        where=lambda item: str(files[item][1]),
        finish=photos.finish,
    )


def devkit(root: Path) -> Path:
    """The folder of a year in `root`."""
    for place in PLACES:
        if (root / place / "JPEGImages").is_dir():
            return root / place
    raise SettingError(
        f"data.root: got {str(root)!r} without VOCdevkit/VOC2012/JPEGImages; allowed: a folder with the VOC devkit in it"
    )


def names_in(file: Path) -> list[tuple[int, str]]:
    """Numbered image names of a list."""
    return [(number, PurePosixPath(line.split()[0]).name.removesuffix(".jpg")) for number, line in read_lines(file)]


def mask_in(root: Path, name: str, split: str) -> Path:
    """The mask of an image: to train on rather the augmented set's, to score rather VOC's own, the first one that is there."""
    vocs, augmented = (root / folder / f"{name}.png" for folder in ("SegmentationClass", "SegmentationClassAug"))
    first, second = (augmented, vocs) if split == "train" else (vocs, augmented)
    return second if second.is_file() and not first.is_file() else first


def voc_colour(index: int) -> tuple[int, int, int]:
    """VOC's colour of a class: bits 0, 3 and 6 of its index are the highest bits of red, 1, 4 and 7 of green, 2, 5 and 8 of
    blue."""
    red, green, blue = (sum((index >> 3 * place + channel & 1) << 7 - place for place in range(3)) for channel in range(3))
    return red, green, blue


def fetch_voc(root: Path) -> None:
    """VOC 2012, and unless there is a list of the augmented training set, the masks of SBD in VOC's layout and that list."""
    if not any((root / place / "JPEGImages").is_dir() for place in PLACES):
        torchvision("VOCSegmentation")(root=above(root, "VOCdevkit"), year="2012", download=True)
    home = devkit(root)
    if not any((home / "ImageSets" / name).is_file() for name in LISTS):
        add_sbd(home)


def add_sbd(home: Path) -> None:
    """Write SegmentationClassAug and train_aug.txt: all images that VOC or SBD have a training mask of, but for those of
    val.txt."""
    lists = home / "ImageSets" / "Segmentation"
    vocs, scored = ({name for _, name in names_in(lists / f"{split}.txt")} for split in ("train", "val"))
    masks = home / "SegmentationClassAug"
    masks.mkdir(exist_ok=True)
    added = set()
    for split in ("train", "val"):  # of SBD, whose own splits nobody uses here
        missing = not (home / "SBD" / "cls").is_dir()
        sbd = torchvision("SBDataset")(root=home / "SBD", image_set=split, mode="segmentation", download=missing)
        for i, file in enumerate(sbd.masks):
            name = Path(file).stem
            sbd[i][1].save(masks / f"{name}.png")
            added.add(name)
    # Last, since with it the augmented set counts as fetched.
    (lists / "train_aug.txt").write_text("\n".join(sorted((vocs | added) - scored)) + "\n")


VOC_AUG = DataSet(
    name="voc_aug",
    source=voc_aug,
    # Everingham et al. 2010 with Hariharan et al. 2011, ke2020 section 4.1
    published=Published(train=10_582, test=1449, classes=21, size=(375, 500), default=(375, 500), labelled=LABELLED),
    fetch=fetch_voc,
)
