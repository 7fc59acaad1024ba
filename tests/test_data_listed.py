"""A list of labelled images comes first in every subset, with groups and without; selection is carved out of the others."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from data_trees import build_folder
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_data_pack import IMAGE, MASK

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Item, Pack, Source, Splits, split
from semiseg.data.pack import open_pack
from semiseg.methods import Supervised
from semiseg.runner import Place, StageRun, split_of


def pack_of(cache: Path, groups: list[int], listed: frozenset[str], selection: int = 0) -> Pack:
    """Training images t000, t001, ... of those groups, some of them listed."""
    of = {f"t{i:03d}": f"g{group}" for i, group in enumerate(groups)}
    items = [*(Item(name, "train") for name in of), *(Item(f"s{i}", "selection") for i in range(selection)), Item("e", "test")]
    source = Source(
        items=tuple(items),
        classes=("a", "b"),
        palette=((0, 0, 0), (9, 9, 9)),
        read=lambda item: (IMAGE, MASK),
        stamp=str((groups, selection)),
        default_size="native",
        default_labelled=1,
        group=lambda item: of.get(item.id, item.id),
        listed=listed,
    )
    return open_pack(source, "made", None, cache)


def ids(pack: Pack, rows: np.ndarray) -> set[str]:
    return {pack.ids[row] for row in rows}


def chosen(pack: Pack, labelled: Any = None, seed: int = 0, selection: float = 0.2) -> Splits:
    return split(pack, Data(labelled=labelled, split_seed=seed, selection=selection))


def test_as_many_as_are_listed_are_the_list_and_that_is_the_default(tmp_path: Path) -> None:
    listed = frozenset({"t003", "t007", "t011", "t012", "t030"})
    pack = pack_of(tmp_path, [*range(40)], listed)
    for seed in range(3):
        assert ids(pack, chosen(pack, 5, seed).labelled) == ids(pack, chosen(pack, None, seed).labelled) == listed
        assert not ids(pack, chosen(pack, "all", seed, 0.9).selection) & listed
        few, many = chosen(pack, 3, seed), chosen(pack, 9, seed)
        assert ids(pack, few.labelled) < listed < ids(pack, many.labelled)
    assert len({chosen(pack, 2, seed).labelled_hash for seed in range(8)}) > 2  # the order among them is drawn


def test_a_list_of_parts_of_groups_is_not_extended(tmp_path: Path) -> None:
    groups = [i // 4 for i in range(40)]  # ten patients of four slices
    listed = frozenset({"t000", "t001", "t006"})
    pack = pack_of(tmp_path, groups, listed)
    assert ids(pack, chosen(pack).labelled) == listed
    assert not {pack.groups[row] for row in chosen(pack).selection} & {"g0", "g1"}
    more = ids(pack, chosen(pack, 4).labelled)
    assert listed < more
    assert len({*more} - listed) in (2, 3, 4)  # a whole patient, or what is left of a listed one


def test_selection_takes_whole_groups_where_every_group_has_listed_images(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [i // 4 for i in range(20)], frozenset(f"t{i:03d}" for i in range(0, 20, 4)))
    parts = chosen(pack)
    assert len(parts.selection) == 4
    assert not {pack.groups[row] for row in parts.selection} & {pack.groups[row] for row in parts.training}
    assert ids(pack, parts.labelled) == pack.listed - ids(pack, parts.selection)


def test_all_images_that_are_not_listed_may_go_to_selection_and_no_more(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [*range(10)], frozenset(f"t{i:03d}" for i in range(4)))
    parts = chosen(pack, selection=6)
    assert ids(pack, parts.training) == ids(pack, parts.labelled) == pack.listed
    with pytest.raises(SettingError, match=r"^data.selection: got 7, .* that are of no listed group; allowed: at most 6$"):
        chosen(pack, selection=7)


def test_a_selection_split_of_its_own_stays(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [*range(6)], frozenset({"t001"}), selection=3)
    assert ids(pack, chosen(pack).selection) == {"s0", "s1", "s2"}
    assert ids(pack, chosen(pack).labelled) == {"t001"}


def test_another_list_needs_no_other_pack(tmp_path: Path) -> None:
    one, other = (pack_of(tmp_path, [*range(6)], frozenset({name})) for name in ("t001", "t004"))
    assert one.path == other.path
    assert ids(one, chosen(one).labelled) == {"t001"}
    assert ids(other, chosen(other).labelled) == {"t004"}


@pytest.mark.parametrize("name", ["e", "nobody"])
def test_only_training_images_can_be_listed(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"^list of labelled images: got '{name}'; allowed: training images with masks$"):
        pack_of(tmp_path, [0, 1], frozenset({"t000", name}))


class Rows:
    """What `split` asks of a pack, without a file."""

    def __init__(self, groups: list[int], listed: frozenset[str]) -> None:
        self.name, self.listed, self.default_labelled = "made", listed, 1
        self.ids = [*(f"t{i:03d}" for i in range(len(groups))), "e"]
        self.groups = [*(f"g{group}" for group in groups), "e"]
        self.split = ["train"] * len(groups) + ["test"]
        self.counts = np.ones((len(self.ids), 3), np.int64)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    groups=st.lists(st.integers(0, 9), min_size=3, max_size=40),
    picks=st.sets(st.integers(0, 39)),
    seed=st.integers(0, 5),
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=5),
)
def test_subsets_are_nested_and_their_size_names_them(groups: list[int], picks: set[int], seed: int, counts: list[int]) -> None:
    """Whatever the list and the groups; asked again for as many as there are, which is how a stage is reopened, they are the same."""
    listed = frozenset(f"t{i:03d}" for i in picks if i < len(groups))
    pack: Any = Rows(groups, listed)
    try:
        every = chosen(pack, "all", seed)
    except SettingError:
        assume(condition=False)
        return
    left = ids(pack, every.training)
    first = listed & left
    before: set[str] = set()
    for count in sorted(min(one, len(left)) for one in counts):
        found = chosen(pack, count, seed)
        names = ids(pack, found.labelled)
        assert before <= names
        assert len(names) >= count
        assert names <= first if count <= len(first) else names > first
        again = chosen(pack, len(names), seed)
        assert again.labelled_hash == found.labelled_hash
        np.testing.assert_array_equal(again.labelled, found.labelled)
        np.testing.assert_array_equal(again.selection, every.selection)
        before = names
    if first:
        assert ids(pack, chosen(pack, None, seed).labelled) == first
    whole = {pack.groups[row] for row in every.selection}
    assert not whole & {pack.groups[row] for row in every.training}
    if {f"g{group}" for group in groups} - {pack.groups[row] for row in range(len(groups)) if pack.ids[row] in listed}:
        assert not listed & ids(pack, every.selection)


def test_a_stage_is_reopened_with_the_list_it_was_planned_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number of labelled images alone, whole group or not."""
    listed = frozenset({"02", "05", "06"})
    real = DATASETS["folder"]

    def source(data: Data) -> Source:
        return dataclasses.replace(real.source(data), listed=listed, group=lambda item: f"g{int(item.id[-2:]) // 3}")

    monkeypatch.setitem(DATASETS, "folder", dataclasses.replace(real, source=source))
    root = build_folder(tmp_path / "tree")
    (root / "test.txt").write_text("00\n")
    (root / "train.txt").write_text("".join(f"{i:02d}\n" for i in range(1, 12)))
    place = Place(data=Data(name="folder", root=root, size=(16, 16)), cache=tmp_path / "cache", store=str(tmp_path / "store"))
    for labelled, count in ((None, 3), (1, 1), (4, 4)):
        pack, splits = place.open(labelled=labelled)
        assert len(splits.labelled) >= count
        train = dataclasses.replace(tiny.TRAIN, steps=1, evaluations=1, crop=(16, 16))
        (stage,) = Supervised().stages(split_of(pack, splits), tiny.NET, train, 0)
        assert StageRun(stage, place).trainer.splits.labelled_hash == splits.labelled_hash
