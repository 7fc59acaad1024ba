"""Image files: opened by content, one picture each, with the turn that their EXIF data ask for. Only here Pillow opens files."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from semiseg.config import SettingError
from semiseg.data.arrays import LARGE, blocks, roomy
from semiseg.machine import available_memory, readable

Image.MAX_IMAGE_PIXELS = None  # an honest image may be large; `check_decodable` refuses the others
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error)
"""What Pillow raises on files that are missing, cut short or not images."""
DEFLATED = 1100
"""Bytes that a byte of a PNG can stand for: 1032 in deflate's densest form, and a little more."""
IN_MEMORY = 4
"""Bytes that Pillow takes for a pixel of colours."""
UPRIGHT = 1
"""EXIF's orientation of pixels that are stored as they are seen."""
MANY = ("MPO",)
"""Formats whose further pictures are versions of the first one, as phones make them."""


@contextmanager
def image_in(file: Path, animated: bool = False) -> Iterator[ImageFile.ImageFile]:
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
                check_decodable(file, image)
                yield image
    except SettingError:
        raise
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{file}: cannot be read ({reason}); allowed: an image file that Pillow opens") from None


def check_decodable(file: Path, image: Image.Image) -> None:
    """Raise SettingError for an image whose header claims more pixels than its file can hold, or than fit the memory."""
    pixels = image.width * image.height
    if image.format == "PNG" and pixels * len(image.getbands()) > DEFLATED * 8 * file.stat().st_size:
        raise SettingError(
            f"{file}: got a header that claims {image.height}x{image.width} pixels; allowed: as many as the file holds"
        )
    needed, available = pixels * IN_MEMORY, available_memory() if pixels * IN_MEMORY > LARGE else LARGE
    if needed > available:
        raise SettingError(
            f"{file}: got an image of {image.height}x{image.width} pixels, which takes {readable(needed)} of memory; "
            f"allowed: what fits the {readable(available)} that are free, or a TIFF in tiles, which is read tile by tile"
        )


def array_of(image: Image.Image, mode: str | None = None) -> np.ndarray:
    """The pixels of a loaded image, converted to a mode; a large image strip by strip, without a copy in memory."""
    mode = mode or image.mode
    first = np.array(image.crop((0, 0, image.width, 1)).convert(mode))
    shape = (image.height, *first.shape[1:])
    if first.nbytes * image.height <= LARGE:
        return np.array(image.convert(mode) if mode != image.mode else image)
    out = roomy(shape, first.dtype)
    for rows in blocks(shape):
        stop = min(rows.stop, image.height)
        out[rows] = np.asarray(image.crop((0, rows.start, image.width, stop)).convert(mode))
    return out


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
    if image.mode not in ("RGB", "RGBA", "LA", "CMYK"):
        return False
    ways = [tile[3] for tile in getattr(image, "tile", ())]
    largest = [way[1] for way in ways if image.format == "PPM" and isinstance(way, tuple)]  # PPM's maxval
    return any(";16" in str(way) for way in ways) or any(isinstance(one, int) and one > 255 for one in largest)


def deep_png(file: Path) -> np.ndarray:
    """Uint16 (H,W,3) or (H,W,1), without alpha, of a PNG of 16 bits a channel, of which Pillow decodes one byte at a time."""
    with image_in(file) as image:
        if any("LA;16" in str(tile[3]) for tile in image.tile):  # its four bytes a pixel are decoded as if they were four channels
            image._mode = "RGBA"
            unpacked_as(image, "RGBA")
            both = array_of(image).astype(np.uint16)
            return both[..., :1] << 8 | both[..., 1:2]
        mode = image.mode
        unpacked_as(image, f"{mode};16B")
        high = array_of(image, "RGB")
    with image_in(file) as image:
        unpacked_as(image, f"{mode};16L")  # takes the other byte
        low = array_of(image, "RGB")
    out = roomy(high.shape, np.dtype(np.uint16))
    for rows in blocks(out.shape):
        out[rows] = high[rows].astype(np.uint16) << 8 | low[rows]
    return out


def unpacked_as(image: ImageFile.ImageFile, how: str) -> None:
    """Load an image with one of Pillow's ways to unpack its bytes."""
    image.tile = [tile._replace(args=(how, *tile.args[1:]) if isinstance(tile.args, tuple) else how) for tile in image.tile]
    image.load()
