"""Mask files to arrays, and mask values to class ids."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg.config import SettingError
from semiseg.data.arrays import Raster, blocks, is_grey, roomy
from semiseg.data.files import UPRIGHT, array_of, image_in, is_deep, turn_of, turned_upright
from semiseg.data.formats import is_picture, opened
from semiseg.data.nifti import is_nifti
from semiseg.data.source import IGNORE
from semiseg.data.tiff import NODATA, lossy_tiff, nodata_value

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
    if (raster := opened(file)) is not None:
        pages = mask_pages(raster)
        if len(pages) > 1:
            raise SettingError(f"{file}: got {len(pages)} pages or frames in a {raster.format} file; allowed: one, so split it")
        return as_asked(file, turned_upright(pages[0], raster.turn) if raster.turn != UPRIGHT else pages[0], colour), UPRIGHT
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
        return array_of(image, "RGB")
    if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        return indexes(file, array_of(image), nodata_value(getattr(image, "tag_v2", {}).get(NODATA)))
    if image.mode in ("LA", "PA"):
        return array_of(image.getchannel(0))
    return as_asked(file, array_of(image, "RGB"), colour)


def as_asked(file: Path, raw: np.ndarray, colour: bool | None) -> np.ndarray:
    """Indexes (H,W) or colours (H,W,3) as `read_mask` was asked for them."""
    if raw.ndim == 2:
        return np.broadcast_to(raw[..., None], (*raw.shape, 3)) if colour else raw
    if colour or colour is None:
        return raw
    for rows in blocks(raw.shape):
        if not is_grey(part := raw[rows]):
            odd = part[(part != part[..., :1]).any(2)][0]
            raise SettingError(
                f"{file}: got the colour {show(tuple(odd.tolist()))}; "
                "allowed: an index mask (palette or grey), or lines 'r g b name' in classes.txt for colour-coded masks"
            )
    return raw[..., 0]


def indexes(file: Path, raw: np.ndarray, nodata: float | None = None) -> np.ndarray:
    """Whole numbers 0..65535 of an array whose values are that, whatever its type; SettingError otherwise.

    A negative value for no data, which no class can have, becomes IGNORE. Others may be a class, as 0 often is.
    """
    if raw.dtype == np.uint8:
        return raw
    if raw.dtype.kind == "f" and not is_nifti(file):
        raise SettingError(f"{file}: got a floating-point mask; allowed: whole numbers (palette, grey or 1-bit) or colours")
    if raw.dtype.kind not in "biuf":
        raise SettingError(f"{file}: got a mask of type {raw.dtype}; allowed: whole numbers")
    out = roomy(raw.shape, np.dtype(np.uint16))
    for rows in blocks(raw.shape):
        part = raw[rows]
        if nodata is not None and nodata < 0:
            part = np.where(part == nodata, IGNORE, part)
        low, high = part.min(), part.max()
        if not (low >= 0 and high <= LARGEST):  # written so that NaN fails too
            raise SettingError(
                f"{file}: got mask values {low}..{high}; allowed: 0..{LARGEST}, with {IGNORE} where pixels are ignored"
            )
        out[rows] = part
        if part.dtype.kind == "f" and (out[rows] != part).any():
            odd = part[out[rows] != part][0]
            raise SettingError(f"{file}: got mask value {odd:g}; allowed: whole numbers")
    return out


def mask_pages(raster: Raster) -> np.ndarray:
    """Indexes (D,H,W), of one page D = 1, or colours (1,H,W,3) that an array's file holds."""
    file, axes = raster.file, mask_axes(raster)
    if how := lossy_tiff(file) if raster.format == "TIFF" else "JPEG2000" * raster.format.startswith("JP2"):
        raise SettingError(f"{file}: got a mask as {how}, which does not keep values; allowed: PNG or another lossless format")
    view = raster.values().transpose([axes.index(letter) for letter in "DHWC" if letter in axes])
    view = view if "D" in axes else view[None]
    return view if "C" in axes and view.shape[3] == 3 else indexes(file, view[..., 0] if "C" in axes else view, raster.nodata)


