"""Quality of the pseudo-masks that a stage learns, as it is published: beside sklearn and scipy, and for stores of before."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from data_trees import build_cifar10
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score
from test_quality import Numbers, by_hand, nearly
from test_report_studies import make_study

from semiseg.batches import unlabelled_rows
from semiseg.config import Data
from semiseg.methods import DMT, OneWay, PseudoLabel
from semiseg.nets import WideResNet
from semiseg.pseudo import network, read_masks
from semiseg.results import read, read_study
from semiseg.runner import Place, StageRun, run_stage, split_of
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.collect import Collector, States
from semiseg.train import Trainer


def published(store: Path, stage: Stage, *, own: bool = False) -> tuple[list[dict[str, Any]], Numbers]:
    """Lines of the table and numbers of the learned masks, or of what the stage's own networks make."""
    table = pq.read_table(store / stage.key / "pseudo.parquet").to_pylist()
    lines = [line for line in table if (line["teacher"] == stage.key) == own]
    return lines, {(line["class"], line["metric"]): line["value"] for line in lines}


def from_weights(store: Path, teacher: Stage, prefix: str, rows: np.ndarray) -> np.ndarray:
    """Probabilities (P,C) of all pixels of the rows."""
    pack, _ = tiny.opened()
    net = network(teacher, pack, tiny.CPU)
    weights = load_file(store / teacher.key / "weights.safetensors")
    net.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)})
    images = torch.stack([torch.from_numpy(pack.image(int(row)).copy()).permute(2, 0, 1) / 255 for row in rows])
    with torch.no_grad():
        return net.eval()(images).softmax(1).movedim(1, -1).reshape(-1, len(pack.classes)).numpy()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Stage, ...]]:
    """A supervised stage and one that learns the sure pixels of its masks."""
    store, stages = tmp_path_factory.mktemp("store"), tiny.chain(PseudoLabel(threshold=0.35))
    for stage in stages:
        run_stage(stage, tiny.place(store))
    return store, stages


def test_the_learned_masks_are_measured_by_the_stage_that_made_them(chain: tuple[Path, tuple[Stage, ...]]) -> None:
    store, (teacher, stage) = chain
    pack, splits = tiny.opened()
    rows = unlabelled_rows(splits)
    lines, found = published(store, stage)
    assert {(line["key"], line["teacher"], line["role"], line["weights"], line["step"]) for line in lines} == {
        (stage.key, teacher.key, "student", "best", 0)
    }
    masks, levels = read_masks(store / teacher.key / "masks-confidences-best-student.planes")
    assert levels is not None
    said, sure = (np.concatenate([of[pack.ids[row]].ravel() for row in rows]) for of in (masks, levels))
    truth = np.concatenate([cast(Any, pack.mask(int(row))).ravel() for row in rows]).astype(int)
    probs = from_weights(store, teacher, "best.student.", rows)
    assert np.array_equal(probs.argmax(1), said)
    expected = by_hand(truth, probs, sure >= math.ceil(0.35 * 65535), tiny.CLASSES)
    assert 0.05 < expected["", "kept"] < 0.95
    nearly(found, expected, images=20, without_mask=0)
    assert not (store / teacher.key / "pseudo.parquet").exists()  # it learns no unlabelled image


@pytest.mark.parametrize("damage", ["missing", "cut", "of other images"])
def test_masks_of_a_store_of_before_are_measured_too(chain: tuple[Path, tuple[Stage, ...]], damage: str) -> None:
    store, (teacher, stage) = chain
    file = store / teacher.key / "quality-best-student.json"
    content = file.read_text()
    whole, found = published(store, stage)[0], StageRun(stage, tiny.place(store))
    if damage == "missing":
        file.unlink()
    else:
        file.write_text(content[:20] if damage == "cut" else content.replace('"ids": "', '"ids": "x'))
    order = ("class", "metric")
    again = sorted(found._quality_of_masks(), key=lambda line: [line[name] for name in order])
    assert [line | {"value": 0} for line in again] == [line | {"value": 0} for line in whole]
    assert [line["value"] for line in again] == pytest.approx([line["value"] for line in whole], abs=1e-3, nan_ok=True)
    assert len(found.notes) == (damage != "missing")


