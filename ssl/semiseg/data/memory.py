"""How much memory and disk there are, and one line instead of an end by the kernel where a setting needs more."""

import shutil
from pathlib import Path

from semiseg.config import SettingError
from semiseg.machine import usable_memory

COPIES = 4
"""Of an image and its mask while it is packed: decoded, resized, as bytes, in Arrow's buffer."""


def available_memory() -> int:
    """Bytes that this process can still take: what is free on the machine, or its container's limit where that is lower."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):  # another system than Linux
        free = []
    return min([usable_memory(), *free])


def need_memory(name: str, value: object, needed: int, what: str) -> None:
    """Raise SettingError when a setting needs more bytes of memory than there are; `what` says what for."""
    available = available_memory()
    if needed > available:
        raise SettingError(
            f"{name}: got {value!r}, with which {what} takes {readable(needed)} of memory; allowed: what fits the {readable(available)} "
            "that are free"
        )


def check_size(size: tuple[int, int], images: int, cache: Path | None = None) -> None:
    """Raise SettingError for a Data.size at which an image does not fit in memory, or `images` of them not on the cache's disk."""
    each = size[0] * size[1] * 4  # three channels and a mask
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


def readable(count: int) -> str:
    """Bytes in the unit that leaves few digits, such as "12.3 GB"."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
