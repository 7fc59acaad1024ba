"""Sizes of images that would not fit into memory or on the disk, refused before anything is decoded."""

import shutil
from pathlib import Path

from semiseg.config import SettingError
from semiseg.machine import need_memory, readable

COPIES = 4
"""Of an image and its mask while it is packed: decoded, inside Pillow as floating point or padded to four channels, resized."""


def check_size(size: tuple[int, int], images: int, cache: Path | None = None, pixel: int = 3) -> None:
    """Raise SettingError for a Data.size at which an image does not fit in memory, or `images` of them not on the cache's disk.

    `pixel` is the bytes of a pixel in all its channels.
    """
    each = size[0] * size[1] * (pixel + 1)  # and a mask
    need_memory("data.size", size, each * COPIES, "one image")
    if cache is None:
        need_memory("data.size", size, each * images, f"{images} images")
        return
    free, needed = shutil.disk_usage(cache).free, each * images * 2  # written twice: aside, then with what all of it told
    if needed > free:
        raise SettingError(
            f"data.size: got {size!r}, with which {images} images take {readable(needed)} while they are packed; "
            f"allowed: what fits the {readable(free)} that are free in {cache}"
        )
