"""Small trees of real file formats for the tests of the data sets, where the shared real ones lie, and what both must keep."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg.config import Data
from semiseg.data import DATASETS, Pack, Source, load, split

SHARED = Path(__file__).parents[2] / "shared" / "data"
LAS = np.diag([-1.0, 1.0, 1.0])
LPS = np.diag([-1.0, -1.0, 1.0])
RAS = np.eye(3)


def shared(name: str) -> Path:
    """The folder of a shared data set; skips the test where it is not."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not here")
    return SHARED / name


def build_folder(root: Path, images: int = 12, unlabelled: int = 2) -> Path:
    """A small folder data set: random 10x12 images, palette masks with values 0, 1, 2 and 255."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks", "unlabelled"):
        (root / part).mkdir(parents=True)
    for i in range(images):
        Image.fromarray(rng.integers(0, 256, (10, 12, 3), np.uint8)).save(root / "images" / f"{i:02d}.png")
        mask = Image.fromarray(rng.choice(np.array([0, 1, 2, 255], np.uint8), (10, 12)), "P")
        mask.putpalette([0, 0, 0, 200, 10, 20, 30, 220, 40])
        mask.save(root / "masks" / f"{i:02d}.png")
    for i in range(unlabelled):
        Image.fromarray(rng.integers(0, 256, (10, 12, 3), np.uint8)).save(root / "unlabelled" / f"{i:02d}.jpg")
    return root


def build_pets(root: Path, images: int = 40) -> Path:
    """Random 20x24 photos and trimaps in torchvision's layout, with the oddities of the real set.

    pet_0 is a PNG with alpha, pet_1 a GIF; pet_2 is only in test.txt; `bare` is listed without a trimap and `unlisted` in no list.
    """
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    names = [f"pet_{i}" for i in range(images)]
    for name in [*names, "bare", "unlisted"]:
        image = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        kind = {"pet_0": "PNG", "pet_1": "GIF"}.get(name, "JPEG")
        image.convert("RGBA" if kind == "PNG" else "RGB").save(root / "images" / f"{name}.jpg", format=kind)
        if name != "bare":
            Image.fromarray(rng.integers(1, 4, (20, 24), np.uint8)).save(root / "annotations" / "trimaps" / f"{name}.png")
    listed = [name for name in [*names, "bare"] if name != "pet_2"]
    lists = {"list": listed, "trainval": listed[::2], "test": [*listed[1::2], "pet_2"]}
    for file, lines in lists.items():
        text = "#Image CLASS-ID SPECIES BREED ID\n" + "".join(f"{name} 1 1 1\n" for name in lines)
        (root / "annotations" / f"{file}.txt").write_text(text)
    return root


def save_volume(file: Path, voxels: np.ndarray, spacing: float = 0.5, axes: np.ndarray = RAS) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag([spacing, spacing, 3.0])
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), file)


def build_scgm(root: Path, sites: Sequence[int] = (1, 2, 3, 4), labelled: int = 2, unlabelled: int = 1) -> Path:
    """Random volumes of 30x34 voxels and 6 slices, two raters; the first slice has no grey matter, on the last they tie."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for site in sites:
        for i in range(labelled + unlabelled):
            subject = f"site{site}-sc{i + 1 if i < labelled else 11 + i - labelled:02d}"
            save_volume(root / f"{subject}-image.nii.gz", rng.integers(0, 500, (30, 34, 6)).astype(np.int16), axes=LAS)
            if i < labelled:
                mask = np.zeros((30, 34, 6), np.uint8)
                mask[8:20, 10:25, 1:] = 2
                mask[12:16, 14:20, 1:] = 1
                save_volume(root / f"{subject}-mask-r1.nii.gz", mask, axes=LAS)
                mask[..., 5] = 0
                save_volume(root / f"{subject}-mask-r2.nii.gz", mask, axes=LAS)
    return root


def build_volumes(root: Path, volumes: int = 5) -> Path:
    """A folder of random int16 volumes of 10x11x12 voxels and their masks of values 0, 1 and 2."""
    rng = np.random.default_rng(0)
    for i in range(volumes):
        save_volume(root / "images" / f"{i}.nii.gz", rng.integers(-1000, 1000, (10, 11, 12)).astype(np.int16), axes=LAS)
        save_volume(root / "masks" / f"{i}.nii.gz", rng.integers(0, 3, (10, 11, 12)).astype(np.uint8), axes=LAS)
    return root


