"""A data set decoded once into an Arrow file that every process maps: one copy of the pixels in the page cache per machine."""

import copy
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from semiseg.config import SettingError
from semiseg.data.columns import numbers, views
from semiseg.data.normalise import AS_THE_SET_SAYS, Normalisation, scaled
from semiseg.data.packing import write_pack
from semiseg.data.source import Source

FORMAT = 4  # raise it whenever the same files would give other pixels or another layout: an older cache is then not found
DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError)
"""What comes up in a file that is cut short, overwritten or of another kind."""


class Pack:
    """The images of a data set by row number. Opening decodes nothing; pixels are read-only views of the mapped file.

    ids, split      one entry per row; split is "train", "selection", "test" or "unlabelled" (training image without a mask)
    groups          one entry per row: what the image belongs to, such as a patient; its id where images stand alone
    volumes         one entry per row: what the image is a slice of, such as a scan; likewise
    spacings        float32 (N,3), distance of slices, rows and columns of the stored image, in `unit`; None: not known
    unit            of spacings, such as "mm"; "pixels" where there are none
    listed          ids of training images that are labelled before others
    attributes      what it was opened with of what the data set says besides, such as a breed: by name, then by id
    scored          fingerprint of the pack whose masks selection and test images have, where that is another (`scored_as`); else ""
    heights, widths int32 (N,), pixels
    dtype, channels of the pixels: uint8, uint16, float16 or float32, little-endian; all images have as many channels
    normalise       how they become what a network sees, as keys name it: "" for "dataset", else such as "minmax over image"
    mean, std       float64 (C,), what the network subtracts and divides by: of the training images in [0,1]; std is at least a level
    image_level     whether a class belongs to a whole image: then every mask is constant
    counts          int64 (N,C+1), pixels of each class in a row's mask, the ignored ones last; zeros without a mask
    values          what mask files hold for each class: an index (7,), or red, green and blue
    size            height and width to which all images were resized; None: each has its own
    kinds           number of images by kind of file they were read from, such as "8-bit colour PNG"; {} where nobody says
    fingerprint     sha256 over decoded pixels, masks, ids, splits and class names: equal for equal data, wherever it lies; of other
                    than 8-bit colour images also over type, volumes and spacings, and over groups where they are normalised
    """

    def __init__(
        self, path: Path, listed: frozenset[str] = frozenset(), attributes: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        try:
            self._read(path)
        except DAMAGE as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SettingError(f"{path}: not a readable pack ({reason}); delete it, it is made again") from None
        self.listed, self.attributes = listed, attributes or {}
        self.scored, self._scoring = "", None

    def _read(self, path: Path) -> None:
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
        about = json.loads(table.schema.metadata[b"semiseg"])
        self.path = path
        self.name: str = about["name"]
        self.ids: list[str] = table["id"].to_pylist()
        self.split: list[str] = table["split"].to_pylist()
        self.groups: list[str] = about.get("groups") or self.ids  # not there where images stand alone
        self.classes: tuple[str, ...] = tuple(about["classes"])
        self.palette: tuple[tuple[int, int, int], ...] = tuple((r, g, b) for r, g, b in about["palette"])
        self.fingerprint: str = about["fingerprint"]
        # not Arrow's to_numpy, which imports pandas: half a second and 40 MiB in every process
        self.heights, self.widths = (np.array(table[name].to_pylist(), np.int32) for name in ("height", "width"))
        self.mean = np.array(about["mean"])
        self.std = np.array(about["std"])
        self.default_labelled: int | Literal["all"] = about["default_labelled"]
        self.image_level: bool = about.get("image_level", False)  # not there in packs older than the first such data set
        self.kinds: Mapping[str, int] = about["kinds"]
        self.dtype = np.dtype(about["dtype"])
        self.channels: int = about["channels"]
        self.normalise: str = about["normalise"]
        self.volumes: list[str] = about["volumes"] or self.ids
        self.spacings = numbers(table, "spacing", (3,))
        self.values: tuple[tuple[int, ...], ...] = tuple(map(tuple, about["values"]))
        self.size: tuple[int, int] | None = None if about["size"] is None else tuple(about["size"])
        self.unit: str = "pixels" if self.spacings is None else about["unit"]
        self._ranges = numbers(table, "ranges", (2, self.channels))
        self._images = views(table["image"])
        self._masks = views(table["mask"])
        counts = [np.zeros(0) if row is None else row.view(np.int64) for row in views(table["counts"])]
        self.counts = np.array(counts, np.int64).reshape(len(self), len(self.classes) + 1)
        pixels = (self.heights.astype(np.int64) * self.widths).tolist()
        for image, mask, count in zip(self._images, self._masks, pixels, strict=True):
            if (
                image is None
                or len(image) != self.channels * self.dtype.itemsize * count
                or (mask is not None and len(mask) != count)
            ):
                raise ValueError("an image without all of its pixels")

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, row: int) -> np.ndarray:
        """(H,W,C) in the stored type, a view of the file."""
        pixels = self._images[row]
        assert pixels is not None  # every row has an image
        return pixels.view(self.dtype).reshape(self.heights[row], self.widths[row], self.channels)

    def ranges(self, row: int) -> np.ndarray | None:
        """Float32 (2,C), low and high of each channel, which are 0 and 1 to a network; None: 0 and 255 of uint8."""
        return None if self._ranges is None else self._ranges[row]

    def ranges_of(self, rows: Sequence[int]) -> list[np.ndarray] | None:
        """`ranges` of several rows."""
        found = [ranges for row in rows if (ranges := self.ranges(row)) is not None]
        return found or None

    def step(self, row: int, longest: int = 1024) -> int:
        """Every how many-th row and column `picture` has."""
        return -(-max(int(self.heights[row]), int(self.widths[row])) // longest)

    def picture(self, row: int, longest: int = 1024) -> np.ndarray:
        """Uint8 (h,w,3) for people, no side above `longest`: what the network sees, the first three channels or the first as grey."""
        step, shown = self.step(row, longest), [0, 1, 2] if self.channels >= 3 else [0, 0, 0]
        seen, ranges = self.image(row)[::step, ::step][..., shown], self.ranges(row)
        return seen if ranges is None else np.rint(scaled(seen, ranges[:, shown]) * 255).astype(np.uint8)

    def mask(self, row: int) -> np.ndarray | None:
        """Uint8 (H,W) of class ids, 255 = ignore, a view of the file; None when the image has no mask."""
        pixels = self._masks[row]
        return None if pixels is None else pixels.reshape(self.heights[row], self.widths[row])

    def scored_as(self, other: "Pack", rows: np.ndarray) -> "Pack":
        """This pack with the masks of another one, of the same images and classes, for the rows that are scored."""
        if self.fingerprint == other.fingerprint:
            return self
        if self.classes != other.classes:
            classes = f"the classes {', '.join(other.classes)} of the study, as all rows are scored on its masks"
            raise SettingError(f"{self.name}: got a row with the classes {', '.join(self.classes)}; allowed: {classes}")
        found = copy.copy(self)
        found._masks, found.counts = [*self._masks], self.counts.copy()
        for row in rows.tolist():
            found._masks[row] = other._masks[row]
        found.counts[rows] = other.counts[rows]
        found.scored, found._scoring = other.fingerprint, (self, other, rows)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        if self._scoring is not None:
            return Pack.scored_as, self._scoring
        return Pack, (self.path, self.listed, self.attributes)  # another process maps the file itself; the pixels do not travel


def open_pack(
    source: Source,
    name: str,
    size: tuple[int, int] | Literal["native"] | None,
    cache: Path,
    how: Normalisation = AS_THE_SET_SAYS,
) -> Pack:
    """The pack of a source, made if the cache does not hold it. Processes may race: each moves a complete file into place."""
    size = source.default_size if size is None else size
    parts = [FORMAT, source.stamp, size, source.classes, *([] if how.kind is None else [str(how) or how.kind])]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    path = cache.resolve() / f"{name}-{key}" / "pack.arrow"
    about = source.listed, {name: {item.id: of(item) for item in source.items} for name, of in source.attributes.items()}
    if (kept := kept_pack(path, *about)) is not None:
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".packing-") as aside:
            finished = write_pack(source, name, None if size == "native" else size, Path(aside), how)
            path.parent.mkdir(exist_ok=True)
            os.replace(finished, path)
    except OSError as error:  # of the cache: what is wrong with a file of the data set is a SettingError
        with suppress(OSError):
            path.parent.rmdir()  # only where it is empty
        reason = error.strerror or str(error).partition("\n")[0]
        raise SettingError(f"cache: got {str(cache)!r}, which cannot be written ({reason}); allowed: a folder with room") from None
    return Pack(path, *about)


def kept_pack(path: Path, listed: frozenset[str], attributes: Mapping[str, Mapping[str, str]]) -> Pack | None:
    """The pack at a path; None where there is none, or a damaged one, which is set aside and named on stderr."""
    if not path.exists():
        return None
    try:
        return Pack(path, listed, attributes)
    except SettingError as error:
        aside = path.with_name(f"damaged-{time.time_ns()}-{path.name}")
        try:
            os.replace(path, aside)
        except FileNotFoundError:  # another process was faster
            return None
        except OSError:
            raise error from None
        print(f"{str(error).partition('; delete')[0]}; set aside as {aside.name}, it is made again", file=sys.stderr, flush=True)
        return None
