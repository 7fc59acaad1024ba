"""Any folder of images and masks: no code needed.

    root/images/NAME.ext       sub-folders allowed; what Pillow opens, TIFF and GeoTIFF of any depth and number of bands or pages,
                               NPY, NIfTI, GDAL's .vrt, .img and .jp2
    root/masks/NAME.ext        same name, lossless; palette, grey, 1-bit (value = class, 255 = ignore) or colour-coded
    root/unlabelled/NAME.ext   optional: training images without masks
    root/train.txt, selection.txt (or val.txt), test.txt     optional: one name a line, with or without extension
    root/labelled.txt          optional: the training images whose masks are used
    root/groups.csv            optional: lines NAME,GROUP; images of one group stay on one side. A header name,group,A,B names
                               further columns, by which labelled subsets can be stratified (--data.stratify A)
    root/classes.txt           a class a line: `name`, or `value name`, or `r g b name`; the name `ignore` is ignored. Optional
                               for values 0..K-1 and 255 (ignore), or 0 and 255 (two classes)

Without lists a fifth is drawn for test with --data.split-seed and the rest is for training. With lists, images in none of them
are left out, unless there is no train.txt: then they are the training images. val.txt is for selection when there is a test.txt
and for test when there is not; selection images are then carved out of training like everywhere else. Names may be spelled in
another Unicode form than the file system's (macOS), and hold a # after a space.

A photo with a turn in its EXIF data is turned as viewers do, unless only the stored pixels have its mask's size (`Photos`).
A mask of several pages, or a NIfTI volume, makes each page of its image an image (`stacks`); of a mask of one page the image's
pages are channels. Pixels in which all bands hold GDAL's value for no data are ignored.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.arrays import Spacing
from semiseg.data.classes import class_ids, read_classes
from semiseg.data.dataset import DataSet
from semiseg.data.groups import Groups, Told, draw_test, need_one_side, read_groups
from semiseg.data.images import Photos
from semiseg.data.labelled_list import listed_ids
from semiseg.data.listing import composed, meant, named_files, read_lists, spellings
from semiseg.data.masks import to_ids, values_of
from semiseg.data.nifti import is_nifti
from semiseg.data.source import IGNORE, Item, Labels, Source, folder_of, stamp_of
from semiseg.data.stacks import VARIANTS, layouts_of, linked, plane_of, size_of, slices_of, spacing_of

LABELLED = "labelled.txt"
TEST_SHARE = 0.2
SHORTER_SIDE = 128
MOST_SIZES = 256  # about so many images, evenly spread over the names, whose headers are read to choose the default size


def folder(data: Data) -> Source:
    """The data set in --data.root."""
    root = folder_of(data.root, "folder")
    if not (root / "images").is_dir():
        raise SettingError(f"data.root: got {str(root)!r} without a folder images; allowed: a folder with images/ and masks/")
    images, masks, plain = (named_files(root / part) for part in ("images", "masks", "unlabelled"))
    plane = plane_of(data.variant, [*images.values(), *plain.values()])
    told = told_groups(root, images, plain, data)
    splits, groups = split_files(root, images, plain, data, told)
    spelled = spellings(masks)
    for name in splits:
        if composed(name) not in spelled:
            raise SettingError(
                f"{images[name]}: got an image without mask among the labelled ones; "
                f"allowed: put it in {root / 'unlabelled'} or add {root / 'masks' / name}.png"
            )
    pairs = {name: (images[name], masks[spelled[composed(name)]]) for name in sorted(splits)}
    layouts = cache(lambda: layouts_of(pairs.values(), plane))

    # image, mask and the number of the slice in both; no number: a file of one image
    places: dict[Item, tuple[str, Path, Path | None, int | None]] = {}
    for name, (image, mask) in pairs.items():
        for ending, number in slices_of(mask, plane, None):
            places[Item(name + ending, splits[name])] = (name, image, mask, number)
    for name, file in sorted(plain.items()):
        for ending, number in slices_of(file, plane, layouts):
            places[Item(f"unlabelled/{name}{ending}", "unlabelled")] = (f"unlabelled/{name}", file, None, number)

    photos = Photos(channels=data.channels, plane=plane)
    declared = read_classes(root / "classes.txt", data.classes)

    @cache
    def labels() -> tuple[dict, Labels]:
        return class_ids([mask for _, mask in pairs.values()], declared)

    def read(item: Item) -> tuple[np.ndarray, np.ndarray | None]:
        _, image, mask, number = places[item]
        if mask is None:
            known = layouts()
            return (photos.alone(image, known) if number is None else photos.slice_alone(image, number, known)), None
        ids = labels()[0]
        if number is None:
            pixels, raw, void = photos.pair_and_void(image, mask, colour=isinstance(next(iter(ids)), tuple))
        else:
            pixels, raw, void = photos.slice_and_void(image, mask, number)
        found = to_ids(raw, ids, mask)
        if void is not None and void.shape == found.shape:
            found[void] = IGNORE
        return pixels, found

    def volume(item: Item) -> str:
        name, _, _, number = places[item]
        return item.id if number is None else name

    def attribute(told: Told) -> Callable[[Item], str]:
        return lambda item: told(places[item][0], places[item][0].removeprefix("unlabelled/" * (item.split == "unlabelled")))

    def where(item: Item) -> str:
        _, image, mask, number = places[item]
        return f"{mask or image}{'' if number is None else f', slice {number}'}"

    @cache
    def distances(file: Path) -> Spacing | None:
        return spacing_of(file, plane)

    used = [file for pair in pairs.values() for file in pair] + [*plain.values()]
    shown = [(mask, None) for _, mask in pairs.values()] + [(file, layouts) for file in plain.values()]
    source = Source(
        items=tuple(places),
        classes=declared.names if declared else (),
        palette=(),
        read=read,
        stamp="",
        default_size=usual_size([size_of(file, plane, known) for file, known in shown[:: max(1, len(shown) // MOST_SIZES)]]),
        default_labelled=max(1, sum(item.split == "train" for item in places) // 10),
        where=where,
        group=lambda item: groups.get(places[item][0]) or volume(item),
        values=lambda: values_of(labels()[0]),
        discover=lambda: labels()[1],
        finish=photos.finish,
        volume=volume,
        spacing=lambda item: distances(places[item][1]),
        unit="mm" if all(is_nifti(image) for _, image, _, _ in places.values()) else "map units",
        attributes={name: attribute(of) for name, of in (told.attributes if told else {}).items()},
    )
    file = root / LABELLED
    listed = listed_ids(file, source) if file.is_file() else frozenset()
    options = ([*places], declared, plane, data.channels, sorted(groups.items()), sorted(listed), linked(used))
    return replace(source, listed=listed, stamp=stamp_of(root, used, *options))


def told_groups(root: Path, images: dict[str, Path], plain: dict[str, Path], data: Data) -> Groups | None:
    """What is told of groups and attributes; names of unlabelled files are unlabelled/NAME where another one is called so."""
    spelled = spellings([*(f"unlabelled/{name}" for name in plain), *plain, *images])
    return read_groups(root, data.groups, lambda text: meant(text, spelled), root / "images")


def split_files(
    root: Path, images: dict[str, Path], plain: dict[str, Path], data: Data, told: Groups | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Split of each labelled image's file by name, and groups of all files where they are told; unlabelled/NAME for those."""
    splits = read_lists(root, images)
    groups: dict[str, str] = {}
    trained: set[str] = set()
    if told is not None:
        groups = {name: told.group(name, name) for name in sorted(images if splits is None else splits)}
        unlabelled = {f"unlabelled/{name}": told.group(f"unlabelled/{name}", name) for name in sorted(plain)}
        groups, trained = groups | unlabelled, set(unlabelled.values())
    if splits is None:
        splits = draw_test({name: groups.get(name, name) for name in images}, data.split_seed, TEST_SHARE, frozenset(trained))
    if groups:
        need_one_side({**splits, **{name: "unlabelled" for name in groups if name not in splits}}, groups, root)
    return splits, groups


def usual_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Height and width with the median aspect, the shorter side 128 and both multiples of 8.

    Masks stand for their images: they have the size of the image however its EXIF data turn it.
    """
    aspect = median(width / height for height, width in sizes) if sizes else 1.0
    longer = round(SHORTER_SIDE * max(aspect, 1 / aspect) / 8) * 8
    return (SHORTER_SIDE, longer) if aspect >= 1 else (longer, SHORTER_SIDE)


FOLDER = DataSet(name="folder", source=folder, variants=VARIANTS, reads=("groups",))