def all_values(file: Path) -> np.ndarray:
    """`read_mask` with the pages of a file below one another."""
    raster = opened(file)
    if raster is None:
        return read_mask(file)
    pages = mask_pages(raster)
    return pages[0] if pages.ndim == 4 else pages.reshape(-1, pages.shape[2])


def mask_axes(raster: Raster) -> str:
    """Letters of a mask's axes: pages are slices, and so is NPY's first of three, unless the last is of one index or a colour."""
    last = raster.shape[-1] if raster.shape else 0
    colour = last == 3 and raster.dtype == np.uint8
    guess = {2: "HW", 3: "HWC" if colour or last == 1 else "DHW"}.get(len(raster.shape), "")
    axes = raster.axes.replace("P", "D") or guess
    channels = raster.shape[axes.index("C")] if "C" in axes else 1
    if not axes or channels not in (1, 3) or (channels == 3 and (raster.dtype != np.uint8 or "D" in axes)):
        raise SettingError(
            f"{raster.file}: got a mask {raster.dtype} {raster.shape}; allowed: one channel of indexes, or 8-bit colours"
        )
    return axes


def stacked_shape(file: Path, plane: str) -> tuple[int, int, int] | None:
    """Slices, rows and columns of a mask file of several pages, or of a volume; None for one of a single page."""
    raster = None if is_picture(file) else opened(file, plane)
    if raster is None:
        return None
    axes = mask_axes(raster)
    count, height, width = (raster.shape[axes.index(letter)] if letter in axes else 1 for letter in "DHW")
    return (count, height, width) if count > 1 or raster.format == "NIfTI" else None


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
    if opened(file) is not None:
        return None
    with image_in(file) as image:
        if image.mode != "P":
            return None
        levels = image.getpalette("RGB") or []
    return [(levels[i], levels[i + 1], levels[i + 2]) for i in range(0, len(levels), 3)]


def codes_in(raw: np.ndarray) -> set[int]:
    """The values that occur in a mask: indexes, or colours as `code_of` makes them."""
    return {int(code) for rows in blocks(raw.shape) for code in np.unique(packed(raw[rows]))}


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
    pairs = sorted((code_of(value), i) for value, i in ids.items())
    keys, of = np.array([key for key, _ in pairs]), np.array([i for _, i in pairs], np.uint8)
    out = roomy(raw.shape[:2], np.dtype(np.uint8))
    for rows in blocks(raw.shape):
        codes = packed(raw[rows])
        at = np.searchsorted(keys, codes).clip(max=len(keys) - 1)
        unknown = keys[at] != codes
        if unknown.any():
            got = unpacked(int(codes[unknown][0]), colour=raw.ndim == 3)
            raise SettingError(f"{file}: got mask value {show(got)}; allowed: {', '.join(listing(ids))}")
        out[rows] = of[at]
    return out


def first_values(ids: Mapping[Value, int]) -> dict[int, Value]:
    """The first value of each class id."""
    return {i: value for value, i in reversed([*ids.items()]) if i != IGNORE}


def values_of(ids: Mapping[Value, int]) -> tuple[tuple[int, ...], ...]:
    """`first_values` of ids 0..C-1 in their order: (index,) or a colour each."""
    return tuple((value,) if isinstance(value, int) else value for _, value in sorted(first_values(ids).items()))


def listing(ids: Mapping[Value, int], most: int = 24) -> list[str]:
    """The values of a mapping as text, at most `most` of them, the ignored ones marked."""
    texts = [f"{show(value)}{' (ignore)' if i == IGNORE else ''}" for value, i in ids.items()]
    return texts if len(texts) <= most else [*texts[: most - 2], "...", texts[-1]]


def show(value: Value) -> str:
    """A mask value as classes.txt writes it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
