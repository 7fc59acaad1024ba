"""Every entry of DATASETS keeps the promises of `Source` and `Pack`."""

import ast
import dataclasses
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from data_trees import BUILDERS, build_folder

import semiseg.data
from semiseg.annotations import hint_of
from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, IGNORE, DataSet, Pack, Source, load, split
from semiseg.data.dataset import Published
from semiseg.data.known import StandIn
from semiseg.data.normalise import TOP


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the tests that do not mind an earlier load."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=DATASETS, scope="module")
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Settings under which an entry of DATASETS can be loaded here."""
    if request.param == "synthetic":
        return Data()
    return Data(name=request.param, root=BUILDERS[request.param](tmp_path_factory.mktemp(request.param) / "tree"))


def test_items_have_unique_ids_and_known_splits(data: Data) -> None:
    source = DATASETS[data.name].source(data)
    ids = [item.id for item in source.items]
    assert len(set(ids)) == len(ids)
    assert {item.split for item in source.items} <= {"train", "selection", "test", "unlabelled"}
    assert {"train", "test"} <= {item.split for item in source.items}


def test_images_and_masks_have_the_promised_types_shapes_and_values(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    size = data.size or DATASETS[data.name].source(data).default_size
    assert len(pack) == len(pack.ids) == len(pack.split) == len(pack.heights) == len(pack.widths)
    assert len(pack.classes) == len(pack.palette) >= 2
    met = set()
    for row in range(len(pack)):
        image, mask = pack.image(row), pack.mask(row)
        assert image.dtype == pack.dtype
        assert image.dtype.name in TOP
        assert image.shape == (pack.heights[row], pack.widths[row], pack.channels)
        assert size in ("native", image.shape[:2])
        assert (mask is None) == (pack.split[row] == "unlabelled")
        if mask is not None:
            assert mask.dtype == np.uint8
            assert mask.shape == image.shape[:2]
            met |= set(np.unique(mask).tolist())
    assert met - {IGNORE} == set(range(len(pack.classes)))


def test_mean_and_std_are_those_of_the_training_images(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    rows = [row for row in range(len(pack)) if pack.split[row] in ("train", "unlabelled")]
    pixels = np.concatenate([seen(pack, row).reshape(-1, pack.channels) for row in rows])
    as_is = pack.normalise == "none"
    np.testing.assert_allclose(pack.mean, np.zeros(pack.channels) if as_is else pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(pack.std, np.ones(pack.channels) if as_is else pixels.std(0), atol=1e-6)


def seen(pack: Pack, row: int) -> np.ndarray:
    """Float64 (H,W,C) in [0,1]: an image as a network sees it."""
    ranges = pack.ranges(row)
    if ranges is None:
        return pack.image(row) / 255
    assert (ranges.dtype, ranges.shape) == (np.float32, (2, pack.channels))
    low, high = ranges.astype(np.float64)
    assert (low < high).all()
    return np.clip((pack.image(row) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("normalise", ["percentile", "none"])
def test_images_are_in_0_to_1_under_every_normalisation(normalise: Any, data: Data, cache: Path) -> None:
    """Pixels and fingerprint are those of the data set, whatever is made of them."""
    plain = load(data, cache)
    if plain.dtype.kind == "f" and normalise == "none":
        return  # nobody promises that floating point lies in 0..1
    pack = load(dataclasses.replace(data, normalise=normalise), cache)
    assert (pack.fingerprint, pack.dtype, pack.channels) == (plain.fingerprint, plain.dtype, plain.channels)
    assert pack.normalise.split()[0] == normalise
    for row in range(0, len(pack), 7):
        np.testing.assert_array_equal(pack.image(row), plain.image(row))
        values, picture = seen(pack, row)[..., [0, 1, 2] if pack.channels >= 3 else [0, 0, 0]], pack.picture(row)
        assert picture.dtype == np.uint8
        assert abs(picture / 255 - values[:: pack.step(row), :: pack.step(row)]).max() < 0.51 / 255


def test_volumes_and_spacings_are_of_every_image_or_of_none(data: Data, cache: Path) -> None:
    pack, source = load(data, cache), DATASETS[data.name].source(data)
    of = {item.id: item for item in source.items}
    assert pack.volumes == [source.volume(of[name]) for name in pack.ids]
    assert pack.spacings is None or (pack.spacings.shape == (len(pack), 3) and (pack.spacings > 0).all())
    for volume in set(pack.volumes):
        rows = [row for row in range(len(pack)) if pack.volumes[row] == volume]
        assert len({pack.groups[row] for row in rows}) == 1  # the slices of a scan are of one patient
        assert len({pack.split[row] for row in rows} - {"unlabelled"}) <= 1
    assert pack.listed == source.listed <= set(pack.ids)


def test_splits_are_disjoint_and_nested(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    few, many, every = (split(pack, dataclasses.replace(data, labelled=labelled)) for labelled in (1, 0.5, "all"))
    assert set(few.labelled) < set(many.labelled) < set(every.labelled) <= set(many.training)
    for name in ("training", "selection", "test"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name))
    parts = [set(part.tolist()) for part in (few.training, few.selection, few.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(pack)
    assert all(pack.mask(row) is not None for row in every.labelled)
    assert len({few.labelled_hash, many.labelled_hash, every.labelled_hash}) == 3


def test_labelled_subsets_can_be_stratified_by_what_is_known_of_images(data: Data, cache: Path) -> None:
    """By every attribute and by class: as many labels as without, the same other images, nested."""
    source = DATASETS[data.name].source(data)
    plain = {labelled: split(load(data, cache), dataclasses.replace(data, labelled=labelled)) for labelled in (2, 0.5, "all")}
    for name in ("class", "(.)", *source.attributes):
        asked = dataclasses.replace(data, stratify=name)
        pack = load(asked, cache)
        parts = {labelled: split(pack, dataclasses.replace(asked, labelled=labelled)) for labelled in plain}
        assert set(parts[2].labelled) <= set(parts[0.5].labelled) <= set(parts["all"].labelled)
        for labelled, before in plain.items():
            if pack.groups == pack.ids:
                assert len(parts[labelled].labelled) == len(before.labelled)
            for part in ("training", "selection", "test"):
                np.testing.assert_array_equal(getattr(parts[labelled], part), getattr(before, part))
        if name in source.attributes:
            assert set(pack.attributes) == {name}
            assert all(value for value in pack.attributes[name].values())


def test_second_load_decodes_nothing(data: Data, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(data, cache)

    def poisoned(*_: object) -> None:
        raise AssertionError("decoded again")

    real = DATASETS[data.name]
    changes = {"read": poisoned, "discover": poisoned}
    entry = dataclasses.replace(real, source=lambda data: dataclasses.replace(real.source(data), **changes))
    monkeypatch.setitem(DATASETS, data.name, entry)
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


def test_a_data_set_is_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its line in DATASETS it is loaded, split, refused in unknown variants, fetched, and planned for where it is not."""
    about = Published(train=30, test=9, classes=3, size=(50, 60), default=(16, 24), labelled=5)

    def source(data: Data) -> Source:
        return dataclasses.replace(DATASETS["folder"].source(dataclasses.replace(data, name="folder")), default_labelled=2)

    fetched: list[Path] = []
    mine = DataSet(
        name="mine", source=source, variants=("few",), published=about, changes={"few": {"train": 20}}, fetch=fetched.append
    )
    monkeypatch.setitem(DATASETS, "mine", mine)
    data = Data(name="mine", root=build_folder(tmp_path / "tree"), download=True)
    pack = load(data, tmp_path / "cache")
    assert (pack.name, len(split(pack, data).labelled), fetched) == ("mine", 2, [data.root])
    with pytest.raises(SettingError, match="allowed: of few"):
        load(dataclasses.replace(data, variant=("many",)), tmp_path / "cache")
    absent = Data(name="mine", variant=("few",))
    stand_in = StandIn(absent)
    assert [len(rows) for rows in split(stand_in, absent)[:4]] == [5, 18, 2, 9]
    assert (stand_in.heights[0], stand_in.widths[0]) == (16, 24)
    one = StandIn(dataclasses.replace(absent, channels=1))
    assert (one.channels, one.image(0).shape, len(one.mean), one.ranges(0), one.picture(0).shape) == (
        1,
        (16, 24, 1),
        1,
        None,
        (16, 24, 3),
    )


