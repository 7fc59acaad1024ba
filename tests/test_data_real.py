"""Oxford-IIIT Pet, CIFAR-10 and CamVid: what their files say, how they are split, what is refused in one line.

Small trees of the same file formats stand in for the real ones; the shared real files are counted without a loader where they are.
"""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_trees import (
    build_cifar10,
    build_pets,
    decoded,
    label_counts,
    load_twice,
    nested_and_apart,
    python_2_batch,
    shared,
    source_of,
    splits_of,
)
from PIL import Image

from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Source, load, split
from semiseg.data.oxford_pets import draw_splits
from semiseg.data.scgm import scans_in, slices_in

# ---- Oxford-IIIT Pet


def test_pets_listed_with_a_trimap_are_split_70_20_10_by_the_split_seed(tmp_path: Path) -> None:
    splits = splits_of(source_of("oxford_pets", build_pets(tmp_path)))
    assert set(splits) == {f"pet_{i}" for i in range(40)}  # pet_2 comes from test.txt; neither `bare` nor `unlisted`
    assert [list(splits.values()).count(name) for name in ("train", "selection", "test")] == [28, 8, 4]
    assert splits == splits_of(source_of("oxford_pets", tmp_path))
    assert splits != splits_of(source_of("oxford_pets", tmp_path, seed=1))


def test_pets_are_read_by_content_and_the_border_belongs_to_the_pet(tmp_path: Path) -> None:
    source = source_of("oxford_pets", build_pets(tmp_path))
    for name in ("pet_0", "pet_1", "pet_2"):
        image, mask = decoded(source, name)
        with (
            Image.open(tmp_path / "images" / f"{name}.jpg") as photo,
            Image.open(tmp_path / "annotations" / "trimaps" / f"{name}.png") as trimap,
        ):
            assert photo.format == {"pet_0": "PNG", "pet_1": "GIF", "pet_2": "JPEG"}[name]
            np.testing.assert_array_equal(image, np.array(photo.convert("RGB")))
            np.testing.assert_array_equal(mask, (np.array(trimap) != 2).astype(np.uint8))


def test_pets_may_lie_in_the_folder_of_torchvision_under_the_root(tmp_path: Path) -> None:
    build_pets(tmp_path / "oxford-iiit-pet")
    assert splits_of(source_of("oxford_pets", tmp_path)) == splits_of(source_of("oxford_pets", tmp_path / "oxford-iiit-pet"))


def pets(root: Path, *variant: str, seed: int = 0) -> Source:
    return DATASETS["oxford_pets"].source(Data(name="oxford_pets", root=root, variant=variant, split_seed=seed))


def test_the_border_of_a_pet_may_be_ignored(tmp_path: Path) -> None:
    source = pets(build_pets(tmp_path), "border_ignored")
    _, mask = decoded(source, "pet_4")
    with Image.open(tmp_path / "annotations" / "trimaps" / "pet_4.png") as trimap:
        assert mask.tolist() == [[{1: 1, 2: 0, 3: 255}[value] for value in line] for line in np.array(trimap).tolist()]
    assert splits_of(source) == splits_of(pets(tmp_path))
    assert source.stamp != pets(tmp_path).stamp


def test_pets_of_paper_002_are_split_in_its_shares(tmp_path: Path) -> None:
    splits = splits_of(pets(build_pets(tmp_path, images=200), "split_feng2020_dmt"))
    assert [list(splits.values()).count(name) for name in ("train", "selection", "test")] == [152, 8, 40]
    assert splits == splits_of(pets(tmp_path, "border_ignored", "split_feng2020_dmt"))
    assert splits != splits_of(pets(tmp_path, "split_feng2020_dmt", seed=1))
    names = list(draw_splits([str(i) for i in range(7393)], Data(variant=("split_feng2020_dmt",))).values())
    assert [names.count(name) for name in ("train", "selection", "test")] == [5913 - 295, 295, 1480]  # 295: 5 % of 5913


def test_the_official_lists_of_pets_may_decide_and_selection_is_carved(tmp_path: Path) -> None:
    root = build_pets(tmp_path / "pets")
    splits = splits_of(pets(root, "split_official"))
    lines = {name: (root / "annotations" / f"{name}.txt").read_text().splitlines()[1:] for name in ("trainval", "test")}
    expected = {line.split()[0]: {"trainval": "train"}.get(name, name) for name, of in lines.items() for line in of}
    del expected["bare"]  # has no trimap
    assert splits == expected
    pack = load(Data(name="oxford_pets", root=root, variant=("split_official",)), tmp_path / "cache")
    trained = list(expected.values()).count("train")
    for selection in (0.25, 3):
        parts = split(pack, Data(selection=selection))
        carved = int(0.25 * trained) if selection == 0.25 else 3
        assert (len(parts.selection), len(parts.training)) == (carved, trained - carved)
    (root / "annotations" / "test.txt").write_text("pet_3\n")
    with pytest.raises(SettingError, match=r"annotations: got pet_3 in trainval.txt and test.txt; allowed: one of them$"):
        pets(root, "split_official")
    (root / "annotations" / "test.txt").unlink()
    with pytest.raises(
        SettingError, match=r"annotations/test.txt: cannot be read \(no such file\); allowed: a list, for split_official$"
    ):
        pets(root, "split_official")
    assert len(pets(root).items) == 39  # without pet_2, which was in test.txt only


