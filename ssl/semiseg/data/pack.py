"""A data set decoded once into an Arrow file that every process maps: one copy of the pixels in the page cache per machine."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from semiseg.config import SettingError
from semiseg.data.images import resized
from semiseg.data.source import IGNORE, SPLITS, Item, Labels, Source

FORMAT = 1  # raise it whenever the same files would give other pixels or another layout: an older cache is then not found
BATCH_BYTES = 32 << 20  # decoded pixels per record batch: the memory that packing takes
SMALLEST_STD = 1 / 255  # of constant images, which would otherwise be divided by zero

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.large_binary()),
        ("mask", pa.large_binary()),
    ]
)


class Pack:
    """The images of a data set by row number. Opening decodes nothing; pixels are read-only views of the mapped file.

    ids, split      one entry per row; split is "train", "selection", "test" or "unlabelled" (training image without a mask)
    groups          one entry per row: what the image belongs to, such as a patient; its id where images stand alone
    heights, widths int32 (N,), pixels
    mean, std       float64 (3,), per channel over the training images in [0,1]; std is at least 1/255
    image_level     whether a class belongs to a whole image: then every mask is constant
    fingerprint     sha256 over decoded pixels, masks, ids, splits and class names: equal for equal data, wherever it lies
    """

    def __init__(self, path: Path) -> None:
        try:
            with pa.memory_map(str(path)) as mapped:
                table = pa.ipc.open_file(mapped).read_all()
        except pa.ArrowInvalid as error:
            raise SettingError(f"{path}: not a readable pack ({str(error).splitlines()[0]}); delete it, it is made again") from None
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
        self._images = views(table["image"])
        self._masks = views(table["mask"])

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, row: int) -> np.ndarray:
        """Uint8 (H,W,3), a view of the file."""
        pixels = self._images[row]
        assert pixels is not None  # every row has an image
        return pixels.reshape(self.heights[row], self.widths[row], 3)

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
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".packing-") as aside:
            finished = write(source, name, None if size == "native" else size, Path(aside))
            path.parent.mkdir(exist_ok=True)
            os.replace(finished, path)
    return Pack(path)


def write(source: Source, name: str, size: tuple[int, int] | None, aside: Path) -> Path:
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


def batches(source: Source, classes: tuple[str, ...], size: tuple[int, int] | None, tally: "Tally") -> Iterator[list[dict]]:
    """Checked rows of the Arrow file, about BATCH_BYTES of pixels at a time."""
    rows: list[dict] = []
    held = 0
    seen: set[str] = set()
    for item in source.items:
        decoded = source.read(item)
        if decoded is None:
            continue
        image, mask = decoded
        check(item, image, mask, classes, seen, source.where(item))
        image, mask = resized(image, mask, size) if size else (image, mask)
        tally.add(item, image, mask, source.group(item))
        pixels = {"image": image.tobytes(), "mask": None if mask is None else mask.tobytes()}
        rows.append({"id": item.id, "split": item.split, "height": image.shape[0], "width": image.shape[1], **pixels})
        held += image.nbytes
        if held >= BATCH_BYTES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


def check(item: Item, image: np.ndarray, mask: np.ndarray | None, classes: tuple[str, ...], seen: set[str], where: str) -> None:
    """Raise SettingError, one line naming the file, the value and what is allowed, when an item breaks a rule of `Source`."""

    def need(condition: bool, got: object, allowed: str) -> None:
        if not condition:
            raise SettingError(f"{where}: got {got}; allowed: {allowed}")

    need(item.id not in seen, f"the id {item.id!r} twice", "unique ids")
    seen.add(item.id)
    need(item.split in SPLITS, f"split {item.split!r}", ", ".join(SPLITS))
    need(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, f"{image.dtype} {image.shape}", "uint8 (H,W,3)")
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


class Tally:
    """What is counted while packing: fingerprint, mean and spread of the training images, classes met, groups."""

    def __init__(self, labels: Labels) -> None:
        self.classes, self.palette = labels
        self.digest = hashlib.sha256(json.dumps(self.classes).encode())
        self.levels = np.zeros((3, 256), np.int64)  # how often each value occurs in the training images: exact in any order
        self.met = np.zeros(256, np.int64)
        self.splits: set[str] = set()
        self.groups: list[str] = []
        self.grouped = False  # whether any image's group is another than its id

    def add(self, item: Item, image: np.ndarray, mask: np.ndarray | None, group: str) -> None:
        self.splits.add(item.split)
        self.groups.append(group)
        self.grouped |= group != item.id
        self.digest.update(json.dumps([item.id, item.split, image.shape, mask is not None]).encode())
        self.digest.update(image.tobytes())
        if mask is not None:
            self.digest.update(mask.tobytes())
            self.met += np.bincount(mask.ravel(), minlength=256)
        if item.split in ("train", "unlabelled"):
            for channel in range(3):
                self.levels[channel] += np.bincount(image[..., channel].ravel(), minlength=256)

    def finish(self, name: str) -> dict[str, object]:
        """The entries of the file's metadata."""
        found = np.flatnonzero(self.met[:IGNORE])
        if len(found) < 2 and self.met[IGNORE]:
            got = f"only {', '.join(self.classes[i] for i in found) or 'nothing'} and {IGNORE} (ignore)"
            raise SettingError(
                f"{name}: got {got} in all masks; allowed: two classes or more "
                f"(where {IGNORE} is a class, give classes.txt the lines '0 background' and '{IGNORE} name')"
            )
        shares = self.levels / self.levels.sum(1, keepdims=True)
        values = np.arange(256) / 255
        mean = shares @ values
        std = np.sqrt(np.maximum((shares * (values - mean[:, None]) ** 2).sum(1), SMALLEST_STD**2))
        return {
            "classes": self.classes,
            "palette": self.palette,
            "fingerprint": self.digest.hexdigest(),
            "mean": mean.tolist(),
            "std": std.tolist(),
        }
