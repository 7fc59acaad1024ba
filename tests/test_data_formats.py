"""Round trips: what comes out of a pack is what an independent reader says of the file, for every format, type and channel count."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import strange

from semiseg.data.images import read_image

imagecodecs, nibabel, rasterio, tifffile = (
    pytest.importorskip(name) for name in ("imagecodecs", "nibabel", "rasterio", "tifffile")
)
Array = np.ndarray
SHAPE = strange.SHAPE


class Format(NamedTuple):
    """How to write an image (H,W,C), and a library other than the one that semiseg reads it with, where there are two."""

    ending: str
    types: str
    channels: tuple[int, ...]
    write: Callable[[Path, Array], Any]
    read: Callable[[Path], Array]


def write_gdal(driver: str, **options: Any) -> Callable[[Path, Array], None]:
    def write(file: Path, pixels: Array) -> None:
        height, width, count = pixels.shape
        about = {"driver": driver, "height": height, "width": width, "count": count, "dtype": pixels.dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it lies nowhere on Earth
            with rasterio.open(file, "w", **about, **options) as content:
                content.write(np.moveaxis(pixels, 2, 0))

    return write


def read_gdal(file: Path) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(file) as content:
            return np.moveaxis(content.read(), 0, 2)


def write_vrt(file: Path, pixels: Array) -> None:
    source = file.parents[1] / f"{file.stem}-tile.tif"
    write_gdal("GTiff")(source, pixels)
    from rasterio.shutil import copy

    copy(source, file, driver="VRT")


def read_nifti(file: Path) -> Array:
    """Axial slice 0 by the definition: x to the right, y upwards (a volume stored as RAS)."""
    values = np.asarray(nibabel.load(file).get_fdata())
    values = values[..., 0] if values.ndim == 3 else values[:, :, 0]
    return values[:, ::-1].swapaxes(0, 1).reshape(*SHAPE, -1)


def write_nifti(file: Path, pixels: Array) -> None:
    voxels = np.ascontiguousarray(pixels.swapaxes(0, 1)[:, ::-1, None, :])
    nibabel.save(nibabel.Nifti1Image(voxels[..., 0] if voxels.shape[3] == 1 else voxels, np.eye(4)), file)


def squeezed(pixels: Array) -> Array:
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def tiff(**how: Any) -> Callable[[Path, Array], None]:
    def write(file: Path, pixels: Array) -> None:
        more = {"extrasamples": [0] * (pixels.shape[2] - 1)} if pixels.shape[2] > 1 else {}
        tifffile.imwrite(file, squeezed(pixels), photometric="minisblack", planarconfig="contig", **more, **how)

    return write


def read_tiff(file: Path) -> Array:
    return np.atleast_3d(tifffile.imread(file))


ALL = "uint8 uint16 int16 int32 uint32 float32 float64"
FORMATS = {
    "GeoTIFF": Format("tif", ALL, (1, 2, 5), write_gdal("GTiff", photometric="minisblack", alpha="unspecified"), read_gdal),
    "GeoTIFF in tiles": Format(
        "tiff", "uint16 float32", (1, 3, 4),
        write_gdal("GTiff", tiled=True, blockxsize=16, blockysize=16, compress="deflate", predictor=2, alpha="unspecified"), read_gdal,
    ),
    "GeoTIFF of bands": Format("tif", "uint8 uint16 float32", (2, 5), write_gdal("GTiff", interleave="band", alpha="unspecified"), read_gdal),
    "COG": Format("tif", "uint8 uint16", (1, 5), write_gdal("COG", blocksize=128), read_gdal),
    "TIFF": Format("tif", f"{ALL} float16 int8", (1, 3, 4), tiff(), read_tiff),
    "TIFF with zstd": Format("tif", "uint16 float32", (1, 5), tiff(compression="zstd"), read_tiff),
    "big-endian TIFF": Format("tif", "uint16 float32 int16", (1, 5), tiff(byteorder=">"), read_tiff),
    "BigTIFF": Format("tif", "uint16", (5,), tiff(bigtiff=True), read_tiff),
    "VRT": Format("vrt", "uint16 float32", (1, 5), write_vrt, read_gdal),
    "IMG": Format("img", "uint8 uint16 float32", (1, 5), write_gdal("HFA"), read_gdal),
    "JPEG 2000": Format("jp2", "uint16", (1, 3), write_gdal("JP2OpenJPEG", quality=100, reversible="yes"), read_gdal),
    "PNG": Format(
        "png", "uint8 uint16", (1, 3),
        lambda file, pixels: file.write_bytes(imagecodecs.png_encode(squeezed(pixels))),
        lambda file: np.atleast_3d(imagecodecs.png_decode(file.read_bytes())),
    ),
    "NPY": Format(
        "npy", f"{ALL} float16 int8 int64 bool >u2 >f4", (1, 2, 5), lambda file, pixels: np.save(file, squeezed(pixels)), lambda file: np.atleast_3d(np.load(file))
    ),
    "NIfTI": Format("nii", "uint8 uint16 int16 int32 float32 float64", (1, 5), write_nifti, read_nifti),
    "packed NIfTI": Format("nii.gz", "uint8 int16 float32", (1, 5), write_nifti, read_nifti),
}  # fmt: skip
STAYS = ("uint8", "uint16", "float16", "float32")
CASES = [
    pytest.param(name, kind, channels, id=f"{name}-{kind}-{channels}")
    for name, how in FORMATS.items()
    for kind in how.types.split()
    for channels in how.channels
]


def drawn(kind: str, channels: int, seed: int) -> Array:
    """Random values over a type's range, of the wide ones those that float32 holds; sides that are no number of channels."""
    rng = np.random.default_rng(seed)
    shape, dtype = (*SHAPE, channels), np.dtype(kind)
    if dtype.kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    if dtype == bool:
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(2**24)), min(int(info.max), 2**24) + 1, shape).astype(dtype)


