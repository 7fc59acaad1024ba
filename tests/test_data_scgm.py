"""SCGM: a slice looks as its docstring says whatever its file, persons stay on one side of a split, bad volumes are refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from data_trees import LAS, LPS, RAS, build_scgm, decoded, nested_and_apart, save_volume, shared, source_of

from semiseg.config import Data, SettingError
from semiseg.data import Source, load, split
from semiseg.data.scgm import Scan, scgm, split_scans


def one_scan(root: Path, image: np.ndarray, *masks: np.ndarray, spacing: float = 0.25, axes: np.ndarray = RAS) -> Source:
    """A folder whose site1-sc01 is this volume (right, front, up) with these masks; two sites more make splits possible."""
    build_scgm(root, sites=(2, 3), labelled=1, unlabelled=0)
    turned = tuple(slice(None, None, int(sign)) for sign in np.diag(axes))
    save_volume(root / "site1-sc01-image.nii.gz", image[turned], spacing, axes)
    for i, mask in enumerate(masks, 1):
        save_volume(root / f"site1-sc01-mask-r{i}.nii.gz", mask[turned], spacing, axes)
    return scgm(Data(name="scgm", root=root))


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, shape).astype(np.int16)


def standardised(picture: np.ndarray) -> np.ndarray:
    """Z-scores of a slice from -4 to 4 as 0..1, pixel by pixel."""
    mean = sum(picture.ravel().tolist()) / picture.size
    deviation = (sum((value - mean) ** 2 for value in picture.ravel().tolist()) / picture.size) ** 0.5
    return np.array([[min(max((v - mean) / deviation, -4), 4) / 8 + 0.5 for v in row] for row in picture.tolist()])


@pytest.mark.parametrize("axes", [RAS, LAS, LPS])
def test_a_slice_has_the_front_of_the_body_up_however_its_file_is_turned(axes: np.ndarray, tmp_path: Path) -> None:
    voxels = volume(200, 200, 2)
    mask = (voxels > 900).astype(np.uint8)
    source = one_scan(tmp_path, voxels, mask, axes=axes)
    for z in (0, 1):
        image, classes = decoded(source, f"site1-sc01-z{z:03d}")
        np.testing.assert_allclose(image[..., 0], standardised(voxels[:, ::-1, z].T), atol=1e-6)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(classes, mask[:, ::-1, z].T)


def test_the_middle_of_a_larger_slice_is_kept_and_a_smaller_one_is_padded_with_air(tmp_path: Path) -> None:
    voxels = volume(240, 100, 1)  # columns are cropped, rows padded
    image, mask = decoded(one_scan(tmp_path, voxels, (voxels > 500).astype(np.uint8)), "site1-sc01-z000")
    inside = voxels[20:220, ::-1, 0].T
    assert image.shape == (200, 200, 1)
    np.testing.assert_allclose(image[50:150, :, 0], standardised(inside), atol=1e-6)
    assert np.unique(image[:50]).tolist() == np.unique(image[150:]).tolist()
    assert image[0, 0, 0] == pytest.approx((0 - inside.mean()) / inside.std() / 8 + 0.5, abs=1e-6)
    np.testing.assert_array_equal(mask[50:150], inside > 500)
    assert not mask[:50].any()
    assert not mask[150:].any()


def test_slices_are_resampled_to_a_quarter_of_a_millimetre(tmp_path: Path) -> None:
    mask = (volume(100, 100, 1) > 500).astype(np.uint8)
    ramp = np.repeat(np.arange(100, dtype=np.int16)[:, None, None], 100, axis=1)
    image, classes = decoded(one_scan(tmp_path, ramp, mask, spacing=0.5), "site1-sc01-z000")
    np.testing.assert_array_equal(classes, mask[:, ::-1, 0].T.repeat(2, 0).repeat(2, 1))
    along = (np.arange(200) - 0.5) / 2  # where the new columns' centres lie between the old ones
    expected = standardised(np.tile(along.clip(0, 99), (200, 1)))
    np.testing.assert_allclose(image[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("raters", [1, 2, 3, 4])
def test_grey_matter_is_what_more_than_half_of_the_raters_say(raters: int, tmp_path: Path) -> None:
    votes = np.random.default_rng(2).integers(0, 3, (raters, 200, 200, 1)).astype(np.uint8)  # 1 grey, 2 white matter
    _, mask = decoded(one_scan(tmp_path, volume(200, 200, 1), *votes), "site1-sc01-z000")
    expected = ((votes == 1).mean(0) > 0.5).astype(np.uint8)
    np.testing.assert_array_equal(mask, expected[:, ::-1, 0].T)


def scans(sites: int, labelled: int, unlabelled: int) -> list[Scan]:
    return [
        Scan(f"site{site}-sc{number:02d}", f"site{site}", Path(), (Path(),) if number <= labelled else ())
        for site in range(1, sites + 1)
        for number in range(1, labelled + unlabelled + 1)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_few_subjects_are_split_by_site_and_no_scan_of_a_scored_site_is_trained_on(seed: int) -> None:
    splits = split_scans(scans(sites=4, labelled=1, unlabelled=2), seed)
    assert splits == split_scans(scans(sites=4, labelled=1, unlabelled=2), seed)
    of = {name: {scan.site for scan, split in splits.items() if split == name} for name in splits.values()}
    assert {name: len(sites) for name, sites in of.items()} == {"train": 2, "selection": 1, "test": 1, "unlabelled": 2}
    assert of["unlabelled"] == of["train"]
    assert len(set.union(*of.values())) == 4
    assert len(splits) == 4 + 2 * 2


def test_many_subjects_are_split_in_the_shares_of_paper_001() -> None:
    splits = split_scans(scans(sites=4, labelled=7, unlabelled=10), seed=0)
    names = list(splits.values())
    assert [names.count(name) for name in ("train", "selection", "test", "unlabelled")] == [8, 8, 12, 40]
    assert len({scan.subject for scan in splits}) == 68


def test_the_split_seed_draws_who_tests() -> None:
    tests = {tuple(scan.site for scan, split in split_scans(scans(4, 1, 1), seed).items() if split == "test") for seed in range(20)}
    assert tests == {("site1",), ("site2",), ("site3",), ("site4",)}


def test_slices_without_grey_matter_are_left_out_of_training_and_selection_only(tmp_path: Path) -> None:
    pack = load(Data(name="scgm", root=build_scgm(tmp_path / "few", labelled=1)), tmp_path / "cache")
    counts = {name: pack.split.count(name) for name in ("train", "selection", "test", "unlabelled")}
    assert counts == {"train": 2 * 4, "selection": 4, "test": 6, "unlabelled": 2 * 6}  # 6 slices, 2 of them without
    masks = [pack.mask(row) for row in range(len(pack)) if pack.split[row] != "unlabelled"]
    assert sum(mask is not None and not mask.any() for mask in masks) == 2
    assert len(split(pack, Data()).labelled) == 8  # all by default


def test_the_slices_of_a_scan_are_a_volume_with_its_spacing(tmp_path: Path) -> None:
    data = Data(name="scgm", root=build_scgm(tmp_path / "tree", labelled=1), size=(100, 50))
    pack = load(data, tmp_path / "cache")
    assert pack.volumes == [name.rpartition("-z")[0] for name in pack.ids]
    assert pack.spacings is not None
    np.testing.assert_allclose(pack.spacings, np.tile([3.0, 0.5, 1.0], (len(pack), 1)))  # 3 mm between slices, 0.25 mm in plane


def test_volumes_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = build_scgm(tmp_path / "two", sites=(1, 2), labelled=1)
    with pytest.raises(SettingError, match=r"two: got 2 subjects with masks of 2 sites; allowed: 3 sites or more"):
        source_of("scgm", root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=r"data.root: got '.*empty' without a volume and its mask"):
        source_of("scgm", tmp_path / "empty")
    root = build_scgm(tmp_path / "one", labelled=1, unlabelled=0)
    data = Data(name="scgm", root=root)
    save_volume(root / "site1-sc01-mask-r1.nii.gz", np.ones((30, 34, 5), np.uint8))
    with pytest.raises(SettingError, match=r"site1-sc01-mask-r1.nii.gz: got \(30, 34, 5\) voxels; allowed: .* \(30, 34, 6\)"):
        load(data, tmp_path / "cache")
    save_volume(root / "site1-sc01-image.nii.gz", np.full((30, 34, 6), np.nan, np.float32))
    save_volume(root / "site1-sc01-mask-r1.nii.gz", np.ones((30, 34, 6), np.uint8))
    with pytest.raises(SettingError, match=r"site1-sc01-image.nii.gz: got voxels that are no finite numbers"):
        load(data, tmp_path / "cache")
    save_volume(root / "site1-sc01-image.nii.gz", volume(30, 34, 6))
    whole = (root / "site1-sc01-image.nii.gz").read_bytes()
    (root / "site1-sc01-image.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SettingError, match=r"site1-sc01-image.nii.gz: cannot be read \(.*\); allowed: a NIfTI file$"):
        load(data, tmp_path / "cache")
    (root / "site1-sc01-image.nii.gz").write_bytes(b"no volume")
    with pytest.raises(SettingError, match=r"site1-sc01-image.nii.gz: cannot be read \(.*\); allowed: a NIfTI file$"):
        source_of("scgm", root)
    save_volume(root / "site1-sc01-image.nii.gz", volume(30, 34, 6, 2))
    with pytest.raises(SettingError, match=r"got an array of shape \(30, 34, 6, 2\); allowed: a volume of three axes"):
        source_of("scgm", root)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(SettingError, match=r"^data.name: got 'scgm' without the library nibabel; allowed: after pip install"):
        source_of("scgm", root)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_shared_spinal_cords_never_have_a_person_on_two_sides(seed: int, tmp_path: Path) -> None:
    root = shared("spinal_gm")
    nibabel = pytest.importorskip("nibabel")
    people = dict(line.split("\t")[:2] for line in (root / "sources.tsv").read_text().splitlines()[1:])
    pack = load(Data(name="scgm", root=root, split_seed=seed), tmp_path)
    sides: dict[str, set[str]] = {}
    for name, part in zip(pack.ids, pack.split, strict=True):
        person = people[f"{name.rsplit('-', 1)[0]}-image.nii.gz"].partition("Ses")[0]
        sides.setdefault(person, set()).add({"unlabelled": "train"}.get(part, part))
    assert all(len(parts) == 1 for parts in sides.values())
    assert len(sides) == 4  # two of the five labelled scans are of one person
    found = dict.fromkeys(("images", "grey"), 0)
    for file in sorted(root.glob("*-mask-r1.nii.gz")):
        subject = file.name.removesuffix("-mask-r1.nii.gz")
        grey = np.asarray(nibabel.load(file).dataobj) == 1
        rows = [row for row, name in enumerate(pack.ids) if name.startswith(f"{subject}-z")]
        part = pack.split[rows[0]]
        assert len(rows) == (grey.shape[2] if part == "test" else int(grey.any((0, 1)).sum()))
        area = sum(int(mask.sum()) for mask in map(pack.mask, rows) if mask is not None) * 0.25**2
        spacing = nibabel.load(file).header.get_zooms()
        assert area == pytest.approx(grey.sum() * spacing[0] * spacing[1], rel=0.05)  # mm², but for what nearest neighbours round
        found["images"] += 1
        found["grey"] += int(grey.sum())
    expected = json.loads((root / "stats.json").read_text())["expect"]["labelled"]
    assert found["images"] == expected["images"]
    assert found["grey"] / expected["pixels"] == pytest.approx(expected["frequency"]["1"], abs=1e-6)
    nested_and_apart(pack)
