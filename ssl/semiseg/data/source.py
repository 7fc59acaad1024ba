"""What a data set is: its images by name, its classes, and how to decode one image. Every module here returns a `Source`."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from semiseg.config import SettingError

IGNORE = 255  # as in semiseg.batch, which imports torch; a test holds the two together
SPLITS = ("train", "selection", "test", "unlabelled")

Labels = tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]
"""Names of class ids 0..C-1 and one picture colour for each."""

Normalise = Literal["none", "dataset", "zscore", "percentile", "minmax", "window"]
Scope = Literal["image", "group", "dataset"]
"""As in `Data.normalise` and `Data.normalise_over`."""


class Item(NamedTuple):
    """One image. `split` is "train", "selection", "test" or "unlabelled" (a training image without a mask)."""

    id: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set before it is packed; cheap to make, since nothing is decoded until `read` or `discover` is called."""

    items: tuple[Item, ...]
    """All images, with unique ids."""
    classes: tuple[str, ...]
    """Names of class ids 0..C-1; empty when only the masks tell (then `discover` does)."""
    palette: tuple[tuple[int, int, int], ...]
    """One colour per class, for pictures."""
    read: Callable[[Item], tuple[np.ndarray, np.ndarray | None] | None]
    """Decode one item: image (H,W,C) of uint8, uint16, float16 or float32, and uint8 (H,W) class ids with 255 = ignore, or None.

    All images of a data set have one type and as many channels. Either may be a read-only np.memmap: large ones are not read at
    once. SettingError names a bad file. None instead of both leaves the item out of the pack, where only its pixels tell that it
    is of no use.
    """
    stamp: str
    """Cheap hash of everything the decoded pixels depend on: names, sizes and times of the files, options, generating code."""
    default_size: tuple[int, int] | Literal["native"]
    """Height and width used when Data.size is None; "native": each image keeps its own."""
    default_labelled: int | Literal["all"]
    """Labelled training images used when Data.labelled is None."""
    where: Callable[[Item], str] = lambda item: item.id
    """What to call an item in a message: the mask's file, or the image's when there is no mask."""
    group: Callable[[Item], str] = lambda item: item.id
    """What an item belongs to, such as a patient; images of one group are labelled, and carved out for selection, together."""
    volume: Callable[[Item], str] = lambda item: item.id
    """What an image is a slice of, such as a patient's scan: measured as one. Its id: it stands alone."""
    spacing: Callable[[Item], tuple[float, float, float] | None] = lambda item: None
    """Distance of slices, rows and columns of an image as stored, in `unit`; None: not known. Known for all or none."""
    unit: str = "mm"
    """Of spacings."""
    listed: frozenset[str] = frozenset()
    """Ids of training images that a list of labelled ones names, as published splits do: they come first in every subset."""
    attributes: Mapping[str, Callable[[Item], str]] = field(default_factory=dict)
    """What else is known of an item, by name, such as the breed of a pet: labelled subsets may be stratified by it."""
    default_normalise: tuple[Normalise, Scope] | None = None
    """Normalisation and what it is over where Data.normalise is None; None: "dataset" for uint8, else ("minmax", "dataset")."""
    values: Callable[[], tuple[tuple[int, ...], ...]] = tuple
    """What mask files hold for class ids 0..C-1: an index, or red, green and blue; empty: the ids. Called once, while packing."""
    discover: Callable[[], Labels] | None = None
    """Classes and palette of a data set that has to open its masks to know them; called once, while packing."""
    image_level: bool = False
    """Whether a class belongs to a whole image: then every mask is constant."""
    finish: Callable[[], Mapping[str, int]] = dict
    """Called once, after the last `read`: number of images by kind of file; SettingError for what only all of them tell."""


def stamp_of(root: Path, files: Iterable[Path], *options: object) -> str:
    """Hash of each file's path under `root`, size and modification time, and of `options`; SettingError names a missing file."""
    digest = hashlib.sha256(json.dumps(options, default=str).encode())
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise SettingError(f"{file}: cannot be read ({error.strerror}); allowed: a file that exists") from None
        digest.update(f"\n{file.relative_to(root).as_posix()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def shuffled(names: list[str], seed: int) -> list[str]:
    """The names in an order drawn with `split_seed`, for a data set that comes without the splits it needs."""
    order = np.random.default_rng([seed, 2]).permutation(len(names))  # 0 and 1 are the streams of splits.py
    return [names[i] for i in order]


def share_of(share: float, available: int) -> int:
    """Rounded down, at least 1. The small term undoes binary fractions: 0.29 * 100 is 28.999999999999996."""
    return max(1, int(share * available + 1e-9))


def read_lines(file: Path, known: Callable[[str], bool] | None = None) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file without blank ones and without comments, from a # at the start or after a space.

    With `known`, of a line that holds such a # as much is taken as is known, the longest first: `scan #0.png` may be a name. A line
    of which nothing is known is given whole.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file}: cannot be read ({error}); allowed: a text file in UTF-8") from None
    for number, line in enumerate(lines, 1):
        ends = [match.start() for match in re.finditer(r"(^|\s)#", line)]
        readings = [line[:end].strip() for end in (*ends, len(line))]
        text = readings[0]
        if known:
            text = next((one for one in reversed(readings) if one and known(one)), text and readings[-1])
        if text:
            yield number, text


def folder_of(root: Path | None, name: str) -> Path:
    """The folder given as --data.root, made absolute; SettingError when it was not given or does not exist."""
    if root is None:
        raise SettingError(f"data.root: got None; allowed: data set {name!r} needs --data.root, the folder of its files")
    if not root.is_dir():
        raise SettingError(f"data.root: got {str(root)!r}; allowed: a folder that exists")
    return root.resolve()
