"""The border of pets' trimaps as pet, ignored or a class; rows that ignore it learn other masks and are scored on the study's."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from data_trees import build_pets, shared
from PIL import Image

from semiseg.config import Data, SettingError
from semiseg.data import IGNORE, Pack, load, split
from semiseg.data.known import published
from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, Supervised
from semiseg.results import read_table
from semiseg.runner import Place, StageRun, run_stage, split_of

IDS = {"border_is_pet": [1, 0, 1], "border_ignored": [1, 0, IGNORE], "three_classes": [1, 0, 2]}
"""Of the trimap's pet, background and border."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(name="oxford_pets", root=build_pets(tmp_path_factory.mktemp("pets") / "tree"), size=(20, 24), labelled=6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def place_of(data: Data, cache: Path, store: Path = Path("unused")) -> Place:
    return Place(data=data, cache=cache, store=str(store))


def trimap(data: Data, name: str) -> np.ndarray:
    assert data.root is not None
    with Image.open(data.root / "annotations" / "trimaps" / f"{name}.png") as image:
        return np.array(image)


def masks_are(pack: Pack, rows: Any, data: Data, border: str) -> bool:
    """Whether the masks of the rows are the trimaps with that reading of the border."""
    ids = np.array([0, *IDS[border]], np.uint8)
    return all(np.array_equal(pack.mask(row), ids[trimap(data, pack.ids[row])]) for row in rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("border", IDS)
def test_the_border_is_what_is_said(border: Any, data: Data, cache: Path) -> None:
    pack = load(replace(data, trimap=border), cache)
    assert masks_are(pack, range(len(pack)), data, border)
    assert pack.classes == ("background", "pet", "border")[: 3 if border == "three_classes" else 2]
    assert len(pack.palette) == len(pack.classes)


def test_variants_of_before_are_the_same_packs(data: Data, cache: Path) -> None:
    def path(variant: tuple[str, ...] = (), border: Any = None) -> Path:
        return load(replace(data, variant=variant, trimap=border), cache).path

    assert path() == path(border="border_is_pet") == path(("border_ignored",), "border_is_pet")
    assert path(("border_ignored",)) == path(border="border_ignored")
    assert path(("border_ignored", "split_official")) == path(("split_official",), "border_ignored")
    assert len({path(), path(("border_ignored",)), path(border="three_classes")}) == 3


def test_a_row_learns_its_own_masks_and_is_scored_on_those_of_the_study(data: Data, cache: Path) -> None:
    place = place_of(data, cache)
    plain, plain_parts = place.open()
    pack, parts = place.open(trimap="border_ignored")
    for one, other in zip(parts[:5], plain_parts[:5], strict=True):
        np.testing.assert_array_equal(one, other)
    scored = [*parts.selection, *parts.test]
    for found in (pack, pickle.loads(pickle.dumps(pack))):
        assert masks_are(found, parts.training, data, "border_ignored")
        assert masks_are(found, scored, data, "border_is_pet")
        np.testing.assert_array_equal(found.counts[scored], plain.counts[scored])
        assert (found.counts[parts.training, -1] > 0).all()
        assert found.scored == plain.fingerprint != found.fingerprint
    assert plain.scored == ""
    assert masks_are(plain, range(len(plain)), data, "border_is_pet")  # the pack that it was made of is untouched


def test_keys_tell_what_is_learned_and_what_is_scored(data: Data, cache: Path) -> None:
    ignored = place_of(replace(data, trimap="border_ignored"), cache)
    plain = place_of(data, cache)
    opened = [plain.open(), plain.open(trimap="border_ignored"), ignored.open(), ignored.open(trimap="border_is_pet")]
    opened += [plain.open(trimap="border_is_pet"), ignored.open(trimap="border_ignored")]
    keys = [Supervised().stages(split_of(*one), tiny.NET, tiny.TRAIN, 0)[0].key for one in opened]
    assert len(set(keys[:4])) == 4
    assert keys[4:] == [keys[0], keys[2]]


def test_a_stage_is_opened_with_the_masks_it_was_planned_with_and_scored_alike(data: Data, cache: Path, tmp_path: Path) -> None:
    """Weights that do not move: the scores of the two rows are the same number."""
    place = place_of(data, cache, tmp_path)
    train = replace(tiny.TRAIN, steps=1, evaluations=1, crop=(20, 24), learning_rate=1e-12)
    scores = []
    for changes in ({}, {"trimap": "border_ignored"}):
        (stage,) = MeanTeacher(ema=Ema(every="step")).stages(split_of(*place.open(**changes)), tiny.NET, train, 0)
        assert masks_are(
            StageRun(stage, place).trainer.pack, place.open()[1].labelled, data, changes.get("trimap", "border_is_pet")
        )
        run_stage(stage, place)
        lines = read_table(place.open_store().folder(stage.key), "metrics").to_pylist()
        scores.append([line["value"] for line in lines if line["role"] == "student" and line["metric"] in ("miou", "accuracy")])
    np.testing.assert_allclose(*scores, rtol=1e-3)


def test_three_classes_are_the_whole_studys(data: Data, cache: Path) -> None:
    said = (
        "oxford_pets: got a row with the classes background, pet, border; allowed: the classes background, pet of the study, as all"
    )
    with pytest.raises(SettingError, match=f"^{said}"):
        place_of(data, cache).open(trimap="three_classes")
    three = replace(data, trimap="three_classes")
    assert place_of(three, cache).open(labelled=3)[0].classes == ("background", "pet", "border")
    about = published(replace(three, root=None))
    assert about is not None
    assert about.classes == 3


def test_it_is_for_pets_alone(cache: Path) -> None:
    with pytest.raises(SettingError, match="^data.trimap: got 'border_ignored'; allowed: for oxford_pets$"):
        load(Data(trimap="border_ignored"), cache)
    with pytest.raises(
        SettingError, match="^data.trimap: got 'border'; allowed: border_is_pet, border_ignored, three_classes, None$"
    ):
        Data(trimap="border")  # type: ignore[arg-type]


def test_the_shared_pets_in_three_classes(cache: Path) -> None:
    data = Data(name="oxford_pets", root=shared("oxford-iiit-pet"), size=(32, 32), trimap="three_classes")
    pack = load(data, cache)
    share = pack.counts.sum(0) / pack.counts.sum()
    assert share[3] == 0
    assert 0.08 < share[2] < 0.2  # the border is about an eighth of the pixels
    assert len(split(pack, data).training) == 315
