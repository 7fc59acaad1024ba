"""The same strange files in the layouts of the published data sets, and settings, disks and memory that do not suffice."""

import errno
import importlib
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import strange
from data_trees import BUILDERS, build_folder, python_2_batch, save_h5, save_volume
from PIL import ExifTags, Image, ImageOps
from strange import IMAGES, TRUTH, base
from test_data_files import FILES

from semiseg import machine
from semiseg.config import Data, SettingError
from semiseg.data import load, split
from semiseg.data.known import StandIn

PICTURES = ("camvid", "oxford_pets", "cityscapes", "voc_aug")
"""Data sets whose images and masks are picture files, opened by content whatever their names say."""
Write = Callable[[Path, np.ndarray], None]


def saved(kind: str, **how: Any) -> Write:
    return lambda file, pixels: Image.fromarray(pixels).save(file, format=kind, **how)


def two_pages(file: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(file, format="TIFF", save_all=True, append_images=[Image.fromarray(pixels[::-1])])


def text_only(file: Path, pixels: np.ndarray) -> None:
    file.write_text("text")


HARMS: Mapping[str, tuple[str, Write, str]] = {
    "lossy mask": ("mask", saved("JPEG"), "got a mask as JPEG, which does not keep values"),
    "int32 mask with -1": ("mask", lambda file, mask: saved("TIFF")(file, mask.astype(np.int32) - 1 - mask.min()), "got mask values -1"),
    "mask of two pages": ("mask", two_pages, "got 2 pages or frames in a TIFF file"),
    "image of two pages": ("image", two_pages, r"got an array \(2, \d+, \d+, 3\) \(PHWC\); allowed: what fits its mask"),
    "unknown class": ("mask", lambda file, mask: saved("PNG")(file, np.where(mask == mask[0, 0], 200, mask)), "got mask value 200"),
    "coloured mask": ("mask", lambda file, mask: saved("PNG")(file, np.dstack([mask, mask * 7, mask])), "got the colour"),
    "bytes of text": ("image", text_only, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", PICTURES)
def test_strange_files_are_refused_in_every_layout(name: str, harm: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "tree")
    part, write, rule = HARMS[harm]
    file = root / FILES[name][part]
    with Image.open(file) as one:
        pixels = np.array(one)
    write(file, pixels)
    with pytest.raises(SettingError) as refused:
        load(Data(name=name, root=root, size="native"), tmp_path / "cache")
    assert re.match(rf"{re.escape(str(file))}: .*{rule}", str(refused.value)), refused.value
    assert "\n" not in str(refused.value)
    assert [*(tmp_path / "cache").iterdir()] == []


@pytest.mark.parametrize("turn", [3, 6])
@pytest.mark.parametrize("name", PICTURES)
def test_a_turn_is_applied_in_every_layout(name: str, turn: int, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "tree")
    file = root / FILES[name]["image"]
    with Image.open(file) as one:
        pixels = np.array(one.convert("RGB"))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(pixels.swapaxes(0, 1) if turn == 6 else pixels).save(file, format="PNG", exif=exif)
    with Image.open(file) as one:
        seen = np.array(ImageOps.exif_transpose(one).convert("RGB"))
    pack = load(Data(name=name, root=root, size="native"), tmp_path / "cache")
    assert sum(np.array_equal(pack.image(row), seen) for row in range(len(pack))) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_images_of_two_depths_are_refused_in_every_layout(name: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "tree")
    file = root / FILES[name]["image"]
    with Image.open(file) as one:
        Image.fromarray(np.array(one.convert("L")).astype(np.uint16) * 16).save(file, format="PNG")
    with pytest.raises(SettingError, match=r": got uint(8|16) with \d channels?; allowed: uint(8|16) with \d, as "):
        load(Data(name=name, root=root), tmp_path / "cache")


def mri(name: str, tree: Path) -> Path:
    pytest.importorskip({"scgm": "nibabel", "acdc": "h5py"}[name])
    return BUILDERS[name](tree)


def test_odd_values_in_mri_masks_are_refused(tmp_path: Path) -> None:
    root = mri("scgm", tmp_path / "scgm")
    file = root / FILES["scgm"]["mask"]
    voxels = np.asarray(importlib.import_module("nibabel").load(file).dataobj).astype(np.uint8)
    save_volume(file, voxels * 85)
    with pytest.raises(SettingError, match=rf"{file}: got mask value 85; allowed: 0, 1 \(grey matter\), 2 \(white matter\)"):
        load(Data(name="scgm", root=root), tmp_path / "cache")
    root = mri("acdc", tmp_path / "acdc")
    file = root / FILES["acdc"]["mask"]
    for image, label, rule in (
        (np.zeros((16, 20), np.float32), np.full((16, 20), -1, np.int32), "got mask value -1; allowed: 0, 1, 2, 3"),
        (np.zeros((0, 20), np.float32), np.zeros((0, 20), np.uint8), r"got an image of shape \(0, 20\); allowed: one with pixels"),
    ):
        file.unlink()
        save_h5(file, image, label)
        with pytest.raises(SettingError, match=f"{file}: {rule}"):
            load(Data(name="acdc", root=root), tmp_path / "cache")


@pytest.mark.parametrize("labels", [[[1]] * 20, [10] * 20, [0] * 19, 7])
def test_odd_labels_of_cifar_are_refused(labels: Any, tmp_path: Path) -> None:
    root = BUILDERS["cifar10"](tmp_path / "tree")
    file = root / FILES["cifar10"]["mask"]
    content = python_2_batch(np.zeros((20, 3072), np.uint8), [0] * 20)
    batch = pickle.loads(content, encoding="bytes")
    file.write_bytes(pickle.dumps({**batch, b"labels": labels}, protocol=2))
    with pytest.raises(SettingError, match=f"^{file}: (got|cannot be read) .*; allowed: [^\n]*$"):
        load(Data(name="cifar10", root=root), tmp_path / "cache")


# ---- settings


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"split_seed": -1}, "data.split_seed: got -1; allowed: a whole number >= 0"),
        ({"labelled": 1.5}, "data.labelled: got 1.5; allowed: a count >= 1, a share in"),
        ({"labelled": -0.1}, "data.labelled: got -0.1; allowed"),
        ({"labelled": float("nan")}, "data.labelled: got nan; allowed"),
        ({"labelled": float("inf")}, "data.labelled: got inf; allowed"),
        ({"labelled": 10**400}, "data.labelled: got 10+; allowed: at most 3"),
        ({"selection": 1.0}, "data.selection: got 1.0; allowed: a count >= 1 or a share in"),
        ({"selection": float("inf")}, "data.selection: got inf; allowed"),
        ({"size": (1_000_000, 1_000_000)}, r"data.size: got \(1000000, 1000000\), with which one image takes 16 TB of memory"),
        ({"size": (7, 64)}, "data.size: got .*; allowed: height and width of at least 8"),
        ({"classes": ("one",)}, r"data.classes: got \('one',\); allowed: two names or more"),
        ({"variant": ("ego_black",)}, "data.variant: got .*; allowed: of sagittal, coronal"),
        ({"variant": ("sagittal",)}, "data.variant: got .*; allowed: none in a folder without NIfTI"),
        ({"channels": 0}, "data.channels: got 0; allowed: a whole number >= 1"),
        ({"channels": 1}, r"data.channels: got 1; allowed: 3, as .*images/a.png has"),
        ({"channels": 5}, r"data.channels: got 5; allowed: 3, as .*images/a.png has"),
        ({"groups": "abc"}, r"data.groups: got 'abc'; allowed: a regular expression with a group \( \)"),
        ({"groups": "(a"}, r"data.groups: got '\(a'; allowed: a regular expression with a group"),
        (
            {"groups": "([xyz])"},
            r"data.groups: got '\(\[xyz\]\)'; allowed: an expression that finds a group in every name, such as 'a'",
        ),
        ({"name": "camvid", "groups": "(a)"}, r"data.groups: got '\(a\)'; allowed: for folder"),
        ({"name": "synthetic", "channels": 1}, "data.channels: got 1; allowed: 3, as these images have"),
        ({"download": True}, "data.download: got True for folder; allowed: for oxford_pets, cifar10, voc_aug$"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings: dict[str, Any], rule: str, tmp_path: Path) -> None:
    root = base(tmp_path / "root")
    said = strange.refusal(root, settings)
    assert re.match(rule, said), said


@pytest.mark.parametrize(("labelled", "count"), [(1, 1), (1.0, 3), ("all", 3), (0.7, 2), (2.0, 2), (3, 3)])
def test_1_is_one_image_and_the_share_1_is_all_of_them(labelled: Any, count: int, tmp_path: Path) -> None:
    root = base(tmp_path / "root")
    data = Data(name="folder", root=root, labelled=labelled)
    assert len(split(load(data, tmp_path / "cache"), data).labelled) == count
    assert Data(labelled=1.0) != Data(labelled=1)  # equal settings are opened once


def test_a_stand_in_of_absurd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="data.size: got .* of memory"):
        StandIn(Data(name="cityscapes", size=(1_000_000, 1_000_000)))


