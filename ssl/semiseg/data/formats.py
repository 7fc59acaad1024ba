"""Which library a file is for: Pillow reads pictures, others what Pillow does not read whole. Told by content where it says so."""

import math
import re
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from semiseg.data.arrays import LARGE, NPY, Raster, open_npy
from semiseg.data.files import BROKEN
from semiseg.data.nifti import is_nifti, open_nifti
from semiseg.data.rasters import open_gdal
from semiseg.data.tiff import ALPHA, MAGIC, open_tiff

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Endings of files that are not opened to learn whether they hold several images."""
GDAL = (".vrt", ".img")
CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000: markers SOC and SIZ (ISO 15444-1, A.4 and A.5)
DESCRIPTION, BITS, SAMPLES, PHOTOMETRIC, EXTRA, FORMAT = 270, 258, 277, 262, 338, 339  # tags of TIFF 6.0
GREY, RGB, CMYK = 1, 2, 5
UNSIGNED, SIGNED, FLOATING = 1, 2, 3


def opened(file: Path, plane: str = "axial", channels: int | None = None) -> Raster | None:
    """What a file says of its array; None for a picture that Pillow reads, or that nobody does.

    plane is that of a volume's slices; channels those asked for: where they are all samples of a TIFF, its alpha is one of them.
    """
    name = file.name.lower()
    if is_nifti(file):
        return open_nifti(file, plane)
    if name.endswith(GDAL):
        return open_gdal(file)
    try:
        with file.open("rb") as content:
            head = content.read(4096)
    except OSError:
        return None
    if head.startswith(NPY):
        return open_npy(file)
    if head[:4] in MAGIC and not pillow_reads_tiff(file, channels):
        return open_tiff(file)
    if deep_jpeg_2000(head):
        return open_gdal(file)
    return None


def is_picture(file: Path) -> bool:
    """Whether a file's name says that it holds one picture."""
    return file.name.lower().endswith(PICTURES)


def pillow_reads_tiff(file: Path, channels: int | None) -> bool:
    """Whether Pillow reads every value of a TIFF: one page of grey, colours or a palette, in memory when it is large otherwise."""
    try:
        with Image.open(file) as image:
            if not isinstance(image, TiffImageFile) or image.n_frames > 1:
                return False
            tags = image.tag_v2
            samples, photometric = tags.get(SAMPLES, 1), tags.get(PHOTOMETRIC, GREY)
            bits, mode = max(tags.get(BITS, (1,))), image.mode
            pixels = image.width * image.height * samples
    except BROKEN:
        return False
    opaque = samples - sum(one in ALPHA for one in tags.get(EXTRA, ()))
    kind = tags.get(FORMAT, (UNSIGNED,))[0]
    if holds_more(str(tags.get(DESCRIPTION, "")), pixels):
        return False
    fits = pixels * bits // 8 <= LARGE or find_spec("tifffile") is None
    if bits > 8:
        return fits and samples == 1 and (mode.startswith("I;16") or (mode, kind) in (("I", SIGNED), ("F", FLOATING)))
    if kind != UNSIGNED or opaque > (4 if photometric == CMYK else 3) or opaque == 2 or (channels == samples and opaque != samples):
        return False
    return fits or photometric not in (GREY, RGB) or bits < 8


def holds_more(description: str, values: int) -> bool:
    """Whether a TIFF's description tells of more images than its one page: ImageJ and tifffile may write them behind it."""
    shape = re.match(r'\{"shape": \[([\d, ]+)\]', description)
    return bool(re.match(r"ImageJ=.*\nimages=", description)) or (
        shape is not None and math.prod(map(int, shape[1].split(","))) != values
    )


def deep_jpeg_2000(head: bytes) -> bool:
    """Whether a file begins as JPEG 2000 of more than 8 bits, which Pillow scales, or of more than 3 components."""
    at = head.find(CODESTREAM)
    if at < 0 or not (at == 0 or head[4:8] == b"jP  "):
        return False
    size = head[at + 4 :]
    components = int.from_bytes(size[36:38], "big")
    return components > 4 or any((depth & 127) + 1 > 8 for depth in size[38 : 38 + 3 * components : 3])
