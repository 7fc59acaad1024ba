"""Image and mask files to arrays, and mask values to class ids. The only module that opens files with Pillow."""

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg.config import SettingError
from semiseg.data.source import IGNORE

Value = int | tuple[int, int, int]
"""What a mask file says about a pixel: an index (grey or palette), or a colour."""

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises on files that are missing, cut short, not images or absurdly large."""


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The image in a file, recognised by its content; SettingError, one line, when it cannot be opened or decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and large files: nothing a user can act on here
            with Image.open(file) as image:
                yield image
    except SettingError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{file}: cannot be read ({reason}); allowed: an image file that Pillow opens") from None


def size_of(file: Path) -> tuple[int, int]:
    """Height and width from the header, without decoding."""
    with opened(file) as image:
        return image.height, image.width


def read_image(file: Path) -> np.ndarray:
    """Uint8 (H,W,3). Grey is repeated, alpha dropped, 16-bit scaled by 255/65535 and floating point in [0,1] by 255.

    A turn noted in the file's EXIF data is not applied: the mask has to fit the stored pixels.
    """
    with opened(file) as image:
        if image.mode != "F" and not image.mode.startswith("I"):
            return np.array(image.convert("RGB"))
        grey = np.asarray(image)
    top = 1 if grey.dtype.kind == "f" else 65535
    if not (grey.min() >= 0 and grey.max() <= top):  # written so that NaN fails too
        raise SettingError(f"{file}: got values {grey.min()}..{grey.max()}; allowed: 0..{top} in a {grey.dtype} image")
    return np.repeat(np.rint(grey.astype(np.float64) * (255 / top)).astype(np.uint8)[..., None], 3, axis=2)


def read_mask(file: Path, colour: bool | None = None) -> np.ndarray:
    """What the file says: integers (H,W) from an index mask, uint8 (H,W,3) from a colour-coded one.

    A palette file gives its indexes, never its colours, unless `colour` asks for colours; `colour=False` accepts a colour file
    only when it is grey in every pixel, and None takes the file as it is. Alpha is dropped.
    """
    with opened(file) as image:
        if colour:
            return np.array(image.convert("RGB"))
        if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
            raw = np.array(image)
            return raw.astype(np.uint8) if raw.dtype == bool else raw
        if image.mode in ("LA", "PA"):
            return np.array(image.getchannel(0))
        if image.mode == "F":
            raise SettingError(f"{file}: got a floating-point mask; allowed: whole numbers (palette, grey or 1-bit) or colours")
        raw = np.array(image.convert("RGB"))
    if colour is None:
        return raw
    if (raw == raw[..., :1]).all():
        return raw[..., 0]
    odd = raw[(raw != raw[..., :1]).any(2)][0]
    raise SettingError(
        f"{file}: got the colour {show(tuple(odd.tolist()))}; "
        "allowed: an index mask (palette or grey), or lines 'r g b name' in classes.txt for colour-coded masks"
    )


def palette_of(file: Path) -> list[tuple[int, int, int]] | None:
    """Colours of a palette file by index; None for any other file."""
    with opened(file) as image:
        if image.mode != "P":
            return None
        flat = image.getpalette("RGB") or []
    return [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]


def packed(raw: np.ndarray) -> np.ndarray:
    """Int64 (H,W): indexes as they are, colours as r * 65536 + g * 256 + b, so that colours sort by red, green, blue."""
    raw = raw.astype(np.int64)
    return raw if raw.ndim == 2 else (raw[..., 0] << 16) | (raw[..., 1] << 8) | raw[..., 2]


def code_of(value: Value) -> int:
    """What `packed` makes of one value."""
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def unpacked(code: int, colour: bool) -> Value:
    """The index or colour that `packed` made into `code`."""
    return (code >> 16, code >> 8 & 255, code & 255) if colour else code


def to_ids(raw: np.ndarray, ids: Mapping[Value, int], file: Path) -> np.ndarray:
    """Uint8 (H,W) class ids of mask values; SettingError names the file and the first value that is not in `ids`."""
    codes = packed(raw)
    pairs = sorted((code_of(value), i) for value, i in ids.items())
    keys = np.array([key for key, _ in pairs])
    at = np.searchsorted(keys, codes).clip(max=len(keys) - 1)
    unknown = keys[at] != codes
    if unknown.any():
        got = unpacked(int(codes[unknown][0]), colour=raw.ndim == 3)
        raise SettingError(f"{file}: got mask value {show(got)}; allowed: {', '.join(listing(ids))}")
    return np.array([i for _, i in pairs], np.uint8)[at]


def listing(ids: Mapping[Value, int], most: int = 24) -> list[str]:
    """The values of a mapping as text, at most `most` of them, the ignored ones marked."""
    texts = [f"{show(value)}{' (ignore)' if i == IGNORE else ''}" for value, i in ids.items()]
    return texts if len(texts) <= most else [*texts[: most - 2], "...", texts[-1]]


def show(value: Value) -> str:
    """A mask value as classes.txt writes it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def resized(image: np.ndarray, mask: np.ndarray | None, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (antialiased bilinear) and mask (nearest) at height and width `size`; the arrays themselves where they fit already."""
    height, width = size
    if image.shape[:2] == size:
        return image, mask
    image = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    if mask is not None:
        mask = np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return image, mask
