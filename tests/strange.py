"""A small folder of images and masks, and ways to write what strangers bring. Not a test module."""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from semiseg.config import Data, SettingError
from semiseg.data import Pack, load, split

SHAPE = (8, 12)
TRUTH = (np.arange(96).reshape(SHAPE) % 3).astype(np.uint8)  # class ids of every mask, unless a test changes it
RNG = np.random.default_rng(0)
IMAGES = {name: RNG.integers(0, 256, (*SHAPE, 3), np.uint8) for name in "abcde"}
Change = Callable[[Path], Any]


def base(root: Path) -> Path:
    """Images a..e, 8 x 12, RGB, with the mask TRUTH; a, b, c to train, d to select, e to test."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name, pixels in IMAGES.items():
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        Image.fromarray(TRUTH).save(root / "masks" / f"{name}.png")
    for split_, names in {"train": "abc", "selection": "d", "test": "e"}.items():
        (root / f"{split_}.txt").write_text("\n".join(names))
    return root


def image(pixels: np.ndarray | Image.Image, file: str = "images/a.png", **how: Any) -> Change:
    """Writes an image or a mask, in place of those of its name."""

    def change(root: Path) -> None:
        for old in (root / file).parent.glob(f"{(root / file).stem}.*"):
            old.unlink()
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(root / file, **how)

    return change


def masks(pixels: np.ndarray | Image.Image, ending: str = "png", **how: Any) -> Change:
    """The same mask for all images."""
    return every(*(image(pixels, f"masks/{name}.{ending}", **how) for name in IMAGES))


def images(make: Callable[[np.ndarray], np.ndarray], ending: str = "png") -> Change:
    """Other pixels for all images."""
    return every(*(image(make(pixels), f"images/{name}.{ending}") for name, pixels in IMAGES.items()))


def text(file: str, content: str | bytes) -> Change:
    return lambda root: (root / file).write_bytes(content.encode() if isinstance(content, str) else content)


def renamed(old: str, new: str) -> Change:
    def change(root: Path) -> None:
        for part in ("images", "masks"):
            (root / part / new).parent.mkdir(exist_ok=True)
            (root / part / f"{old}.png").rename(root / part / f"{new}.png")

    return change


def every(*changes: Change) -> Change:
    def change(root: Path) -> None:
        for one in changes:
            one(root)

    return change


def turned(turn: int, pixels: np.ndarray, file: str = "images/a.png", **how: Any) -> Change:
    """Writes pixels with EXIF's orientation `turn`."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    return image(pixels, file, exif=exif, **how)


def pages(count: int, file: str, pixels: np.ndarray = TRUTH) -> Change:
    """Writes a file of several pages or frames that differ."""
    first, *others = [Image.fromarray((pixels + i) % 3) for i in range(count)]

    def change(root: Path) -> None:
        for old in (root / file).parent.glob(f"{(root / file).stem}.*"):
            old.unlink()
        first.save(root / file, save_all=True, append_images=others)

    return change


def png(pixels: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write: kind 2 is RGB, 4 grey with alpha (PNG 1.2, section 4.1.1)."""
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def opened(root: Path, settings: Mapping[str, Any]) -> Pack:
    """The pack, after the checks of the split too."""
    data = Data(**{"name": "folder", "root": root, "size": "native", "labelled": 1, **settings})
    pack = load(data, root.parent / "cache")
    split(pack, data)
    return pack


def refusal(root: Path, settings: Mapping[str, Any]) -> str:
    """The one line with which data are refused; asserts that nothing half-written is left in the cache."""
    with pytest.raises(SettingError) as refused:
        opened(root, settings)
    cache = root.parent / "cache"
    left = {path.name for path in cache.rglob("*") if path.is_file()} if cache.exists() else set()
    assert left <= {"pack.arrow"}  # complete, where the split refuses it
    assert not [*cache.glob(".*")]
    said = str(refused.value)
    assert "\n" not in said
    return said


def pixels_of(pack: Pack, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    row = pack.ids.index(name)
    return pack.image(row), pack.mask(row)
