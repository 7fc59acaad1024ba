"""--data.download: torchvision is asked for the right thing in the right place, once, and failures are one line.

Stand-ins for torchvision's classes write small trees of the layout that the real ones make; nothing is fetched.
"""

import tarfile
import urllib.error
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import build_cifar10, build_pets, build_voc, splits_of
from PIL import Image
from scipy.io import savemat

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, load

datasets = pytest.importorskip("torchvision.datasets")
Calls = list[tuple[str, Path, dict[str, Any]]]


def size_of(i: int) -> tuple[int, int]:
    return 13 + 2 * (i % 8), 27 - i % 8  # as in build_voc


def build_devkit(root: Path) -> None:
    """VOC without the augmented set: images 0..3 and 10..13 have masks, 4..6 do not."""
    build_voc(root, augmented=False)
    for i in (4, 5, 6):
        image = Image.fromarray(np.zeros((*size_of(i), 3), np.uint8))
        image.save(root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"2007_{i:06d}.jpg")


def build_sbd(root: Path) -> None:
    """SBD as torchvision unpacks it: images 2..5 in train.txt, 6 and 10 in val.txt, each of one class, its number."""
    for part in ("img", "cls"):
        (root / part).mkdir(parents=True)
    for file, numbers in {"train": range(2, 6), "val": (6, 10)}.items():
        (root / f"{file}.txt").write_text("".join(f"2007_{i:06d}\n" for i in numbers))
        for i in numbers:
            Image.fromarray(np.zeros((*size_of(i), 3), np.uint8)).save(root / "img" / f"2007_{i:06d}.jpg")
            savemat(root / "cls" / f"2007_{i:06d}.mat", {"GTcls": {"Segmentation": np.full(size_of(i), i, np.uint8)}})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What torchvision is asked for: class, root, other arguments. The real SBDataset reads what stands in for its download."""
    made: Calls = []
    builders = {
        "OxfordIIITPet": lambda root: build_pets(root / "oxford-iiit-pet"),
        "CIFAR10": build_cifar10,
        "VOCSegmentation": build_devkit,
        "SBDataset": build_sbd,
    }

    def standing_in(name: str, real: Any) -> Any:
        def fetch(root: Path, download: bool, **arguments: Any) -> Any:
            made.append((name, root, {**arguments, "download": download}))
            if download:
                builders[name](root)
            return real(root, **arguments) if name == "SBDataset" else None

        return fetch

    for name in builders:
        monkeypatch.setattr(datasets, name, standing_in(name, getattr(datasets, name)))
    return made


PETS = ("OxfordIIITPet", {"target_types": "segmentation", "download": True})
CIFAR = ("CIFAR10", {"download": True})


@pytest.mark.parametrize(
    ("name", "given", "asked", "images"),
    [
        ("oxford_pets", "data", PETS, 40),
        ("oxford_pets", "data/oxford-iiit-pet", PETS, 40),
        ("cifar10", "data", CIFAR, 120),
        ("cifar10", "data/cifar-10-batches-py", CIFAR, 120),
    ],
)
def test_torchvision_fetches_once_and_what_it_wrote_is_read(
    name: str, given: str, asked: tuple[str, dict[str, Any]], images: int, calls: Calls, tmp_path: Path
) -> None:
    data = Data(name=name, root=tmp_path / given, download=True)
    pack = load(data, tmp_path / "cache")
    assert len(pack) == images
    assert calls == [(asked[0], tmp_path / "data", asked[1])]
    assert load(data, tmp_path / "cache").path == load(Data(name=name, root=data.root), tmp_path / "cache").path == pack.path
    assert len(calls) == 1


@pytest.mark.parametrize("build", [build_pets, build_cifar10])
def test_a_folder_with_the_files_in_it_is_left_alone(build: Any, calls: Calls, tmp_path: Path) -> None:
    name = {build_pets: "oxford_pets", build_cifar10: "cifar10"}[build]
    load(Data(name=name, root=build(tmp_path / "mine"), download=True), tmp_path / "cache")
    assert calls == []


@pytest.mark.parametrize("given", ["data", "data/VOCdevkit"])
def test_voc_gets_the_masks_of_sbd_and_a_list_of_both(given: str, calls: Calls, tmp_path: Path) -> None:
    data = Data(name="voc_aug", root=tmp_path / given, download=True)
    pack = load(data, tmp_path / "cache")
    home = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    sbd = ("SBDataset", home / "SBD")
    assert calls == [
        ("VOCSegmentation", tmp_path / "data", {"year": "2012", "download": True}),
        (*sbd, {"image_set": "train", "mode": "segmentation", "download": True}),
        (*sbd, {"image_set": "val", "mode": "segmentation", "download": False}),
    ]
    trained = [f"2007_{i:06d}" for i in range(7)]  # 0..3 of VOC, 2..6 of SBD; 10 is scored, and by VOC's mask
    assert sorted(name for name, split in splits_of(DATASETS["voc_aug"].source(data)).items() if split == "train") == trained
    for i in range(7):
        mask = pack.mask(pack.ids.index(f"2007_{i:06d}"))
        assert mask is not None
        assert mask.shape == size_of(i)
        assert (set(mask.ravel().tolist()) == {i}) == (i >= 2)
    load(data, tmp_path / "cache")
    assert len(calls) == 3


def test_masks_of_sbd_that_are_missing_are_fetched_without_voc(calls: Calls, tmp_path: Path) -> None:
    build_devkit(tmp_path)
    load(Data(name="voc_aug", root=tmp_path, download=True), tmp_path / "cache")
    assert [name for name, *_ in calls] == ["SBDataset", "SBDataset"]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (urllib.error.URLError("no route\nto host"), "<urlopen error no route to host>"),
        (RuntimeError("File not found or corrupted."), "File not found or corrupted."),
        (tarfile.ReadError("unexpected end of data"), "unexpected end of data"),
        (IncompleteRead(b"", 5), r"IncompleteRead\(0 bytes read, 5 more expected\)"),
        (PermissionError(13, "Permission denied"), r"\[Errno 13\] Permission denied"),
        (EOFError(), "EOFError"),
    ],
)
@pytest.mark.parametrize("name", ["oxford_pets", "cifar10", "voc_aug"])
def test_a_failure_is_one_line(name: str, failure: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise failure

    for dataset in ("OxfordIIITPet", "CIFAR10", "VOCSegmentation"):
        monkeypatch.setattr(datasets, dataset, fails)
    message = rf"^data.download: {name} cannot be fetched to \S+ \({reason}\); allowed: with a connection to its site$"
    with pytest.raises(SettingError, match=message):
        load(Data(name=name, root=tmp_path / "data", download=True), tmp_path / "cache")


@pytest.mark.parametrize("name", sorted(name for name, entry in DATASETS.items() if entry.fetch is None))
def test_what_torchvision_does_not_fetch_is_refused_with_its_site(name: str, tmp_path: Path) -> None:
    hand = "" if name in ("synthetic", "folder") else rf"; get {name} by hand from https?://\S+"
    message = rf"^data.download: got True for {name}; allowed: for oxford_pets, cifar10, voc_aug{hand}$"
    with pytest.raises(SettingError, match=message):
        load(Data(name=name, root=tmp_path, download=True), tmp_path / "cache")


def test_a_download_needs_a_root(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^data.root: got None; allowed: the folder into which --data.download puts cifar10$"):
        load(Data(name="cifar10", download=True), tmp_path)
