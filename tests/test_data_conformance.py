"""Every entry of DATASETS keeps the promises of `Source` and `Pack`."""

import ast
import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from data_trees import SHARED, build_cifar10, build_folder, build_pets, build_scgm
from PIL import Image

import semiseg.data
from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, IGNORE, load, split

BUILDERS = {"folder": build_folder, "oxford_pets": build_pets, "scgm": build_scgm, "cifar10": build_cifar10}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the tests that do not mind an earlier load."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=DATASETS, scope="module")
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Settings under which an entry of DATASETS can be loaded here."""
    if request.param in BUILDERS:
        return Data(name=request.param, root=BUILDERS[request.param](tmp_path_factory.mktemp(request.param) / "tree"))
    if request.param == "synthetic":
        return Data()
    if not (SHARED / request.param).is_dir():
        pytest.skip(f"{SHARED / request.param} is not here")
    return Data(name=request.param, root=SHARED / request.param, size=(24, 32))


def test_items_have_unique_ids_and_known_splits(data: Data) -> None:
    source = DATASETS[data.name](data)
    ids = [item.id for item in source.items]
    assert len(set(ids)) == len(ids)
    assert {item.split for item in source.items} <= {"train", "selection", "test", "unlabelled"}
    assert {"train", "test"} <= {item.split for item in source.items}


def test_images_and_masks_have_the_promised_types_shapes_and_values(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    size = data.size or DATASETS[data.name](data).default_size
    assert len(pack) == len(pack.ids) == len(pack.split) == len(pack.heights) == len(pack.widths)
    assert len(pack.classes) == len(pack.palette) >= 2
    met = set()
    for row in range(len(pack)):
        image, mask = pack.image(row), pack.mask(row)
        assert image.dtype == np.uint8
        assert image.shape == (*size, 3) == (pack.heights[row], pack.widths[row], 3)
        assert (mask is None) == (pack.split[row] == "unlabelled")
        if mask is not None:
            assert mask.dtype == np.uint8
            assert mask.shape == size
            met |= set(np.unique(mask).tolist())
    assert met - {IGNORE} == set(range(len(pack.classes)))


def test_mean_and_std_are_those_of_the_training_images(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    rows = [row for row in range(len(pack)) if pack.split[row] in ("train", "unlabelled")]
    pixels = np.concatenate([pack.image(row).reshape(-1, 3) for row in rows]) / 255
    np.testing.assert_allclose(pack.mean, pixels.mean(0), atol=1e-9)
    np.testing.assert_allclose(pack.std, pixels.std(0), atol=1e-9)


def test_splits_are_disjoint_and_nested(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    few, many, every = (split(pack, dataclasses.replace(data, labelled=labelled)) for labelled in (1, 4, "all"))
    assert set(few.labelled) < set(many.labelled) < set(every.labelled) <= set(many.unlabelled)
    for name in ("unlabelled", "selection", "test"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name))
    parts = [set(part.tolist()) for part in (few.unlabelled, few.selection, few.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(pack)
    assert all(pack.mask(row) is not None for row in every.labelled)
    assert len({few.labelled_hash, many.labelled_hash, every.labelled_hash}) == 3


def test_second_load_decodes_nothing(data: Data, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(data, cache)

    def poisoned(*_: object) -> None:
        raise AssertionError("decoded again")

    real = DATASETS[data.name]
    changes = {"read": poisoned, "discover": poisoned}
    monkeypatch.setitem(DATASETS, data.name, lambda data: dataclasses.replace(real(data), **changes))
    again = load(data, cache)
    assert again.path == first.path
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.image(0), first.image(0))
    with pytest.raises(AssertionError, match="decoded again"):  # so the poison does work
        load(data, tmp_path / "elsewhere")


def test_a_pack_travels_to_another_process_as_its_path(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    sent = pickle.dumps(pack)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).image(1), pack.image(1))


def test_class_names_can_be_given_and_must_be_as_many(data: Data, cache: Path) -> None:
    classes = load(data, cache).classes
    names = tuple(f"renamed {i}" for i in range(len(classes)))
    pack = load(dataclasses.replace(data, classes=names), cache)
    assert pack.classes == names
    assert pack.fingerprint != load(data, cache).fingerprint


def test_pixels_are_views_of_the_mapped_file(cache: Path) -> None:
    pack = load(Data(), cache)
    image = pack.image(0)
    assert not image.flags.owndata
    assert not image.flags.writeable
    maps = Path("/proc/self/maps")  # start-end permissions ... path; Linux only
    if maps.exists():
        lines = [line.split() for line in maps.read_text().splitlines() if line.endswith(str(pack.path))]
        spans = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
        assert any(low <= image.ctypes.data < high for low, high in spans)


def test_unknown_data_set_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data.name: got 'cityscape'; allowed: synthetic, folder, camvid"):
        load(Data(name="cityscape"), tmp_path)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "synthetic"])
def test_a_data_set_on_disk_needs_a_root(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"got None; allowed: data set '\w+' needs --data.root"):
        load(Data(name=name), tmp_path)
    with pytest.raises(SettingError, match="allowed: a folder that exists"):
        load(Data(name=name, root=tmp_path / "nowhere"), tmp_path)


def test_fingerprint_follows_the_pixels_and_not_the_place(tmp_path: Path) -> None:
    root = build_folder(tmp_path / "one")
    first = load(Data(name="folder", root=root), tmp_path / "cache")
    shutil.copytree(root, tmp_path / "two", copy_function=shutil.copyfile)  # new modification times
    moved = load(Data(name="folder", root=tmp_path / "two"), tmp_path / "cache")
    assert moved.fingerprint == first.fingerprint
    for part in ("images", "masks"):
        other = tmp_path / part
        shutil.copytree(root, other)
        with Image.open(other / part / "03.png") as image:
            image.load()
        old = image.getpixel((5, 5))
        image.putpixel((5, 5), (old + 1) % 3 if isinstance(old, int) else (0, 0, 0))
        image.save(other / part / "03.png")
        changed = load(Data(name="folder", root=other, size="native"), tmp_path / "cache")
        assert changed.fingerprint != load(Data(name="folder", root=root, size="native"), tmp_path / "cache").fingerprint


def test_a_changed_file_is_packed_again(tmp_path: Path) -> None:
    root = build_folder(tmp_path / "one")
    first = load(Data(name="folder", root=root), tmp_path / "cache")
    os.utime(root / "masks" / "00.png", ns=(0, 0))
    second = load(Data(name="folder", root=root), tmp_path / "cache")
    assert second.path != first.path
    assert second.fingerprint == first.fingerprint


def test_racing_loads_leave_one_complete_pack_and_nothing_else(tmp_path: Path) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"))
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: load(data, tmp_path / "cache"), range(4)))
    assert len({pack.fingerprint for pack in packs}) == 1
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["pack.arrow"]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_pack_cut_short_is_named(tmp_path: Path) -> None:
    path = load(Data(), tmp_path).path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SettingError, match=r"pack.arrow: not a readable pack .*delete it"):
        load(Data(), tmp_path)


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason=f"{SHARED / 'camvid'} is not here")
def test_camvid_counts_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    stats = json.loads((SHARED / "camvid" / "stats.json").read_text())["expect"]
    pack = load(Data(name="camvid", root=SHARED / "camvid", size="native"), tmp_path)
    for theirs, ours in (("train", "train"), ("val", "test")):
        rows = [row for row in range(len(pack)) if pack.split[row] == ours]
        assert len(rows) == stats[theirs]["images"]
        counts = np.zeros(256, np.int64)
        for row in rows:
            mask = pack.mask(row)
            assert mask is not None
            counts += np.bincount(mask.ravel(), minlength=256)
        assert counts.sum() == stats[theirs]["pixels"]
        for name, share in stats[theirs]["frequency"].items():
            value = 255 if name == "11" else int(name)
            assert counts[value] / counts.sum() == pytest.approx(share, abs=1e-6)
    assert split(pack, Data(name="camvid")).labelled.size == 36


def test_camvid_with_its_test_images_takes_val_for_selection(tmp_path: Path) -> None:
    mask = np.eye(8, 9, dtype=np.uint8)
    for name in ("train", "val", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}annot").mkdir()
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / name / "a.png")
        Image.fromarray(mask * 11).save(tmp_path / f"{name}annot" / "a.png")
        (tmp_path / f"{name}.txt").write_text(f"/SegNet/CamVid/{name}/a.png /SegNet/CamVid/{name}annot/a.png\n")
    source = DATASETS["camvid"](Data(name="camvid", root=tmp_path))
    assert {item.id: item.split for item in source.items} == {"train/a": "train", "val/a": "selection", "test/a": "test"}
    (tmp_path / "test" / "a.png").unlink()
    source = DATASETS["camvid"](Data(name="camvid", root=tmp_path))
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


def test_data_imports_neither_torch_nor_ray() -> None:
    code = "import sys, semiseg.data; sys.exit(bool({'torch', 'ray', 'scipy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", code.replace("semiseg.data", "scipy")], check=False).returncode == 1


def test_ignore_is_the_value_of_semiseg_batch() -> None:
    """Read from the source text, since importing it would import torch."""
    text = (Path(semiseg.data.__file__).parents[1] / "batch.py").read_text()
    values = [
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "IGNORE"
    ]
    assert values == [IGNORE]
