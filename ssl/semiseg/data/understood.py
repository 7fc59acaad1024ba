"""What the tool has made of a stranger's files, in one line and as findings, before anything trains on them."""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.data.strips import flat, strips

SHOWN = 24
"""Classes in the line; of more the first ones."""


def understood(pack: Pack, splits: Splits) -> str:
    """One line: images by split, sizes, kinds of file, classes with their share of the pixels, ignored share, labelled groups."""
    rows = every_row(splits)
    counts = pack.counts[rows].sum(0)
    total = max(1, int(counts.sum()))
    shares = [
        f"{name} {as_percent(count / max(1, int(counts[:-1].sum())))}" for name, count in zip(pack.classes, counts, strict=False)
    ]
    if len(shares) > SHOWN:
        shares = [*shares[:SHOWN], f"and {len(shares) - SHOWN} more"]
    labelled = f"{len(splits.labelled)} labelled{grouped(pack, splits)}"
    parts = [
        f"{pack.name}: {len(splits.training)} training ({labelled}), {len(splits.selection)} selection, {len(splits.test)} test images",
        sizes(pack, rows),
        *stored_as(pack),
        *([", ".join(f"{count} {kind}" for kind, count in sorted(pack.kinds.items()))] if pack.kinds else []),
        f"{len(pack.classes)} classes: {', '.join(shares)}",
        f"{as_percent(counts[-1] / total)} of the pixels ignored",
    ]
    return "; ".join(parts)


def every_row(splits: Splits) -> np.ndarray:
    """Ascending rows of all parts."""
    return np.unique(np.concatenate([splits.training, splits.selection, splits.test]))


def grouped(pack: Pack, splits: Splits) -> str:
    """How many groups the labelled images are of, where images have groups."""
    if pack.groups == pack.ids:
        return ""
    count = len({pack.groups[row] for row in splits.labelled})
    return f" of {count} group{'s' if count != 1 else ''}"


def sizes(pack: Pack, rows: np.ndarray) -> str:
    """Height x width, of several sizes the smallest and the largest."""
    found = sorted({(int(pack.heights[row]), int(pack.widths[row])) for row in rows}, key=lambda size: size[0] * size[1])
    (height, width), (more, wider) = found[0], found[-1]
    several = f" to {more}x{wider} ({len(found)} sizes)" if len(found) > 1 else ""
    return f"{height}x{width}{several} pixels"


def stored_as(pack: Pack) -> list[str]:
    """Type, channels and normalisation of other than 8-bit colour images."""
    if pack.dtype == np.uint8 and pack.channels == 3 and not pack.normalise:
        return []
    return [f"{pack.dtype.name} of {pack.channels} channel{'s' * (pack.channels > 1)}, normalised by {pack.normalise or 'dataset'}"]


def as_percent(share: float) -> str:
    """A share in few digits that never reads as 0 or 100 where it is neither."""
    number = 100 * float(share)
    if 0 < number < 0.1 or 99.9 < number < 100:
        return "< 0.1 %" if number < 1 else "> 99.9 %"
    return f"{number:.3g} %"


def findings(pack: Pack, splits: Splits) -> list[str]:
    """What may be meant and may be a mistake, one line each: classes that are missing in a part, a selection or test of one group,
    constant images, and images whose pixels are in two parts or twice in one."""
    found = []
    parts = {"the labelled images": splits.labelled, "selection": splits.selection, "test": splits.test}
    for part, rows in parts.items():
        missing = [name for name, count in zip(pack.classes, pack.counts[rows].sum(0), strict=False) if not count]
        if missing:
            found.append(f"not in {part}: {', '.join(missing)}")
        groups = {pack.groups[row] for row in rows}
        if pack.groups != pack.ids and len(groups) == 1:
            found.append(f"{part} {'are' if part.endswith('s') else 'is'} of one group: {groups.pop()}")
    rows = every_row(splits)
    constant = [pack.ids[row] for row in rows if is_constant(pack.image(row))]
    if constant:
        found.append(f"of one colour: {some(constant)}")
    blank = [pack.ids[row] for row in rows if pack.mask(row) is not None and not pack.counts[row, :-1].any()]
    if blank:
        found.append(f"all pixels ignored: {some(blank)}")
    of = {int(row): part for part, ones in zip(("training", "selection", "test"), splits[1:4], strict=True) for row in ones}
    met: dict[bytes, int] = {}
    for row in sorted(of):
        other = met.setdefault(pixels_of(pack, row), row)
        if other != row:
            where = f"in {of[other]} and in {of[row]}" if of[other] != of[row] else f"twice in {of[row]}"
            found.append(f"the same pixels {where}: {pack.ids[other]}, {pack.ids[row]}")
    return found


def pixels_of(pack: Pack, row: int) -> bytes:
    """A name of an image's pixels."""
    image = pack.image(row)
    name = sha256(repr(image.shape).encode())
    name.update(flat(image))
    return name.digest()


def is_constant(image: np.ndarray) -> bool:
    return all((strip == image[:1, :1]).all() for strip in strips(image))


def some(names: Iterable[str], most: int = 8) -> str:
    """Names, at most `most` of them."""
    listed = [*names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