def test_racing_loads_leave_one_complete_pack_and_nothing_else(tmp_path: Path) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"))
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: load(data, tmp_path / "cache"), range(4)))
    assert len({pack.fingerprint for pack in packs}) == 1
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["pack.arrow"]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_entry_is_called_by_its_name_and_says_where_it_comes_from(data: Data) -> None:
    """What is published is what the loader makes, of a small tree as of the real one."""
    entry, source = DATASETS[data.name], DATASETS[data.name].source(data)
    assert entry.name == data.name
    about = entry.published
    assert (about is None) == (data.name in ("synthetic", "folder"))
    assert about is None or entry.fetch or entry.site.startswith("http")
    if about is not None:
        assert about.classes == len(source.classes)
        assert source.default_size in (about.default, "native")
        assert about.image_level == source.image_level
        splits = {item.split for item in source.items}
        assert about.selection == 0 or "selection" in splits or data.name in ("camvid", "acdc")  # their trees have no test list
        assert about.unlabelled == 0 or "unlabelled" in splits
        trimaps = get_args(get_args(hint_of(Data, "trimap"))[0]) if "trimap" in entry.reads else ()
        assert set(entry.changes) <= {*entry.variants, *trimaps}


def test_counts_are_the_pixels_of_each_class(data: Data, cache: Path) -> None:
    pack = load(data, cache)
    assert pack.counts.shape == (len(pack), len(pack.classes) + 1)
    for row in range(len(pack)):
        mask = pack.mask(row)
        ids = [*range(len(pack.classes)), IGNORE]
        assert pack.counts[row].tolist() == [0 if mask is None else int((mask == i).sum()) for i in ids]
    assert sum(pack.kinds.values()) in (0, len(pack))


@pytest.mark.parametrize("damage", ["cut short", "empty", "text", "zeros at the end"])
def test_a_damaged_pack_is_set_aside_named_and_made_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, cache = Data(name="folder", root=build_folder(tmp_path / "tree")), tmp_path / "cache"
    first = load(data, cache)
    path, content = first.path, first.path.read_bytes()
    broken = {"cut short": content[:1000], "empty": b"", "text": b"no pack"}
    path.unlink()  # not written to: other processes have mapped it
    path.write_bytes(broken.get(damage, content[:-300] + bytes(300)))
    with pytest.raises(SettingError, match=r"pack.arrow: not a readable pack .*delete it"):
        Pack(path)
    again = load(data, cache)
    assert (again.path, again.fingerprint) == (path, first.fingerprint)
    (line,) = capsys.readouterr().err.splitlines()
    aside = [file.name for file in path.parent.iterdir() if file != path]
    assert line.startswith(f"{path}: not a readable pack (")
    assert line.endswith(f"; set aside as {aside[0]}, it is made again")
    assert len(aside) == 1


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
