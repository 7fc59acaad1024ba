"""A data set decoded once into an Arrow file that every process maps: one copy of the pixels in the page cache per machine."""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from semiseg.config import SettingError
from semiseg.data.images import resized
from semiseg.data.memory import check_size
from semiseg.data.source import IGNORE, SPLITS, Item, Source
from semiseg.data.tally import Tally, counts_of

FORMAT = 2  # raise it whenever the same files would give other pixels or another layout: an older cache is then not found
BATCH_BYTES = 32 << 20  # decoded pixels per record batch: the memory that packing takes
TYPES = ("uint8", "uint16", "float16", "float32")
SMALLEST_SIDE = 8  # of images that keep their size, as of Data.size: below it nothing is left of them inside a network

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.large_binary()),
        ("mask", pa.large_binary()),
        ("counts", pa.large_binary()),
    ]
)


DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError)
"""What comes up in a file that is cut short, overwritten or of another kind."""


class Pack:
    """The images of a data set by row number. Opening decodes nothing; pixels are read-only views of the mapped file.

    ids, split      one entry per row; split is "train", "selection", "test" or "unlabelled" (training image without a mask)
    groups          one entry per row: what the image belongs to, such as a patient; its id where images stand alone
    heights, widths int32 (N,), pixels
    mean, std       float64 (3,), per channel over the training images in [0,1]; std is at least 1/255
    image_level     whether a class belongs to a whole image: then every mask is constant
    counts          int64 (N,C+1), pixels of each class in a row's mask, the ignored ones last; zeros without a mask
    kinds           number of images by kind of file they were read from, such as "8-bit colour PNG"; {} where nobody says
    fingerprint     sha256 over decoded pixels, masks, ids, splits and class names: equal for equal data, wherever it lies
    """

    def __init__(self, path: Path) -> None:
        try:
            self._read(path)
        except DAMAGE as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise SettingError(f"{path}: not a readable pack ({reason}); delete it, it is made again") from None

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
        self.heights: np.ndarray = table["height"].to_numpy()
        self.widths: np.ndarray = table["width"].to_numpy()
        self.mean = np.array(about["mean"])
        self.std = np.array(about["std"])
        self.default_labelled: int | Literal["all"] = about["default_labelled"]
        self.image_level: bool = about.get("image_level", False)  # not there in packs older than the first such data set
        self.kinds: Mapping[str, int] = about["kinds"]
        self.dtype = np.dtype(about.get("dtype", "|u1"))
        self.channels: int = about.get("channels", 3)
        self.normalise: str = ""
        self.volumes: list[str] = about.get("volumes") or self.ids
        self.spacings: np.ndarray | None = np.array(about["spacings"], np.float32) if about.get("spacings") else None
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
        del row
        if self.dtype == np.uint8:
            return None
        top = 65535.0 if self.dtype == np.uint16 else 1.0
        return np.array([[0.0] * self.channels, [top] * self.channels], np.float32)

    def mask(self, row: int) -> np.ndarray | None:
        """Uint8 (H,W) of class ids, 255 = ignore, a view of the file; None when the image has no mask."""
        pixels = self._masks[row]
        return None if pixels is None else pixels.reshape(self.heights[row], self.widths[row])

    def __reduce__(self) -> tuple[type["Pack"], tuple[Path]]:
        return Pack, (self.path,)  # another process maps the file itself; the pixels do not travel