def python_2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """The pickle of a CIFAR-10 batch, spelled as Python 2 did: strings are its bytes, NumPy has its old names."""

    def text(string: bytes) -> bytes:
        return b"T" + len(string).to_bytes(4, "little") + string

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    uint8 = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNN" + 2 * number(-1) + b"K\x00tb"
    shape = b"(" + b"".join(map(number, pixels.shape)) + b"t"
    array = empty + b"(K\x01" + shape + uint8 + b"K\x00" + text(pixels.tobytes()) + b"tb"
    return b"\x80\x02}(" + text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e" + text(b"data") + array + b"u."


def build_cifar10(root: Path, images: int = 20) -> Path:
    """Five training batches and a test batch of random 32x32 images, all ten classes in each."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = [i % 10 for i in range(images)]
        (folder / name).write_bytes(python_2_batch(rng.integers(0, 256, (images, 3072), np.uint8), labels))
    return root


def source_of(name: str, root: Path, seed: int = 0) -> Source:
    return DATASETS[name].source(Data(name=name, root=root, split_seed=seed))


def splits_of(source: Source) -> dict[str, str]:
    return {item.id: item.split for item in source.items}


def decoded(source: Source, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask of a labelled item."""
    (item,) = (item for item in source.items if item.id == name)
    pair = source.read(item)
    assert pair is not None
    image, mask = pair
    assert mask is not None
    return image, mask


def nested_and_apart(pack: Pack) -> None:
    """Assert that 5 % of the training images are inside 10 % inside 25 %, and that no image that is scored is trained on."""
    shares = [split(pack, Data(labelled=share)) for share in (0.05, 0.1, 0.25)]
    few, more, most = (set(each.labelled.tolist()) for each in shares)
    last = shares[-1]
    trained = set(last.training.tolist())
    assert few < more < most <= trained
    available = len(split(pack, Data(labelled="all")).labelled)
    assert [len(few), len(more), len(most)] == [available * percent // 100 for percent in (5, 10, 25)]
    scored = set(last.selection.tolist()) | set(last.test.tolist())
    assert not scored & trained
    assert len(scored) == len(last.selection) + len(last.test)


def build_cityscapes(root: Path) -> Path:
    """8 training images of two cities, 4 of val and one of test, random, 12x24, with all labels 0..33 and 255 in each mask."""
    rng = np.random.default_rng(0)
    labels = np.array([*range(34), 255], np.uint8)
    for place, count in {"train/aachen": 5, "train/bochum": 3, "val/lindau": 4, "test/berlin": 1}.items():
        for kind in ("leftImg8bit", "gtFine"):
            (root / kind / place).mkdir(parents=True)
        for i in range(count):
            name = f"{place}/{Path(place).name}_{i:06d}_000019"
            mask = rng.permutation(np.resize(labels, 12 * 24)).reshape(12, 24)
            Image.fromarray(rng.integers(0, 256, (12, 24, 3), np.uint8)).save(root / "leftImg8bit" / f"{name}_leftImg8bit.png")
            Image.fromarray(mask).save(root / "gtFine" / f"{name}_gtFine_labelIds.png")
    return root


VOC_COLOURS = (  # of background .. tvmonitor, read off the palette of a mask of the real set
    *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128)),
    *((64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128)),
    *((0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)),
)


