"""Cityscapes: 34 labels to 19 classes as torchvision's table has them, the splits, the ego vehicle, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_trees import build_cityscapes, decoded, label_counts, nested_and_apart, shared, source_of, splits_of
from PIL import Image
from torchvision.datasets import Cityscapes

from semiseg.config import Data, SettingError
from semiseg.data import load, split

NAME = "train/aachen/aachen_000002_000019"
TABLE = {label.id: label for label in Cityscapes.classes}


def raw(root: Path, name: str = NAME) -> tuple[np.ndarray, np.ndarray]:
    """Image and label ids as Pillow reads them."""
    with Image.open(root / f"leftImg8bit/{name}_leftImg8bit.png") as image, Image.open(labels(root, name)) as mask:
        return np.array(image), np.array(mask)


def labels(root: Path, name: str = NAME) -> Path:
    return root / f"gtFine/{name}_gtFine_labelIds.png"


def true_ids(mask: np.ndarray) -> np.ndarray:
    """Train ids by torchvision's table, pixel by pixel; what it has as -1 is 255 in a byte."""
    of = {label.id % 256: label.train_id % 256 for label in TABLE.values()}
    return np.array([[of[value] for value in row] for row in mask.tolist()], np.uint8)


def test_classes_are_those_of_torchvisions_table_in_the_order_of_train_ids(tmp_path: Path) -> None:
    source = source_of("cityscapes", build_cityscapes(tmp_path))
    scored = sorted((label for label in TABLE.values() if 0 <= label.train_id < 255), key=lambda label: label.train_id)
    assert source.classes == tuple(label.name for label in scored)
    assert source.palette == tuple(label.color for label in scored)
    assert len(source.classes) == 19
    assert source.default_size == (512, 1024)
    assert source.default_labelled == 100


def test_train_is_for_training_val_for_testing_and_test_is_not_used(tmp_path: Path) -> None:
    splits = splits_of(source_of("cityscapes", build_cityscapes(tmp_path)))
    train = [f"train/{city}/{city}_{i:06d}_000019" for city, count in (("aachen", 5), ("bochum", 3)) for i in range(count)]
    assert splits == dict.fromkeys(train, "train") | {f"val/lindau/lindau_{i:06d}_000019": "test" for i in range(4)}


def test_every_label_becomes_the_train_id_of_torchvisions_table(tmp_path: Path) -> None:
    source = source_of("cityscapes", build_cityscapes(tmp_path))
    for item in source.items:
        image, mask = decoded(source, item.id)
        photo, values = raw(tmp_path, item.id)
        assert set(values.ravel().tolist()) == {*range(34), 255}
        np.testing.assert_array_equal(image, photo)
        np.testing.assert_array_equal(mask, true_ids(values))


def test_train_ids_are_read_where_there_are_no_label_ids(tmp_path: Path) -> None:
    expected = true_ids(raw(build_cityscapes(tmp_path))[1])
    other = tmp_path / f"gtFine/{NAME}_gtFine_labelTrainIds.png"
    Image.fromarray(np.full_like(expected, 3)).save(other)
    source = source_of("cityscapes", tmp_path)
    np.testing.assert_array_equal(decoded(source, NAME)[1], expected)  # label ids go first
    Image.fromarray(expected).save(other)
    labels(tmp_path).unlink()
    without = source_of("cityscapes", tmp_path)
    np.testing.assert_array_equal(decoded(without, NAME)[1], expected)
    assert without.stamp != source.stamp
    Image.fromarray(np.full_like(expected, 19)).save(other)
    with pytest.raises(SettingError, match=r"labelTrainIds.png: got mask value 19; allowed: 0, 1, .*18, 255 \(ignore\)$"):
        decoded(without, NAME)


def test_ego_black_paints_the_ego_vehicle_of_every_split_and_nothing_else(tmp_path: Path) -> None:
    data = Data(name="cityscapes", root=build_cityscapes(tmp_path / "tree"), size="native", variant=("ego_black",))
    black, plain = load(data, tmp_path), load(replace(data, variant=()), tmp_path)
    assert black.fingerprint != plain.fingerprint
    for row, name in enumerate(plain.ids):
        ego = raw(tmp_path / "tree", name)[1] == 1
        assert 0 < ego.sum() < ego.size
        assert not black.image(row)[ego].any()
        assert plain.image(row)[ego].any()
        np.testing.assert_array_equal(black.image(row)[~ego], plain.image(row)[~ego])
        np.testing.assert_array_equal(black.mask(row), plain.mask(row))