def test_pets_elsewhere_and_broken_trimaps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=r"data.root: got '.*empty' without annotations/list.txt; allowed: a folder with"):
        source_of("oxford_pets", tmp_path / "empty")
    root = build_pets(tmp_path / "pets")
    Image.fromarray(np.full((20, 24), 4, np.uint8)).save(root / "annotations" / "trimaps" / "pet_3.png")
    with pytest.raises(SettingError, match=r"pet_3.png: got mask value 4; allowed: 1, 2, 3$"):
        load(Data(name="oxford_pets", root=root), tmp_path / "cache")
    (root / "images" / "pet_3.jpg").unlink()
    with pytest.raises(SettingError, match=r"pet_3.jpg: cannot be read \(No such file or directory\)"):
        source_of("oxford_pets", root)


# ---- CIFAR-10


def test_cifar_images_are_rows_of_red_green_and_blue_planes_and_masks_are_constant(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    build_cifar10(tmp_path)
    pixels = np.random.default_rng(3).integers(0, 256, (10, 3072), np.uint8)
    (folder / "data_batch_2").write_bytes(python_2_batch(pixels, [*range(9, -1, -1)]))
    for root in (tmp_path, folder):
        source = source_of("cifar10", root)
        image, mask = decoded(source, "data_batch_2/0007")
        assert all(
            image[row, column, channel] == pixels[7, 1024 * channel + 32 * row + column]
            for row in range(32)
            for column in range(32)
            for channel in range(3)
        )
        np.testing.assert_array_equal(mask, np.full((32, 32), 2, np.uint8))
        assert splits_of(source)["test_batch/0000"] == "test"
        assert list(splits_of(source).values()).count("train") == 4 * 20 + 10


def test_cifar_is_image_level_and_its_labelled_subsets_are_nested(tmp_path: Path) -> None:
    pack = load(Data(name="cifar10", root=build_cifar10(tmp_path, images=40)), tmp_path / "cache")
    assert pack.image_level
    assert len(split(pack, Data()).labelled) == 100
    nested_and_apart(pack)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def test_a_pickle_that_asks_for_anything_else_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = build_cifar10(tmp_path) / "cifar-10-batches-py" / "data_batch_3"
    monkeypatch.chdir(tmp_path)
    file.write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}, protocol=3))
    with pytest.raises(SettingError, match=r"data_batch_3: cannot be read \(it asks for (posix|nt).mkdir\); allowed: a batch of"):
        source_of("cifar10", tmp_path)
    assert not Path("ran").exists()
    pickle.loads(file.read_bytes())  # so the pickle does run elsewhere
    assert Path("ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"junk", "cannot be read"),
        (pickle.dumps([1, 2]), "cannot be read"),
        (pickle.dumps({b"data": 3}), "cannot be read"),
        (python_2_batch(np.zeros((2, 3072), np.uint8), [0, 10]), "got other arrays than CIFAR-10's"),
        (python_2_batch(np.zeros((2, 3072), np.uint8), [0]), "got other arrays than CIFAR-10's"),
        (python_2_batch(np.zeros((2, 3071), np.uint8), [0, 1]), "got other arrays than CIFAR-10's"),
        (python_2_batch(np.zeros((2, 3072), np.uint8), [0, 1])[:-100], "cannot be read"),
    ],
)
def test_a_file_that_is_no_batch_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (build_cifar10(tmp_path) / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(SettingError, match=f"test_batch: {message}"):
        source_of("cifar10", tmp_path)


def test_a_batch_that_is_not_there_is_named(tmp_path: Path) -> None:
    (build_cifar10(tmp_path) / "cifar-10-batches-py" / "data_batch_5").unlink()
    with pytest.raises(SettingError, match=r"data_batch_5: cannot be read \(.*No such file.*\)"):
        source_of("cifar10", tmp_path)


# ---- CamVid


def test_camvid_with_its_test_images_takes_val_for_selection(tmp_path: Path) -> None:
    mask = np.eye(8, 9, dtype=np.uint8)
    for name in ("train", "val", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}annot").mkdir()
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / name / "a.png")
        Image.fromarray(mask * 11).save(tmp_path / f"{name}annot" / "a.png")
        (tmp_path / f"{name}.txt").write_text(f"/SegNet/CamVid/{name}/a.png /SegNet/CamVid/{name}annot/a.png\n")
    source = DATASETS["camvid"].source(Data(name="camvid", root=tmp_path))
    assert {item.id: item.split for item in source.items} == {"train/a": "train", "val/a": "selection", "test/a": "test"}
    (tmp_path / "test" / "a.png").unlink()
    source = DATASETS["camvid"].source(Data(name="camvid", root=tmp_path))
    assert {item.id: item.split for item in source.items} == {"train/a": "train", "val/a": "test"}
    Image.fromarray(mask * 12).save(tmp_path / "trainannot" / "a.png")
    with pytest.raises(SettingError, match=r"trainannot/a.png: got mask value 12; allowed: 0, 1, .*11 \(ignore\), 255 \(ignore\)$"):
        source.read(source.items[0])
    (tmp_path / "val" / "a.png").unlink()
    with pytest.raises(SettingError, match=r"val/a.png: cannot be read \(No such file or directory\)"):
        load(Data(name="camvid", root=tmp_path), tmp_path / "cache")
    (tmp_path / "val.txt").write_text("a b c\n")
    with pytest.raises(SettingError, match=r"val.txt, line 1: got 'a b c'; allowed: an image path and a mask path"):
        load(Data(name="camvid", root=tmp_path), tmp_path / "cache")


