"""One stage from the plan to the store, without Ray."""

import hashlib
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

import semiseg.provenance
import semiseg.runner
from semiseg.provenance import provenance
from semiseg.pseudo import read_masks
from semiseg.results import SCHEMAS
from semiseg.runner import StageRun, run_stage
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.train import SAMPLES, StageError

CHAIN = tiny.chain()
PICTURES = [
    f"{kind}_{number}.png"
    for kind in ("image", "prediction", "truth")
    for number in range(min(SAMPLES, len(tiny.opened()[1].test)))
]
FILES = sorted([*PICTURES, "curves.parquet", "counts.parquet", "metrics.parquet", "stage.json", "weights.safetensors"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the three stages of the full method."""
    store = tmp_path_factory.mktemp("store")
    for stage in CHAIN:
        run_stage(stage, tiny.place(store))
    return store


def folder(store: Path, stage: Stage) -> Path:
    return Store(str(store), store).folder(stage.key)


def digests(store: Path, stage: Stage) -> dict[str, str]:
    """Hashes of a stage's files without stage.json, which holds times."""
    found = {path.name: path for path in folder(store, stage).iterdir() if path.suffix != ".json" and path.suffix != ".planes"}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def test_a_stage_leaves_weights_numbers_and_pictures(trained: Path) -> None:
    for stage in CHAIN:
        learns = stage.number > 1
        names = [path.name for path in folder(trained, stage).iterdir() if not path.name.startswith(("masks", "quality"))]
        assert sorted(names) == sorted([*FILES, *["pseudo.parquet"] * learns])
        for name, schema in ((name, SCHEMAS[name]) for name in ("metrics", "curves", *["pseudo"] * learns)):
            table = pq.ParquetFile(folder(trained, stage) / f"{name}.parquet").read()
            assert table.schema.equals(schema)
            assert set(table["key"].to_pylist()) == {stage.key}
    assert list(trained.glob("unfinished/*")) == []


def test_stage_json_says_what_was_trained_where_and_how_fast(trained: Path) -> None:
    info = Store(str(trained), trained).info(CHAIN[1].key)
    assert info["settings"] == CHAIN[1].settings()
    assert info["teachers"] == [CHAIN[0].key]
    assert (info["name"], info["evaluated"]) == ("s2", "teacher")
    assert 0 < info["chosen_step"] <= 8
    assert 0 < info["seconds"] < 60
    assert info["started"] < info["ended"]
    assert info["images_per_second"] > 0
    assert info["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0]


def test_a_stage_that_the_store_holds_is_not_trained_again(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semiseg.runner, "StageRun", None)
    for stage in CHAIN:
        run_stage(stage, tiny.place(trained))


def test_the_same_stage_in_another_store_has_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    for stage in CHAIN[:2]:
        run_stage(stage, tiny.place(tmp_path))
        assert digests(tmp_path, stage) == digests(trained, stage)


def test_a_stage_killed_after_a_checkpoint_ends_with_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    stage = CHAIN[1]
    shutil.copytree(trained / CHAIN[0].key, tmp_path / CHAIN[0].key)
    killed = StageRun(stage, tiny.place(tmp_path))
    for _ in range(5):
        killed.advance(0.0)
    killed.checkpoint()
    killed.advance(0.0)  # lost
    again = StageRun(stage, tiny.place(tmp_path, checkpoint_seconds=0.0))
    assert again.resumed_at == 5
    figures = {}
    while not again.finished:
        figures = again.advance(0.0)
    assert (figures["training_step"], figures["steps"]) == (8, 8)
    assert digests(tmp_path, stage) == digests(trained, stage)
    assert list(tmp_path.glob("unfinished/*")) == []


def test_pseudo_masks_are_made_once_from_the_teacher_stages_weights(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (list(folder(trained, stage).glob("*.planes")) for stage in CHAIN[:2])
    assert [path.name for path in (*first, *second)] == ["masks-last-student.planes", "masks-last-teacher.planes"]
    pack, splits = tiny.opened()
    masks, confidences = read_masks(first[0])
    assert confidences is None
    assert masks.keys() == {pack.ids[row] for row in splits.training}
    network = tiny.trainer(CHAIN[0]).state.student
    weights = load_file(folder(trained, CHAIN[0]) / "weights.safetensors")
    network.load_state_dict({n.removeprefix("last.student."): v for n, v in weights.items() if n.startswith("last.")})
    row = int(splits.training[5])
    image = torch.from_numpy(pack.image(row).copy()).permute(2, 0, 1)[None] / 255
    assert (network.eval()(image).argmax(1)[0].numpy() == masks[pack.ids[row]]).mean() > 0.99
    monkeypatch.setattr(semiseg.runner, "pseudo_masks", None)
    StageRun(replace(CHAIN[1], seed=5), tiny.place(trained))  # learns the masks that are there


def test_other_data_than_those_of_the_plan_stop_the_stage(tmp_path: Path) -> None:
    stage = replace(CHAIN[0], split=replace(CHAIN[0].split, fingerprint="other"))
    with pytest.raises(StageError, match=r"s1: the data at .* are not those of the plan \(fingerprint [0-9a-f]{12}\)"):
        run_stage(stage, tiny.place(tmp_path))


def test_a_stage_whose_teacher_is_not_there_says_which(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=CHAIN[0].key):
        run_stage(CHAIN[1], tiny.place(tmp_path))


def test_pictures_hold_the_class_ids_also_of_ignored_pixels(trained: Path) -> None:
    pack, splits = tiny.opened()
    for number in range(4):
        with Image.open(folder(trained, CHAIN[0]) / f"truth_{number}.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), pack.mask(splits.test[number]))
            found = (np.asarray(picture.getpalette("RGB")).reshape(-1, 3)[: len(pack.palette)]).tolist()
            assert found == [list(colour) for colour in pack.palette]
        with Image.open(folder(trained, CHAIN[0]) / f"image_{number}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), pack.image(splits.test[number]))
    mask = pack.mask(splits.test[0])
    assert mask is not None
    assert (mask[:3] == 255).all()


def test_provenance_is_known_where_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage trained without Ray must not fail when it is published."""

    def version(name: str) -> str:
        if name == "ray":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(semiseg.provenance, "version", version)
    assert provenance(tiny.CPU, "abc")["versions"]["torch"] == "1.0"