def test_ego_black_needs_label_ids(tmp_path: Path) -> None:
    data = Data(name="cityscapes", root=build_cityscapes(tmp_path), variant=("ego_black",))
    labels(tmp_path).rename(tmp_path / f"gtFine/{NAME}_gtFine_labelTrainIds.png")
    with pytest.raises(SettingError, match=r"labelTrainIds.png: got train ids; allowed: NAME_gtFine_labelIds.png with ego_black, "):
        load(data, tmp_path / "cache")
    with pytest.raises(SettingError, match=r"data.variant: got \('ego_ignored',\); allowed: of ego_black"):
        load(replace(data, variant=("ego_ignored",)), tmp_path / "cache")


def test_files_that_are_missing_damaged_or_elsewhere_are_named(tmp_path: Path) -> None:
    cache, data = tmp_path / "cache", Data(name="cityscapes", root=build_cityscapes(tmp_path / "tree"), size=(12, 24))
    file = labels(tmp_path / "tree")
    whole = file.read_bytes()
    Image.fromarray(np.full((12, 24), 34, np.uint8)).save(file)
    with pytest.raises(SettingError, match=r"aachen_000002_000019_gtFine_labelIds.png: got mask value 34; allowed: 0 \(ignore\), "):
        load(data, cache)
    Image.fromarray(np.zeros((12, 23), np.uint8)).save(file)
    for variant in ((), ("ego_black",)):
        with pytest.raises(SettingError, match=r"aachen_000002_000019_gtFine_labelIds.png: got a mask of 12x23 pixels"):
            load(replace(data, variant=variant), cache)
    file.write_bytes(whole[:60])
    with pytest.raises(SettingError, match=r"aachen_000002_000019_gtFine_labelIds.png: cannot be read"):
        load(data, cache)
    file.unlink()
    with pytest.raises(SettingError, match=r"_gtFine_labelIds.png: cannot be read \(No such file or directory\)"):
        load(data, cache)
    (tmp_path / "tree/leftImg8bit/val").rename(tmp_path / "tree/leftImg8bit/valid")
    with pytest.raises(
        SettingError, match=r"data.root: got '.*tree' without leftImg8bit/val; allowed: a folder with leftImg8bit/ and"
    ):
        load(data, cache)
    (tmp_path / "tree/leftImg8bit/val").mkdir()
    file.write_bytes(whole)
    with pytest.raises(SettingError, match="cityscapes: got no image in split 'test'"):
        load(data, cache)


def test_the_shared_frames_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("camvid_as_cityscapes")
    expected = json.loads((root / "stats.json").read_text())["expect"]
    pack = load(Data(name="cityscapes", root=root, size="native"), tmp_path)
    for theirs, ours in (("train", "train"), ("val", "test")):
        assert pack.split.count(ours) == expected[theirs]["images"]
        counts = label_counts(pack, ours)
        assert counts.sum() == expected[theirs]["pixels"]
        for stats, value_of in (
            (expected[f"{theirs}_trainIds"], lambda value: value),
            (expected[theirs], lambda value: TABLE[value].train_id),
        ):
            shares = np.zeros(256)
            for value, share in stats["frequency"].items():
                shares[value_of(int(value))] += share
            np.testing.assert_allclose(counts / counts.sum(), shares, atol=1e-6)
    nested_and_apart(pack)
    assert split(pack, Data(labelled=10)).selection.size == 4


def test_the_shared_frames_are_the_same_by_label_ids_and_train_ids_and_as_torchvision_reads_them(tmp_path: Path) -> None:
    root = shared("camvid_as_cityscapes")
    pack = load(Data(name="cityscapes", root=root, size="native"), tmp_path)
    for theirs, ours in (("train", "train"), ("val", "test")):
        reader = Cityscapes(str(root), split=theirs, mode="fine", target_type="semantic")
        pairs = {Path(str(name)).name.removesuffix("_leftImg8bit.png"): i for i, name in enumerate(reader.images)}
        rows = [row for row in range(len(pack)) if pack.split[row] == ours]
        assert sorted(pairs) == sorted(pack.ids[row].rpartition("/")[2] for row in rows)
        for row in rows[::5]:
            image, values = (np.array(part) for part in reader[pairs[pack.ids[row].rpartition("/")[2]]])
            np.testing.assert_array_equal(pack.image(row), image)
            np.testing.assert_array_equal(pack.mask(row), true_ids(values))
            with Image.open(root / f"gtFine/{pack.ids[row]}_gtFine_labelTrainIds.png") as mask:
                np.testing.assert_array_equal(pack.mask(row), np.array(mask))
