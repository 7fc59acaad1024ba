"""TIFF files of more than Pillow reads: many pages, many bands, deep values, GeoTIFF; with tifffile, of the extra `tiff`."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import SettingError
from semiseg.data.arrays import Raster, Spacing, library, roomy, unreadable

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION, PIXEL_SCALE, NODATA = 274, 33550, 42113  # tags of TIFF 6.0, GeoTIFF and GDAL
ALPHA = (1, 2)  # of ExtraSamples: associated, unassociated
PALETTE = 3  # of PhotometricInterpretation
BUFFER = 16 << 20  # bytes of compressed tiles read ahead
KEEPS = {"NONE", "LZW", "CCITTRLE", "CCITT_T4", "CCITT_T6", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "LZMA", "ZSTD", "PIXTIFF"}
"""Compressions that keep values."""


def open_tiff(file: Path) -> Raster:
    """The one array of a TIFF file. Overviews and GDAL's masks are left out. SettingError for several arrays or axes of pages."""
    with series_in(file) as series:
        page = series.keyframe
        if page.photometric == PALETTE:
            raise SettingError(f"{file}: got a palette in a TIFF of several pages or 16 bits; allowed: grey, colours or bands")
        axes, shape = letters(file, series.axes, series.shape)
        extra = page.extrasamples if "S" in series.axes and "C" in axes else ()
        tags = {tag.code: tag.value for tag in page.tags}
        return Raster(
            file=file,
            format="TIFF",
            shape=shape,
            axes=axes,
            values=lambda: decoded_tiff(file).reshape(shape),
            dtype=series.dtype,
            spacing=pixel_scale(tags.get(PIXEL_SCALE)),
            nodata=nodata_value(tags.get(NODATA)),
            alpha=len(extra) if extra and all(int(one) in ALPHA for one in extra) else 0,
            turn=int(tags.get(ORIENTATION, 1)),
        )


@contextmanager
def series_in(file: Path) -> Iterator[Any]:
    """tifffile's series of the file's full-size pages; SettingError, one line, for what it cannot read."""
    tifffile = library("tifffile", "tiff", f"{file}: got a TIFF of many pages, bands or bits")
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it warns of oddities that nobody can act on here
    try:
        with tifffile.TiffFile(file) as content:
            found = [one for one in content.series if not int(one.keyframe.subfiletype) & 5]  # 1 smaller version, 4 mask
            if len(found) != 1:
                sizes = ", ".join("x".join(map(str, one.shape)) for one in found[:4]) or "none"
                raise SettingError(f"{file}: got {len(found)} images of their own in a TIFF ({sizes}); allowed: one, so split it")
            yield found[0]
    except SettingError:
        raise
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, EOFError, struct.error, tifffile.TiffFileError) as error:
        raise unreadable(file, error, "a TIFF file that tifffile opens") from None


def letters(file: Path, axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Our letters for tifffile's axes, and the shape; axes of one entry go."""
    ours = {"Y": "H", "X": "W", "S": "C", "C": "C"}
    pairs = [(ours.get(axis, "P"), count) for axis, count in zip(axes, shape, strict=True) if axis in "YX" or count > 1]
    found = "".join(letter for letter, _ in pairs)
    if len(set(found)) < len(found) or not {"H", "W"} <= set(found):
        raise SettingError(f"{file}: got a TIFF with axes {axes} {shape}; allowed: one axis of pages and one of channels at most")
    return found, tuple(count for _, count in pairs)


def decoded_tiff(file: Path) -> np.ndarray:
    """The array, mapped where the file holds it in one piece; otherwise tile by tile into a `roomy` one."""
    with series_in(file) as series:
        page = series.keyframe
        if series.dataoffset is not None and page.is_memmappable:
            stored = series.dtype.newbyteorder(page.parent.byteorder)
            return np.memmap(file, stored, "r", series.dataoffset, series.shape)
        out = roomy(series.shape, series.dtype)
        series.asarray(out=out, buffersize=BUFFER)
        return out


def lossy_tiff(file: Path) -> str:
    """The name of a compression that may not keep values, else ""."""
    with series_in(file) as series:
        name = series.keyframe.compression.name
    return "" if name in KEEPS else f"TIFF with {name} compression"


def pixel_scale(tag: Any) -> Spacing | None:
    """Distances between slices, rows and columns of GeoTIFF's ModelPixelScale (x, y, z); 1 for a z that it leaves at 0."""
    if not isinstance(tag, tuple | list) or len(tag) < 3 or min(tag[:2]) <= 0:
        return None
    return (float(tag[2]) or 1.0, float(tag[1]), float(tag[0]))


def nodata_value(tag: Any) -> float | None:
    """GDAL's tag, a number as text; None where it says none."""
    try:
        return float(str(tag).strip("\0 "))
    except ValueError:
        return None