def build_voc(root: Path, augmented: bool = True) -> Path:
    """VOCdevkit/VOC2012 in torchvision's layout: images 0..3 in train.txt, 10..13 in val.txt, of 8 random sizes from 13 to 27
    pixels.

    With `augmented` train_aug.txt lists 0..9 with the path of both files, and 1..9 have masks in SegmentationClassAug. All masks
    are palette files with every class and 255.
    """
    rng = np.random.default_rng(0)
    folder = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    values = np.array([*range(21), 255], np.uint8)

    def save_mask(part: str, name: str, size: tuple[int, int]) -> None:
        mask = Image.fromarray(rng.permutation(np.resize(values, size[0] * size[1])).reshape(size), "P")
        mask.putpalette([level for colour in VOC_COLOURS for level in colour])
        mask.save(folder / part / f"{name}.png")

    numbers = {"train": range(4), "val": range(10, 14), "train_aug": range(10) if augmented else []}
    for i in sorted({*numbers["train"], *numbers["val"], *numbers["train_aug"]}):
        name, size = f"2007_{i:06d}", (13 + 2 * (i % 8), 27 - i % 8)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg")
        if i in numbers["train"] or i in numbers["val"]:
            save_mask("SegmentationClass", name, size)
        if augmented and 1 <= i <= 9:
            save_mask("SegmentationClassAug", name, size)
    line = {"train_aug": "/JPEGImages/2007_{0:06d}.jpg /SegmentationClassAug/2007_{0:06d}.png\n"}
    for file, listed in numbers.items():
        if listed:
            text = "".join(line.get(file, "2007_{:06d}\n").format(i) for i in listed)
            (folder / "ImageSets" / "Segmentation" / f"{file}.txt").write_text(text)
    return root


def label_counts(pack: Pack, split: str | None = None) -> np.ndarray:
    """Pixels (256,) of each mask value in the images of a split, or of all."""
    masks = [pack.mask(row) for row in range(len(pack)) if split in (None, pack.split[row])]
    return sum((np.bincount(mask.ravel(), minlength=256) for mask in masks if mask is not None), np.zeros(256, np.int64))


def save_h5(file: Path, image: np.ndarray, label: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        content["image"], content["label"] = image, label


def build_acdc(root: Path, patients: int = 10) -> Path:
    """Patients 1..10 with two frames of 2 to 4 random slices to train on, 11 and 12 with volumes; 18x16 or 16x20, all labels in
    each."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)

    def arrays(number: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (slices, *((18, 16) if number % 2 else (16, 20)))
        label = rng.permuted(np.resize(np.arange(4, dtype=np.uint8), shape).reshape(slices, -1), axis=1)
        return rng.random(shape, np.float32), label.reshape(shape)

    names: dict[str, list[str]] = {"train.list": [], "train_slices.list": [], "val.list": []}
    for number in range(1, patients + 3):
        for case in (f"patient{number:03d}_frame01", f"patient{number:03d}_frame02"):
            image, label = arrays(number, 2 + number % 3)
            if number > patients:
                save_h5(root / "data" / f"{case}.h5", image, label)
                names["val.list"].append(case)
                continue
            names["train.list"].append(case)
            for z in range(len(image)):
                save_h5(root / "data" / "slices" / f"{case}_slice_{z + 1}.h5", image[z], label[z])
                names["train_slices.list"].append(f"{case}_slice_{z + 1}")
    for name, lines in names.items():
        (root / name).write_text("\n".join(lines[::-1]) + "\n")
    return root


def build_camvid(root: Path) -> Path:
    """12 training images and 4 of val, random, 12x16, with all labels 0..11 in each mask."""
    rng = np.random.default_rng(0)
    for name, count in {"train": 12, "val": 4}.items():
        for folder in (name, f"{name}annot"):
            (root / folder).mkdir(parents=True)
        for i in range(count):
            mask = rng.permutation(np.resize(np.arange(12, dtype=np.uint8), 12 * 16)).reshape(12, 16)
            Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(root / name / f"{i}.png")
            Image.fromarray(mask).save(root / f"{name}annot" / f"{i}.png")
        lines = [f"/SegNet/CamVid/{name}/{i}.png /SegNet/CamVid/{name}annot/{i}.png\n" for i in range(count)]
        (root / f"{name}.txt").write_text("".join(lines))
    return root


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "folder": build_folder,
    "camvid": build_camvid,
    "oxford_pets": build_pets,
    "scgm": build_scgm,
    "cifar10": build_cifar10,
    "cityscapes": build_cityscapes,
    "voc_aug": build_voc,
    "acdc": build_acdc,
}
"""How to make a small tree of each data set on disk."""


def load_twice(data: Data, cache: Path) -> Pack:
    """The pack, after a second start that has to take a twentieth of the CPU time of the first, where that was over a second."""
    times = [time.process_time()]
    load(data, cache)
    times.append(time.process_time())
    pack = load(data, cache)
    first, second = times[1] - times[0], time.process_time() - times[1]
    print(f"{data.name}: {first:.2f} s of CPU, then {second:.3f} s: {first / second:.0f} times faster")
    assert first < 1 or first > 20 * second
    return pack
