"""Two short phases of dynamic mutual training, trained: whose weights and whose masks each stage took from the store."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from safetensors.torch import load_file
from torch import Tensor

import semiseg.runner
from semiseg.batch import IGNORE
from semiseg.methods.dmt import DMT
from semiseg.pseudo import pseudo_masks
from semiseg.runner import StageRun, run_stage
from semiseg.stage import Stage

SHORT = DMT(phases=(0.5, 1.0), phase_epochs=0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all stages of two short phases."""
    store = tmp_path_factory.mktemp("store")
    for stage in tiny.chain(SHORT):
        run_stage(stage, tiny.place(store))
    return store


def named(method: DMT = SHORT) -> dict[str, Stage]:
    return {stage.name: stage for stage in tiny.chain(method)}


def score(store: Path, stage: Stage, split: str = "selection") -> float:
    table = pq.read_table(store / stage.key / "metrics.parquet").to_pylist()
    wanted = {"class": "", "metric": "miou", "role": "student", "weights": "best", "split": split}
    (value,) = [line["value"] for line in table if wanted.items() <= line.items()]
    return value


def weights(store: Path, stage: Stage, which: str = "best") -> dict[str, Tensor]:
    found = load_file(store / stage.key / "weights.safetensors")
    return {name.removeprefix(f"{which}.student."): value for name, value in found.items() if name.startswith(f"{which}.")}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def by_score(store: Path, *stages: Stage) -> tuple[Stage, Stage]:
    """The better and the worse one of two stages that must not be equally good."""
    better, worse = sorted(stages, key=lambda stage: -score(store, stage))
    assert score(store, better) > score(store, worse)
    return better, worse


def learned_masks(store: Path, stage: Stage, teacher: Stage) -> dict[int, np.ndarray]:
    """The pseudo-masks that `stage` would learn from the best weights of `teacher`."""
    pack, splits = tiny.opened()
    given = load_file(store / teacher.key / "weights.safetensors")
    found = dict(
        zip(
            splits.training.tolist(),
            (
                (tile.mask, tile.confidence)
                for tile in pseudo_masks(teacher, given, "best.student.", pack, splits.training, tiny.CPU)
            ),
            strict=True,
        )
    )
    masks, confidences = ({row: pair[i] for row, pair in found.items()} for i in (0, 1))
    return dict(stage.rule.needs.masks.keep(masks, confidences))


def same_masks(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(mask, other[row]) for row, mask in one.items())


def test_the_two_models_start_and_end_differently(trained: Path) -> None:
    stages = named()
    networks = [StageRun(stages[name], tiny.place(trained)).trainer for name in ("a0", "b0")]
    assert not tiny.flat(networks[0].state.student).equal(tiny.flat(networks[1].state.student))
    assert set(networks[0].batches.labelled.tolist()) != set(networks[1].batches.labelled.tolist())
    assert not equal(weights(trained, stages["a0"]), weights(trained, stages["b0"]))


def test_phase_1_trains_the_worse_model_on_masks_of_the_better_one_and_then_the_other_way(trained: Path) -> None:
    stages = named()
    better, worse = by_score(trained, stages["a0"], stages["b0"])
    run = StageRun(stages["follower1"], tiny.place(trained)).trainer
    assert equal(run.state.student.state_dict(), weights(trained, worse))
    assert same_masks(run.learned.masks, learned_masks(trained, stages["follower1"], better))
    assert not same_masks(run.learned.masks, learned_masks(trained, stages["follower1"], worse))
    assert run.learned.confidences is not None
    assert not run.optimisers["student"].state

    run = StageRun(stages["leader1"], tiny.place(trained)).trainer
    assert equal(run.state.student.state_dict(), weights(trained, better))
    assert same_masks(run.learned.masks, learned_masks(trained, stages["leader1"], stages["follower1"]))


def test_symmetric_phase_1_shares_the_first_three_stages_and_then_learns_from_the_pretrained_model(trained: Path) -> None:
    stages = named(replace(SHORT, update="symmetric"))
    assert [stages[name].key == named()[name].key for name in ("a0", "b0", "follower1", "leader1")] == [True, True, True, False]
    better, worse = by_score(trained, stages["a0"], stages["b0"])
    run = StageRun(stages["leader1"], tiny.place(trained)).trainer
    assert equal(run.state.student.state_dict(), weights(trained, better))
    assert same_masks(run.learned.masks, learned_masks(trained, stages["leader1"], worse))


def test_phase_2_starts_from_the_own_best_weights_of_phase_1(trained: Path) -> None:
    stages = named()
    for name, teacher in (("follower", "leader1"), ("leader", "follower2")):
        run = StageRun(stages[f"{name}2"], tiny.place(trained)).trainer
        assert equal(run.state.student.state_dict(), weights(trained, stages[f"{name}1"]))
        assert same_masks(run.learned.masks, learned_masks(trained, stages[f"{name}2"], stages[teacher]))


