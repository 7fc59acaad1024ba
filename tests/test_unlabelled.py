"""How many unlabelled images: nested, drawn by the split seed, followed by all that says training images; no matter to anchors."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from data_trees import BUILDERS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_listed import Rows

from semiseg.change import Change, Row, change
from semiseg.codec import read_row, write_row
from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Splits, load, split
from semiseg.ema import Ema
from semiseg.methods import DMT, MeanTeacher, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.runner import StageRun, run_stage, split_of
from semiseg.stage import with_teachers
from semiseg.sweep.anchors import anchored, learns_unlabelled
from semiseg.sweep.arguments import Arguments
from semiseg.sweep.bench import Bench
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.plan import chain_of
from semiseg.sweep.rows import ResolvedRow, resolve_row


def free(parts: Splits) -> set[int]:
    """Unlabelled rows."""
    return set(parts.training.tolist()) - set(parts.labelled.tolist())


@pytest.mark.parametrize("name", DATASETS)
def test_subsets_are_nested_and_move_nothing_else(name: str, tmp_path: Path) -> None:
    data = Data(name=name, root=None if name == "synthetic" else BUILDERS[name](tmp_path / "tree"), labelled=3)
    pack = load(data, tmp_path / "cache")
    whole = split(pack, data)
    parts = [split(pack, replace(data, unlabelled=one)) for one in (0, 1, 0.4, 0.7, 1.0, "all")]
    assert free(parts[0]) == set()
    assert all(free(one) <= free(other) for one, other in pairwise(parts))
    for found in (parts[-2], parts[-1]):
        np.testing.assert_array_equal(found.training, whole.training)
    for found in parts:
        assert found.labelled_hash == whole.labelled_hash
        np.testing.assert_array_equal(found.training, np.unique(found.training))
        for field in ("selection", "test"):
            np.testing.assert_array_equal(getattr(found, field), getattr(whole, field))
    groups = [{pack.groups[row] for row in free(one)} for one in parts]
    assert all(row in free(one) for one, met in zip(parts, groups, strict=True) for row in free(whole) if pack.groups[row] in met)


@settings(max_examples=100, deadline=None)
@given(
    groups=st.lists(st.integers(0, 9), min_size=4, max_size=40),
    labelled=st.integers(1, 3),
    counts=st.lists(st.floats(0, 1), min_size=2, max_size=5),
    seed=st.integers(0, 3),
)
def test_as_few_groups_as_hold_the_share(groups: list[int], labelled: int, counts: list[float], seed: int) -> None:
    pack: Any = Rows(groups, frozenset())
    try:
        every = free(split(pack, Data(labelled=labelled, split_seed=seed)))
    except SettingError:
        return
    size = {group: sum(pack.groups[row] == group for row in every) for group in pack.groups}
    before: set[int] = set()
    for share in sorted(counts):
        found = free(split(pack, Data(labelled=labelled, unlabelled=share, split_seed=seed)))
        asked = len(every) if share == 1 else 0 if share == 0 or not every else max(1, int(share * len(every) + 1e-9))
        assert len(found) >= asked
        assert len(found) - max((size[pack.groups[row]] for row in found), default=0) < max(asked, 1)
        assert before <= found <= every
        before = found


def test_the_split_seed_draws_them_and_the_labelled_seed_does_not(tmp_path: Path) -> None:
    pack, _ = tiny.opened()
    found = [split(pack, replace(tiny.data()[0], unlabelled=8, split_seed=seed)) for seed in (0, 0, 1)]
    assert free(found[0]) == free(found[1]) != free(found[2])


@pytest.mark.parametrize(("value", "count"), [(8, 8), (0.5, 10), (0.01, 1), (0.0, 0), (20, 20)])
def test_a_count_or_a_share_rounded_down(value: float, count: int) -> None:
    pack, _ = tiny.opened()
    assert len(free(split(pack, replace(tiny.data()[0], unlabelled=value)))) == count  # 24 images to train on, 4 of them labelled


def test_more_than_there_are_is_refused_and_a_share_of_none_is_none() -> None:
    pack, _ = tiny.opened()
    said = "data.unlabelled: got 21; allowed: at most 20, the training images that are left without labels, or a share"
    with pytest.raises(SettingError, match=f"^{said}$"):
        split(pack, replace(tiny.data()[0], unlabelled=21))
    assert free(split(pack, replace(tiny.data()[0], labelled="all", unlabelled=0.5))) == set()
    for wrong in (-1, 1.5, -0.5):
        with pytest.raises(SettingError, match=rf"^data.unlabelled: got {wrong}; allowed: a count or a share in \[0, 1\]"):
            Data(unlabelled=wrong)
    assert Data(unlabelled=1.0) == Data()


# ---- stages


STEP = Ema(every="step")


@pytest.mark.parametrize("count", [0, 6])
@pytest.mark.parametrize(
    "method",
    [
        OneWay(),
        MeanTeacher(ema=STEP),
        MeanTeacher(ema=STEP, draw="mixed", consistency_on="unlabelled"),
        PseudoLabel(),
        DMT(phases=(1.0,), phase_epochs=1),
    ],
)
def test_a_stage_draws_the_images_it_was_planned_with(method: Any, count: int, tmp_path: Path) -> None:
    place = tiny.place(tmp_path)
    pack, parts = place.open(unlabelled=count)
    train = replace(tiny.TRAIN, steps=2, evaluations=1)
    last = learns_unlabelled(method.stages(split_of(pack, parts), tiny.NET, train, 0))
    assert last is not None
    for stage in with_teachers(last.teachers).values():
        run_stage(stage, place)
    run = StageRun(last, place)
    assert len(run.trainer.splits.training) == 4 + count == last.split.training
    batches = run.trainer.batches
    assert {row for step in range(40) for row in batches.rows(step)[0]} == set(parts.training.tolist())
    assert batches.epoch_steps == -(-(4 + count) // (4 if batches.needs.draw == "joint" else 2))
    if run.trainer.batches.learned.masks is not None:
        assert set(batches.learned.masks) == set(parts.training.tolist())  # type: ignore[arg-type]
    run.advance(60)
    assert run.finished


def test_all_and_every_count_of_all_have_the_keys_of_before(tmp_path: Path) -> None:
    place = tiny.place(tmp_path)
    keys = {Supervised().stages(split_of(*place.open(**asked)), tiny.NET, tiny.TRAIN, 0)[0].key for asked in OPENED}
    assert len(keys) == 1


OPENED: tuple[dict[str, Any], ...] = ({}, {"unlabelled": "all"}, {"unlabelled": 20}, {"stratify": "none"})


# ---- rows


def test_words_of_a_row() -> None:
    methods = {"three_stage": ThreeStage(), "one_way": OneWay()}
    row = read_row("one_way data.unlabelled=0.5 data.stratify=class", methods)
    assert row == Row(Change(OneWay), change(Data, unlabelled=0.5, stratify="class"))
    assert read_row(write_row(row, methods), methods) == row
    assert resolve_row("t", "r", row, methods) == ResolvedRow(OneWay(), {"unlabelled": 0.5, "stratify": "class"}, {})
    assert resolve_row("t", "r", read_row("one_way data.unlabelled=1.0 data.trimap=None", methods), methods).data == {
        "unlabelled": "all"
    }


@pytest.mark.parametrize("study", ["all", 0.25])
def test_rows_of_other_numbers_have_one_anchor(study: Any, tmp_path: Path) -> None:
    """Whatever the row or the study says of unlabelled images, as those of labels alone are the same stage."""
    data, cache = tiny.data()
    preset = Preset(data=replace(data, unlabelled=study), net=tiny.NET, train=tiny.TRAIN, method=OneWay())
    rows = {
        "all": Row(change(OneWay), change(Data, unlabelled="all")),
        "half": Row(change(OneWay), change(Data, unlabelled=0.5)),
        "none": Row(change(OneWay), change(Data, unlabelled=0)),
        "labels": Row(change(Supervised), change(Data, unlabelled=3)),
        "labels too": Row(change(Supervised)),
    }
    table = Ablation(name="t", title="T", question="Q?", rows=rows, reference="all", presets={"demo": preset}, against={})
    bench = Bench(preset, Arguments(method=OneWay(), cache=cache, store=str(tmp_path / "store")), "t")
    methods = preset.methods()
    lines = {name: resolve_row("t", name, row, methods) for name, row in rows.items()}

    def chain(line: ResolvedRow) -> Any:
        return chain_of(line, 0, split=bench.images(line), net=bench.net, train=bench.train)

    keys = {name: chain(line)[-1].key for name, line in lines.items()}
    assert len({keys[name] for name in ("all", "half", "none")}) == 3
    assert keys["labels"] == keys["labels too"]
    assert [chain(lines[name])[-1].split.training for name in rows] == [24, 14, 4, 24, 24]
    made = anchored(table, lines, ("fair",), methods, chain)
    assert len({made.anchors[name].row for name in ("all", "half", "none")}) == 1
    assert len({made.anchors[name].all_labels for name in ("all", "half", "none")}) == 1
    assert not any("unlabelled=" in word and "data." in word for words in made.words.values() for word in words.split())
    plain = Bench(replace(preset, data=data), Arguments(method=OneWay(), cache=cache, store=str(tmp_path / "store")), "t")
    anchor = made.lines[made.anchors["all"].row]
    assert chain(anchor)[0].key == chain_of(anchor, 0, split=plain.images(anchor), net=bench.net, train=bench.train)[0].key
