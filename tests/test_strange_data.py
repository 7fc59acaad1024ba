"""Files that strangers bring: each is read right, as an independent reader says, or refused in one line naming file and rule."""

import re
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strange
from PIL import Image, ImageOps
from strange import IMAGES, SHAPE, TRUTH, base, every, image, images, masks, opened, pages, pixels_of, png, renamed, text, turned

A = IMAGES["a"]
GREY = A[..., 0]
SQUARE = A[:8, :8]
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
BLANK = np.zeros(SHAPE, np.uint8)
IGNORED = np.full(SHAPE, 255, np.uint8)
RGB = np.array([(0, 0, 0), (0, 128, 255), (250, 10, 20)], np.uint8)[TRUTH]
VALUES = "got mask values other than 0..K-1 and 255"
LOSSY = r"which does not keep values; allowed: PNG or another lossless format"


def as_rgb(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, axis=2)


def array(values: np.ndarray, file: str) -> Callable[[Path], Any]:
    """Writes an array in place of the image of its name."""

    def change(root: Path) -> None:
        (root / file).with_suffix(".png").unlink()
        np.save(root / file, values)

    return change


def sizes(file: str) -> Callable[[Path], Any]:
    """Two pages of different sizes."""

    def change(root: Path) -> None:
        (root / file).with_suffix(".png").unlink()
        Image.fromarray(TRUTH).save(root / file, save_all=True, append_images=[Image.fromarray(TRUTH[:7])])

    return change


def bomb(root: Path) -> None:
    """A file that claims 60,000 x 60,000 pixels."""
    file = (root / "images" / "a.png").read_bytes()
    header = file[12:16] + (60000).to_bytes(4, "big") * 2 + file[24:29]
    (root / "images" / "a.png").write_bytes(file[:8] + strange.chunk(header[:4], header[4:]) + file[33:])