def test_the_last_stage_is_the_better_model_as_it_is(trained: Path) -> None:
    stages = named()
    better, worse = by_score(trained, stages["leader2"], stages["follower2"])
    for which in ("best", "last"):
        assert equal(weights(trained, stages["better"], which), weights(trained, better))
    assert not equal(weights(trained, stages["better"]), weights(trained, worse))
    for split in ("selection", "test"):
        assert score(trained, stages["better"], split) == score(trained, better, split)


def test_a_finished_chain_is_not_trained_again(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semiseg.runner, "StageRun", None)
    for stage in named().values():
        run_stage(stage, tiny.place(trained))


def test_masks_of_unlabelled_images_alone_are_ranked_without_those_of_labelled_ones(trained: Path) -> None:
    """Those of labelled images stay whole; they are cut out, but not learned."""
    stages = named(replace(SHORT, pseudo_on="unlabelled"))
    better, _ = by_score(trained, stages["a0"], stages["b0"])
    run = StageRun(stages["follower1"], tiny.place(trained)).trainer
    _, splits = tiny.opened()
    every = {**learned_masks(trained, replace(stages["follower1"], rule=replace(stages["follower1"].rule, share=1.0)), better)}
    levels = run.learned.confidences
    assert levels is not None
    assert run.learned.masks is not None
    alone = [row for row in splits.training.tolist() if row not in splits.labelled]
    expected = stages["follower1"].rule.filtered(*({row: maps[row] for row in alone} for maps in (every, levels)))
    assert same_masks(dict(run.learned.masks), {row: expected.get(row, every[row]) for row in splits.training.tolist()})
    assert any((np.asarray(expected[row]) == IGNORE).any() for row in alone)


ONLINE = replace(SHORT, masks="online", scope="batch", ranking="global", reduction="separate", pseudo_on="unlabelled")


def test_masks_made_online_are_those_of_the_picked_teacher_as_it_was(trained: Path) -> None:
    stages = named(ONLINE)
    better, worse = by_score(trained, stages["a0"], stages["b0"])
    run = StageRun(stages["follower1"], tiny.place(trained)).trainer
    assert equal(run.state.student.state_dict(), weights(trained, worse))
    assert (run.learned.masks, run.learned.confidences) == (None, None)
    for _ in range(3):
        run.train_step()
    assert equal(run.state.fixed["teacher"].state_dict(), weights(trained, better))
    assert not run.state.fixed["teacher"].training
    assert {name.split(".")[1] for name in run.finish().weights} == {"student"}


def test_a_phase_with_masks_made_online_killed_after_a_checkpoint_ends_with_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    stage = named(ONLINE)["follower1"]
    run_stage(stage, tiny.place(trained))
    for teacher in stage.teachers:
        shutil.copytree(trained / teacher.key, tmp_path / teacher.key)
    ended_early(stage, tmp_path)
    assert digests(tmp_path, stage) == digests(trained, stage)


def test_models_of_the_same_start_begin_with_equal_weights_and_end_differently(tmp_path: Path) -> None:
    stages = named(replace(SHORT, same_start=True))
    for name in ("start", "a0", "b0"):
        run_stage(stages[name], tiny.place(tmp_path))
    first, second = (StageRun(replace(stages[name], seed=0), tiny.place(tmp_path)).trainer for name in ("a0", "b0"))
    assert equal(first.state.student.state_dict(), weights(tmp_path, stages["start"]))
    assert tiny.flat(first.state.student).equal(tiny.flat(second.state.student))
    assert not equal(weights(tmp_path, stages["a0"]), weights(tmp_path, stages["b0"]))


def test_each_phase_is_led_by_the_model_that_was_better_before_it(trained: Path) -> None:
    stages = named(replace(SHORT, teacher_first="each_phase"))
    assert [stages[name].key == named()[name].key for name in ("follower1", "leader1", "follower2")] == [True, True, False]
    better, worse = by_score(trained, stages["leader1"], stages["follower1"])
    run = StageRun(stages["follower2"], tiny.place(trained)).trainer
    assert equal(run.state.student.state_dict(), weights(trained, worse))
    assert same_masks(run.learned.masks, learned_masks(trained, stages["follower2"], better))


def digests(store: Path, stage: Stage) -> dict[str, str]:
    kept = [path for path in (store / stage.key).iterdir() if path.suffix not in (".json", ".planes")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def ended_early(stage: Stage, store: Path) -> None:
    """Four steps, a checkpoint, and the rest in another process's place."""
    killed = StageRun(stage, tiny.place(store))
    for _ in range(4):
        killed.advance(0.0)
    killed.checkpoint()
    again = StageRun(stage, tiny.place(store))
    assert again.resumed_at == 4
    while not again.finished:
        again.advance(60)


def test_a_phase_killed_after_a_checkpoint_ends_with_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    stage = named()["leader1"]
    for teacher in stage.teachers:
        shutil.copytree(trained / teacher.key, tmp_path / teacher.key)
    ended_early(stage, tmp_path)
    assert digests(tmp_path, stage) == digests(trained, stage)
