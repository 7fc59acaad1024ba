"""A 400-megapixel image packed in a process of its own, and the private memory that took. Not a test module.

    python tests/large.py FOLDER SIDE colour      uint8 (SIDE,SIDE,3), for training and for test
    python tests/large.py FOLDER SIDE planar      float32 (SIDE,SIDE,4) that lies channel by channel, normalised by percentiles

prints a line of JSON: private memory in bytes before and at most, from RssAnon of /proc/self/status (Linux), which leaves out
mapped files; sides of the packed image, its fingerprint, mean and findings.
"""

import json
import sys
import threading
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np

from semiseg.config import Data
from semiseg.data import Item, Source, findings, split
from semiseg.data.normalise import Normalisation
from semiseg.data.pack import open_pack

SMALL = 64
BLOCK = 256  # rows that are made at a time


def row_values(rows: np.ndarray, side: int) -> np.ndarray:
    """Uint8 (len(rows),side,3), a pattern without two equal neighbours."""
    columns = np.arange(side)
    seen = (rows[:, None] * 7 + columns * 3) % 251
    return np.stack([seen, (seen * 3) % 251, (rows[:, None] + 2 * columns) % 256], 2).astype(np.uint8)


def write_large(folder: Path, side: int) -> None:
    """FOLDER/image.raw uint8 (side,side,3) and mask.raw uint8 (side,side) of classes 0 and 1."""
    with (folder / "image.raw").open("wb") as image, (folder / "mask.raw").open("wb") as mask:
        for start in range(0, side, BLOCK):
            rows = np.arange(start, min(start + BLOCK, side))
            image.write(row_values(rows, side).data)
            mask.write(((rows[:, None] // 100 + np.arange(side) // 100) % 2).astype(np.uint8).data)


def large_source(folder: Path, side: int) -> Source:
    """The large image for training and for test, and a small one for selection."""

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        if item.id == "small":
            return row_values(np.arange(SMALL), SMALL), np.eye(SMALL, dtype=np.uint8)
        image = np.memmap(folder / "image.raw", np.uint8, "r", shape=(side, side, 3))
        return image, np.memmap(folder / "mask.raw", np.uint8, "r", shape=(side, side))

    return Source(
        items=(Item("large", "train"), Item("small", "selection"), Item("again", "test")),
        classes=("a", "b"),
        palette=((0, 0, 0), (255, 255, 255)),
        read=read,
        stamp="large",
        default_size="native",
        default_labelled="all",
    )


def private() -> int:
    """Bytes of memory that belong to this process alone and to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(kilobytes) * 1024


class Watch:
    """The most private memory inside the block, looked at every hundredth of a second."""

    def __enter__(self) -> Self:
        self.before = self.most = private()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self.most = max(self.most, private())


def main() -> None:
    folder, side, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    write_large(folder, side)
    source, how = large_source(folder, side), Normalisation()
    if kind == "planar":
        planes = np.memmap(folder / "planes.raw", np.float32, "w+", shape=(4, side, side))
        for channel, start in product(range(4), range(0, side, BLOCK)):
            rows = np.arange(start, min(start + BLOCK, side))
            planes[channel, rows] = row_values(rows, side)[..., channel % 3] / np.float32(100 + channel)
        mask = np.memmap(folder / "mask.raw", np.uint8, "r", shape=(side, side))
        source, how = replace(source, read=lambda item: (planes.transpose(1, 2, 0), mask)), Normalisation("percentile")
    with Watch() as watch:
        pack = open_pack(source, "large", None, folder / "cache", how)
        found = findings(pack, split(pack, Data()))
        pictures = [pack.picture(row).shape for row in range(len(pack))]
    said = {"before": watch.before, "most": watch.most, "heights": pack.heights.tolist(), "mean": pack.mean.tolist()}
    print(json.dumps(said | {"fingerprint": pack.fingerprint, "findings": found, "pictures": pictures}))


if __name__ == "__main__":
    main()
