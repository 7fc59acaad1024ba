"""Every data set on disk notices what happens to its files: moved, changed by one pixel, missing, damaged; and its variants."""

import dataclasses
import importlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import BUILDERS, build_folder, build_volumes, decoded, python_2_batch
from PIL import Image

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Item, Pack, load
from semiseg.data.cifar10 import read_batch
from semiseg.data.pack import open_pack

CITY = "train/aachen/aachen_000002_000019"
FILES = {  # of one image and its mask
    "folder": {"image": "images/03.png", "mask": "masks/03.png"},
    "camvid": {"image": "train/3.png", "mask": "trainannot/3.png"},
    "oxford_pets": {"image": "images/pet_3.jpg", "mask": "annotations/trimaps/pet_3.png"},
    "scgm": {"image": "site2-sc01-image.nii.gz", "mask": "site2-sc01-mask-r1.nii.gz"},
    "cifar10": dict.fromkeys(("image", "mask"), "cifar-10-batches-py/data_batch_3"),
    "cityscapes": {"image": f"leftImg8bit/{CITY}_leftImg8bit.png", "mask": f"gtFine/{CITY}_gtFine_labelIds.png"},
    "voc_aug": {
        "image": "VOCdevkit/VOC2012/JPEGImages/2007_000003.jpg",
        "mask": "VOCdevkit/VOC2012/SegmentationClassAug/2007_000003.png",
    },
    "acdc": dict.fromkeys(("image", "mask"), "data/slices/patient003_frame02_slice_2.h5"),
}
OPTIONAL = {
    *(("folder", part) for part in ("image", "mask")),
    *(("scgm", part) for part in ("image", "mask")),
    ("oxford_pets", "mask"),
    ("cityscapes", "image"),
    ("voc_aug", "mask"),  # VOC's own is taken then
}
"""What may be missing: the data set is what its folders hold, not what lists say."""


@pytest.fixture(params=[name for name in DATASETS if name != "synthetic"])
def disk(request: pytest.FixtureRequest) -> str:
    """An entry of DATASETS that reads files."""
    return request.param


def test_fingerprint_does_not_follow_the_place(disk: str, tmp_path: Path) -> None:
    root = BUILDERS[disk](tmp_path / "one")
    first = load(Data(name=disk, root=root), tmp_path / "cache")
    shutil.copytree(root, tmp_path / "two", copy_function=shutil.copyfile)  # new modification times
    moved = load(Data(name=disk, root=tmp_path / "two"), tmp_path / "cache")
    assert moved.fingerprint == first.fingerprint
    assert moved.path != first.path


def change_one_pixel(name: str, file: Path, part: str) -> None:
    """Change a pixel of an image, or its class; of CIFAR-10 the class of an image."""
    if name == "cifar10":
        pixels, labels = read_batch(file)
        if part == "image":
            pixels[7, 100] ^= 128
        else:
            labels[7] = (labels[7] + 1) % 10
        file.write_bytes(python_2_batch(pixels, labels))
    elif name == "scgm":
        volume = importlib.import_module("nibabel").load(file)
        voxels = np.asanyarray(volume.dataobj).copy()
        voxels[13, 15, 2] = 2 if part == "mask" else voxels[13, 15, 2] + 250
        volume.__class__(voxels, volume.affine).to_filename(file)
    elif name == "acdc":
        with importlib.import_module("h5py").File(file, "r+") as content:
            if part == "image":
                content["image"][3, 4] = (content["image"][3, 4] + 0.5) % 1
            else:
                content["label"][3, 4] = (content["label"][3, 4] + 1) % 4
    else:
        with Image.open(file) as image:
            image.load()
        first, second = (7, 8) if name == "cityscapes" else (1, 2)  # other labels of Cityscapes may both be ignored
        old: Any = image.getpixel((5, 6))
        image.putpixel((5, 6), (first if old == second else second) if isinstance(old, int) else (old[0] ^ 128, *old[1:]))
        image.save(file, format="PNG")  # the one change, also where the file was a JPEG