def test_what_does_not_fit_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_memory", lambda: 1000)
    assert machine.available_memory() == 1000
    machine.need_memory("x", 1, 1000, "it")
    with pytest.raises(
        SettingError, match=r"x: got 1, with which it takes 1.02 kB of memory; allowed: what fits the 1 kB that are free"
    ):
        machine.need_memory("x", 1, 1024, "it")


# ---- the cache


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"))
    cache = tmp_path / "cache"
    for target, broken in {"semiseg.data.pack.pa.ipc.new_file": full, "semiseg.data.pack.os.replace": full}.items():
        with monkeypatch.context() as patch:
            patch.setattr(target, broken)
            with pytest.raises(
                SettingError, match=rf"^cache: got '{cache}', which cannot be written \(No space left on device\); allowed"
            ):
                load(data, cache)
        assert [*cache.iterdir()] == []
    assert len(load(data, cache)) == 14


def full(*_: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_data_that_do_not_fit_on_the_disk_are_refused_before_they_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"), size=(64, 64))
    usage = type("Usage", (), {"free": 64 * 64 * 4 * 14 * 2 - 1})
    monkeypatch.setattr("semiseg.data.memory.shutil.disk_usage", lambda _: usage)
    with pytest.raises(SettingError, match=r"data.size: got \(64, 64\), with which 14 images take 459 kB while they are packed"):
        load(data, tmp_path / "cache")


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(SettingError, match="^cache: got .*, which cannot be written"):
        load(Data(name="folder", root=build_folder(tmp_path / "one")), tmp_path / "cache")


def test_a_file_written_over_half_of_a_pack_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sound Arrow, but of other columns."""
    root = base(tmp_path / "root")
    path = strange.opened(root, {}).path
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("x", pa.int8())])):
        pass
    np.testing.assert_array_equal(strange.pixels_of(strange.opened(root, {}), "a")[0], IMAGES["a"])
    np.testing.assert_array_equal(strange.pixels_of(strange.opened(root, {}), "a")[1], TRUTH)
    assert capsys.readouterr().err.count("it is made again") == 1
