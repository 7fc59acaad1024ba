"""Are the labelled subsets nested, and is no selection or test image ever trained on?

Opens a data set as a sweep does, splits it with every share of labels that is named, and checks by id and by pixels: each subset
lies inside the next larger one; labelled images are training images; nothing is both trained on and scored, nor scored twice;
selection and test are the same for every share. Prints the counts; exit status 1 and one line per violation when something is
wrong, 2 when the data cannot be used. Takes about a second on the built-in scenes.

    python analysis/check_splits.py --data.name oxford_pets --data.root PATH/oxford-iiit-pet --labelled 0.05 0.1 0.25
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import tyro

from semiseg.config import Data, SettingError, require
from semiseg.data import Pack, Splits, load, split
from semiseg.data.understood import pixels_of


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which data, and which shares or counts of labelled images."""

    data: Data = field(default_factory=Data)
    labelled: tuple[int | float, ...] = (0.05, 0.1, 0.25)
    """Shares (1.0 is all) or counts (1 is one) of labelled training images."""
    cache: Path = Path("results/cache")
    """Decoded images."""


def violations(pack: Pack, splits: dict[str, Splits]) -> list[str]:
    """What is wrong with the splits of one pack, by the number of labels asked for; empty when nothing is."""
    found = []
    for (fewer, small), (more, large) in pairwise(sorted(splits.items(), key=lambda one: len(one[1].labelled))):
        if not set(small.labelled) <= set(large.labelled):
            found.append(f"labelled {fewer} is not inside labelled {more}")
    first = next(iter(splits.values()))
    for asked, one in splits.items():
        if not set(one.labelled) <= set(one.training):
            found.append(f"labelled {asked}: an image that is not for training")
        for name, rows, wanted in (("selection", one.selection, first.selection), ("test", one.test, first.test)):
            if set(rows) != set(wanted):
                found.append(f"labelled {asked}: {name} differs from that of other shares")
            found += [f"labelled {asked}: trained on and in {name}: {name_}" for name_ in common(pack, one.training, rows)]
    found += [f"in selection and in test: {name}" for name in common(pack, first.selection, first.test)]
    return found


def common(pack: Pack, some: Iterable[int], others: Iterable[int]) -> list[str]:
    """Ids of images of `others` that `some` holds too, as the same row or as the same pixels under another name."""
    kept = {pixels_of(pack, row): pack.ids[row] for row in some}
    return [
        name if (name := pack.ids[row]) == kept[pixels] else f"{name}, the same pixels as {kept[pixels]}"
        for row in others
        if (pixels := pixels_of(pack, row)) in kept
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 all is well, 1 violations, 2 unusable data."""
    arguments = tyro.cli(Arguments, args=None if words is None else list(words), description=(__doc__ or "").splitlines()[0])
    try:
        require(len(arguments.labelled) > 0, "labelled", arguments.labelled, "at least one share or count")
        pack = load(arguments.data, arguments.cache)
        splits = {str(asked): split(pack, replace(arguments.data, labelled=asked)) for asked in arguments.labelled}
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for asked, one in splits.items():
        counts = ", ".join(f"{len(rows)} {name}" for name, rows in zip(Splits._fields, one[:4], strict=False))
        print(f"labelled {asked}: {counts}, labelled hash {one.labelled_hash}")
    found = violations(pack, splits)
    print("\n".join(found) or "nested, and no selection or test image is trained on")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
