"""CIFAR-10 (Krizhevsky 2009) from the pickles of its Python version: image-level classes, a mask is constant.

    root/cifar-10-batches-py/data_batch_1 .. data_batch_5, test_batch     or --data.root is that folder itself

A pickle can run any program it names, so only what these files need is looked up: NumPy's array and its dtype.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet, Published
from semiseg.data.download import above, torchvision
from semiseg.data.source import Item, Source, folder_of, stamp_of

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PALETTE = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (127, 127, 127),
    (188, 189, 34),
    (23, 190, 207),
)
BATCHES_FOLDER = "cifar-10-batches-py"
BATCHES = {**{f"data_batch_{i}": "train" for i in range(1, 6)}, "test_batch": "test"}
SIZE = (32, 32)
PIXELS = 3 * SIZE[0] * SIZE[1]
LABELLED = 100
NEEDED = {  # module and name in a pickle, older and newer spelling -> what it stands for
    **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
BROKEN = (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, ImportError)
"""What unpickling raises on files that are missing, cut short or of another kind."""


class Unpickler(pickle.Unpickler):
    """Knows the names in `NEEDED` and no others, so that loading a file runs nothing of its own."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in NEEDED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return NEEDED[module_name, global_name]


def cifar10(data: Data) -> Source:
    """The images of data_batch_1..5 are "train", those of test_batch "test"; selection is carved out of training."""
    root = folder_of(data.root, "cifar10")
    folder = root / BATCHES_FOLDER if (root / BATCHES_FOLDER).is_dir() else root
    batches = {name: read_batch(folder / name) for name in BATCHES}
    places = {
        Item(f"{name}/{row:04d}", split): (name, row) for name, split in BATCHES.items() for row in range(len(batches[name][1]))
    }

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        name, row = places[item]
        pixels, labels = batches[name]
        return pixels[row].reshape(3, *SIZE).transpose(1, 2, 0).copy(), np.full(SIZE, labels[row], np.uint8)

    return Source(
        items=tuple(places),
        classes=CLASSES,
        palette=PALETTE,
        read=read,
        stamp=stamp_of(folder, [folder / name for name in BATCHES]),
        default_size=SIZE,
        default_labelled=LABELLED,
        where=lambda item: f"{folder / places[item][0]}, image {places[item][1]}",
        image_level=True,
    )


def read_batch(file: Path) -> tuple[np.ndarray, list[int]]:
    """Uint8 (N,3072) in the order channel, row, column, and N class ids; SettingError, one line, for anything else."""
    try:
        # The strings are Python 2's: bytes.
        batch = Unpickler(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        pixels, labels = batch[b"data"], list(batch[b"labels"])
        known = set(labels) <= set(range(len(CLASSES)))
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{file}: cannot be read ({reason}); allowed: a batch of CIFAR-10 for Python") from None
    arrays = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == (len(labels), PIXELS)
    if not arrays or not known:
        raise SettingError(f"{file}: got other arrays than CIFAR-10's; allowed: data uint8 (N,{PIXELS}) and N labels in 0..9")
    return pixels, labels


def fetch_cifar10(root: Path) -> None:
    if not any((root / place / "test_batch").is_file() for place in (".", BATCHES_FOLDER)):
        torchvision("CIFAR10")(root=above(root, BATCHES_FOLDER), download=True)


CIFAR10 = DataSet(
    name="cifar10",
    source=cifar10,
    # Krizhevsky 2009
    published=Published(train=50_000, test=10_000, classes=10, size=SIZE, default=SIZE, labelled=LABELLED, image_level=True),
    fetch=fetch_cifar10,
)