# ---- the shared real files


def test_the_shared_frames_of_camvid_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("camvid")
    expected = json.loads((root / "stats.json").read_text())["expect"]
    pack = load_twice(Data(name="camvid", root=root, size="native"), tmp_path)
    for theirs, ours in (("train", "train"), ("val", "test")):
        assert pack.split.count(ours) == expected[theirs]["images"]
        counts = label_counts(pack, ours)
        assert counts.sum() == expected[theirs]["pixels"]
        for value, share in expected[theirs]["frequency"].items():
            assert counts[255 if value == "11" else int(value)] / counts.sum() == pytest.approx(share, abs=1e-6)
    assert split(pack, Data(name="camvid")).labelled.size == 36
    nested_and_apart(pack)


def test_the_shared_spinal_cords_are_those_counted_without_a_loader() -> None:
    root = shared("spinal_gm")
    pytest.importorskip("nibabel")
    expected = json.loads((root / "stats.json").read_text())["expect"]
    scans = scans_in(root)
    for name, found in (("labelled", [s for s in scans if s.masks]), ("unlabelled", [s for s in scans if not s.masks])):
        slices = [slices_in(scan.image) for scan in found]
        assert len(found) == expected[name]["images"]
        assert sum(len(scan.masks) for scan in found) == expected[name]["pairs"]
        assert [min(slices), max(slices)] == [expected[name][f"shape_{which}"][2] for which in ("min", "max")]


def test_the_shared_pets_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("oxford-iiit-pet")
    expected = json.loads((root / "stats.json").read_text())["expect"]["all"]
    pack = load_twice(Data(name="oxford_pets", root=root, size="native", variant=("border_ignored",)), tmp_path)
    assert len(pack) == expected["images"] - 1 == 450  # Abyssinian_34 is in no list; its trimap is background only
    assert [pack.split.count(name) for name in ("train", "selection", "test")] == [315, 90, 45]
    counts = label_counts(pack)
    with Image.open(root / "annotations" / "trimaps" / "Abyssinian_34.png") as trimap:
        counts[0] += trimap.width * trimap.height
    assert counts.sum() == expected["pixels"]
    for value, i in {"1": 1, "2": 0, "3": 255}.items():
        assert counts[i] / counts.sum() == pytest.approx(expected["frequency"][value], abs=1e-6)
    nested_and_apart(pack)
    breeds = {name.rsplit("_", 1)[0] for name in pack.ids}
    tested = {pack.ids[row].rsplit("_", 1)[0] for row in range(len(pack)) if pack.split[row] == "test"}
    assert len(breeds) == 3
    assert tested == breeds


@pytest.mark.parametrize(("variant", "counts"), [("split_feng2020_dmt", [342, 18, 90]), ("split_official", [300, 0, 150])])
def test_the_shared_pets_may_be_split_otherwise(variant: str, counts: list[int]) -> None:
    splits = list(splits_of(pets(shared("oxford-iiit-pet"), variant)).values())
    assert [splits.count(name) for name in ("train", "selection", "test")] == counts


def test_the_shared_cifar_images_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("cifar10_small")
    expected = json.loads((root / "stats.json").read_text())["expect"]
    pack = load_twice(Data(name="cifar10", root=root), tmp_path)
    for name in ("train", "test"):
        rows = [row for row in range(len(pack)) if pack.split[row] == name]
        assert len(rows) == expected[name]["images"]
        masks = [pack.mask(row) for row in rows]
        assert all(mask is not None and (mask == mask[0, 0]).all() for mask in masks)
        labels = [int(mask[0, 0]) for mask in masks if mask is not None]
        assert {str(i): labels.count(i) for i in range(10)} == expected[name]["labels"]
    nested_and_apart(pack)
