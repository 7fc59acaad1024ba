"""Heart MRI of the ACDC challenge (Bernard et al. 2018) in the h5 files and lists of SSL4MIS
(https://github.com/HiLab-git/SSL4MIS).

    root/train_slices.list      a training slice a line, such as patient050_frame01_slice_8
    root/val.list, test.list    a volume a line, such as patient028_frame01
    root/data/slices/SLICE.h5   image float (row, column) in [0,1], label whole numbers of the same shape
    root/data/VOLUME.h5         the same with slices as a first axis

Labels are 0 background, 1 right ventricle, 2 myocardium, 3 left ventricle. An image is float32 of one channel, as stored.
Slices differ in size, so by default all are resized to 128 x 128, whatever their shape (SSL4MIS does so to 256 x 256).

A patient's slices stay together, as in the literature: a labelled or selection share, or count of slices, takes as few patients as
hold that many slices. They are drawn with --data.split-seed; --data.variant first_1, first_3 or first_7 takes the first patients of
train_slices.list as the literature does (of 70: 32, 68 and 136 of 1312 slices).
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import Data, SettingError, require
from semiseg.data.arrays import library, unreadable
from semiseg.data.dataset import DataSet, Published
from semiseg.data.masks import Value, to_ids
from semiseg.data.source import Item, Source, folder_of, read_lines, stamp_of

CLASSES = {
    "background": (0, 0, 0),
    "right ventricle": (70, 140, 230),
    "myocardium": (90, 190, 110),
    "left ventricle": (230, 80, 60),
}
IDS: dict[Value, int] = {i: i for i in range(len(CLASSES))}
SIZE = (128, 128)
FIRST = {"first_1": 1, "first_3": 3, "first_7": 7}
"""Patients that are labelled, by variant."""


def acdc(data: Data) -> Source:
    """Slices of val.list are "test", or "selection" where the volumes of test.list are there too; SettingError without h5py."""
    root = folder_of(data.root, "acdc")
    volumes = {
        split: [root / "data" / f"{case}.h5" for case in read_names(root, f"{name}.list")]
        for name, split in volume_lists(root).items()
    }
    # the file and the slice in it; None: a file of one slice
    places: dict[Item, tuple[Path, int | None]] = {
        Item(name, "train"): (root / "data" / "slices" / f"{name}.h5", None) for name in read_names(root, "train_slices.list")
    }
    for split, files in volumes.items():
        for file in files:
            places |= {Item(f"{file.stem}_slice_{z + 1}", split): (file, z) for z in range(depth_of(file))}
    check_patients(root, places)
    listed = first_patients(data.variant, [item.id for item in places if item.split == "train"])

    @lru_cache(maxsize=1)  # slices are read volume by volume
    def arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
        return read_h5(file)

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        file, z = places[item]
        image, label = arrays(file)
        if image.ndim != (2 if z is None else 3):
            raise SettingError(f"{file}: got an image of shape {image.shape}; allowed: {'one slice' if z is None else 'a volume'}")
        plane, mask = (image, label) if z is None else (image[z], label[z])
        return plane.astype(np.float32)[..., None], to_ids(mask, IDS, file)

    return Source(
        items=tuple(places),
        classes=tuple(CLASSES),
        palette=tuple(CLASSES.values()),
        read=read,
        stamp=stamp_of(root, dict.fromkeys(file for file, _ in places.values()), [*places], sorted(listed)),
        default_size=SIZE,
        default_labelled=max(1, sum(item.split == "train" for item in places) // 10),
        where=lambda item: str(places[item][0]),
        group=patient,
        volume=lambda item: item.id.partition("_slice_")[0],
        listed=listed,
        default_normalise=("dataset", "dataset"),  # values are in 0..1
    )


def first_patients(variant: tuple[str, ...], names: list[str]) -> frozenset[str]:
    """The slices of the first patients in the order of the names; none without a variant that counts them."""
    if not variant:
        return frozenset()
    require(len(variant) == 1, "data.variant", variant, f"one of {', '.join(FIRST)}")
    patients = [*dict.fromkeys(name.partition("_")[0] for name in names)]
    count = FIRST[variant[0]]
    require(count <= len(patients), "data.variant", variant, f"at most the {len(patients)} patients of the list")
    return frozenset(name for name in names if name.partition("_")[0] in patients[:count])


def volume_lists(root: Path) -> dict[str, str]:
    """Lists of volumes and the splits they are, test.list only where any of its volumes is there."""
    tested = read_names(root, "test.list") if (root / "test.list").is_file() else []
    if any((root / "data" / f"{case}.h5").is_file() for case in tested):
        return {"val": "selection", "test": "test"}
    return {"val": "test"}


def read_names(root: Path, name: str) -> list[str]:
    """The names in a list, each once."""
    if not (root / name).is_file():
        raise SettingError(
            f"data.root: got {str(root)!r} without {name}; allowed: a folder with the lists of SSL4MIS's ACDC and data/"
        )
    return [*dict.fromkeys(line for _, line in read_lines(root / name))]


def patient(item: Item) -> str:
    return item.id.partition("_")[0]


def check_patients(root: Path, items: Iterable[Item]) -> None:
    """Raise SettingError for a patient who is on two sides of the split."""
    sides: dict[str, str] = {}
    for item in items:
        if sides.setdefault(patient(item), item.split) != item.split:
            raise SettingError(f"{root}: got {patient(item)} in two splits; allowed: lists that share no patient")


def open_h5(file: Path) -> Any:
    """An HDF5 file, to be closed; SettingError, one line, when it is none or h5py is not installed."""
    h5py = library("h5py", "mri", "data.name: got 'acdc'")
    try:
        return h5py.File(file)
    except OSError as error:
        raise bad_h5(file, error) from None


def bad_h5(file: Path, error: Exception) -> SettingError:
    return unreadable(file, error, "an HDF5 file with image and label")


def depth_of(file: Path) -> int:
    """Number of slices of a volume, from the header."""
    with open_h5(file) as content:
        try:
            shape = content["image"].shape
        except (KeyError, AttributeError) as error:
            raise bad_h5(file, error) from None
    if len(shape) != 3:
        raise SettingError(f"{file}: got an image of shape {shape}; allowed: a volume")
    return shape[0]


def read_h5(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image in [0,1] and label of the same shape, whole numbers."""
    with open_h5(file) as content:
        try:
            image, label = (np.asarray(content[key]) for key in ("image", "label"))
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise bad_h5(file, error) from None
    if image.size == 0:
        raise SettingError(f"{file}: got an image of shape {image.shape}; allowed: one with pixels")
    if image.dtype.kind != "f" or not (image.min() >= 0 and image.max() <= 1):  # written so that NaN fails too
        raise SettingError(f"{file}: got {image.dtype} values {image.min()}..{image.max()}; allowed: floating point in 0..1")
    if label.dtype.kind not in "iu" or label.shape != image.shape:
        raise SettingError(
            f"{file}: got a label {label.dtype} {label.shape}; allowed: whole numbers of the image's shape {image.shape}"
        )
    return image, label


ACDC = DataSet(
    name="acdc",
    source=acdc,
    variants=tuple(FIRST),
    # Bernard et al. 2018 in SSL4MIS: 1312 slices of 70 patients to train; 590 of the 30 others, of whom 10 select and 20 test: about
    # a third and two thirds
    published=Published(train=1312, selection=197, test=393, classes=4, size=(216, 256), default=SIZE, labelled=131, channels=1),
    changes={"first_1": {"labelled": 32}, "first_3": {"labelled": 68}, "first_7": {"labelled": 136}},
    site="https://github.com/HiLab-git/SSL4MIS",
)
