"""Which rows of a pack are labelled, for training, for selection and for test.

Labelled subsets are nested: one permutation, drawn with `labelled_seed` (or `split_seed`) and never with a training seed, of which a subset is the
beginning, so 1 % is inside 5 %. Images carved out for selection are drawn from a random stream of their own and are never
trained on, not even without their masks; how many are labelled does not move them.

Images of one group (a patient's slices, `Source.group`) stay together: groups are drawn, and as few of them taken as hold the
number of images that was asked for.

A stratified subset (`Data.stratify`) is the beginning of a balanced order of the same groups (`semiseg.data.strata`). Unlabelled
images (`Data.unlabelled`) are the beginning, by groups, of another permutation of all training images, drawn with `split_seed`, from
which the labelled ones are left out; so they are nested too.

Where a list names labelled images, as published splits do (`Pack.listed`), those come before the others in every subset, so that
as many images as are listed are exactly the list, whatever their groups; that many are labelled by default. Selection is then
carved out of images of groups that have none of the listed ones, as long as there are such.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from semiseg.config import Data, SettingError, require
from semiseg.data.pack import Pack
from semiseg.data.source import share_of
from semiseg.data.strata import in_balance, strata_of

STREAMS = {"selection": 0, "labelled": 1, "unlabelled": 3}  # 2 is that of source.shuffled


class Splits(NamedTuple):
    """Ascending int64 row numbers of a pack.

    labelled    training images whose masks are used
    training    training images, the labelled ones and the unlabelled ones (the code of ke2020 trains on all)
    labelled_hash  16 hex digits that name the labelled subset
    opened      the values of Data, of a row, that they were opened with (`Place.open`)
    """

    labelled: np.ndarray
    training: np.ndarray
    selection: np.ndarray
    test: np.ndarray
    labelled_hash: str
    opened: tuple[tuple[str, Any], ...] = ()


def split(pack: Pack, data: Data) -> Splits:
    """Choose the rows that `data` asks for; SettingError when it asks for more than there are."""
    of = {name: [row for row, found in enumerate(pack.split) if found == name] for name in ("selection", "test", "unlabelled")}
    train = sorted((row for row, found in enumerate(pack.split) if found == "train"), key=lambda row: pack.ids[row])
    if not of["selection"]:
        order = permuted(pack, train, data.split_seed, "selection")
        listed = {pack.groups[row] for row in train if pack.ids[row] in pack.listed}
        free = [row for row in order if pack.groups[row] not in listed]
        spare = len(train) - len(free) if free else 0
        of["selection"] = carved(data.selection, free or order, pack.groups, spare)
    taken = set(of["selection"])
    seed = data.split_seed if data.labelled_seed is None else data.labelled_seed
    drawn = [row for row in permuted(pack, train, seed, "labelled") if row not in taken]
    first, others = ([row for row in drawn if (pack.ids[row] in pack.listed) == named] for named in (True, False))
    kept = first + others
    count = wanted(data.labelled, len(kept), len(first) or pack.default_labelled)
    if data.stratify != "none":
        strata, apart = strata_of(pack, kept, data.stratify), count - len(first)
        first, others = in_balance(first, strata, pack.groups, count), in_balance(others, strata, pack.groups, apart)
    if count <= len(first):
        labelled = first[: to_group_end(count, first, pack.groups)]
    else:
        labelled = first + others[: to_group_end(count - len(first), others, pack.groups)]
    check_counted(pack, {"labelled": labelled, "selection": of["selection"], "test": of["test"]})
    names = json.dumps(sorted(pack.ids[row] for row in labelled))
    return Splits(
        labelled=ascending(labelled),
        training=ascending(labelled + unlabelled_of(pack, data, labelled, kept + of["unlabelled"])),
        selection=ascending(of["selection"]),
        test=ascending(of["test"]),
        labelled_hash=hashlib.sha256(names.encode()).hexdigest()[:16],
    )


def unlabelled_of(pack: Pack, data: Data, labelled: list[int], training: list[int]) -> list[int]:
    """The training images that are trained on without their masks."""
    left = set(training) - set(labelled)
    if data.unlabelled == "all":
        return [*left]
    by_name = sorted(training, key=lambda row: pack.ids[row])
    order = [row for row in permuted(pack, by_name, data.split_seed, "unlabelled") if row in left]
    share = 0 < data.unlabelled < 1 and bool(order)
    count = share_of(data.unlabelled, len(order)) if share else int(data.unlabelled)
    allowed = f"at most {len(order)}, the training images that are left without labels, or a share"
    require(count <= len(order), "data.unlabelled", data.unlabelled, allowed)
    return order[: to_group_end(count, order, pack.groups)]


def check_counted(pack: Pack, parts: Mapping[str, list[int]]) -> None:
    """Raise SettingError for a part in which no pixel is of any class: nothing to learn from, or nothing to score."""
    for name, rows in parts.items():
        require(
            bool(pack.counts[rows, :-1].any()),
            f"{name} masks of {pack.name}",
            "only ignored pixels",
            "at least one pixel of a class",
        )


def permuted(pack: Pack, rows: list[int], seed: int, stream: str) -> list[int]:
    """The rows, groups in an order drawn with `seed`, those of one group in the order given."""
    members: dict[str, list[int]] = {}
    for row in rows:
        members.setdefault(pack.groups[row], []).append(row)
    groups = [*members.values()]
    order = np.random.default_rng([seed, STREAMS[stream]]).permutation(len(groups))
    return [row for i in order for row in groups[i]]


def to_group_end(count: int, rows: list[int], groups: list[str]) -> int:
    """`count`, raised to where a group ends among the rows, so that their first `count` are of whole groups."""
    while 0 < count < len(rows) and groups[rows[count]] == groups[rows[count - 1]]:
        count += 1
    return count


def carved(selection: float, rows: list[int], groups: list[str], spare: int = 0) -> list[int]:
    """Those of the training images with masks that go to selection, the first ones; `spare` others are left to train on anyway."""
    available = len(rows)
    count = share_of(selection, available) if selection < 1 else int(selection)
    count = to_group_end(count, rows, groups)
    most = available if spare else available - 1
    if count > most:
        raise SettingError(
            f"data.selection: got {selection}, which takes {count} of the {available} training images with masks"
            f"{' that are of no listed group' if spare else ''}; allowed: at most {most}{', so that one is left to train on' * (not spare)}"
        )
    return rows[:count]


def wanted(labelled: float | Literal["all"] | None, available: int, default: int | Literal["all"]) -> int:
    """How many of the training images left with masks are labelled; 1 is one of them (`Data` makes the share 1.0 to "all")."""
    asked = default if labelled is None else labelled
    if isinstance(asked, str):
        return available
    count = share_of(asked, available) if asked < 1 else int(asked)
    if count > available:
        raise SettingError(
            f"data.labelled: got {asked}{' (the default)' if labelled is None else ''}; allowed: at most {available}, "
            "the training images with masks that are left beside selection"
        )
    return count


def ascending(rows: list[int]) -> np.ndarray:
    return np.array(sorted(rows), np.int64)
