"""Files of a user's own as the networks of a study see images: decoded, resized and normalised as those of its data set."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semiseg.config import SettingError
from semiseg.data.arrays import Raster
from semiseg.data.formats import is_picture, opened
from semiseg.data.images import Photos, resized
from semiseg.data.listing import named_files, without_extension
from semiseg.data.normalise import Normalisation, ranges_of
from semiseg.data.pack import Pack
from semiseg.data.packing import SMALLEST_SIDE
from semiseg.data.stacks import slices_of
from semiseg.data.strips import strips
from semiseg.results.inputs import InputRecord

OF_IMAGES = ("zscore", "percentile", "minmax")
"""Normalisations that depend on pixels."""


def input_record(pack: Pack) -> InputRecord:
    """What the pack's images have in common."""
    how = Normalisation.read(pack.normalise)
    ranges = None if how.kind in OF_IMAGES and how.over != "dataset" else pack.ranges(0)
    low, high = ((), ()) if ranges is None else (tuple(map(float, limits)) for limits in ranges)
    return InputRecord(
        dtype=pack.dtype.name,
        channels=pack.channels,
        size=pack.size,
        normalise=pack.normalise,
        low=low,
        high=high,
        values=pack.values,
        image_level=pack.image_level,
    )


class Part(NamedTuple):
    """Which image of a file of so many `parts`; `name` is that of the whole file."""

    file: Path
    name: str
    number: int
    parts: int


class Frame(NamedTuple):
    """One image of a file: `name` is what is written for it, `size` its height and width before it was resized."""

    name: str
    group: str
    pixels: np.ndarray
    size: tuple[int, int]
    part: Part | None = None
    """None: the file is this image alone."""


class Frames:
    """Some images at a time, with what `evaluate.predict` asks of a pack."""

    def __init__(self, frames: Sequence[Frame], inputs: InputRecord) -> None:
        self.frames = frames
        images = [frame.pixels for frame in frames]
        self.heights, self.widths = np.array([image.shape[:2] for image in images], np.int32).T
        how = Normalisation.read(inputs.normalise)
        self._ranges: Sequence[np.ndarray] | np.ndarray | None = None
        if inputs.low:
            self._ranges = [np.array([inputs.low, inputs.high], np.float32)] * len(images)
        elif how.kind in OF_IMAGES:
            self._ranges = ranges_of(how, images, [frame.group for frame in frames], ())

    def image(self, row: int) -> np.ndarray:
        """(H,W,C) in the stored type."""
        return self.frames[row].pixels

    def ranges_of(self, rows: Sequence[int]) -> list[np.ndarray] | None:
        """Float32 (2,C) of each row, as `Pack.ranges_of`."""
        return None if self._ranges is None else [self._ranges[row] for row in rows]


class Reader:
    """Reads files as the data set of a study does; SettingError, one line, for one that its networks cannot be shown."""

    def __init__(self, inputs: InputRecord, plane: str = "axial") -> None:
        self.inputs, self.plane = inputs, plane
        self.photos = Photos(animated=True, channels=inputs.channels, plane=plane)

    def frames(self, file: Path, name: str, group: str = "") -> list[Frame]:
        """The images of a file, one by page or slice; `group` is what they are normalised with, where groups are; "": the file."""
        raster = None if is_picture(file) else opened(file, self.plane, self.inputs.channels)
        layouts = frozenset() if raster is None else layout_of(raster, self.inputs.channels)
        found, every = [], slices_of(file, self.plane, lambda: layouts)
        for ending, number in every:
            pixels = self.photos.alone(file, layouts) if number is None else self.photos.slice_alone(file, number, layouts)
            self._check(file, pixels)
            size = (pixels.shape[0], pixels.shape[1])
            shown = pixels if self.inputs.size is None else resized(pixels, None, self.inputs.size)[0]
            part = None if number is None else Part(file, name, number, len(every))
            found.append(Frame(name + ending, group or str(file), shown, size, part))
        return found

    def _check(self, file: Path, pixels: np.ndarray) -> None:
        """Raise SettingError for pixels of another kind than those of the study."""
        inputs, got = self.inputs, (pixels.dtype.name, pixels.shape[2])
        if got != (inputs.dtype, inputs.channels):
            raise SettingError(
                f"{file}: got {got[0]} with {got[1]} channel{'s' * (got[1] > 1)}; allowed: {inputs.dtype} with {inputs.channels}, "
                "as the images of the study"
            )
        if inputs.size is None and min(pixels.shape[:2]) < SMALLEST_SIDE:
            raise SettingError(f"{file}: got {pixels.shape[0]}x{pixels.shape[1]} pixels; allowed: {SMALLEST_SIDE} a side or more")
        if inputs.normalise in ("", "none") and pixels.dtype.kind == "f":
            low, high = (float(end([end(strip) for strip in strips(pixels)])) for end in (np.min, np.max))
            if not 0 <= low <= high <= 1:
                raise SettingError(f"{file}: got values {low:g}..{high:g}; allowed: 0..1, as the images of the study")


def layout_of(raster: Raster, channels: int) -> frozenset[str]:
    """The axes of a file that leaves them open, by how many channels images have; two where both could be."""
    if raster.axes and "P" not in raster.axes:
        return frozenset()
    options = {raster.axes.replace("P", letter) for letter in "DC"} if raster.axes else {"HW", "HWC", "CHW", "DHW", "DHWC"}
    of = {axes: raster.shape[axes.index("C")] if "C" in axes else 1 for axes in options if len(axes) == len(raster.shape)}
    return frozenset(axes for axes, count in of.items() if count == channels)


def files_in(places: Iterable[Path]) -> dict[str, Path]:
    """Files by the name of what is written for them: a file's own, below a folder its path there, without extension.

    SettingError for a place where nothing is, and for two files of one name.
    """
    found: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            here = dict(sorted(named_files(place).items()))
        else:
            here = {without_extension(place.name): place}
        if not here or not (place.is_dir() or place.is_file()):
            raise SettingError(f"images: got {str(place)!r}; allowed: files, and folders with files, that exist")
        for name, file in here.items():
            if found.setdefault(name, file).resolve() != file.resolve():
                raise SettingError(f"images: got {found[name]} and {file}; allowed: one file for each name")
    if not found:
        raise SettingError("images: got none; allowed: files, and folders with files")
    return found