def test_a_study_gathers_the_table_also_from_a_store_of_which_some_stages_have_none(
    chain: tuple[Path, tuple[Stage, ...]], tmp_path: Path
) -> None:
    (teacher, stage), store = chain[1], tmp_path / "store"
    shutil.copytree(chain[0], store)
    plan: Any = SimpleNamespace(stages={one.key: one for one in chain[1]}, chains={("row", 0): chain[1]})
    queue: Any = SimpleNamespace(done={teacher.key, stage.key}, failed={}, skipped={})
    study = read_study(make_study(tmp_path / "other", samples=False))
    Collector(tmp_path / "out", plan, Store(str(store), tmp_path)).write(States.of(queue), study)
    expected = pq.read_table(store / stage.key / "pseudo.parquet").to_pylist()
    assert repr(read(tmp_path / "out").pseudo.to_pylist()) == repr(expected)
    about = json.loads((store / stage.key / "stage.json").read_text())
    del about["files"]["pseudo.parquet"], about["record"]  # as of a store without checksums of records
    (store / stage.key / "stage.json").write_text(json.dumps(about))
    (store / stage.key / "pseudo.parquet").unlink()
    Collector(tmp_path / "out", plan, Store(str(store), tmp_path)).write(States.of(queue), study)
    assert read(tmp_path / "out").pseudo.num_rows == 0


def test_a_share_that_is_learned_is_the_share_that_is_kept(tmp_path: Path) -> None:
    """Of dynamic mutual training: the share is of all training images, and of each class."""
    stages = tiny.chain(DMT(phases=(0.4,), phase_epochs=0.2))
    for stage in stages[:3]:
        run_stage(stage, tiny.place(tmp_path))
    found = published(tmp_path, stages[2])[1]
    masks: Mapping[int, Any] = cast(Any, StageRun(replace(stages[2], seed=5), tiny.place(tmp_path)).trainer.learned.masks)
    rows = unlabelled_rows(tiny.opened()[1])
    assert found["", "kept"] == pytest.approx(np.mean([np.asarray(masks[int(row)]) != 255 for row in rows]), abs=1e-3)
    assert 0.3 < found["", "kept"] < 0.5
    assert found["", "kept_accuracy"] >= found["", "accuracy"]


def test_own_targets_stand_beside_learned_masks(tmp_path: Path) -> None:
    stages = tiny.chain()[:2]
    for stage in stages:
        run_stage(stage, tiny.place(tmp_path))
    learned, own = (published(tmp_path, stages[1], own=own)[1] for own in (False, True))
    assert (learned["", "images"], own["", "images"]) == (20, 16)
    assert learned["", "kept"] == own["", "kept"] == 1.0
    assert learned["", "kept_miou"] == learned["", "miou"]


def test_images_of_one_class_each_are_measured_as_pixels_are(tmp_path: Path) -> None:
    data = Data(name="cifar10", root=build_cifar10(tmp_path / "data"), labelled=20, selection=10)
    place = Place(data=data, cache=tmp_path / "cache", store=str(tmp_path))
    pack, splits = place.open()
    train = replace(tiny.TRAIN, steps=3, evaluations=1, batch_labelled=4, batch_unlabelled=4, crop=(24, 24), score="accuracy")
    first, second = PseudoLabel(threshold=0.1).stages(split_of(pack, splits), WideResNet(width=4, depth=1), train, 0)
    for stage in (first, second):
        run_stage(stage, place)
    found, rows = published(tmp_path, second)[1], unlabelled_rows(splits)
    masks, levels = read_masks(tmp_path / first.key / "masks-confidences-best-student.planes")
    assert levels is not None
    said, sure = ([int(of[pack.ids[row]][0, 0]) for row in rows] for of in (masks, levels))
    truth = [int(cast(Any, pack.mask(int(row)))[0, 0]) for row in rows]
    assert found["", "images"] == len(rows) == 70
    assert found["", "accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["", "kept"] == pytest.approx(np.mean([level >= math.ceil(0.1 * 65535) for level in sure]))
    assert found["", "confidence"] == pytest.approx(np.mean(sure) / 65535, abs=1e-4)
    (stage,) = OneWay().stages(split_of(pack, splits), WideResNet(width=4, depth=1), train, 0)
    trainer = Trainer(stage, pack, splits, tiny.CPU)
    trainer.advance(60)
    assert [line["value"] for line in trainer.progress.targets if line["metric"] == "images"] == [len(trainer.sample)]