@pytest.mark.parametrize("part", ["image", "mask"])
def test_fingerprint_follows_one_pixel(disk: str, part: str, tmp_path: Path) -> None:
    data = Data(name=disk, root=BUILDERS[disk](tmp_path / "tree"), size="native")
    first = load(data, tmp_path / "cache")
    change_one_pixel(disk, tmp_path / "tree" / FILES[disk][part], part)
    second = load(data, tmp_path / "cache")
    assert second.fingerprint != first.fingerprint
    differ = [row for row in range(len(first)) if not same_pixels(first, second, row)]
    assert (first.ids, len(differ)) == (second.ids, 1)
    one, other = ((pack.image if part == "image" else pack.mask)(differ[0]) for pack in (first, second))
    assert one is not None
    assert other is not None
    changed = (one != other).reshape(*one.shape[:2], -1).any(2).sum()
    # a label of CIFAR-10 is a whole mask; a voxel of 0.5 mm is 4 pixels and changes the mean and deviation of all
    assert changed == 1 or disk == "cifar10" or (disk == "scgm" and (part == "image" or changed == 4))


def same_pixels(one: Pack, other: Pack, row: int) -> bool:
    mine, theirs = one.mask(row), other.mask(row)
    alike = mine is theirs is None or (mine is not None and theirs is not None and np.array_equal(mine, theirs))
    return alike and np.array_equal(one.image(row), other.image(row))


def test_fingerprint_of_scenes_follows_one_pixel(tmp_path: Path) -> None:
    source = DATASETS["synthetic"].source(Data())

    def read(item: Item) -> tuple[np.ndarray, np.ndarray | None] | None:
        image, mask = decoded(source, item.id)
        image[3, 4, 1] ^= item.id == "0007"
        return image, mask

    some = dataclasses.replace(source, items=source.items[:20] + source.items[-1:])
    packs = [
        open_pack(each, "synthetic", None, tmp_path / each.stamp)
        for each in (some, dataclasses.replace(some, read=read, stamp="changed"))
    ]
    assert packs[0].fingerprint != packs[1].fingerprint


HARMS = [
    (name, part, harm)
    for name in FILES
    for part in ("image", "mask")
    for harm in ("gone", "cut", "junk")
    if harm != "gone" or (name, part) not in OPTIONAL
]


@pytest.mark.parametrize(("name", "part", "harm"), HARMS)
def test_a_missing_or_damaged_file_is_named(name: str, part: str, harm: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "tree")
    file = root / FILES[name][part]
    content = file.read_bytes()
    file.unlink()
    if harm != "gone":
        file.write_bytes(content[: len(content) // 2] if harm == "cut" else b"junk")
    with pytest.raises(SettingError) as caught:
        load(Data(name=name, root=root), tmp_path / "cache")
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name, entry in DATASETS.items() for variant in entry.variants])
def test_a_variant_is_packed_apart(name: str, variant: str, tmp_path: Path) -> None:
    build = {**BUILDERS, "folder": build_volumes}.get(name)
    data = Data(name=name, root=build(tmp_path / "tree") if build else None)
    packs = [load(dataclasses.replace(data, variant=chosen), tmp_path / "cache") for chosen in ((), (variant,))]
    assert packs[0].path != packs[1].path
    # the same pixels where a variant says only which of them are labelled
    assert (packs[0].fingerprint != packs[1].fingerprint) != (packs[0].listed != packs[1].listed)


@pytest.mark.parametrize(
    ("name", "variant", "allowed"),
    [
        ("camvid", ("border_ignored",), "none, as camvid has no variants"),
        ("oxford_pets", ("split_003",), "of border_ignored, split_feng2020_dmt, split_official"),
        ("oxford_pets", ("border_ignored", "border_ignored"), "each name once"),
        ("oxford_pets", ("split_feng2020_dmt", "border_ignored", "split_official"), "one of split_feng2020_dmt, split_official"),
    ],
)
def test_variants_that_are_not_there_or_contradict_are_refused(
    name: str, variant: tuple[str, ...], allowed: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=rf"^data.variant: got {re.escape(repr(variant))}; allowed: {allowed}$"):
        load(Data(name=name, variant=variant), tmp_path)


def test_a_changed_file_is_packed_again(tmp_path: Path) -> None:
    root = build_folder(tmp_path / "one")
    first = load(Data(name="folder", root=root), tmp_path / "cache")
    os.utime(root / "masks" / "00.png", ns=(0, 0))
    second = load(Data(name="folder", root=root), tmp_path / "cache")
    assert second.path != first.path
    assert second.fingerprint == first.fingerprint
