"""Mask files to arrays, and mask values to class ids."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg.config import SettingError
from semiseg.data.files import image_in, is_deep, turn_of
from semiseg.data.source import IGNORE

Value = int | tuple[int, int, int]
"""What a mask file says about a pixel: an index (grey or palette), or a colour."""
LARGEST = 65535
"""Of an index."""
LOSSY = {"JPEG", "MPO", "JPEG2000", "AVIF", "HEIF", "DDS", "BLP"}
"""Formats that do not keep values, or of which a file does not tell."""
LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp", "jpeg2000"}


def read_mask(file: Path, colour: bool | None = None) -> np.ndarray:
    """What the file says as stored: integers 0..65535 (H,W) from an index mask, uint8 (H,W,3) from a colour-coded one.

    A palette file gives its indexes, never its colours, unless `colour` asks for colours; `colour=False` accepts a colour file
    only when it is grey in every pixel, and None takes the file as it is. Alpha is dropped. SettingError for a file that may not
    hold the values that were written, and for values that cannot be indexes.
    """
    return mask_and_turn(file, colour)[0]


def mask_and_turn(file: Path, colour: bool | None) -> tuple[np.ndarray, int]:
    """`read_mask` and the turn that the file's EXIF data ask for."""
    with image_in(file) as image:
        if how := lossy(file, image):
            raise SettingError(f"{file}: got a mask as {how}, which does not keep values; allowed: PNG or another lossless format")
        if is_deep(image):
            raise SettingError(f"{file}: got a mask of 16 bits a channel; allowed: 8-bit colours, or one channel of indexes")
        image.load()
        return values_in(file, image, colour), turn_of(image)


def values_in(file: Path, image: Image.Image, colour: bool | None) -> np.ndarray:
    """The array of `read_mask`."""
    if image.mode == "F":
        raise SettingError(f"{file}: got a floating-point mask; allowed: whole numbers (palette, grey or 1-bit) or colours")
    if image.mode not in ("P", "L", "1", "LA", "PA", "RGB", "RGBA", "RGBX") and not image.mode.startswith("I"):
        raise SettingError(f"{file}: got a mask of mode {image.mode}; allowed: palette, grey, 1-bit or RGB")
    if colour:
        return np.array(image.convert("RGB"))
    if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        raw = np.array(image)
        if raw.dtype == bool:
            return raw.astype(np.uint8)
        if raw.min() < 0 or raw.max() > LARGEST:
            raise SettingError(
                f"{file}: got mask values {raw.min()}..{raw.max()}; allowed: 0..{LARGEST}, with {IGNORE} where pixels are ignored"
            )
        return raw
    if image.mode in ("LA", "PA"):
        return np.array(image.getchannel(0))
    raw = np.array(image.convert("RGB"))
    if colour is None:
        return raw
    if is_grey(raw):
        return raw[..., 0]
    odd = raw[(raw != raw[..., :1]).any(2)][0]
    raise SettingError(
        f"{file}: got the colour {show(tuple(odd.tolist()))}; "
        "allowed: an index mask (palette or grey), or lines 'r g b name' in classes.txt for colour-coded masks"
    )


def is_grey(raw: np.ndarray) -> bool:
    """Whether the colours (H,W,3) are grey in every pixel: an index mask that was saved as RGB."""
    return bool((raw == raw[..., :1]).all())


def lossy(file: Path, image: Image.Image) -> str:
    """The name of a format in which an image's values may not be those that were written, else ""."""
    if image.format in LOSSY:
        return str(image.format)
    compression = str(image.info.get("compression", ""))
    if image.format == "TIFF" and compression in LOSSY_TIFF:
        return f"TIFF with {compression.removeprefix('tiff_').upper()} compression"
    return "lossy WebP" if image.format == "WEBP" and b"VP8 " in webp_chunks(file) else ""


def webp_chunks(file: Path) -> list[bytes]:
    """Names of the chunks in a WebP file: its pixels are in VP8L, lossless, or in VP8, lossy (RFC 9649, section 2)."""
    content, names, at = file.read_bytes(), [], 12
    while at + 8 <= len(content):
        names.append(content[at : at + 4])
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return names


def palette_of(file: Path) -> list[tuple[int, int, int]] | None:
    """Colours of a palette file by index; None for any other file."""
    with image_in(file) as image:
        if image.mode != "P":
            return None
        levels = image.getpalette("RGB") or []
    return [(levels[i], levels[i + 1], levels[i + 2]) for i in range(0, len(levels), 3)]


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
