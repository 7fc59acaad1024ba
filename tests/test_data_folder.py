"""A folder of images and masks: its lists and splits, its files, and every way to get them wrong; masks: test_data_folder_masks."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Pack, load, split
from semiseg.data.images import read_image
from semiseg.data.masks import read_mask

RNG = np.random.default_rng(0)
TRUTH = np.arange(8 * 8).reshape(8, 8) % 3  # class ids of every mask below
COLOURS = np.array([(0, 0, 0), (0, 128, 255), (250, 10, 20)], np.uint8)


def put(root: Path, name: str, mask: Image.Image | np.ndarray | None, image: np.ndarray | None = None) -> None:
    """Write one image and, unless it is None, its mask."""
    pixels = RNG.integers(0, 256, (8, 8, 3), np.uint8) if image is None else image
    for part in ("images", "masks"):
        (root / part / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    if mask is not None:
        (Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask).save(root / "masks" / f"{name}.png")


def folder(root: Path, mask: Image.Image | np.ndarray | None = None, images: int = 5) -> Path:
    """`images` images a, b, ... that share one mask."""
    for i in range(images):
        put(root, "abcdefghij"[i], TRUTH.astype(np.uint8) if mask is None else mask)
    return root


def opened(root: Path, **settings: object) -> Pack:
    return load(Data(name="folder", root=root, size="native", **settings), root.parent / f"cache-{root.name}")  # type: ignore[arg-type]


def fails(root: Path, message: str, **settings: object) -> None:
    with pytest.raises(SettingError, match=message) as error:
        opened(root, **settings)
    assert "\n" not in str(error.value)


def test_without_lists_a_fifth_is_for_test_and_the_rest_for_training(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=10)
    splits = opened(root).split
    assert sorted(splits) == ["test"] * 2 + ["train"] * 8
    drawn = {tuple(opened(root, split_seed=seed).split) for seed in range(5)}
    assert len(drawn) > 1
    assert opened(root).split == splits


def test_lists_choose_the_splits_and_leave_the_others_out(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=6)
    put(root, "east/a", TRUTH.astype(np.uint8))
    put(root, "no mask, in no list", None)
    (root / "train.txt").write_text("# names\nb\n\nc.png\neast/a.jpg  # with another extension\n")
    (root / "val.txt").write_text("d\n")
    (root / "test.txt").write_text("./e.png\n")
    pack = opened(root)
    assert dict(zip(pack.ids, pack.split, strict=True)) == {
        "b": "train", "c": "train", "d": "selection", "e": "test", "east/a": "train",
    }  # fmt: skip
    (root / "val.txt").rename(root / "selection.txt")
    assert opened(root).fingerprint == pack.fingerprint


def test_val_is_for_test_when_there_is_no_test_list(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "train.txt").write_text("a\nb\nc\n")
    (root / "val.txt").write_text("d\ne\n")
    assert opened(root).split == ["train"] * 3 + ["test"] * 2


def test_without_a_train_list_the_other_images_are_for_training(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "test.txt").write_text("d\ne\n")
    assert opened(root).split == ["train"] * 3 + ["test"] * 2


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "a\nx\n"}, r"train.txt, line 2: got 'x'; allowed: the name of a file in .*images"),
        ({"train": "a\nb\n", "test": "# one\nb.png\n"}, r"test.txt, line 2: got 'b.png', which is listed before"),
        ({"train": "a\n", "selection": "b\n", "val": "c\n"}, r"got selection.txt and val.txt; allowed: one of the two"),
        ({"train": "a\n"}, r"folder: got no image in split 'test'; allowed: at least 1"),
        ({"train": "\n", "test": "a\n"}, r"folder: got no image in split 'train'; allowed: at least 1"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(lists: dict[str, str], message: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)
    fails(root, message)


def test_an_image_without_mask_is_refused_where_it_would_be_labelled(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    put(root, "f", None)
    fails(
        root,
        r"images/f.png: got an image without mask among the labelled ones; allowed: put it in .*unlabelled or add .*masks/f.png",
    )


def test_unlabelled_images_are_trained_on_without_masks(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "unlabelled").mkdir()
    Image.new("RGB", (8, 8)).save(root / "unlabelled" / "a.png")  # the name of a labelled one
    pack = opened(root)
    row = pack.ids.index("unlabelled/a")
    assert pack.mask(row) is None
    parts = split(pack, Data(name="folder"))
    assert row in parts.training
    assert row not in parts.labelled


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    fails(tmp_path / "root", r"data.root: got '.*root' without a folder images; allowed: a folder with images/ and masks/")
    (tmp_path / "root" / "images").mkdir()
    fails(tmp_path / "root", "folder: got no image in split 'train'; allowed: at least 1")


def test_two_files_of_one_name_are_refused_and_hidden_files_are_not_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "images" / ".DS_Store").write_text("x")
    (root / "images" / "Thumbs.db").write_text("x")
    opened(root)
    (root / "images" / "a.jpg").write_bytes((root / "images" / "a.png").read_bytes())
    fails(root, r"images: got a.jpg and a.png; allowed: one file for each name")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    put(root, "b", TRUTH[:7].astype(np.uint8))
    fails(root, r"masks/b.png: got a mask of 7x8 pixels \(height x width\); allowed: the size of its image, 8x8")


@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("damage", ["text", "cut short", "empty"])
def test_a_damaged_file_is_named(part: str, damage: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    file = root / part / "b.png"
    file.write_bytes({"text": b"not an image", "cut short": file.read_bytes()[:60], "empty": b""}[damage])
    fails(root, rf"{part}/b.png: cannot be read \(.*\); allowed: an image file that Pillow opens")


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(100, 200, (128, 256)), (300, 200, (192, 128)), (50, 50, (128, 128)), (180, 240, (128, 168))]
)
def test_the_default_size_has_the_images_aspect(height: int, width: int, expected: tuple[int, int], tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, name, np.zeros((height, width), np.uint8), np.zeros((height, width, 3), np.uint8))
    source = DATASETS["folder"].source(Data(name="folder", root=tmp_path))
    assert source.default_size == expected  # 240 / 180 * 128 = 170.7, of which 168 is the nearest multiple of 8
    assert source.default_labelled == 1


def test_a_gif_named_jpg_is_read_by_its_content(tmp_path: Path) -> None:
    Image.fromarray(COLOURS[TRUTH]).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), COLOURS[TRUTH])


GREY = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (Image.fromarray(GREY), "png"),
        (Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (8, 8), 3)]), "png"),
        (Image.merge("RGBA", [*[Image.fromarray(GREY)] * 3, Image.new("L", (8, 8), 3)]), "png"),
        (Image.fromarray(GREY).convert("P"), "png"),
    ],
)
def test_8_bit_images_of_every_mode_become_the_same_rgb(image: Image.Image, suffix: str, tmp_path: Path) -> None:
    image.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.repeat(GREY[..., None], 3, axis=2))


def test_floating_point_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 1.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(SettingError, match=r"a.tif: got a floating-point mask; allowed: whole numbers"):
        read_mask(tmp_path / "a.tif")


def test_an_absurdly_large_image_is_refused(tmp_path: Path) -> None:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(data + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")))
    with pytest.raises(
        SettingError, match=r"a.png: got a header that claims 60000x60000 pixels; allowed: as many as the file holds"
    ):
        read_image(tmp_path / "a.png")


def test_an_image_that_does_not_fit_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (5000, 4000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (4000, 5000, 3)
    monkeypatch.setattr("semiseg.data.files.available_memory", lambda: 10**7)
    with pytest.raises(
        SettingError, match=r"a.png: got an image of 4000x5000 pixels, which takes 80 MB of memory; allowed: what fits"
    ):
        read_image(tmp_path / "a.png")
