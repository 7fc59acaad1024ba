"""Packing: what it refuses, leaves out, resizes and keeps."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from data_trees import build_folder

from semiseg.config import Data, SettingError
from semiseg.data import Item, Pack, Source, load
from semiseg.data.pack import open_pack


def made(items: Mapping[Item, tuple[np.ndarray, np.ndarray | None] | None]) -> Source:
    """A source of given arrays with two classes."""
    return Source(
        items=tuple(items),
        classes=("a", "b"),
        palette=((0, 0, 0), (255, 255, 255)),
        read=items.__getitem__,
        stamp="stamp",
        default_size=(8, 8),
        default_labelled=1,
    )


IMAGE = np.zeros((8, 9, 3), np.uint8)
MASK = np.eye(8, 9, dtype=np.uint8)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ((IMAGE, MASK * 7), r"^x: got class id 7; allowed: 0\.\.1 or 255 \(ignore\)$"),
        ((IMAGE, None), r"^x: got no mask in split 'train'; allowed: a mask for every train, selection and test image$"),
        ((IMAGE, MASK[:, :8]), r"^x: got a mask of 8x8 pixels \(height x width\); allowed: the size of its image, 8x9$"),
        ((IMAGE.astype(float), MASK), r"^x: got float64 \(8, 9, 3\); allowed: \(H,W,C\) of uint8, uint16, float16, float32$"),
    ],
)
def test_packing_refuses_a_broken_item(broken: tuple[np.ndarray, np.ndarray | None], message: str, tmp_path: Path) -> None:
    source = made({Item("t", "test"): (IMAGE, MASK), Item("y", "train"): (IMAGE, MASK), Item("x", "train"): broken})
    with pytest.raises(SettingError, match=message):
        open_pack(source, "made", None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_packing_refuses_ids_that_occur_twice(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"got the id 't' twice; allowed: unique ids"):
        open_pack(made({Item("t", "test"): (IMAGE, MASK), Item("t", "train"): (IMAGE, MASK)}), "made", None, tmp_path)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_packing_refuses_an_empty_split(missing: str, tmp_path: Path) -> None:
    only = {"train": "test", "test": "train"}[missing]
    with pytest.raises(SettingError, match=f"made: got no image in split '{missing}'; allowed: at least 1"):
        open_pack(made({Item("t", only): (IMAGE, MASK)}), "made", None, tmp_path)


def test_an_item_that_reads_as_nothing_is_left_out_and_must_not_empty_its_split(tmp_path: Path) -> None:
    items = {Item("t", "test"): (IMAGE, MASK), Item("a", "train"): (IMAGE, MASK), Item("b", "train"): None}
    pack = open_pack(made(items), "made", None, tmp_path / "one")
    assert pack.ids == ["t", "a"]
    assert pack.fingerprint == open_pack(made(dict(list(items.items())[:2])), "made", None, tmp_path / "other").fingerprint
    source = dataclasses.replace(made({**items, Item("c", "selection"): None}), stamp="other")
    with pytest.raises(SettingError, match="made: got no image in split 'selection'; allowed: at least 1"):
        open_pack(source, "made", None, tmp_path / "one")


def test_a_pack_says_whether_classes_are_of_images_and_an_older_one_says_no(tmp_path: Path) -> None:
    source = made({Item("t", "test"): (IMAGE, MASK), Item("x", "train"): (IMAGE, MASK)})
    assert open_pack(source, "made", None, tmp_path / "no").image_level is False
    pack = open_pack(dataclasses.replace(source, image_level=True), "made", None, tmp_path / "yes")
    assert pack.image_level is True
    table = pa.ipc.open_file(pack.path).read_all()
    about = json.loads(table.schema.metadata[b"semiseg"])
    del about["image_level"]
    table = table.replace_schema_metadata({"semiseg": json.dumps(about)})
    with pa.ipc.new_file(tmp_path / "old.arrow", table.schema) as writer:
        writer.write_table(table)
    old = Pack(tmp_path / "old.arrow")
    assert old.image_level is False
    np.testing.assert_array_equal(old.image(1), pack.image(1))


def test_native_keeps_every_size_and_a_size_resizes_mask_by_nearest(tmp_path: Path) -> None:
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 10:] = 255
    halves = np.repeat(wide[..., :1] // 255, 1, axis=2)[..., 0]
    source = made({Item("t", "test"): (IMAGE, MASK), Item("w", "train"): (wide, halves)})
    native = open_pack(source, "made", "native", tmp_path)
    assert list(zip(native.heights, native.widths, strict=True)) == [(8, 9), (8, 20)]
    np.testing.assert_array_equal(native.image(1), wide)
    small = open_pack(source, "made", (8, 8), tmp_path)
    np.testing.assert_array_equal(small.mask(1), np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 8, axis=0))
    assert small.image(1).shape == (8, 8, 3)
    assert native.path != small.path


def test_constant_images_have_a_spread_that_can_be_divided_by(tmp_path: Path) -> None:
    pack: Pack = open_pack(made({Item("t", "test"): (IMAGE, MASK), Item("x", "train"): (IMAGE, MASK)}), "made", None, tmp_path)
    np.testing.assert_allclose(pack.std, 1 / 255)


def test_a_pack_of_many_record_batches_equals_one_of_a_single_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"))
    whole = load(data, tmp_path / "whole")
    monkeypatch.setattr("semiseg.data.packing.BATCH_BYTES", 1)
    parts = load(data, tmp_path / "parts")
    assert parts.fingerprint == whole.fingerprint
    for row in range(len(whole)):
        np.testing.assert_array_equal(parts.image(row), whole.image(row))
        assert (parts.mask(row) is None) == (whole.mask(row) is None)
        np.testing.assert_array_equal(parts.mask(row), whole.mask(row))
