"""Own data without code: folders of deep, many-banded and volumetric files, from the command to a finished table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny

from ablate_three_stage import TABLE
from semiseg.config import Data
from semiseg.data import load
from semiseg.results import read
from semiseg.sweep.command import main

SIDE = 40


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Uint16 (SIDE,SIDE,5) and its mask: a field whose third band tells two crops and bare ground apart."""
    rng = np.random.default_rng(number)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for value in (1, 2):
        top, left = rng.integers(0, SIDE // 2, 2)
        mask[top : top + SIDE // 2, left : left + SIDE // 2] = value
    bands = rng.integers(200, 400, (SIDE, SIDE, 5)) + 100 * np.arange(5)
    bands[..., 2] += 900 * mask.astype(int)
    return bands.astype(np.uint16), mask


def write_geotiffs(root: Path) -> None:
    """Twelve images as a satellite's tiles come: five bands, 16 bits, a place on the Earth; masks beside them."""
    rasterio = pytest.importorskip("rasterio")
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(12):
        image, mask = scene(number)
        place = rasterio.transform.from_origin(400_000 + 10 * SIDE * number, 5_000_000, 10, 10)
        about = {"driver": "GTiff", "height": SIDE, "width": SIDE, "crs": "EPSG:32632", "transform": place}
        with rasterio.open(root / "images" / f"t{number}.tif", "w", count=5, dtype="uint16", **about) as file:
            file.write(image.transpose(2, 0, 1))
        with rasterio.open(root / "masks" / f"t{number}.tif", "w", count=1, dtype="uint8", **about) as file:
            file.write(mask, 1)


def write_volumes(root: Path) -> None:
    """Six scans of four slices in int16, as a scanner's archive gives them, and their masks."""
    nibabel = pytest.importorskip("nibabel")
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(6):
        slices = [scene(10 * number + z) for z in range(4)]
        voxels = np.stack([image[..., 2] for image, _ in slices], 2).astype(np.int16) - 1000
        labels = np.stack([mask for _, mask in slices], 2)
        affine = np.diag([1.5, 1.5, 8.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(voxels, affine), root / "images" / f"scan{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), root / "masks" / f"scan{number}.nii.gz")


@pytest.mark.parametrize(
    ("write", "words", "said"),
    [
        (write_geotiffs, [], "uint16 of 5 channels"),
        (write_volumes, ["--train.metrics", "hd95", "volume_dice", "--data.normalise", "zscore"], "of 1 channel"),
    ],
)
def test_a_folder_becomes_a_table(
    write: Callable[[Path], None],
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    asked = [
        "--quick",
        "--rows",
        "S1",
        "full",
        "--seeds",
        "0",
        "--data.name",
        "folder",
        "--data.root",
        "own",
        "--data.size",
        "native",
    ]
    status = main(TABLE, [*asked, "--data.labelled", "0.5", "--train.crop", "32", "32", "--net.width", "2", "--out", "out", *words])
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert said in printed
    results = read(tmp_path / "out")
    assert set(results.stages["state"].to_pylist()) == {"done"}
    scores = [line for line in results.metrics.to_pylist() if line["split"] == "test" and line["class"] == ""]
    assert all(0 <= line["value"] for line in scores if line["metric"] == "miou")
    assert {"hd95", "volume_dice"} & {line["metric"] for line in scores} >= set(words[1:3])
    assert (tmp_path / "out" / "report.html").is_file()


def test_distances_have_the_unit_of_the_files(tmp_path: Path) -> None:
    """Millimetres of a scanner, units of a map that only its projection knows, pixels where nothing is told."""
    for write, unit in ((write_volumes, "mm"), (write_geotiffs, "map units")):
        write(tmp_path / write.__name__)
        pack = load(Data(name="folder", root=tmp_path / write.__name__, size="native"), tmp_path / "cache")
        assert pack.unit == unit
        assert pack.spacings is not None
    assert tiny.opened()[0].unit == "pixels"
