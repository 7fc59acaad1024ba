"""What the images of a folder belong to, such as a patient, a film or a tile: told by groups.csv or by their names."""

import csv
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from semiseg.config import SettingError
from semiseg.data.source import share_of, shuffled

HEADER = ("name", "group")


Told = Callable[[str, str], str]
"""What is told of an image by its name and its name in its folder; SettingError for an image of which nothing is."""


class Groups(NamedTuple):
    """What images belong to, and what else is told of them by name."""

    group: Told
    attributes: Mapping[str, Told]


def read_groups(root: Path, pattern: str, name_of: Callable[[str], str | None], images: Path) -> Groups | None:
    """What groups.csv or a regular expression tells of images; None: there is neither.

    Attributes are the further columns of groups.csv, or the named groups of the expression. `name_of` finds the image that a text
    means.
    """
    file = root / "groups.csv"
    if pattern and file.is_file():
        raise SettingError(f"data.groups: got {pattern!r} beside {file}; allowed: one of the two")
    if pattern:
        return Groups(matching(pattern, 1), {name: matching(pattern, name) for name in re.compile(pattern).groupindex})
    if not file.is_file():
        return None
    columns, known = table_of(file, name_of, images)

    def column(number: int) -> Told:
        def told(name: str, bare: str) -> str:
            if name not in known and bare not in known:
                raise SettingError(f"{file}: got no line for {name!r}; allowed: a group for every image that is used")
            return (known.get(name) or known[bare])[number]

        return told

    return Groups(column(0), {name: column(number) for number, name in enumerate(columns, 1)})


def matching(pattern: str, group: int | str) -> Told:
    """A group of the regular expression in a name."""

    def told(_: str, bare: str) -> str:
        match = re.search(pattern, bare)
        if match is None or match[group] is None:
            raise SettingError(
                f"data.groups: got {pattern!r}; allowed: an expression that finds a group in every name, such as {bare!r}"
            )
        return match[group]

    return told


def table_of(file: Path, name_of: Callable[[str], str | None], images: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The further columns that a header "name,group,..." names, and by image its group and the values of those columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            lines = [(number, [cell.strip() for cell in line]) for number, line in enumerate(csv.reader(content), 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingError(f"{file}: cannot be read ({error}); allowed: lines NAME,GROUP in UTF-8") from None
    columns: tuple[str, ...] = ()
    known: dict[str, tuple[str, ...]] = {}
    for number, cells in lines:
        if number == 1 and tuple(cell.lower() for cell in cells[:2]) == HEADER:
            columns = tuple(cells[2:])
            need_names(file, columns)
            continue
        if not any(cells):
            continue
        name = name_of(cells[0])
        if len(cells) != 2 + len(columns) or not all(cells[1:]) or name is None or name in known:
            form = ",".join(["NAME", "GROUP", *columns])
            raise SettingError(
                f"{file}, line {number}: got {','.join(cells)!r}; allowed: {form} of a file in {images}, each name once"
            )
        known[name] = tuple(cells[1:])
    return columns, known


def need_names(file: Path, columns: tuple[str, ...]) -> None:
    """Raise SettingError for columns without names of their own."""
    if len({"none", "class", *columns} - {""}) != 2 + len(columns):
        raise SettingError(
            f"{file}, line 1: got {','.join(columns)!r}; allowed: after name,group distinct names, not none or class"
        )


def draw_test(groups: Mapping[str, str], seed: int, share: float, trained: frozenset[str] = frozenset()) -> dict[str, str]:
    """Split of each name: as few groups for test as hold a share of the names, one at least; the rest for training.

    Groups that are `trained` on anyway, without masks, are not drawn.
    """
    members: dict[str, list[str]] = {}
    for name, group in sorted(groups.items()):
        members.setdefault(group, []).append(name)
    wanted, test = share_of(share, len(groups)), set[str]()
    for group in shuffled(sorted(members), seed):
        if len(test) < wanted and group not in trained:
            test |= set(members[group])
    return {name: "test" if name in test else "train" for name in groups}


def need_one_side(splits: Mapping[str, str], groups: Mapping[str, str], root: Path) -> None:
    """Raise SettingError for a group of which lists put images on two sides; unlabelled ones are trained on."""
    sides: dict[str, tuple[str, str]] = {}
    for name, split in sorted(splits.items()):
        side = "train" if split == "unlabelled" else split
        other, first = sides.setdefault(groups[name], (side, name))
        if other != side:
            raise SettingError(
                f"{root}: got {first} of group {groups[name]!r} in {other} and {name} in {side}; allowed: a group on one side"
            )