def views(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Uint8 bytes of every row, None where the column is null. A view: an Arrow scalar's as_buffer() would be a copy.

    Read-only, since Arrow calls a mapped buffer mutable and a write to it would end the process.
    """
    found: list[np.ndarray | None] = []
    for chunk in column.chunks:
        _, starts, pixels = chunk.buffers()
        ends = np.frombuffer(starts, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        flat = np.frombuffer(pixels or b"", np.uint8)
        flat.flags.writeable = False
        null = chunk.is_null().to_pylist()
        found += [None if null[i] else flat[ends[i] : ends[i + 1]] for i in range(len(chunk))]
    return found


def open_pack(source: Source, name: str, size: tuple[int, int] | Literal["native"] | None, cache: Path) -> Pack:
    """The pack of a source, made if the cache does not hold it. Processes may race: each moves a complete file into place."""
    size = source.default_size if size is None else size
    key = hashlib.sha256(json.dumps([FORMAT, source.stamp, size, source.classes]).encode()).hexdigest()[:16]
    path = cache.resolve() / f"{name}-{key}" / "pack.arrow"
    if (kept := kept_pack(path)) is not None:
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if size != "native":
            check_size(size, len(source.items), cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".packing-") as aside:
            finished = write_pack(source, name, None if size == "native" else size, Path(aside))
            path.parent.mkdir(exist_ok=True)
            os.replace(finished, path)
    except OSError as error:  # of the cache: what is wrong with a file of the data set is a SettingError
        with suppress(OSError):
            path.parent.rmdir()  # only where it is empty
        reason = error.strerror or str(error).partition("\n")[0]
        raise SettingError(f"cache: got {str(cache)!r}, which cannot be written ({reason}); allowed: a folder with room") from None
    return Pack(path)


def kept_pack(path: Path) -> Pack | None:
    """The pack at a path; None where there is none, or a damaged one, which is set aside and named on stderr."""
    if not path.exists():
        return None
    try:
        return Pack(path)
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


def write_pack(source: Source, name: str, size: tuple[int, int] | None, aside: Path) -> Path:
    """Decode every item into a file under `aside` and return its path; takes one batch of memory however large the data are."""
    need_splits(name, {item.split for item in source.items}, {"train", "test"})
    labels = source.discover() if source.discover else (source.classes, source.palette)
    tally = Tally(labels)
    with pa.OSFile(str(aside / "pixels.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for rows in batches(source, labels[0], size, tally):
            writer.write_batch(pa.RecordBatch.from_pylist(rows, SCHEMA))
    need_splits(name, tally.splits, {item.split for item in source.items})  # those that `read` has left out do not count
    about = {
        "name": name,
        "default_labelled": source.default_labelled,
        "image_level": source.image_level,
        "groups": tally.groups if tally.grouped else None,
        **tally.finish(name),
        "volumes": tally.volumes,
        "spacings": tally.spacings if None not in tally.spacings else None,
        "kinds": dict(source.finish()),
    }
    # What is only known after the last image goes into the schema, which an Arrow file begins with: copy batch by batch.
    finished = aside / "pack.arrow"
    with pa.memory_map(str(aside / "pixels.arrow")) as mapped, pa.OSFile(str(finished), "wb") as sink:
        reader = pa.ipc.open_file(mapped)
        schema = SCHEMA.with_metadata({"semiseg": json.dumps(about)})
        with pa.ipc.new_file(sink, schema) as writer:
            for i in range(reader.num_record_batches):
                writer.write_batch(reader.get_batch(i).replace_schema_metadata(schema.metadata))
    return finished


def need_splits(name: str, found: set[str], needed: set[str]) -> None:
    """Raise SettingError naming the first split that is needed and not found."""
    missing = sorted(needed - found, key=SPLITS.index)
    if missing:
        raise SettingError(f"{name}: got no image in split {missing[0]!r}; allowed: at least 1")


def batches(source: Source, classes: tuple[str, ...], size: tuple[int, int] | None, tally: Tally) -> Iterator[list[dict]]:
    """Checked rows of the Arrow file, about BATCH_BYTES of pixels at a time."""
    rows: list[dict] = []
    held = 0
    seen: set[str] = set()
    for item in source.items:
        decoded = source.read(item)
        if decoded is None:
            continue
        image, mask = decoded
        check_item(item, image, mask, classes, seen, source.where(item))
        if size is None and min(image.shape[:2]) < SMALLEST_SIDE:
            raise SettingError(
                f"{source.where(item)}: got an image of {image.shape[0]}x{image.shape[1]} pixels (height x width); "
                f"allowed: {SMALLEST_SIDE} pixels a side or more, or a --data.size to which all are resized"
            )
        image, mask = resized(image, mask, size) if size else (image, mask)
        tally.add(item, image, mask, source.group(item))
        tally.volumes.append(source.volume(item))
        tally.spacings.append(source.spacing(item))
        pixels = {
            "image": image.tobytes(),
            "mask": None if mask is None else mask.tobytes(),
            "counts": counts_of(mask, len(classes)).tobytes(),
        }
        rows.append({"id": item.id, "split": item.split, "height": image.shape[0], "width": image.shape[1], **pixels})
        held += image.nbytes
        if held >= BATCH_BYTES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


def check_item(
    item: Item, image: np.ndarray, mask: np.ndarray | None, classes: tuple[str, ...], seen: set[str], where: str
) -> None:
    """Raise SettingError, one line naming the file, the value and what is allowed, when an item breaks a rule of `Source`."""

    def need(condition: bool, got: object, allowed: str) -> None:
        if not condition:
            raise SettingError(f"{where}: got {got}; allowed: {allowed}")

    need(item.id not in seen, f"the id {item.id!r} twice", "unique ids")
    seen.add(item.id)
    need(item.split in SPLITS, f"split {item.split!r}", ", ".join(SPLITS))
    need(
        image.dtype.name in TYPES and image.ndim == 3 and image.size > 0,
        f"{image.dtype} {image.shape}",
        f"(H,W,C) of {', '.join(TYPES)}",
    )
    if mask is None:
        need(item.split == "unlabelled", f"no mask in split {item.split!r}", "a mask for every train, selection and test image")
        return
    height, width = image.shape[:2]
    need(item.split != "unlabelled", "a mask in split 'unlabelled'", "split 'train' for an image with a mask")
    need(mask.dtype == np.uint8 and mask.ndim == 2, f"mask {mask.dtype} {mask.shape}", "uint8 (H,W)")
    need(
        mask.shape == image.shape[:2],
        f"a mask of {mask.shape[0]}x{mask.shape[1]} pixels (height x width)",
        f"the size of its image, {height}x{width}",
    )
    unknown = mask[(mask >= len(classes)) & (mask != IGNORE)]
    if unknown.size:
        need(False, f"class id {unknown[0]}", f"0..{len(classes) - 1} or {IGNORE} (ignore)")
