"""ACDC: slices and volumes are read as they lie in their files, patients stay together, broken files and lists are refused."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from data_trees import build_acdc, decoded, label_counts, load_twice, save_h5, shared, source_of, splits_of

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Pack, load, split

h5py = pytest.importorskip("h5py")


def patients(pack: Pack, rows: np.ndarray) -> set[str]:
    return {pack.ids[row][: len("patient000")] for row in rows}


def test_a_slice_is_that_of_its_file_to_the_last_bit(tmp_path: Path) -> None:
    source = source_of("acdc", build_acdc(tmp_path))
    for name, file, z in (
        ("patient003_frame02_slice_2", "slices/patient003_frame02_slice_2.h5", ...),
        ("patient011_frame01_slice_1", "patient011_frame01.h5", 0),
        ("patient012_frame02_slice_2", "patient012_frame02.h5", 1),
        ("patient011_frame01_slice_4", "patient011_frame01.h5", 3),
    ):
        image, mask = decoded(source, name)
        with h5py.File(tmp_path / "data" / file) as content:
            assert image.dtype == np.float32
            np.testing.assert_array_equal(image[..., 0], content["image"][z])
            np.testing.assert_array_equal(mask, content["label"][z])


def test_slices_of_the_training_list_are_trained_on_and_those_of_val_tested(tmp_path: Path) -> None:
    splits = splits_of(source_of("acdc", build_acdc(tmp_path)))
    listed = (tmp_path / "train_slices.list").read_text().split()
    assert sorted(name for name, part in splits.items() if part == "train") == sorted(listed)
    tested = [
        f"patient{number:03d}_frame{f}_slice_{z}" for number, z in ((11, 4), (12, 2)) for f in ("01", "02") for z in range(1, z + 1)
    ]
    assert sorted(name for name, part in splits.items() if part == "test") == tested
    assert set(splits.values()) == {"train", "test"}


def test_where_the_volumes_of_test_are_there_val_is_for_selection(tmp_path: Path) -> None:
    root = build_acdc(tmp_path)
    (root / "test.list").write_text("patient013_frame01\n")
    assert set(splits_of(source_of("acdc", root)).values()) == {"train", "test"}
    save_h5(root / "data" / "patient013_frame01.h5", np.zeros((3, 9, 9), np.float32), np.zeros((3, 9, 9), np.uint8))
    splits = splits_of(source_of("acdc", root))
    assert [name for name, part in splits.items() if part == "test"] == [f"patient013_frame01_slice_{z}" for z in (1, 2, 3)]
    assert {name[:10] for name, part in splits.items() if part == "selection"} == {"patient011", "patient012"}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("labelled", [1, 5, 17, 0.05, 0.3, "all"])
def test_as_few_whole_patients_are_labelled_as_hold_the_slices_asked_for(
    labelled: float, seed: int, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    root = tmp_path_factory.getbasetemp() / "acdc"
    pack = load(Data(name="acdc", root=root if root.is_dir() else build_acdc(root)), tmp_path)
    train = [row for row in range(len(pack)) if pack.split[row] == "train"]
    sizes = {name: sum(pack.ids[row].startswith(name) for row in train) for name in patients(pack, np.array(train))}
    parts = split(pack, Data(labelled=labelled, split_seed=seed))
    sides = [patients(pack, rows) for rows in (parts.training, parts.selection, parts.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 12
    chosen = patients(pack, parts.labelled)
    assert len(parts.labelled) == sum(sizes[name] for name in chosen)
    available = len(parts.training)
    wanted = available if labelled == "all" else int(labelled * available) if labelled < 1 else labelled
    assert len(parts.labelled) >= wanted > len(parts.labelled) - max(sizes[name] for name in chosen)
    assert len(parts.selection) == sum(sizes[name] for name in sides[1]) >= len(train) // 10
    # a run names a subset by its size
    np.testing.assert_array_equal(split(pack, Data(labelled=len(parts.labelled), split_seed=seed)).labelled, parts.labelled)


def test_the_labelled_patients_are_nested_and_drawn_with_the_split_seed(tmp_path: Path) -> None:
    pack = load(Data(name="acdc", root=build_acdc(tmp_path / "tree")), tmp_path)
    most = len(split(pack, Data(labelled="all")).labelled)
    every = [split(pack, Data(labelled=count)) for count in range(1, most + 1)]
    assert all(set(one.labelled) <= set(other.labelled) for one, other in pairwise(every))
    assert len({one.labelled_hash for one in every}) == 9  # patients left beside the one for selection
    firsts = {frozenset(patients(pack, split(pack, Data(labelled=1, split_seed=seed)).labelled)) for seed in range(30)}
    assert len(firsts) > 5


def test_the_first_patients_of_the_list_are_labelled_as_in_the_literature(tmp_path: Path) -> None:
    root = build_acdc(tmp_path / "tree")
    listed = (root / "train_slices.list").read_text().split()
    first = [*dict.fromkeys(name[: len("patient000")] for name in listed)]
    for count in (1, 3, 7):
        data = Data(name="acdc", root=root, variant=(f"first_{count}",))
        pack = load(data, tmp_path / "cache")
        for seed in (0, 1):
            parts = split(pack, Data(name="acdc", root=root, split_seed=seed))
            assert patients(pack, parts.labelled) == set(first[:count])
            assert len(parts.labelled) == sum(name[: len("patient000")] in first[:count] for name in listed)
    with pytest.raises(
        SettingError, match=r"^data.variant: got \('first_1', 'first_3'\); allowed: one of first_1, first_3, first_7$"
    ):
        load(Data(name="acdc", root=root, variant=("first_1", "first_3")), tmp_path / "cache")
    few = build_acdc(tmp_path / "few", patients=2)
    with pytest.raises(SettingError, match=r"^data.variant: got \('first_3',\); allowed: at most the 2 patients of the list$"):
        load(Data(name="acdc", root=few, variant=("first_3",)), tmp_path / "cache")


def test_the_slices_of_a_frame_are_a_volume(tmp_path: Path) -> None:
    pack = load(Data(name="acdc", root=build_acdc(tmp_path / "tree")), tmp_path / "cache")
    assert pack.volumes == [name.rpartition("_slice_")[0] for name in pack.ids]
    assert pack.groups == [name.partition("_")[0] for name in pack.ids]


@pytest.mark.parametrize(("count", "slices"), [(1, 32), (3, 68), (7, 136)])
def test_the_first_patients_of_the_shared_hearts_are_as_many_slices_as_ssl4mis_counts(count: int, slices: int) -> None:
    source = DATASETS["acdc"].source(Data(name="acdc", root=shared("acdc70"), variant=(f"first_{count}",)))
    names = [item.id for item in source.items if item.split == "train"]
    assert source.listed == frozenset(names[:slices])
    known = DATASETS["acdc"].changes[f"first_{count}"]
    assert known == {"labelled": slices}


def test_carving_that_leaves_no_patient_to_train_on_is_refused(tmp_path: Path) -> None:
    pack = load(Data(name="acdc", root=build_acdc(tmp_path / "tree", patients=2)), tmp_path)
    count = pack.split.count("train")
    with pytest.raises(SettingError, match=rf"data.selection: got 0.9, which takes {count} of the {count} training images"):
        split(pack, Data(selection=0.9))


def test_lists_and_files_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=r"^data.root: got '\S+empty' without val.list; allowed: a folder with the lists of"):
        source_of("acdc", tmp_path / "empty")
    root = build_acdc(tmp_path / "tree")
    data = Data(name="acdc", root=root)
    image, label = np.zeros((3, 9), np.float32), np.zeros((3, 9), np.uint8)
    slice_file, volume_file = root / "data" / "slices" / "patient001_frame01_slice_1.h5", root / "data" / "patient011_frame01.h5"

    def refused(message: str) -> None:
        with pytest.raises(SettingError, match=message):
            load(data, tmp_path / "cache")

    for image_, label_, message in (
        (image + 1.5, label, r"got float32 values 1.5..1.5; allowed: floating point in 0..1"),
        (image * np.nan, label, r"got float32 values nan..nan"),
        (label, label, r"got uint8 values 0..0"),
        (image, label[:2], r"got a label uint8 \(2, 9\); allowed: whole numbers of the image's shape \(3, 9\)"),
        (image, image, r"got a label float32 \(3, 9\)"),
        (image, label + 4, r"got mask value 4; allowed: 0, 1, 2, 3$"),
        (image[None], label[None], r"got an image of shape \(1, 3, 9\); allowed: one slice"),
    ):
        save_h5(slice_file, image_, label_)
        refused(rf"patient001_frame01_slice_1.h5: {message}")
    with h5py.File(slice_file, "w") as content:
        content["image"] = image
    refused(r"slice_1.h5: cannot be read \(.*label.*\); allowed: an HDF5 file with image and label$")
    slice_file.write_bytes(b"no file of this kind")
    refused(r"slice_1.h5: cannot be read \(.*\); allowed: an HDF5 file with image and label$")
    slice_file.unlink()
    refused(r"slice_1.h5: cannot be read \(No such file or directory\)")
    save_h5(volume_file, image, label)
    refused(r"patient011_frame01.h5: got an image of shape \(3, 9\); allowed: a volume")
    whole = (root / "data" / "patient012_frame01.h5").read_bytes()
    volume_file.write_bytes(whole[: len(whole) // 2])
    refused(r"patient011_frame01.h5: cannot be read \(.*\); allowed: an HDF5 file with image and label$")
    volume_file.unlink()
    refused(r"patient011_frame01.h5: cannot be read \(.*No such file.*\)")
    (root / "val.list").write_text("patient012_frame01\n")
    with (root / "train_slices.list").open("a") as lines:
        lines.write("patient012_frame02_slice_1\n")
    refused(r"tree: got patient012 in two splits; allowed: lists that share no patient$")
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(r"^data.name: got 'acdc' without the library h5py; allowed: after pip install 'semiseg\[mri\]'$")


def test_the_shared_hearts_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("acdc")
    expected = json.loads((root / "stats.json").read_text())["expect"]
    pack = load_twice(Data(name="acdc", root=root, size="native"), tmp_path)
    for theirs, ours in (("train_slices", "train"), ("val_volumes", "test")):
        counts = label_counts(pack, ours)
        assert counts.sum() == expected[theirs]["pixels"]
        assert {str(i): counts[i] / counts.sum() for i in range(4)} == pytest.approx(expected[theirs]["frequency"], abs=1e-6)
    rows = [row for row, part in enumerate(pack.split) if part == "train"]
    assert len(rows) == expected["train_slices"]["images"]
    sizes = np.stack([pack.heights[rows], pack.widths[rows]])
    assert sizes.min(1).tolist() == expected["train_slices"]["shape_min"]
    assert sizes.max(1).tolist() == expected["train_slices"]["shape_max"]
    masks = [pack.mask(row) for row in rows]
    for i, images in expected["train_slices"]["in_n_masks"].items():
        assert sum(mask is not None and bool((mask == int(i)).any()) for mask in masks) == images
    volumes = {pack.ids[row].rpartition("_slice_")[0] for row, part in enumerate(pack.split) if part == "test"}
    assert len(volumes) == expected["val_volumes"]["images"]
    assert len(patients(pack, split(pack, Data()).labelled)) == 1
