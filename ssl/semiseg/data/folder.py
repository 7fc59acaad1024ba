"""Any folder of images and masks: no code needed.

    root/images/NAME.ext       sub-folders allowed, any format that Pillow opens
    root/masks/NAME.ext        same name, lossless; palette, grey, 1-bit (value = class, 255 = ignore) or colour-coded
    root/unlabelled/NAME.ext   optional: training images without masks
    root/train.txt, selection.txt (or val.txt), test.txt     optional: one name a line, with or without extension
    root/classes.txt           a class a line: `name`, or `value name`, or `r g b name`; the name `ignore` is ignored. Optional
                               for values 0..K-1 and 255 (ignore), or 0 and 255 (two classes)

Without lists a fifth is drawn for test with --data.split-seed and the rest is for training. With lists, images in none of them
are left out, unless there is no train.txt: then they are the training images. val.txt is for selection when there is a test.txt
and for test when there is not; selection images are then carved out of training like everywhere else. Names may be spelled in
another Unicode form than the file system's (macOS), and hold a # after a space.

A photo with a turn in its EXIF data is turned as viewers do, unless only the stored pixels have its mask's size (`Photos`).
"""

import os
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from posixpath import splitext
from statistics import median

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.classes import class_ids, read_classes
from semiseg.data.dataset import DataSet
from semiseg.data.files import size_in
from semiseg.data.images import Photos
from semiseg.data.masks import to_ids
from semiseg.data.source import Item, Labels, Source, folder_of, read_lines, share_of, shuffled, stamp_of

TEST_SHARE = 0.2
SHORTER_SIDE = 128
MOST_SIZES = 256  # about so many images, evenly spread over the names, whose headers are read to choose the default size
NOT_IMAGES = {"Thumbs.db", "desktop.ini"}  # what file managers leave behind; hidden files are skipped as well


def folder(data: Data) -> Source:
    """The data set in --data.root."""
    root = folder_of(data.root, "folder")
    if not (root / "images").is_dir():
        raise SettingError(f"data.root: got {str(root)!r} without a folder images; allowed: a folder with images/ and masks/")
    images, masks = named_files(root / "images"), named_files(root / "masks")
    splits = read_lists(root, images)
    if splits is None:
        splits = draw_test(sorted(images), data.split_seed)
    spelled = spellings(masks)
    for name in splits:
        if composed(name) not in spelled:
            raise SettingError(
                f"{images[name]}: got an image without mask among the labelled ones; "
                f"allowed: put it in {root / 'unlabelled'} or add {root / 'masks' / name}.png"
            )
    files = {Item(name, split): (images[name], masks[spelled[composed(name)]]) for name, split in sorted(splits.items())}
    plain = {Item(f"unlabelled/{name}", "unlabelled"): file for name, file in sorted(named_files(root / "unlabelled").items())}
    photos = Photos()
    declared = read_classes(root / "classes.txt", data.classes)

    @cache
    def labels() -> tuple[dict, Labels]:
        return class_ids([mask for _, mask in files.values()], declared)

    def read(item: Item) -> tuple[np.ndarray, np.ndarray | None]:
        if item in plain:
            return photos.alone(plain[item]), None
        image, mask = files[item]
        ids = labels()[0]
        pixels, raw = photos.pair(image, mask, colour=isinstance(next(iter(ids)), tuple))
        return pixels, to_ids(raw, ids, mask)

    used = [file for pair in files.values() for file in pair] + [*plain.values()]
    names = declared.names if declared else ()
    return Source(
        items=(*files, *plain),
        classes=names,
        palette=(),
        read=read,
        stamp=stamp_of(root, used, [*files, *plain], declared),
        default_size=usual_size([mask for _, mask in files.values()] + [*plain.values()]),
        default_labelled=max(1, sum(item.split == "train" for item in files) // 10),
        where=lambda item: str(plain[item] if item in plain else files[item][1]),
        discover=lambda: labels()[1],
        finish=photos.finish,
    )


def named_files(folder: Path) -> dict[str, Path]:
    """Files under a folder by their path without extension; {} for a folder that is not there."""
    found: dict[str, Path] = {}
    met: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(place, name) for name in names if not name.startswith(".") and name not in NOT_IMAGES):
            name = file.relative_to(folder).with_suffix("").as_posix()
            if (other := met.setdefault(composed(name), file)) != file:
                both = " and ".join(sorted((other.name, file.name)))
                raise SettingError(f"{file.parent}: got {both}; allowed: one file for each name, whatever its extension")
            found[name] = file
    return found


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS stores and hands on é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Each name under its composed form."""
    return {composed(name): name for name in names}


def read_lists(root: Path, images: dict[str, Path]) -> dict[str, str] | None:
    """Split of each image by name, from the lists in `root`; None when there are none."""
    there = [name for name in ("train", "selection", "val", "test") if (root / f"{name}.txt").is_file()]
    if "selection" in there and "val" in there:
        raise SettingError(f"{root}: got selection.txt and val.txt; allowed: one of the two")
    if not there:
        return None
    splits: dict[str, str] = {}
    spelled = spellings(images)

    def name_of(text: str) -> str | None:
        """The image that a line means: a path with or without extension, perhaps with Windows' slashes or from the root."""
        text = composed(text)
        plain = text.replace("\\", "/").removeprefix("./")
        readings = [one for path in (text, plain, plain.removeprefix("images/")) for one in (path, splitext(path)[0])]
        return next((spelled[one] for one in readings if one in spelled), None)

    for name in there:
        file = root / f"{name}.txt"
        split = name if name != "val" else "selection" if "test" in there else "test"
        for number, text in read_lines(file, lambda text: name_of(text) is not None):
            stem = name_of(text)
            if stem is None:
                raise SettingError(f"{file}, line {number}: got {text!r}; allowed: the name of a file in {root / 'images'}")
            if stem in splits:
                raise SettingError(
                    f"{file}, line {number}: got {text!r}, which is listed before; allowed: each name once, in one list"
                )
            splits[stem] = split
    if "train" not in there:
        splits |= {name: "train" for name in images if name not in splits}
    return splits


def draw_test(names: list[str], seed: int) -> dict[str, str]:
    """A fifth of the names, at least one, for test; the rest for training."""
    test = set(shuffled(names, seed)[: share_of(TEST_SHARE, len(names))])
    return {name: "test" if name in test else "train" for name in names}


def usual_size(files: list[Path]) -> tuple[int, int]:
    """Height and width with the files' median aspect, the shorter side 128 and both multiples of 8.

    Masks stand for their images: they have the size of the image however its EXIF data turn it.
    """
    sizes = [size_in(file) for file in files[:: max(1, len(files) // MOST_SIZES)]]
    aspect = median(width / height for height, width in sizes) if sizes else 1.0
    longer = round(SHORTER_SIDE * max(aspect, 1 / aspect) / 8) * 8
    return (SHORTER_SIDE, longer) if aspect >= 1 else (longer, SHORTER_SIDE)


FOLDER = DataSet(name="folder", source=folder)
