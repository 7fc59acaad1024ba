"""Large and deep images on their way into training, onto pages and into memory."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from large import four, row_values
from PIL import Image
from test_data_types import packed, some

import look_at_data
from semiseg.augment import PERTURBATIONS
from semiseg.batches import Batches, unlabelled
from semiseg.config import Data, Weak
from semiseg.data import DATASETS, DataSet, Item, Pack, Source, split
from semiseg.data.normalise import Normalisation
from semiseg.data.packing import stored
from semiseg.methods import MeanTeacher
from semiseg.outcome import Outcome
from semiseg.pseudo import Learned
from semiseg.published import write_outcome
from semiseg.runner import split_of


def test_published_pictures_of_a_large_image_are_as_small_as_its_masks(tmp_path: Path) -> None:
    """Every how-many-th row and column of image, truth and prediction: the same ones."""
    image = some("uint16", 4, (40, 2050))
    (tmp_path / "packs").mkdir()
    pack = packed({"train/a": image, "train/c": image, "test/b": image}, tmp_path / "packs", Normalisation("minmax"))
    truth = pack.mask(2)
    assert truth is not None
    predicted = (np.arange(truth.size) % 2).astype(np.uint8).reshape(truth.shape)
    write_outcome(tmp_path, Outcome({}, [], [], {2: predicted[::3, ::3]}, 0, 1.0, 0), pack)
    for name, whole in (("image", pack.picture(2, 4096)), ("truth", truth), ("prediction", predicted)):
        with Image.open(tmp_path / f"{name}_0.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), whole[::3, ::3])


def test_a_missing_mask_takes_no_memory() -> None:
    mask = unlabelled(np.zeros((40, 50, 3), np.uint8))
    assert (mask.shape, mask.dtype, mask.strides) == ((40, 50), np.uint8, (0, 0))
    assert (mask == 255).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_mini_batch_is_in_the_range_of_its_own_images(dtype: str, tmp_path: Path) -> None:
    """Without scaling and flips every crop is the image after its own low and high."""
    images = {
        f"train/{i}": some(dtype, 3, (16, 16)) // (i + 1) if dtype == "uint16" else some(dtype, 3, (16, 16)) * i for i in range(6)
    }
    pack = packed({**images, "test/b": some(dtype, 3, (16, 16))}, tmp_path, Normalisation("minmax"))
    splits = split(pack, Data(labelled=2, selection=1))
    train = dataclasses.replace(tiny.TRAIN, crop=(16, 16), weak=Weak(scale=(1.0, 1.0), flip=0.0))
    (stage,) = MeanTeacher().stages(split_of(pack, splits), tiny.NET, train, 0)
    batches = Batches(stage, pack, splits, tiny.CPU, Learned())
    rows, _ = batches.rows(0)
    batch = batches.make(0, torch.Generator().manual_seed(0))
    for row, found in zip(rows, batch.image, strict=True):
        image = pack.image(row).astype(np.float64)
        low, high = image.min((0, 1)), image.max((0, 1))
        truth = np.clip((image - low) / np.where(high > low, high - low, 1), 0, 1)
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), truth, atol=1e-5)


def deep(data: Data) -> Source:
    """Eight 16-bit images, of which one is wide."""
    names = [f"{i}" for i in range(8)]
    images = {name: some("uint16", 3, (24, 1100 if name == "0" else 30)) // 8 for name in names}
    return Source(
        items=tuple(Item(name, "test" if name > "5" else "train") for name in names),
        classes=("a", "b"),
        palette=((0, 0, 0), (255, 255, 255)),
        read=lambda item: (images[item.id], np.eye(*images[item.id].shape[:2], dtype=np.uint8)),
        stamp=str(data.variant),
        default_size="native",
        default_labelled=2,
    )


def test_the_page_shows_deep_and_wide_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DATASETS, "deep", DataSet(name="deep", source=deep))
    words = [
        "--data.name",
        "deep",
        "--cache",
        str(tmp_path / "cache"),
        "--out",
        str(tmp_path / "page.html"),
        "--data.labelled",
        "4",
    ]
    assert look_at_data.main([*words, "--images", "6"]) == 0
    line, *_ = capsys.readouterr().out.splitlines()
    assert "uint16 of 3 channels, normalised by minmax over dataset" in line
    assert (tmp_path / "page.html").read_text().count("<img") == 8 * 2 * (2 + len(PERTURBATIONS))


def test_what_lies_otherwise_in_memory_is_stored_from_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = some("uint16", 4, (20, 30))
    assert stored(image, tmp_path) is image
    for batch in (1 << 20, 1):
        monkeypatch.setattr("semiseg.data.packing.BATCH_BYTES", batch)
        monkeypatch.setattr("semiseg.data.strips.VALUES", 500)
        found = stored(image.transpose(1, 0, 2), tmp_path)
        assert found.flags.c_contiguous
        assert isinstance(found, np.memmap) == (batch == 1)
        np.testing.assert_array_equal(found, image.transpose(1, 0, 2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is read from /proc")
@pytest.mark.parametrize(("kind", "side", "most"), [("colour", 20_000, 1 << 30), ("planar", 6_000, 1 << 30)])
def test_a_large_image_is_packed_in_little_memory_of_its_own(kind: str, side: int, most: int, tmp_path: Path) -> None:
    """400 megapixels of colour, and 36 megapixels of four float32 channels that have to be laid out anew."""
    script = Path(__file__).with_name("large.py")
    ran = subprocess.run([sys.executable, str(script), str(tmp_path), str(side), kind], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    print(said)
    assert said["most"] < most
    assert said["heights"][::2] == [side, side]
    pack = Pack(next((tmp_path / "cache").rglob("pack.arrow")))
    rows = np.array([0, 1, side // 2, side - 1])
    truth = row_values(rows, side)
    if kind == "planar":
        truth = four(truth)
    np.testing.assert_array_equal(pack.image(0)[rows], truth)
    assert said["findings"][-1].startswith("the same pixels in training and in test: ")
    for file in tmp_path.rglob("*.raw"):
        file.unlink()
    pack.path.unlink()  # gigabytes that pytest would keep


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is read from /proc")
def test_a_large_image_is_trained_on_scored_and_pseudo_labelled_in_little_memory_of_its_own(tmp_path: Path) -> None:
    """A compressed TIFF of 400 megapixels for training and for test."""
    script = Path(__file__).with_name("large_stage.py")
    words = [sys.executable, str(script), str(tmp_path), "20000"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    print(said)
    assert said["most"] < 3 << 30
    assert said["step"] == 1
    assert said["miou"] > 0.7
    assert next((tmp_path / "store").rglob("masks-confidences-*")).stat().st_size > 3 * 20_000**2
    for file in tmp_path.rglob("*"):  # gigabytes that pytest would keep
        if file.is_file():
            file.unlink()
