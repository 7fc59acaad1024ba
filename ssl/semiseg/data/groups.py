"""What the images of a folder belong to, such as a patient, a film or a tile: told by groups.csv or by their names."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from semiseg.config import SettingError
from semiseg.data.source import share_of, shuffled

HEADER = ("name", "group")


def read_groups(root: Path, pattern: str, name_of: Callable[[str], str | None], images: Path) -> Callable[[str, str], str] | None:
    """The group of an image by its name and its name in its folder, as groups.csv or a regular expression says; None: neither does.

    `name_of` finds the image that a text means. The function raises SettingError for an image of which nothing says a group.
    """
    file = root / "groups.csv"
    if pattern and file.is_file():
        raise SettingError(f"data.groups: got {pattern!r} beside {file}; allowed: one of the two")
    if pattern:
        return lambda _, bare: matched(pattern, bare)
    if not file.is_file():
        return None
    known = dict(lines_of(file, name_of, images))

    def group(name: str, bare: str) -> str:
        if name not in known and bare not in known:
            raise SettingError(f"{file}: got no line for {name!r}; allowed: a group for every image that is used")
        return known.get(name) or known[bare]

    return group


def matched(pattern: str, name: str) -> str:
    """The first group of the regular expression in a name."""
    match = re.search(pattern, name)
    if match is None or match[1] is None:
        raise SettingError(
            f"data.groups: got {pattern!r}; allowed: an expression that finds a group in every name, such as {name!r}"
        )
    return match[1]


def lines_of(file: Path, name_of: Callable[[str], str | None], images: Path) -> Iterable[tuple[str, str]]:
    """Name and group of each line; a header "name,group" is skipped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            lines = [(number, [cell.strip() for cell in line]) for number, line in enumerate(csv.reader(content), 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingError(f"{file}: cannot be read ({error}); allowed: lines NAME,GROUP in UTF-8") from None
    seen: set[str] = set()
    for number, cells in lines:
        if not any(cells) or (number == 1 and tuple(cell.lower() for cell in cells) == HEADER):
            continue
        name = name_of(cells[0])
        if len(cells) != 2 or not cells[1] or name is None or name in seen:
            raise SettingError(
                f"{file}, line {number}: got {','.join(cells)!r}; allowed: NAME,GROUP of a file in {images}, each name once"
            )
        seen.add(name)
        yield name, cells[1]


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
