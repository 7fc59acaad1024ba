"""Files of several images in a folder: pages, and slices in every plane; and how they are split."""

from pathlib import Path

import numpy as np
import pytest
import strange
from data_trees import LAS, LPS, RAS
from strange import TRUTH, pixels_of, refusal

from semiseg.config import Data
from semiseg.data import Pack, load, split

nibabel, tifffile = (pytest.importorskip(name) for name in ("nibabel", "tifffile"))
RNG = np.random.default_rng(0)
NAMES = "abcde"


def bare(root: Path) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    return root


def opened(root: Path, **settings: object) -> Pack:
    return strange.opened(root, {"size": "native", **settings})


def pages_of(count: int, *more: int, kind: str = "uint16") -> np.ndarray:
    return RNG.integers(0, np.iinfo(kind).max, (count, *TRUTH.shape, *more), kind)


# ---- pages


@pytest.mark.parametrize("ending", ["tif", "npy"])
@pytest.mark.parametrize("channels", [(), (4,)])
def test_pages_with_a_mask_of_as_many_are_images_of_one_volume(ending: str, channels: tuple[int, ...], tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    stacks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for i, name in enumerate(NAMES):
        values = pages_of(2 + i, *channels)
        labels = RNG.integers(0, 3, values.shape[:3]).astype(np.uint8)
        for part, array in (("images", values), ("masks", labels)):
            if ending == "npy":
                np.save(root / part / f"{name}.npy", array)
            else:
                axes = "ZYXS"[: array.ndim]
                more = {"extrasamples": [0] * 3, "planarconfig": "contig"} if array.ndim == 4 else {}
                tifffile.imwrite(root / part / f"{name}.tif", array, photometric="minisblack", metadata={"axes": axes}, **more)
        stacks[name] = (values, labels)
    (root / "unlabelled").mkdir()
    extra = pages_of(3, *channels)
    np.save(root / "unlabelled" / "u.npy", extra)
    pack = opened(root)
    ids = [f"{name}_p{page:03d}" for i, name in enumerate(NAMES) for page in range(2 + i)]
    if ending == "npy":  # a TIFF says nothing of the axes of an array without names
        assert pack.ids == ids + [f"unlabelled/u_p{page:03d}" for page in range(3)]
        found, _ = pixels_of(pack, "unlabelled/u_p002")
        np.testing.assert_array_equal(found, extra[2].reshape(*TRUTH.shape, -1))
    for name, (values, labels) in stacks.items():
        for page in range(len(values)):
            found, mask = pixels_of(pack, f"{name}_p{page:03d}")
            np.testing.assert_array_equal(found, values[page].reshape(*TRUTH.shape, -1))
            np.testing.assert_array_equal(mask, labels[page])
    assert pack.volumes == pack.groups == [name.rpartition("_p")[0] for name in pack.ids]
    parts = split(pack, Data(name="folder", labelled=1))
    sides = [{pack.groups[row] for row in rows} for rows in parts[1:4]]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert len({pack.groups[row] for row in parts.labelled}) == 1


def test_pages_of_a_file_with_a_mask_of_one_page_are_channels(tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    stacks = {name: pages_of(4) for name in NAMES}
    (root / "unlabelled").mkdir()
    stacks["u"] = pages_of(4)
    for name, values in stacks.items():
        (root / f"images/{name}.png").unlink(missing_ok=True)
        place = root / ("unlabelled" if name == "u" else "images") / f"{name}.tif"
        tifffile.imwrite(place, values, photometric="minisblack", metadata={"axes": "ZYX"})
    pack = opened(root)
    for name, values in stacks.items():
        np.testing.assert_array_equal(pixels_of(pack, "unlabelled/u" if name == "u" else name)[0], values.transpose(1, 2, 0))


@pytest.mark.parametrize("axes", ["CYX", "ZCYX", "TZYX"])
def test_the_axes_that_a_tiff_names_are_meant(axes: str, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    counts = {"C": 5, "Z": 3, "T": 2}
    shape = (*(counts[axis] for axis in axes[:-2]), *TRUTH.shape)
    values = RNG.integers(0, 60000, shape, np.uint16)
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        tifffile.imwrite(root / f"images/{name}.tif", values, imagej=True, metadata={"axes": axes})
    if axes == "CYX":
        np.testing.assert_array_equal(pixels_of(opened(root), "a")[0], values.transpose(1, 2, 0))
    elif axes == "ZCYX":
        assert "got an array (3, 5, 8, 12) (PCHW); allowed: what fits its mask of 8x12 pixels" in refusal(root, {})
        for name in NAMES:
            (root / f"masks/{name}.png").unlink()
            np.save(root / f"masks/{name}.npy", np.stack([TRUTH] * 3))
        np.testing.assert_array_equal(pixels_of(opened(root), "a_p001")[0], values[1].transpose(1, 2, 0))
    else:
        assert "axes TZYX (2, 3, 8, 12); allowed: one axis of pages and one of channels at most" in refusal(root, {})


@pytest.mark.parametrize("imagej", [False, True])
def test_images_behind_the_one_page_of_a_tiff_are_not_overlooked(imagej: bool, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    stack = pages_of(4)
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        how = {"imagej": True} if imagej else {"photometric": "minisblack"}
        tifffile.imwrite(root / f"images/{name}.tif", stack, truncate=True, metadata={"axes": "ZYX"}, **how)
    np.testing.assert_array_equal(pixels_of(opened(root), "a")[0], stack.transpose(1, 2, 0))


@pytest.mark.parametrize("order", ["HWC", "CHW"])
def test_the_mask_tells_which_axis_of_an_array_is_channels(order: str, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    (root / "unlabelled").mkdir()
    values = RNG.normal(size=(*TRUTH.shape, 5)).astype(np.float32)
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        np.save(root / f"images/{name}.npy", values if order == "HWC" else values.transpose(2, 0, 1))
    np.save(root / "unlabelled/u.npy", values if order == "HWC" else values.transpose(2, 0, 1))
    pack = opened(root)
    for name in ("a", "unlabelled/u"):
        np.testing.assert_array_equal(pixels_of(pack, name)[0], values)
    np.save(root / "images/b.npy", values.transpose(2, 0, 1) if order == "HWC" else values)
    assert "unlabelled/u.npy: got an unlabelled array" in refusal(root, {})


# ---- volumes


def write_volume(file: Path, voxels: np.ndarray, axes: np.ndarray = RAS, zooms: tuple[float, ...] = (1, 1, 1)) -> None:
    """Voxels given along the body's axes (right, front, up), stored along `axes`."""
    turned = tuple(slice(None, None, int(sign)) for sign in np.diag(axes))
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(zooms)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(voxels[turned]), affine), file)


AXES = {"axial": (2, 1, 0), "sagittal": (0, 2, 1), "coronal": (1, 2, 0)}
"""Body's axes of slices, rows and columns; rows run downwards, or from the front to the back."""


@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("axes", [RAS, LAS, LPS])
def test_a_volume_is_slices_of_the_plane_asked_for_however_it_is_stored(plane: str, axes: np.ndarray, tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    zooms = (0.5, 0.75, 3.0)
    voxels, labels = RNG.integers(-1000, 1000, (9, 10, 11)).astype(np.int16), RNG.integers(0, 3, (9, 10, 11)).astype(np.uint8)
    for name in NAMES:
        write_volume(root / f"images/{name}.nii.gz", voxels, axes, zooms)
        write_volume(root / f"masks/{name}.nii", labels, axes, zooms)
    pack = opened(root, **({} if plane == "axial" else {"variant": (plane,)}))
    order = AXES[plane]
    upright, truth = voxels.transpose(order)[:, ::-1], labels.transpose(order)[:, ::-1]
    for z in range(len(upright)):
        found, mask = pixels_of(pack, f"e_z{z:03d}")
        np.testing.assert_array_equal(found[..., 0], upright[z])
        np.testing.assert_array_equal(mask, truth[z])
    assert pack.spacings is not None
    np.testing.assert_allclose(pack.spacings[0], [zooms[axis] for axis in order])
    assert set(pack.groups) == set(pack.volumes) == set(NAMES)


def test_a_fourth_axis_of_a_volume_is_channels_and_scaled_values_are_those_of_nibabel(tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    (root / "unlabelled").mkdir()
    for name in (*NAMES, "u"):
        place = root / ("unlabelled" if name == "u" else "images") / f"{name}.nii.gz"
        image = nibabel.Nifti1Image(RNG.integers(0, 255, (9, 10, 3, 2)).astype(np.uint8), np.eye(4))
        image.header.set_slope_inter(0.1, -7.5)
        nibabel.save(image, place)
        if name != "u":
            nibabel.save(
                nibabel.Nifti1Image(RNG.integers(0, 3, (9, 10, 3)).astype(np.uint8), np.eye(4)), root / f"masks/{name}.nii.gz"
            )
    pack = opened(root)
    for name in ("images/a", "unlabelled/u"):
        expected = nibabel.load(root / f"{name}.nii.gz").get_fdata()[:, ::-1].transpose(2, 1, 0, 3)
        for z in range(3):
            found = pixels_of(pack, f"{name.removeprefix('images/')}_z{z:03d}")[0]
            np.testing.assert_array_equal(found, expected[z].astype(np.float32))


def test_a_mask_whose_voxels_run_another_way_is_refused(tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    for name in NAMES:
        write_volume(root / f"images/{name}.nii", RNG.integers(0, 9, (9, 9, 9)).astype(np.int16))
        write_volume(root / f"masks/{name}.nii", RNG.integers(0, 3, (9, 9, 9)).astype(np.uint8), LAS if name == "a" else RAS)
    assert "masks/a.nii: got voxels that run LAS; allowed: as those of its image, RAS" in refusal(root, {})
    write_volume(root / "masks/a.nii", np.zeros((9, 9, 8), np.uint8))
    assert "images/a.nii: got an array (9, 9, 9) (DHW); allowed: what fits its mask of 8x9x9 pixels" in refusal(root, {})
    write_volume(root / "masks/a.nii", np.zeros((9, 9, 9), np.uint8))
    (root / "images/a.nii").write_bytes((root / "images/a.nii").read_bytes()[:500])
    assert "images/a.nii: cannot be read (" in refusal(root, {})


# ---- own data without code


def test_a_folder_of_volumes_is_loaded_and_split(tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    for i in range(10):
        write_volume(root / f"images/p{i}.nii.gz", RNG.integers(0, 999, (20, 24, 3)).astype(np.int16), LAS)
        write_volume(root / f"masks/p{i}.nii.gz", RNG.integers(0, 3, (20, 24, 3)).astype(np.uint8), LAS)
    data = Data(name="folder", root=root, size=(16, 16), labelled=1)
    pack = load(data, tmp_path / "cache")
    assert (pack.channels, pack.dtype, dict(pack.kinds)) == (1, np.float32, {"32-bit float grey NIfTI slice": 30})
    parts = split(pack, data)
    assert [len(rows) for rows in parts[:4]] == [3, 21, 3, 6]
    assert [len({pack.volumes[row] for row in rows}) for rows in parts[:4]] == [1, 7, 1, 2]
