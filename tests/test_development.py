"""Settings are chosen where nothing that is reported is seen: other seeds, other labelled subsets, other scenes, no test image."""

from dataclasses import replace
from pathlib import Path

import declared
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from semiseg.config import Data, SettingError
from semiseg.data import Pack, load, split
from semiseg.development import RESERVED, SCENES, development_data, is_development, reported_data, reserved
from semiseg.methods import Supervised
from semiseg.sweep.arguments import parse


@given(st.integers(0, len(RESERVED) - 1), st.integers(0, len(RESERVED) - 1))
def test_development_seeds_are_others_and_distinct(one: int, other: int) -> None:
    assert is_development(reserved(one))
    assert not is_development(one) or one == reserved(one)
    assert (reserved(one) == reserved(other)) == (one == other)
    assert reserved(reserved(one)) == reserved(one)


@given(st.builds(Data, split_seed=st.integers(0, 9), labelled_seed=st.none() | st.integers(0, 9)))
def test_what_was_chosen_is_reported_with_ordinary_data(data: Data) -> None:
    chosen = development_data(data, (SCENES,))
    assert SCENES in chosen.variant
    assert chosen.labelled_seed is not None
    assert is_development(chosen.labelled_seed)
    assert chosen.split_seed == data.split_seed  # test images stay the same ones, or a choice could see them
    back = reported_data(chosen)
    assert replace(back, labelled_seed=None) == replace(data, labelled_seed=None)
    assert drawn_with(back) == drawn_with(data)


def drawn_with(data: Data) -> int:
    return data.split_seed if data.labelled_seed is None else data.labelled_seed


def test_only_the_labelled_subset_is_another(tmp_path: Path) -> None:
    data, cache = tiny.data()
    pack = load(data, cache)
    one, other = split(pack, data), split(pack, development_data(data, ()))
    assert one.labelled.tolist() != other.labelled.tolist()
    for name in ("training", "selection", "test"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_development_scenes_are_none_of_the_reported_ones(tmp_path: Path) -> None:
    def images(pack: Pack) -> set[bytes]:
        return {pack.image(row).tobytes() for row in range(len(pack))}

    reported, others = (images(load(Data(variant=variant), tmp_path)) for variant in ((), (SCENES,)))
    assert len(reported) == len(others) == 432
    assert not reported & others


def test_a_development_seed_scores_no_test_image(monkeypatch: pytest.MonkeyPatch) -> None:
    (stage,) = tiny.chain(Supervised())
    splits = tiny.opened()[1]
    read: set[int] = set()
    image = Pack.image

    def watched(self: Pack, row: int) -> np.ndarray:
        read.add(int(row))
        return image(self, row)

    monkeypatch.setattr(Pack, "image", watched)
    for seed, parts in ((0, {"selection", "test"}), (reserved(0), {"selection"})):
        read.clear()
        outcome = tiny.run(replace(stage, seed=seed)).finish()
        assert {line["split"] for line in outcome.metrics} == parts
        assert bool(read & set(splits.test.tolist())) == ("test" in parts)
        assert set(outcome.samples) <= set((splits.test if "test" in parts else splits.selection).tolist())
        assert outcome.samples


def test_seeds_of_a_command_are_the_reserved_ones() -> None:
    table = declared.TABLES["ablate_three_stage"]
    _, preset = parse(table, ["--development", "--seeds", "0", "5"])
    assert preset.seeds == (reserved(0), reserved(5))
    assert preset.data == development_data(Data(), (SCENES,))
    assert parse(table, [])[1].seeds == table.presets["demo"].seeds


@pytest.mark.parametrize(
    "words",
    [
        ["--seeds", str(RESERVED.start)],
        ["--data.labelled-seed", str(RESERVED.start)],
        ["--data.variant", SCENES],
        ["--development", "--seeds", "-1"],
        ["--development", "--seeds", "1", str(reserved(1))],
    ],
)
def test_what_is_reserved_is_refused_elsewhere(words: list[str]) -> None:
    with pytest.raises(SettingError, match="got .*; allowed: "):
        parse(declared.TABLES["ablate_three_stage"], words)