REFUSED: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    # masks that do not hold what was written
    "mask * 255 as JPEG": (masks((TRUTH > 0) * np.uint8(255), "jpg", quality=95), rf"masks/a.jpg: got a mask as JPEG, {LOSSY}"),
    "mask * 100 as JPEG": (masks(TRUTH * 100, "jpg", quality=95), rf"a.jpg: got a mask as JPEG, {LOSSY}"),
    "JPEG named png": (masks(TRUTH, "png", format="JPEG"), rf"a.png: got a mask as JPEG, {LOSSY}"),
    "JPEG mask among PNG": (image(TRUTH, "masks/c.jpg"), rf"masks/c.jpg: got a mask as JPEG, {LOSSY}"),
    "lossy WebP": (masks(TRUTH, "webp"), rf"a.webp: got a mask as lossy WebP, {LOSSY}"),
    "JPEG 2000": (masks(TRUTH, "jp2"), rf"a.jp2: got a mask as JPEG2000, {LOSSY}"),
    "TIFF with JPEG inside": (masks(TRUTH, "tif", compression="jpeg"), rf"a.tif: got a mask as TIFF with JPEG compression, {LOSSY}"),
    "16 bits a channel": (text("masks/a.png", png(RGB.astype(np.uint16), 2)), "masks/a.png: got a mask of 16 bits a channel"),
    "floating point": (masks(TRUTH.astype(np.float32), "tif"), "a.tif: got a floating-point mask"),
    "CMYK": (masks(Image.fromarray(RGB).convert("CMYK"), "tif"), "masks/a.tif: got a mask of mode CMYK; allowed: palette, grey"),
    # values that nobody declared
    "0, 100, 200": (masks(TRUTH * 100), rf"masks: {VALUES}.*classes.txt: 0 background; 100 class 1; 200 class 2$"),
    "0, 1, 2, 4": (image(TRUTH * 2, "masks/b.png"), rf"{VALUES}.* 0 background; 1 class 1; 2 class 2; 4 class 3$"),
    "1, 2, 3": (masks(TRUTH + 1), rf"{VALUES}.* 1 background; 2 class 1; 3 class 2$"),
    "1 and 255": (masks(np.array([1, 255, 1], np.uint8)[TRUTH]), "got only 1 255 in all masks; allowed: two classes or more"),
    "instances in uint16": (masks(TRUTH.astype(np.uint16) + 24000), rf"{VALUES}.* 24000 background; 24001 class 1; 24002 class 2$"),
    "22 values": (masks((np.arange(96).reshape(SHAPE) % 22 * 3).astype(np.uint8)), rf"{VALUES}.*; 33 class 11; ... \(22 values\)$"),
    "colours": (masks(RGB), rf"{VALUES}.* 0 0 0 background; 0 128 255 class 1; 250 10 20 class 2$"),
    "smoothed colours": (masks(np.array(Image.fromarray(RGB).resize((12, 8), Image.Resampling.BICUBIC, (0, 0, 9, 5)))), VALUES),
    "int32 with -1": (masks(TRUTH.astype(np.int32) - 1, "tif"), r"a.tif: got mask values -1..1; allowed: 0..65535, with 255 where"),
    "int32 above 65535": (masks(TRUTH.astype(np.int32) * 70000, "tif"), r"a.tif: got mask values 0..140000; allowed: 0..65535"),
    "an undeclared value": (every(text("classes.txt", "x\ny\n")), r"masks/a.png: got mask value 2; allowed: 0, 1, 255 \(ignore\)"),
    # nothing to learn, nothing to score
    "all masks 0": (masks(BLANK), "masks: got only 0 in all masks; allowed: two classes or more"),
    "all masks ignored": (masks(IGNORED), "masks: got only 255 in all masks; allowed: two classes or more"),
    "one class declared": (every(masks(BLANK), text("classes.txt", "lesion\n")), "classes.txt: got 1 classes; allowed: 2..254"),
    "two declared, one met": (every(masks(BLANK), text("classes.txt", "x\ny\n")), "folder: got only x in all masks; allowed: two"),
    "selection ignored": (image(IGNORED, "masks/d.png"), "^selection masks of folder: got 'only ignored pixels'; allowed: at least one"),
    "test ignored": (image(IGNORED, "masks/e.png"), "^test masks of folder: got 'only ignored pixels'; allowed: at least one"),
    "labelled ignored": (every(*(image(IGNORED, f"masks/{i}.png") for i in "abc")), "^labelled masks of folder: got 'only ignored"),
    # images
    "16 bits among 8": (image(GREY.astype(np.uint16), "images/b.png"), r"b.png: got uint16 with 1 channel; allowed: uint8 with 3, as .*a.png"),
    "floating point among 8 bits": (image(GREY.astype(np.float32), "images/a.tif"), "b.png: got uint8 with 3 channels; allowed: float32 with 1"),
    "not a number": (image(np.full(SHAPE, np.nan, np.float32), "images/a.tif"), r"images/a.tif: got values that are no finite numbers"),
    "int32 beyond float32": (image(GREY.astype(np.int32) + 2**24, "images/a.tif"), "a.tif: got int32 values up to 1677.*, which 32-bit"),
    "complex": (array(GREY * 1j, "images/a.npy"), "images/a.npy: got values of type complex128; allowed: whole numbers or floating"),
    "objects": (array(np.array([None, {}]), "images/a.npy"), r"images/a.npy: cannot be read \(.*; allowed: an array of numbers"),
    "rows or channels": (
        every(array(np.zeros((8, 8, 8), np.uint8), "images/a.npy"), image(TRUTH[:, :8], "masks/a.png")),
        r"images/a.npy: got an array \(8, 8, 8\), which is HWC or CHW; allowed: a number of channels that is no side of the image",
    ),
    "array of another size": (array(np.zeros((9, 12)), "images/a.npy"), r"images/a.npy: got an array \(9, 12\); allowed: what fits its mask of 8x12"),
    "pages and pages": (pages(4, "masks/a.tif"), r"images/a.png: got one image; allowed: as many pages as its mask .*masks/a.tif has"),
    "more pages than its mask": (every(pages(3, "images/a.tif"), pages(4, "masks/a.tif")), r"images/a.tif: got an array \(3, 8, 12\) \(PHW\)"),
    "pages of two sizes": (sizes("images/a.tif"), r"images/a.tif: got 2 images of their own in a TIFF \(8x12, 7x12\); allowed: one"),
    "TIFF of 3 pages": (pages(4, "images/a.tif"), r"masks/b.png: got uint8 with 3 channels; allowed: uint8 with 4, as .*masks/a.png"),
    "moving GIF": (pages(2, "images/a.gif"), r"images/a.gif: got 2 pages or frames in a GIF file; allowed: one"),
    "moving PNG as mask": (pages(2, "masks/a.png"), r"masks/a.png: got 2 pages or frames in a PNG file; allowed: one"),
    "bomb": (bomb, "images/a.png: got a header that claims 60000x60000 pixels; allowed: as many as the file holds"),
    "1 x 1": (every(image(A[:1, :1], "images/e.png"), image(TRUTH[:1, :1], "masks/e.png")), "e.png: got an image of 1x1 pixels"),
    "a line high": (every(image(A[:1], "images/e.png"), image(TRUTH[:1], "masks/e.png")), r"of 1x12 pixels .*8 pixels a side or more"),
    "empty file": (text("images/b.png", ""), r"images/b.png: cannot be read \("),
    "text as mask": (text("masks/b.png", "nothing"), r"masks/b.png: cannot be read \("),
    "SVG": (text("images/b.png", "<svg xmlns='http://www.w3.org/2000/svg'/>"), r"images/b.png: cannot be read \("),
    # turns
    "turn that fits nothing": (turned(6, A[:, :9]), r"masks/a.png: got a mask of 8x12 pixels; .*12x8|9x8 \(turned as its EXIF data say"),
    "turned mask": (turned(3, TRUTH, "masks/a.png"), r"masks/a.png: got a turn in its EXIF data \(3\); allowed: a mask stored upright"),
    "turns that contradict": (every(turned(6, A), turned(3, A, "images/b.png")), r"images/b.png: got a turn in its EXIF data \(3\) that"),
    # lists
    "unknown name with #": (text("test.txt", "scan #0.png\n"), r"test.txt, line 1: got 'scan #0.png'; allowed: the name of a file in"),
    "UTF-16 list": (text("test.txt", "e\n".encode("utf-16")), r"test.txt: cannot be read \(.*; allowed: a text file in UTF-8"),
    "the same name twice": (text("test.txt", "e\ne.png\n"), "test.txt, line 2: got 'e.png', which is listed before"),
    "name in two lists": (text("test.txt", "a\n"), "test.txt, line 1: got 'a', which is listed before"),
    "one name in two Unicode forms": (every(renamed("a", NFC), renamed("b", NFD)), "images: got .* and .*; allowed: one file for each"),
    "no mask": (lambda root: (root / "masks" / "a.png").unlink(), "images/a.png: got an image without mask among the labelled"),
    "mask of another size": (image(TRUTH[:, :8], "masks/a.png"), r"masks/a.png: got a mask of 8x8 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    change, rule = REFUSED[case]
    root = base(tmp_path / "root")
    change(root)
    said = strange.refusal(root, {})
    assert re.search(rule, said), said


def of_viewer(root: Path, name: str = "images/a.png") -> np.ndarray:
    """What Pillow's own transposition shows."""
    with Image.open(root / name) as one:
        return np.array((ImageOps.exif_transpose(one) or one).convert("RGB"))


Expected = tuple[str, np.ndarray | None, np.ndarray | None]
"""Id, image (None: what a viewer shows of images/a.png) and mask (None: TRUTH)."""
READ: Mapping[str, tuple[Callable[[Path], Any], Expected]] = {
    # masks
    "0 and 255": (masks((TRUTH > 0) * np.uint8(255)), ("a", A, (TRUTH > 0).astype(np.uint8))),
    "lossless WebP": (masks(TRUTH, "webp", lossless=True), ("a", A, None)),
    "BMP": (masks(TRUTH, "bmp"), ("a", A, None)),
    "TIFF with LZW": (masks(TRUTH, "tif", compression="tiff_lzw"), ("a", A, None)),
    "int32": (masks(TRUTH.astype(np.int32), "tif"), ("a", A, None)),
    "index as RGB with ignore": (masks(as_rgb(np.where(TRUTH == 2, 255, TRUTH))), ("a", A, np.where(TRUTH == 2, 255, TRUTH))),
    "index as RGBA": (masks(np.dstack([as_rgb(TRUTH), BLANK])), ("a", A, None)),
    "blank RGB among indexes": (image(as_rgb(BLANK), "masks/a.png"), ("a", A, BLANK)),
    "0 and 255 as RGB": (masks(as_rgb((TRUTH > 0) * np.uint8(255))), ("a", A, (TRUTH > 0).astype(np.uint8))),
    "blank RGB among colours": (
        every(masks(RGB), image(as_rgb(BLANK), "masks/a.png"), text("classes.txt", "0 0 0 x\n0 128 255 y\n250 10 20 z\n")),
        ("a", A, BLANK),
    ),
    "1-bit": (masks(TRUTH > 0), ("a", A, (TRUTH > 0).astype(np.uint8))),
    # images
    "12 of 16 bits": (images(lambda one: one[..., 0].astype(np.uint16) * 16), ("a", GREY[..., None].astype(np.uint16) * 16, None)),
    "8-bit values in int32": (images(lambda one: one[..., 0].astype(np.int32), "tif"), ("a", GREY[..., None].astype(np.float32), None)),
    "negative": (images(lambda one: one[..., 0].astype(np.int32) - 300, "tif"), ("a", GREY[..., None].astype(np.float32) - 300, None)),
    "255 in floating point": (images(lambda one: one[..., 0].astype(np.float32), "tif"), ("a", GREY[..., None].astype(np.float32), None)),
    "16-bit RGB": (every(*(text(f"images/{i}.png", png(A.astype(np.uint16) * 251, 2)) for i in IMAGES)), ("a", A.astype(np.uint16) * 251, None)),
    "three pages are three channels": (pages(3, "images/a.tif"), ("a", np.dstack([(TRUTH + i) % 3 for i in range(3)]), None)),
    "upper-case extension": (image(A, "images/a.PNG"), ("a", A, None)),
    "a TIFF of one page": (image(A, "images/a.tif"), ("a", A, None)),
    "GIF of one frame": (image(GREY, "images/a.gif"), ("a", as_rgb(GREY), None)),
    "a photo named png": (image(A, "images/a.png", format="BMP"), ("a", A, None)),
    # turns: of pixels stored turned by 90 degrees, upside down, mirrored, square
    **{f"turn {turn}": (turned(turn, A if turn < 5 else A.swapaxes(0, 1)), ("a", None, None)) for turn in range(1, 9)},
    **{
        f"square turn {turn}": (every(turned(turn, SQUARE), image(TRUTH[:, :8], "masks/a.png")), ("a", None, TRUTH[:, :8]))
        for turn in (3, 6, 8)
    },
    "turn 6 whose mask fits the stored pixels": (turned(6, A), ("a", A, None)),
    "turn 9, which is none": (turned(9, A), ("a", A, None)),
    "image and mask with one turn": (every(turned(3, A), turned(3, TRUTH, "masks/a.png")), ("a", None, TRUTH[::-1, ::-1])),
    "TIFF with a turn": (turned(6, A.swapaxes(0, 1), "images/a.tif"), ("a", np.rot90(A.swapaxes(0, 1), -1), None)),
    # names and lists
    "name with #": (every(renamed("e", "scan #0"), text("test.txt", "scan #0.png\n")), ("scan #0", IMAGES["e"], None)),
    "name with # and a comment": (every(renamed("e", "s #1"), text("test.txt", "s #1.png # last\n")), ("s #1", IMAGES["e"], None)),
    "name that begins with #": (every(renamed("e", "#7"), text("test.txt", "# seven\n#7\n")), ("#7", IMAGES["e"], None)),
    "name with spaces": (every(renamed("e", "my own e"), text("test.txt", "my own e.png\n")), ("my own e", IMAGES["e"], None)),
    "name with dots": (every(renamed("e", "e.1.5"), text("test.txt", "e.1.5.png\n")), ("e.1.5", IMAGES["e"], None)),
    "NFC list, NFD file": (every(renamed("e", NFD), text("test.txt", f"{NFC}.png\n")), (NFD, IMAGES["e"], None)),
    "NFD list, NFC file": (every(renamed("e", NFC), text("test.txt", f"{NFD}\n")), (NFC, IMAGES["e"], None)),
    "NFD mask": (
        every(renamed("e", NFC), lambda root: (root / f"masks/{NFC}.png").rename(root / f"masks/{NFD}.png"), text("test.txt", NFC)),
        (NFC, IMAGES["e"], None),
    ),
    "Windows line ends": (text("test.txt", "\r\ne.png\r\n"), ("e", IMAGES["e"], None)),
    "BOM": (text("test.txt", b"\xef\xbb\xbfe.png\n"), ("e", IMAGES["e"], None)),
    "trailing spaces": (text("test.txt", "e.png  \t\n   \n"), ("e", IMAGES["e"], None)),
    "upper-case extension in a list": (text("test.txt", "e.PNG\n"), ("e", IMAGES["e"], None)),
    "Windows slashes": (text("test.txt", "images\\e.png\n"), ("e", IMAGES["e"], None)),
    "a folder called images": (every(renamed("e", "images/e"), text("test.txt", "images/e.png\n")), ("images/e", IMAGES["e"], None)),
    "path from the root": (text("test.txt", "./images/e.png\n"), ("e", IMAGES["e"], None)),
    "BOM in classes.txt": (text("classes.txt", b"\xef\xbb\xbfx\r\ny\r\nz\r\n"), ("a", A, None)),
    "hidden files": (lambda root: shutil.copy(root / "images/a.png", root / "images/._a.png"), ("a", A, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_what_can_be_meant_is_read_as_an_independent_reader_does(case: str, tmp_path: Path) -> None:
    change, (name, pixels, mask) = READ[case]
    root = base(tmp_path / "root")
    change(root)
    found = pixels_of(opened(root, {}), name)
    np.testing.assert_array_equal(found[0], of_viewer(root) if pixels is None else pixels)
    np.testing.assert_array_equal(found[1], TRUTH if mask is None else mask)
