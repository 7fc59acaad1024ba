"""With which training seeds and labelled subsets a search judges its configurations: reserved ones, never those that are reported."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from semiseg.config import require
from semiseg.development import RESERVED, SEARCHED, is_development, reserved, searched
from semiseg.search.arguments import SearchArguments

SEEDS, QUICK_SEEDS = (0, 1, 2), (0,)


class Judges(NamedTuple):
    """`seeds` of training, and `subsets`, seeds of labelled subsets: the k-th seed trains on the k-th one, in a circle; none: on the
    images of the data."""

    seeds: tuple[int, ...]
    subsets: tuple[int, ...] = ()

    def images(self, seed: int) -> dict[str, int]:
        """What a seed changes of the data."""
        return {"labelled_seed": self.subsets[self.seeds.index(seed) % len(self.subsets)]} if self.subsets else {}


def judges_of(arguments: SearchArguments[Any], before: Mapping[str, Any]) -> Judges:
    """The judges of a search, of one that has begun those that its identity `before` says.

    Raises SettingError for seeds that cannot be, for those of the comparison at the end, and for subsets of labels that a list names.
    """
    a, begun = arguments, before.get("search_seeds")
    asked = a.search_seeds or (QUICK_SEEDS if a.quick else SEEDS)
    seeds, subsets = _checked("search_seeds", asked), _checked("search_subsets", a.search_subsets)
    require(
        not subsets or a.data.labelled_list is None,
        "search_subsets",
        a.search_subsets,
        "none, as data.labelled_list names the images",
    )
    require(len(subsets) <= len(seeds), "search_subsets", a.search_subsets, f"at most {len(seeds)}, one per search seed")
    before_reserved = (tuple(asked), tuple(map(reserved, asked)))
    kept = begun is not None and (a.search_seeds is None or tuple(begun) in before_reserved)
    seeds = tuple(begun) if begun is not None and kept else seeds
    reported = set(map(reserved, a.seeds) if a.development else a.seeds)
    require(kept or not reported & set(seeds), "search_seeds", a.search_seeds, "others than the seeds of the comparison at the end")
    return Judges(seeds, subsets)


def _checked(name: str, seeds: tuple[int, ...]) -> tuple[int, ...]:
    most = RESERVED.stop - SEARCHED
    possible = all(0 <= seed < most or is_development(seed) for seed in seeds)
    found = tuple(map(searched, seeds))
    require(possible and len(set(found)) == len(found), name, seeds, f"distinct whole numbers from 0 to {most - 1}")
    return found
