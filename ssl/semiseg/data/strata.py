"""Orders of images whose beginnings all hold classes or attributes in the shares of the whole: stratified labelled subsets.

One value an image (an attribute, the class of an image-level data set): at every size each value has its exact share rounded up or
down, the two conditions of apportionment's quota (Balinski and Young 1975), so that it is within one image of exact at all sizes at
once. Of the images with which that can go on, the first one in the drawn order is next.

Classes of masks, of which an image shows several: as in iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) the rare
classes weigh most, but an image at a time, so that subsets are nested: next is the image after which Pearson's chi-square between
the numbers of images that show each class and their exact shares is least, of equal images the first one in the drawn order.

Groups, such as patients, are taken whole. The value of a group is that of most of its images; a share is then one of the groups.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from semiseg.config import SettingError
from semiseg.data.pack import Pack
from semiseg.data_settings import captures

Strata = dict[int, str] | dict[int, np.ndarray]
"""Of each row its value, or (C,) whether its mask shows each class."""


def check_stratify(stratify: str, attributes: Sequence[str]) -> None:
    """Raise SettingError for what images of a data set with these attributes cannot be stratified by."""
    if stratify not in ("none", "class", *attributes) and not captures(stratify):
        known = ", ".join(["none", "class", *attributes])
        raise SettingError(f"data.stratify: got {stratify!r}; allowed: {known}, or a regular expression with a group ( )")


def strata_of(pack: Pack, rows: Sequence[int], stratify: str) -> Strata:
    """What the rows, all with masks, are stratified by. SettingError for what is neither known of them nor found in their ids."""
    check_stratify(stratify, [*pack.attributes])
    if stratify == "class":
        shown = pack.counts[:, :-1]
        return {row: str(shown[row].argmax()) for row in rows} if pack.image_level else {row: shown[row] > 0 for row in rows}
    if stratify in pack.attributes:
        return {row: pack.attributes[stratify][pack.ids[row]] for row in rows}
    found: dict[int, str] = {}
    for row in rows:
        match = re.search(stratify, pack.ids[row])
        if match is None or match[1] is None:
            allowed = f"an expression that finds a group in every id, such as {pack.ids[row]!r}"
            raise SettingError(f"data.stratify: got {stratify!r}; allowed: {allowed}")
        found[row] = match[1]
    return found


def in_balance(rows: list[int], strata: Strata, groups: Sequence[str], count: int) -> list[int]:
    """Rows, those of a group beside each other, in another order of the groups: balanced for the first `count`, then as given."""
    if not 0 < count < len(rows):
        return rows
    units: dict[str, list[int]] = {}
    for row in rows:
        units.setdefault(groups[row], []).append(row)
    members = [*units.values()]
    order = unit_order([[strata[row] for row in unit] for unit in members])
    taken: list[int] = []
    held = 0
    while held < count:
        taken.append(next(order))
        held += len(members[taken[-1]])
    rest = sorted(set(range(len(members))) - set(taken))
    return [row for unit in (*taken, *rest) for row in members[unit]]


def unit_order(units: Sequence[Sequence[Any]]) -> Iterator[int]:
    """Numbers of the units in an order whose beginnings are balanced; of each unit what its images are stratified by."""
    if isinstance(units[0][0], str):
        return by_quota([Counter(unit).most_common(1)[0][0] for unit in units])
    return by_occurrence(np.array([np.sum(unit, 0) for unit in units]), np.array([len(unit) for unit in units]))


def by_quota(values: Sequence[str]) -> Iterator[int]:
    """All numbers of the values, each time such that of the first t numbers every value has floor(t n/N) or ceil(t n/N), where n of
    all N have it.

    The j-th number of a value has to come after floor((j-1) N/n) others and by ceil(j N/n); as long as no more are due by any t'
    than can be placed by then, the rest can be placed so, because this is so of the whole (the intervals are convex: Hall).
    """
    waiting: dict[str, deque[int]] = {}
    for number, value in enumerate(values):
        waiting.setdefault(value, deque()).append(number)
    every = len(values)
    number_of = {value: len(numbers) for value, numbers in waiting.items()}
    taken = dict.fromkeys(waiting, 0)

    def deadline(value: str) -> int:
        return -(-(taken[value] + 1) * every // number_of[value])

    due = np.zeros(every + 1, np.int64)  # numbers that are left and have to be placed by t
    for count in number_of.values():
        np.add.at(due, [-(-j * every // count) for j in range(1, count + 1)], 1)
    due = due.cumsum()
    for t in range(1, every + 1):
        full = t + int(np.argmax(due[t:] == np.arange(1, every - t + 2)))  # the first t' by which no place is to spare
        released = [value for value, numbers in waiting.items() if numbers and taken[value] * every < t * number_of[value]]
        value = min((one for one in released if deadline(one) <= full), key=lambda one: waiting[one][0])
        due[deadline(value) :] -= 1
        taken[value] += 1
        yield waiting[value].popleft()


def by_occurrence(shown: np.ndarray, sizes: np.ndarray) -> Iterator[int]:
    """All units, each time the one after which the chi-square of images that show each class is least.

    shown: int (U,C), a unit's images that show each class; sizes: int (U,), its images.
    """
    shown = shown[:, shown.any(0)]
    share = shown.sum(0) / sizes.sum()
    kinds, first, of = np.unique(np.column_stack([shown, sizes]), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # of equal chi-square the kind that was drawn first
    kinds, place = kinds[order].astype(float), np.argsort(order)
    waiting: list[deque[int]] = [deque() for _ in kinds]
    for unit, kind in enumerate(place[of.reshape(-1)]):
        waiting[kind].append(unit)
    held, total = np.zeros(len(share)), 0.0
    for _ in range(len(shown)):
        after = total + kinds[:, -1:]
        distance = ((held + kinds[:, :-1] - after * share) ** 2 / (after * share)).sum(1)
        distance[[not units for units in waiting]] = np.inf
        kind = int(np.argmin(distance))
        held, total = held + kinds[kind, :-1], total + kinds[kind, -1]
        yield waiting[kind].popleft()