@pytest.mark.parametrize(("name", "kind", "channels"), CASES)
def test_a_pack_holds_what_an_independent_reader_says(name: str, kind: str, channels: int, tmp_path: Path) -> None:
    root, how = strange.base(tmp_path / "root"), FORMATS[name]
    volume = how.ending.startswith("nii")
    for i, image in enumerate("abcde"):
        (root / f"images/{image}.png").unlink()
        how.write(root / f"images/{image}.{how.ending}", drawn(kind, channels, i))
        if volume:
            (root / f"masks/{image}.png").unlink()
            write_nifti(root / f"masks/{image}.nii.gz", strange.TRUTH[..., None])
    pack = strange.opened(root, {})
    for image in "abcde":
        expected = how.read(root / f"images/{image}.{how.ending}")
        stored = np.dtype(kind).newbyteorder("=").name
        expected = expected * np.uint8(255) if stored == "bool" else expected.astype(stored if stored in STAYS else np.float32)
        if expected.dtype == np.uint8 and channels == 1:
            expected = np.repeat(expected, 3, 2)
        found, mask = strange.pixels_of(pack, f"{image}_z000" if volume else image)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(mask, strange.TRUTH)


def write_mask(file: Path, mask: Array, ending: str) -> None:
    if ending == "npy":
        np.save(file, mask)
    elif ending.startswith("nii"):
        write_nifti(file, mask[..., None])
    elif ending in ("img", "jp2"):
        write_gdal(
            {"img": "HFA", "jp2": "JP2OpenJPEG"}[ending], **({"quality": 100, "reversible": "yes"} if ending == "jp2" else {})
        )(file, mask[..., None])
    else:
        tifffile.imwrite(file, mask, compression="zstd", photometric="minisblack")


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("npy", "int64"), ("npy", "bool"), ("npy", "uint8"), ("tif", "uint8"), ("tif", "uint32"), ("tif", "int8"), ("img", "uint16")],
)
def test_masks_are_read_from_every_format(ending: str, kind: str, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    truth = strange.TRUTH.astype(kind)
    for name in "abcde":
        (root / f"masks/{name}.png").unlink()
        write_mask(root / f"masks/{name}.{ending}", truth, ending)
    np.testing.assert_array_equal(strange.pixels_of(strange.opened(root, {}), "a")[1], truth.astype(np.uint8))


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
def test_masks_of_volumes_may_be_floating_point_that_holds_whole_numbers(kind: str, tmp_path: Path) -> None:
    root = strange.base(tmp_path / "root")
    for name in "abcde":
        for part in ("images", "masks"):
            (root / part / f"{name}.png").unlink()
        write_nifti(root / f"images/{name}.nii", drawn("int16", 1, 0))
        write_nifti(root / f"masks/{name}.nii.gz", strange.TRUTH[..., None].astype(kind))
    np.testing.assert_array_equal(strange.pixels_of(strange.opened(root, {}), "a_z000")[1], strange.TRUTH)
    write_nifti(root / "masks/a.nii.gz", strange.TRUTH[..., None] + np.float32(0.5))
    assert "masks/a.nii.gz: got mask value 0.5; allowed: whole numbers" in strange.refusal(root, {})


@pytest.mark.parametrize(("kind", "samples", "colours"), [(0, 1, 1), (2, 3, 3), (4, 2, 1), (6, 4, 3)])
def test_16_bits_of_a_png_are_kept_and_alpha_is_dropped(kind: int, samples: int, colours: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 11, samples), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(strange.png(pixels, kind))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels[..., :colours])


HIDDEN = {"tif": ("tifffile", "tiff"), "img": ("rasterio", "geo"), "nii.gz": ("nibabel", "mri")}


@pytest.mark.parametrize("ending", HIDDEN)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = strange.base(tmp_path / "root")
    for part in ("images", "masks"):
        (root / part / "a.png").unlink()
    pixels = drawn("uint16", 1 if ending == "nii.gz" else 5, 0)
    {"tif": tiff(), "img": write_gdal("HFA"), "nii.gz": write_nifti}[ending](root / f"images/a.{ending}", pixels)
    write_mask(root / f"masks/a.{ending if ending == 'nii.gz' else 'npy'}", strange.TRUTH, ending if ending == "nii.gz" else "npy")
    name, extra = HIDDEN[ending]
    real = importlib.import_module

    def missing(one: str) -> Any:
        if one == name:
            raise ImportError
        return real(one)

    monkeypatch.setattr("semiseg.data.arrays.importlib.import_module", missing)
    said = strange.refusal(root, {})
    assert f"a.{ending}: got a" in said
    assert said.endswith(f"without the library {name}; allowed: after pip install 'semiseg[{extra}]'")
