"""GeoTIFF and its kin in a folder: bands, what has no data, alpha, spacings; what GDAL puts beside the pixels is no page."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import strange
from strange import TRUTH, pixels_of, refusal

from semiseg.config import Data
from semiseg.data import Pack, load, split

rasterio = pytest.importorskip("rasterio")
RNG = np.random.default_rng(0)
NAMES = "abcde"


def opened(root: Path, **settings: object) -> Pack:
    return strange.opened(root, {"size": "native", **settings})


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


@pytest.mark.parametrize(("kind", "nodata"), [("int16", -9999), ("int32", -1), ("int16", 0), ("uint8", 255)])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_masks_value_for_no_data_is_ignored_where_it_can_be_no_class(kind: str, nodata: int, tiled: bool, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    truth = TRUTH.astype(kind)
    truth[2, 3], truth[5:7, 1:4] = nodata, nodata
    for name in NAMES:
        (root / f"masks/{name}.png").unlink()
        options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"} if tiled else {}
        write_geotiff(root / f"masks/{name}.tif", truth[..., None], nodata=nodata, **options)
    expected = np.where(truth == nodata, 0 if nodata == 0 else 255, TRUTH)
    np.testing.assert_array_equal(pixels_of(opened(root), "a")[1], expected)


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


def test_a_folder_of_five_bands_and_16_bits_is_loaded_and_split(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
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
