"""Arrays as files hold them, whatever the format: which axis is which, which types a pack keeps, what is too large for memory; NPY."""

import importlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import SettingError
from semiseg.outside import temporary_place

LARGE = 64 << 20
"""Bytes above which a decoded array lies in a temporary file that is mapped, and not in memory."""
BLOCK = 1 << 20  # values that are converted or compared at a time
NPY = b"\x93NUMPY"
Spacing = tuple[float, float, float]
"""Distances between slices, rows and columns."""


@dataclass(frozen=True, kw_only=True)
class Raster:
    """What a file says of its array before it is decoded."""

    file: Path
    format: str
    shape: tuple[int, ...]
    axes: str
    """A letter for each axis: H rows, W columns, C channels, D slices, P pages, which are slices or channels; "": not said."""
    values: Callable[[], np.ndarray]
    """Decodes: an array of that shape in the type of the file, possibly mapped and read-only."""
    dtype: np.dtype
    spacing: Spacing | None = None
    nodata: float | None = None
    """Value of pixels that hold nothing."""
    alpha: int = 0
    """How many of the channels, the last ones, say how opaque a pixel is."""
    turn: int = 1
    """EXIF's orientation of the pixels."""


def library(name: str, extra: str, got: str) -> Any:
    """A library of an extra; SettingError naming the extra when it is not installed, for what was `got`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SettingError(f"{got} without the library {name}; allowed: after pip install 'semiseg[{extra}]'") from None


def unreadable(file: Path, error: Exception | str, allowed: str) -> SettingError:
    """One line about a file that a library refuses."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return SettingError(f"{file}: cannot be read ({reason}); allowed: {allowed}")


def open_npy(file: Path) -> Raster:
    """An array that numpy.save has written, mapped."""
    try:
        values = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise unreadable(file, error, "an array of numbers that numpy.save has written") from None
    return Raster(file=file, format="NPY", shape=values.shape, axes="", values=lambda: values, dtype=values.dtype)


# ---- axes


def arranged(raster: Raster, like: tuple[int, ...]) -> str:
    """The letters of an image's axes, with D where its mask has slices: the mask's shape `like` is (H,W) or (D,H,W).

    SettingError where no way to read the axes has the mask's shape, or two have.
    """
    if raster.axes:
        options = [raster.axes.replace("P", letter) for letter in ("D" if len(like) == 3 else "C",)]
    else:
        options = ["DHW", "DHWC"] if len(like) == 3 else ["HW", "HWC", "CHW"]
    fits = [axes for axes in options if fits_mask(raster.shape, axes, like)]
    if len(fits) > 1:
        raise SettingError(f"{raster.file}: got an array {raster.shape}, which is {' or '.join(fits)}; allowed: {UNAMBIGUOUS}")
    if not fits:
        said = f" ({raster.axes})" if raster.axes else ""
        raise SettingError(
            f"{raster.file}: got an array {raster.shape}{said}; allowed: what fits its mask of {'x'.join(map(str, like))} pixels"
        )
    return fits[0]


UNAMBIGUOUS = "a number of channels that is no side of the image, or a format that names its axes (TIFF)"


def fits_mask(shape: tuple[int, ...], axes: str, like: tuple[int, ...]) -> bool:
    """Whether an array with these axes has the mask's slices, rows and columns."""
    if len(axes) != len(shape) or len(set(axes)) < len(axes) or ("D" in axes) != (len(like) == 3):
        return False
    return tuple(shape[axes.index(letter)] for letter in "DHW" if letter in axes) == like


def followed(raster: Raster, known: frozenset[str]) -> str:
    """The letters of an unlabelled file's axes, where the file leaves them open as one of those `known` from labelled files."""
    if raster.axes and "P" not in raster.axes:
        return raster.axes
    options = {raster.axes.replace("P", letter) for letter in "DC"} if raster.axes else known
    fits = [axes for axes in options & known if len(axes) == len(raster.shape)] or ["HW"] * (len(raster.shape) == 2)
    if len(fits) != 1:
        raise SettingError(
            f"{raster.file}: got an unlabelled array {raster.shape}; allowed: the axes of the labelled ones "
            f"({', '.join(sorted(known)) or 'of which none is such a file'})"
        )
    return fits[0]


def as_planes(values: np.ndarray, axes: str) -> np.ndarray:
    """A view (D,H,W,C) of an array with these axes."""
    view = values.transpose([axes.index(letter) for letter in "DHWC" if letter in axes])
    view = view if "D" in axes else view[None]
    return view if "C" in axes else view[..., None]


# ---- types


