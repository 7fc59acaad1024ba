"""Labelled subsets are nested, selection is carved out first, and impossible wishes are refused with both numbers."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from semiseg.config import Data, SettingError
from semiseg.data import Item, Pack, Source, Splits, split
from semiseg.data.pack import open_pack


def pack_of(
    cache: Path, train: int = 40, selection: int = 0, unlabelled: int = 0, test: int = 2, default: int | Literal["all"] = 4
) -> Pack:
    counts = {"train": train, "selection": selection, "unlabelled": unlabelled, "test": test}
    image, mask = np.zeros((2, 2, 3), np.uint8), np.eye(2, dtype=np.uint8)
    source = Source(
        items=tuple(Item(f"{name}-{i:03d}", name) for name, count in counts.items() for i in range(count)),
        classes=("a", "b"),
        palette=((0, 0, 0), (9, 9, 9)),
        read=lambda item: (image, None if item.split == "unlabelled" else mask),
        stamp=str((counts, default)),
        default_size=(2, 2),
        default_labelled=default,
    )
    return open_pack(source, "made", None, cache)


def same(one: Splits, other: Splits) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_one_percent_is_inside_five_is_inside_ten(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, train=200, selection=3)
    one, five, ten = (split(pack, Data(labelled=share)) for share in (0.01, 0.05, 0.1))
    assert [len(s.labelled) for s in (one, five, ten)] == [2, 10, 20]
    assert set(one.labelled) < set(five.labelled) < set(ten.labelled)


@pytest.mark.parametrize(
    ("labelled", "count"), [(None, 4), (7, 7), (7.0, 7), (0.5, 18), (0.29, 10), (0.001, 1), ("all", 36), (36, 36)]
)
def test_labelled_is_a_count_a_share_rounded_down_or_all(labelled: float | None, count: int, tmp_path: Path) -> None:
    assert len(split(pack_of(tmp_path), Data(labelled=labelled)).labelled) == count  # 36 = 40 - a tenth carved for selection


def test_the_default_can_be_all(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, default="all")
    assert len(split(pack, Data()).labelled) == 36
    assert len(split(pack, Data(labelled=3)).labelled) == 3


@pytest.mark.parametrize(("selection", "count"), [(0.1, 4), (0.29, 11), (3, 3), (0.001, 1), (39, 39)])
def test_selection_is_carved_out_of_training_and_not_trained_on(selection: float, count: int, tmp_path: Path) -> None:
    parts = split(pack_of(tmp_path, unlabelled=5), Data(labelled=1, selection=selection))
    assert len(parts.selection) == count
    assert not set(parts.selection) & set(parts.training)
    assert set(parts.labelled) <= set(parts.training)
    assert len(parts.training) == 40 - count + 5


def test_a_data_set_with_a_selection_split_is_not_carved(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, selection=6)
    parts = split(pack, Data(labelled=1, selection=0.5))
    assert [pack.split[row] for row in parts.selection] == ["selection"] * 6
    assert len(parts.training) == 40


def test_the_split_depends_on_split_seed_alone(tmp_path: Path) -> None:
    pack = pack_of(tmp_path)
    assert same(split(pack, Data(split_seed=3)), split(pack, Data(split_seed=3)))
    zero, one = split(pack, Data(split_seed=0)), split(pack, Data(split_seed=1))
    assert zero.labelled_hash != one.labelled_hash
    assert set(zero.selection) != set(one.selection)


def test_the_order_of_rows_in_the_pack_does_not_matter(tmp_path: Path) -> None:
    pack, turned = pack_of(tmp_path), pack_of(tmp_path)
    turned.ids.reverse()
    turned.split.reverse()
    one, other = split(pack, Data()), split(turned, Data())
    assert {pack.ids[row] for row in one.selection} == {turned.ids[row] for row in other.selection}
    assert one.labelled_hash == other.labelled_hash


def test_labelled_hash_is_that_of_the_sorted_ids(tmp_path: Path) -> None:
    pack = pack_of(tmp_path)
    parts = split(pack, Data(labelled=3))
    ids = sorted(pack.ids[row] for row in parts.labelled)
    assert parts.labelled_hash == hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def test_rows_are_ascending_int64(tmp_path: Path) -> None:
    for rows in split(pack_of(tmp_path, unlabelled=2), Data())[:4]:
        assert isinstance(rows, np.ndarray)
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()


def test_more_labels_than_there_are_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.labelled: got 37; allowed: at most 36"):
        split(pack_of(tmp_path), Data(labelled=37))
    with pytest.raises(SettingError, match=r"data.labelled: got 41 \(the default\); allowed: at most 36"):
        split(pack_of(tmp_path, default=41), Data())


@pytest.mark.parametrize(("train", "selection"), [(40, 40), (40, 99), (1, 0.1)])
def test_carving_that_leaves_nothing_to_train_on_is_refused(train: int, selection: float, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"data.selection: got {selection}, .* of the {train} training images"):
        split(pack_of(tmp_path, train=train), Data(labelled=1, selection=selection))


def test_a_broken_count_for_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.selection: got 2.5; allowed: a count >= 1 or a share in \(0, 1\)"):
        split(pack_of(tmp_path), Data(selection=2.5))
