"""Files of several images in a folder: pages, slices in every plane, what has no data, alpha, spacings; and how they are split."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import strange
from data_trees import LAS, LPS, RAS
from strange import TRUTH, pixels_of, refusal

from semiseg.config import Data
from semiseg.data import Pack, load, split

nibabel, rasterio, tifffile = (pytest.importorskip(name) for name in ("nibabel", "rasterio", "tifffile"))
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


# ---- GeoTIFF


def write_geotiff(file: Path, pixels: np.ndarray, **options: object) -> None:
    height, width, count = pixels.shape
    about = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(file, "w", **about) as content:
            content.write(np.moveaxis(pixels, 2, 0))


@pytest.mark.parametrize(
    ("kind", "nodata"), [("uint16", 0), ("uint8", 0), ("float32", float("nan")), ("float32", -3.4e38), ("int16", -9999)]
)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pixels_without_data_are_ignored_and_hold_the_lowest_value(kind: str, nodata: float, channels: int, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    pixels = RNG.integers(10, 90, (*TRUTH.shape, channels)).astype(kind)
    pixels[2, 3], pixels[5:7, 1:4] = nodata, nodata
    if channels > 1 and not np.isnan(nodata) and abs(nodata) < 1e30:
        pixels[0, 0, 0] = nodata  # another band has data there
    void = (np.isnan(pixels) if np.isnan(nodata) else pixels == np.array(nodata, kind)).all(2)
    assert void.sum() == 7
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        options = {"photometric": "RGB"} if channels == 3 and kind == "uint8" else {"photometric": "minisblack"}
        write_geotiff(root / f"images/{name}.tif", pixels, nodata=nodata, **options)
    found, mask = pixels_of(opened(root), "a")
    np.testing.assert_array_equal(mask, np.where(void, 255, TRUTH))
    np.testing.assert_array_equal(found[~void], np.broadcast_to(pixels[~void], found[~void].shape))
    np.testing.assert_array_equal(found[void][0], np.broadcast_to(pixels[~void].min(0), found.shape[2:]))
    assert (found[void] == found[void][0]).all()


def test_alpha_is_dropped_unless_all_samples_are_asked_for(tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    pixels = RNG.integers(0, 255, (*TRUTH.shape, 4)).astype(np.uint8)
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        write_geotiff(root / f"images/{name}.tif", pixels, photometric="RGB", alpha="yes")
    pack = opened(root)
    np.testing.assert_array_equal(pixels_of(pack, "e")[0], pixels[..., :3])
    assert dict(pack.kinds) == {"8-bit colour TIFF without alpha": 5}  # a fourth band may be called so by mistake
    np.testing.assert_array_equal(pixels_of(opened(root, channels=4), "e")[0], pixels)
    assert "data.channels: got 5; allowed: 3, as" in refusal(root, {"channels": 5})
    for name in NAMES:
        write_geotiff(root / f"images/{name}.tif", pixels, photometric="RGB", alpha="unspecified")
    np.testing.assert_array_equal(pixels_of(opened(root), "a")[0], pixels)


def test_a_geotiff_says_the_distance_of_its_pixels(tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        pixels = RNG.integers(0, 255, (*TRUTH.shape, 3)).astype(np.uint8)
        transform = rasterio.transform.from_origin(500000, 4600000, 0.5, 0.25)
        write_geotiff(root / f"images/{name}.tif", pixels, photometric="RGB", transform=transform, crs="EPSG:32633")
    spacings = opened(root, size=(16, 48)).spacings
    assert spacings is not None
    np.testing.assert_allclose(spacings, np.tile([1, 0.125, 0.125], (5, 1)))  # 8 rows of 0.25 become 16, 12 columns of 0.5 48


def test_gdals_masks_and_overviews_are_no_pages(tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    pixels = RNG.integers(0, 255, (*TRUTH.shape, 3)).astype(np.uint8)
    for name in NAMES:
        (root / f"images/{name}.png").unlink()
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write_geotiff(root / f"images/{name}.tif", pixels, photometric="RGB")
            with rasterio.open(root / f"images/{name}.tif", "r+") as content:
                content.write_mask(np.full(TRUTH.shape, 255, np.uint8))
                content.build_overviews([2])
    np.testing.assert_array_equal(pixels_of(opened(root), "e")[0], pixels)


def test_a_deep_mask_in_jpeg_2000_is_refused(tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    (root / "masks/a.png").unlink()
    write_geotiff(root / "masks/a.jp2", TRUTH[..., None].astype(np.uint16), driver="JP2OpenJPEG", quality=100, reversible="yes")
    assert "masks/a.jp2: got a mask as JPEG2000, which does not keep values" in refusal(root, {})


# ---- own data without code


def test_a_folder_of_five_bands_and_16_bits_is_loaded_and_split(tmp_path: Path) -> None:
    root = bare(tmp_path / "root")
    truth = {}
    for i in range(10):
        truth[f"tile{i}"] = RNG.integers(0, 4096, (24, 20, 5)).astype(np.uint16)
        write_geotiff(root / f"images/tile{i}.tif", truth[f"tile{i}"], tiled=True, blockxsize=16, blockysize=16, compress="deflate")
        write_geotiff(root / f"masks/tile{i}.tif", RNG.integers(0, 3, (24, 20, 1)).astype(np.uint8), compress="lzw")
    data = Data(name="folder", root=root, size="native", labelled=0.5)
    pack = load(data, tmp_path / "cache")
    assert (pack.channels, pack.dtype, dict(pack.kinds)) == (5, np.uint16, {"16-bit 5-channel TIFF": 10})
    for name, pixels in truth.items():
        np.testing.assert_array_equal(pixels_of(pack, name)[0], pixels)
    parts = split(pack, data)
    assert [len(rows) for rows in parts[:4]] == [3, 7, 1, 2]


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
