"""A data set into an Arrow file: every image decoded and checked once, in the memory of one that is read a few rows at a time."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from semiseg.config import SettingError
from semiseg.data.columns import SCHEMA, binary_column, number_column, views
from semiseg.data.images import resized
from semiseg.data.memory import check_size
from semiseg.data.normalise import TOP, Normalisation, ranges_of, statistics
from semiseg.data.source import IGNORE, SPLITS, Item, Source
from semiseg.data.strips import histogram, strips
from semiseg.data.tally import Tally, counts_of

BATCH_BYTES = 32 << 20
"""Decoded pixels per record batch; a larger image is a batch of its own, which is written from where it lies."""
SMALLEST_SIDE = 8  # of images that keep their size, as of Data.size: below it nothing is left of them inside a network


def write_pack(source: Source, name: str, size: tuple[int, int] | None, aside: Path, how: Normalisation) -> Path:
    """Decode every item into a file under `aside` and return its path; takes one batch of memory however large the data are."""
    need_splits(name, {item.split for item in source.items}, {"train", "test"})
    check_listed(source)
    labels = source.discover() if source.discover else (source.classes, source.palette)
    tally = Tally(labels)
    with pa.OSFile(str(aside / "pixels.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in batches(source, len(labels[0]), size, tally, aside):
            writer.write_batch(batch)
    need_splits(name, tally.splits, {item.split for item in source.items})  # those that `read` has left out do not count
    tally.finish(name)
    assert tally.first is not None  # there are images
    dtype, channels, _ = tally.first
    how = how.resolved(source.default_normalise, dtype)
    if how.kind in ("none", "dataset"):
        tally.check_unit(how.kind)
    if how.over == "group" and how.kind in ("zscore", "percentile", "minmax"):
        tally.digest.update(json.dumps(tally.groups).encode())  # pixels alone do not tell what networks see of them
    about = {
        "name": name,
        "default_labelled": source.default_labelled,
        "image_level": source.image_level,
        "groups": tally.groups if tally.grouped else None,
        "volumes": tally.volumes if tally.stacked else None,
        "unit": source.unit,
        "classes": tally.classes,
        "palette": tally.palette,
        "fingerprint": tally.digest.hexdigest(),
        "dtype": dtype.newbyteorder("<").str,
        "channels": channels,
        "normalise": str(how),
        "kinds": dict(source.finish()),
        "values": source.values() or [[i] for i in range(len(tally.classes))],
        "size": size,
    }
    # What is only known after the last image goes into the schema, which an Arrow file begins with: copy batch by batch.
    finished = aside / "pack.arrow"
    with pa.memory_map(str(aside / "pixels.arrow")) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
        images = images_in(table, dtype.newbyteorder("<"), channels)
        training = [row for row, split in enumerate(table["split"].to_pylist()) if split in ("train", "unlabelled")]
        ranges = ranges_of(how, images, tally.groups, training)
        mean, std = statistics(how, [images[row] for row in training], None if ranges is None else ranges[training])
        schema, more = SCHEMA, {} if ranges is None else {"ranges": number_column(ranges)}
        if tally.spacings[0] is not None:
            more["spacing"] = number_column(np.array(tally.spacings))
        for column, values in more.items():
            schema = schema.append(pa.field(column, values.type))
        schema = schema.with_metadata({"semiseg": json.dumps(about | {"mean": mean, "std": std})})
        with pa.OSFile(str(finished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            done = 0
            for batch in table.to_batches():
                columns = [*batch.columns, *(values[done : done + len(batch)] for values in more.values())]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                done += len(batch)
    return finished


def images_in(table: pa.Table, dtype: np.dtype, channels: int) -> list[np.ndarray]:
    """The images (H,W,C) of a table, views of the file."""
    sizes = zip(table["height"].to_pylist(), table["width"].to_pylist(), strict=True)
    found = zip(views(table["image"]), sizes, strict=True)
    return [pixels.view(dtype).reshape(*size, channels) for pixels, size in found if pixels is not None]  # none is None


def need_splits(name: str, found: set[str], needed: set[str]) -> None:
    """Raise SettingError naming the first split that is needed and not found."""
    missing = sorted(needed - found, key=SPLITS.index)
    if missing:
        raise SettingError(f"{name}: got no image in split {missing[0]!r}; allowed: at least 1")


def check_listed(source: Source) -> None:
    """Raise SettingError for a listed id that is not that of a training image with a mask."""
    other = sorted(source.listed - {item.id for item in source.items if item.split == "train"})
    if other:
        raise SettingError(f"list of labelled images: got {other[0]!r}; allowed: training images with masks")


def batches(source: Source, classes: int, size: tuple[int, int] | None, tally: Tally, aside: Path) -> Iterator[pa.RecordBatch]:
    """Checked rows of the Arrow file, about BATCH_BYTES of pixels at a time."""
    rows: list[Row] = []
    held = 0
    seen: set[str] = set()
    for item in source.items:
        decoded = source.read(item)
        if decoded is None:
            continue
        where = source.where(item)
        image, mask = decoded
        check_item(item, image, mask, seen, where)
        tally.check_alike(image, where)
        counts = checked_counts(mask, classes, where)
        spacing = source.spacing(item)
        if size is None and min(image.shape[:2]) < SMALLEST_SIDE:
            raise SettingError(
                f"{where}: got an image of {image.shape[0]}x{image.shape[1]} pixels (height x width); "
                f"allowed: {SMALLEST_SIDE} pixels a side or more, or a --data.size to which all are resized"
            )
        if size is not None and len(seen) == 1:
            check_size(size, len(source.items), aside, image.shape[2] * image.itemsize)
        if size is not None and image.shape[:2] != size:
            if spacing is not None:
                spacing = (spacing[0], spacing[1] * image.shape[0] / size[0], spacing[2] * image.shape[1] / size[1])
            image, mask = resized(image, mask, size)
            counts = counts_of(mask, classes)
        image, mask = stored(image, aside), None if mask is None else stored(mask, aside)
        group, volume = source.group(item), source.volume(item)
        tally.add(item, image, mask, counts, group=group, volume=volume, spacing=spacing, where=where)
        if rows and held + image.nbytes > BATCH_BYTES:
            yield batch_of(rows)
            rows, held = [], 0
        rows.append((item, image, mask, counts))
        held += image.nbytes
    if rows:
        yield batch_of(rows)


Row = tuple[Item, np.ndarray, np.ndarray | None, np.ndarray]
"""An item with its image, mask and counts."""


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as they are in the file."""
    items, images, masks, counts = zip(*rows, strict=True)
    plain = {
        "id": [item.id for item in items],
        "split": [item.split for item in items],
        "height": [image.shape[0] for image in images],
        "width": [image.shape[1] for image in images],
    }
    columns = [pa.array(values, SCHEMA.field(name).type) for name, values in plain.items()]
    columns += [binary_column(arrays) for arrays in (images, masks, counts)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def stored(array: np.ndarray, aside: Path) -> np.ndarray:
    """The array as it is written: C-contiguous and little-endian; itself where it is, else a copy, a large one in a mapped file."""
    dtype = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == dtype:
        return array
    if array.nbytes <= BATCH_BYTES:
        return np.ascontiguousarray(array, dtype)
    with tempfile.TemporaryFile(dir=aside) as file:
        copy = np.memmap(file, dtype, "w+", shape=array.shape)
    done = 0
    for strip in strips(array):
        copy[done : done + len(strip)] = strip
        done += len(strip)
    return copy


def check_item(item: Item, image: np.ndarray, mask: np.ndarray | None, seen: set[str], where: str) -> None:
    """Raise SettingError, one line naming the file, the value and what is allowed, when an item breaks a rule of `Source`."""

    def need(condition: bool, got: object, allowed: str) -> None:
        if not condition:
            raise SettingError(f"{where}: got {got}; allowed: {allowed}")

    need(item.id not in seen, f"the id {item.id!r} twice", "unique ids")
    seen.add(item.id)
    need(item.split in SPLITS, f"split {item.split!r}", ", ".join(SPLITS))
    possible = image.dtype.name in TOP and image.ndim == 3 and image.size > 0
    need(possible, f"{image.dtype} {image.shape}", f"(H,W,C) of {', '.join(TOP)}")
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


def checked_counts(mask: np.ndarray | None, classes: int, where: str) -> np.ndarray:
    """`counts_of` a mask, of which SettingError names a value that is no class."""
    if mask is None:
        return counts_of(mask, classes)
    met = histogram(mask)
    unknown = np.flatnonzero(met[classes:IGNORE])
    if len(unknown):
        raise SettingError(f"{where}: got class id {classes + unknown[0]}; allowed: 0..{classes - 1} or {IGNORE} (ignore)")
    return np.append(met[:classes], met[IGNORE])
