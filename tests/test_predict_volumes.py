"""Masks of a user's own volumes: NIfTI files that lie on their images, whatever way the voxels of these run."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import taken_tools as tools

from semiseg.config import Data
from semiseg.data.nifti import PLANES, open_nifti, write_labels
from semiseg.results import read
from semiseg.tool import predict

nibabel = pytest.importorskip("nibabel")
WAYS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""All ways in which the axes of an array run along those of the body."""
VALUES = (0, 4, 300)
TEST = ("scan4", "scan5")


def affine_of(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Voxels of 1.5, 2 and 5 mm whose axes run so, a little turned, away from the origin."""
    axes = np.zeros((3, 3))
    axes[list(order), range(3)] = signs
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    found = np.eye(4)
    found[:3, :3] = turn @ axes @ np.diag([1.5, 2.0, 5.0])
    found[:3, 3] = (-20, 11, 7)
    return found


@pytest.mark.parametrize("plane", PLANES)
def test_a_mask_lies_on_its_image_whatever_way_that_is_stored(plane: str, tmp_path: Path) -> None:
    """What is written in slices is read back in slices, and stands at the voxels whose values it was made of."""
    image, mask = tmp_path / "image.nii", tmp_path / "mask.nii.gz"
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for order, signs in WAYS:
        affine = affine_of(order, signs)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), image)
        slices = open_nifti(image, plane).values()
        labels = (np.asarray(slices) % 7).astype(np.uint8)
        write_labels(mask, image, labels, plane)
        found = nibabel.load(mask)
        assert np.array_equal(np.asarray(found.dataobj), voxels % 7)
        np.testing.assert_allclose(found.affine, affine, atol=1e-5)
        assert found.get_data_dtype() == np.uint8
        assert np.array_equal(open_nifti(mask, plane).values(), labels)


def write_volumes(root: Path) -> Data:
    """Six volumes of four slices, the last one stored the other way round, with masks of values of which one needs 16 bits."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(6):
        slices = [tools.scene(4 * z + number % 4) for z in range(4)]
        voxels = np.stack([image for image, _ in slices], 2).astype(np.int32).astype(np.int16)
        labels = np.array(VALUES, np.int16)[np.stack([mask for _, mask in slices], 2)]
        for kind, values in (("images", voxels), ("masks", labels)):
            volume = nibabel.Nifti1Image(values, np.diag([1.5, 2.0, 5.0, 1.0]))
            if number == 5:
                volume = volume.as_reoriented([[1, -1], [2, 1], [0, -1]])
            nibabel.save(volume, root / kind / f"scan{number}.nii.gz")
    (root / "classes.txt").write_text("0 ground\n4 disc\n300 square\n")
    for part, scans in (("train", (0, 1, 2)), ("selection", (3,)), ("test", (4, 5))):
        (root / f"{part}.txt").write_text("\n".join(f"scan{number}" for number in scans))
    return Data(name="folder", root=root, size="native", labelled=1, normalise="zscore")


def test_volumes_come_back_as_volumes_with_the_masks_that_were_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.study(tmp_path, write_volumes(tmp_path / "data"), seeds=(0,))
    study, images = tmp_path / "results" / "taken", tmp_path / "data" / "images"
    words = [str(images), "--out", str(tmp_path / "out"), *tools.stored(tmp_path), "--device", "cpu"]
    assert predict.main([f"{study}/labels", *words, "--probabilities"]) == 0
    assert "6 masks of 6 files" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == [f"scan{i}.nii.gz" for i in range(6)]
    assert not list((tmp_path / "out").glob("*.png"))
    for path in sorted(images.iterdir()):
        image, mask = nibabel.load(path), nibabel.load(tmp_path / "out" / path.name)
        values = np.asarray(mask.dataobj)
        assert (mask.shape, values.dtype) == (image.shape, np.uint16)
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
        assert set(np.unique(values).tolist()) <= set(VALUES)
        slices = open_nifti(tmp_path / "out" / path.name, "axial").values()
        for number, one in enumerate(slices):
            probs = np.load(tmp_path / "out" / f"{path.name.removesuffix('.nii.gz')}_z{number:03d}.npy")
            assert np.array_equal(np.array(VALUES)[probs.argmax(0)], one)
    counts = np.zeros((3, 3))
    for name in TEST:
        truth, found = (np.asarray(nibabel.load(tmp_path / place / f"{name}.nii.gz").dataobj) for place in ("data/masks", "out"))
        counts += [[((truth == true) & (found == said)).sum() for said in VALUES] for true in VALUES]
    (final,) = [one for one in read(study).rows.to_pylist() if one["row"] == "labels" and one["final"]]
    names, scored = ("ground", "disc", "square"), np.zeros((3, 3))
    for one in pq.read_table(study / "counts.parquet").to_pylist():
        if (one["key"], one["table"], one["split"]) == (final["key"], "confusion", "test"):
            scored[names.index(one["first"]), names.index(one["second"])] = one["value"]
    assert np.array_equal(counts, scored)
