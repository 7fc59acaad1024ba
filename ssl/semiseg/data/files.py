"""Image files: opened by content, one picture each, with the turn that their EXIF data ask for. Only here Pillow opens files."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from semiseg.config import SettingError

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises on files that are missing, cut short, not images or absurdly large."""
UPRIGHT = 1
"""EXIF's orientation of pixels that are stored as they are seen."""
MANY = ("MPO",)
"""Formats whose further pictures are versions of the first one, as phones make them."""


@contextmanager
def image_in(file: Path, animated: bool = False) -> Iterator[Image.Image]:
    """The one picture in a file, recognised by its content; with `animated` the first frame of a moving one.

    SettingError, one line, when it cannot be opened or decoded, and for a file of several pages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and large files: nothing a user can act on here
            with Image.open(file) as image:
                pages = getattr(image, "n_frames", 1)
                if pages > 1 and image.format not in MANY and not (animated and image.format == "GIF"):
                    raise SettingError(f"{file}: got {pages} pages or frames in a {image.format} file; allowed: one, so split it")
                yield image
    except SettingError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{file}: cannot be read ({reason}); allowed: an image file that Pillow opens") from None


def size_in(file: Path) -> tuple[int, int]:
    """Height and width as a viewer shows a photo, from the header, without decoding."""
    with image_in(file, animated=True) as image:
        across = image.format in ("JPEG", "MPO") and turn_of(image) > 4  # to ask a PNG would decode it
        return (image.width, image.height) if across else (image.height, image.width)


def turn_of(image: Image.Image) -> int:
    """EXIF's orientation, 1..8, of an image that is loaded. Of a TIFF 1, since Pillow turns its pixels itself."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (*BROKEN, KeyError, TypeError, AttributeError):  # damaged metadata beside sound pixels
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def turned_upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Stored pixels (H,W) or (H,W,3) as a viewer shows them; from 5 on height and width change places.

    EXIF 2.3, tag 274: where row 0 and column 0 of the stored pixels are seen.
    """
    if turn > 4:
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet stores 16 bits of which Pillow keeps the higher 8: colour, or grey with alpha."""
    modes = image.mode in ("RGB", "RGBA", "LA", "CMYK")
    return modes and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