def kept(values: np.ndarray, nodata: float | None, file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """An image (H,W,C) in a type that packs hold, and where no channel of a pixel has data: bool (H,W), None for nowhere.

    uint8, uint16, float16 and float32 stay, boolean becomes 0 and 255, other integers float32 where that is exact, float64 float32.
    Pixels without data take each channel's lowest value. SettingError for other types, inexact and infinite values.
    """
    target = packable(values.dtype, file)
    void = without_data(values, nodata)
    if target == values.dtype and void is None and target.kind != "f":
        return values, None
    out = values if target == values.dtype and void is None else roomy(values.shape, target)
    lowest = None if void is None else lowest_of(values, void)
    for rows in blocks(values.shape):
        part = values[rows]
        if void is not None:
            part = np.where(void[rows][..., None], lowest, part)
        with np.errstate(over="ignore"):
            new = part.astype(target, copy=False) * (np.uint8(255) if values.dtype == bool else target.type(1))
        if target.kind == "f" and not np.isfinite(new).all():
            raise SettingError(f"{file}: got values that are no finite numbers; allowed: finite ones")
        if values.dtype.kind in "iu" and target.kind == "f" and not is_exact(part, new):
            raise SettingError(
                f"{file}: got {values.dtype} values up to {part.max()}, which 32-bit floating point does not hold; "
                "allowed: 8 or 16 bits, floating point, or smaller numbers"
            )
        if out is not values:
            out[rows] = new
    return out, void


def packable(dtype: np.dtype, file: Path) -> np.dtype:
    """The type in which a pack keeps values of a type."""
    if dtype == bool:
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf":
        raise SettingError(f"{file}: got values of type {dtype}; allowed: whole numbers or floating point")
    stays = dtype.kind == "u" and dtype.itemsize <= 2 or dtype.kind == "f" and dtype.itemsize <= 4
    return dtype.newbyteorder("=") if stays else np.dtype(np.float32)


def is_exact(whole: np.ndarray, new: np.ndarray) -> bool:
    """Whether float32 holds the same whole numbers."""
    return bool((np.abs(new) <= 2.0**53).all() and (new.astype(np.float64) == whole.astype(np.float64)).all())


def without_data(values: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Bool (H,W): where all channels of an image (H,W,C) hold the value that stands for nothing; None for nowhere."""
    if nodata is None or values.dtype == bool:
        return None
    value = values.dtype.type(nodata) if values.dtype.kind == "f" else nodata  # a text of 15 digits is no float32's exact value
    void, any_ = roomy(values.shape[:2], np.dtype(bool)), False
    for rows in blocks(values.shape):
        part = values[rows]
        void[rows] = (np.isnan(part) if math.isnan(nodata) else part == value).all(2)
        any_ |= bool(void[rows].any())
    return void if any_ else None


def lowest_of(values: np.ndarray, void: np.ndarray) -> np.ndarray:
    """The lowest value (C,) of each channel where there are data, in the array's type; 0 where there are none."""
    found: list[np.ndarray] = [part.min(0) for rows in blocks(values.shape) if len(part := values[rows][~void[rows]])]
    return np.min(found, 0) if found else np.zeros(values.shape[2], values.dtype)


def as_channels(pixels: np.ndarray, channels: int | None, file: Path) -> np.ndarray:
    """An image (H,W,C) with as many channels as Data.channels says; None: its own, but 8-bit grey three times."""
    have = pixels.shape[2]
    want = channels or (3 if have == 1 and pixels.dtype == np.uint8 else have)
    if have == want:
        return pixels
    if have == 1 and want == 3:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if have == 3 and want == 1 and is_grey(pixels):
        return pixels[..., :1]
    raise SettingError(f"data.channels: got {channels}; allowed: {have}, as {file} has")


def is_grey(colours: np.ndarray) -> bool:
    """Whether the colours (H,W,3) are grey in every pixel."""
    return all(bool((colours[rows] == colours[rows][..., :1]).all()) for rows in blocks(colours.shape))


# ---- memory


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that hold about BLOCK values each."""
    step = max(1, BLOCK // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def roomy(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to be filled: a large one lies in a temporary file without a name, which goes with it. SettingError without room."""
    needed = math.prod(shape) * dtype.itemsize
    if needed <= LARGE:
        return np.empty(shape, dtype)
    place = temporary_place()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            if hasattr(os, "posix_fallocate"):  # without room a write to mapped pages would end the process
                os.posix_fallocate(file.fileno(), 0, needed)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise SettingError(f"TMPDIR: cannot write to {place!r} ({error.strerror}); allowed: a folder with room") from None
