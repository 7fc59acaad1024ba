"""Masks of a user's own files: those of the evaluation, in the set's values and palette, in the files' sizes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import taken_tools as tools
import torch
from PIL import Image

from semiseg.data.arrays import open_npy
from semiseg.data.masks import read_mask, to_ids
from semiseg.data.normalise import Normalisation
from semiseg.inputs import layout_of
from semiseg.nets.around import Flipped
from semiseg.predict import AXES, mask_picture, stretched
from semiseg.results import read
from semiseg.tool import predict

TEST = ("10", "11", "12", "13")
VALUES = {value: i for i, value in enumerate(tools.COLOURS)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("taken")
    tools.study(place, tools.write_deep(place / "data"))
    return place


def masks(place: Path, out: Path, *words: str, row: str = "teacher") -> dict[str, Image.Image]:
    """The pictures that the command writes of the test images, by name."""
    images = [str(place / "data" / "images" / f"{name}.png") for name in TEST]
    row = f"{place / 'results' / 'taken'}/{row}"
    assert predict.main([row, *images, "--out", str(out), *tools.stored(place), "--device", "cpu", *words]) == 0
    return {path.stem: Image.open(path) for path in sorted(out.glob("*.png"))}


def confusion(found: dict[str, Image.Image]) -> np.ndarray:
    """Pixels by true and predicted class, by a loop over the values that the files hold."""
    counts = np.zeros((3, 3))
    for name, picture in found.items():
        truth = tools.scene(int(name))[1]
        values = np.array(picture)
        for i in range(3):
            for j, value in enumerate(VALUES):
                counts[i, j] += ((truth == i) & (values == value)).sum()
    return counts


def evaluated(place: Path, row: str, seed: int) -> np.ndarray:
    """The same out of the study's results."""
    results = read(place / "results" / "taken")
    (key,) = [one["key"] for one in results.rows.to_pylist() if (one["row"], one["seed"], one["final"]) == (row, seed, True)]
    (role,) = [one["evaluated"] for one in results.stages.to_pylist() if one["key"] == key]
    names = {name: i for i, name in enumerate(("ground", "disc", "square"))}
    counts = np.zeros((3, 3))
    for one in pq.read_table(place / "results" / "taken" / "counts.parquet").to_pylist():
        if (one["key"], one["role"], one["table"], one["split"]) == (key, role, "confusion", "test"):
            counts[names[one["first"]], names[one["second"]]] = one["value"]
    return counts


@pytest.mark.parametrize(("row", "seed"), [("teacher", 0), ("labels", 1)])
def test_masks_of_test_images_are_those_that_were_scored(place: Path, tmp_path: Path, row: str, seed: int) -> None:
    found = masks(place, tmp_path / "out", "--seed", str(seed), row=row)
    assert np.array_equal(confusion(found), evaluated(place, row, seed))


def test_masks_have_the_values_the_palette_and_the_sizes_of_the_set(place: Path, tmp_path: Path) -> None:
    found = masks(place, tmp_path / "out")
    assert tuple(found) == TEST
    for name, picture in found.items():
        with Image.open(place / "data" / "masks" / f"{name}.png") as own:
            assert (picture.size, picture.mode) == (own.size, own.mode)
            levels, theirs = picture.getpalette(), own.getpalette()
        assert levels is not None
        assert theirs is not None
        for value in tools.COLOURS:
            assert levels[3 * value : 3 * value + 3] == theirs[3 * value : 3 * value + 3]
        assert set(np.unique(np.array(picture)).tolist()) <= set(tools.COLOURS)


def test_the_seed_that_is_best_on_selection_is_taken(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = read(place / "results" / "taken")
    keys = {one["seed"]: one["key"] for one in results.rows.to_pylist() if one["row"] == "labels" and one["final"]}
    wanted = {"split": "selection", "weights": "best", "class": "", "metric": "miou", "role": "student"}
    lines = [one for one in results.metrics.to_pylist() if all(one[name] == value for name, value in wanted.items())]
    scores = {seed: next(one["value"] for one in lines if one["key"] == key) for seed, key in keys.items()}
    masks(place, tmp_path / "out", row="labels")
    assert f"seed {max(scores, key=lambda seed: scores[seed])}," in capsys.readouterr().out


def test_probabilities_decide_the_masks_with_windows_and_flips(place: Path, tmp_path: Path) -> None:
    plain = masks(place, tmp_path / "plain")
    words = ["--window", "64", "64", "--overlap", "0"]
    found = masks(place, tmp_path / "probs", "--probabilities", "--flips", "all", *words)
    ids = np.array([*tools.COLOURS])
    for name, picture in found.items():
        probs = np.load(tmp_path / "probs" / f"{name}.npy")
        assert probs.dtype == np.float32
        assert probs.shape == (3, *np.array(picture).shape)
        np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)
        assert np.array_equal(ids[probs.argmax(0)], np.array(picture))
        assert np.array(picture).shape == np.array(plain[name]).shape


def test_flips_average_the_probabilities_of_the_image_and_its_mirror_images() -> None:
    torch.manual_seed(0)
    network, image = torch.nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 9, 7)
    with torch.no_grad():
        found = Flipped(network, AXES["all"])(image).softmax(1)
        one_by_one = []
        for axes in ((), (3,), (2,), (2, 3)):
            one_by_one.append(torch.flip(network(torch.flip(image, axes)).softmax(1), axes))
    torch.testing.assert_close(found, torch.stack(one_by_one).mean(0))


@pytest.mark.parametrize("size", [(13, 40), (9, 7), (4, 3), (1, 25)])
def test_maps_are_stretched_as_torch_interpolates(size: tuple[int, int]) -> None:
    probs = np.random.default_rng(0).random((3, 9, 7), np.float32)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(probs)[None], size, mode="bilinear", align_corners=False)[0]
    parts = [stretched(probs, size, slice(start, min(start + 4, size[0]))) for start in range(0, size[0], 4)]
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted.numpy(), atol=1e-6)


@pytest.mark.parametrize(("values", "mode"), [(((1,), (0,)), "P"), (((0,), (300,)), "I;16"), (((1, 2, 3), (200, 100, 0)), "RGB")])
def test_masks_hold_indexes_deep_indexes_or_colours(values: tuple[tuple[int, ...], ...], mode: str, tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    mask_picture(ids, values, ((9, 9, 9), (200, 0, 0))).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == mode
    own: Any = {one[0] if len(one) == 1 else one: i for i, one in enumerate(values)}
    found = to_ids(read_mask(tmp_path / "mask.png"), own, tmp_path)
    assert np.array_equal(found, ids)


def test_resized_colour_images_give_masks_of_their_own_size_and_values(tmp_path: Path) -> None:
    data = tools.write_coloured(tmp_path / "data")
    tools.study(tmp_path, data, seeds=(0,))
    study, images = tmp_path / "results" / "taken", tmp_path / "data" / "images"
    inputs = read(study).study.inputs
    assert inputs is not None
    assert (inputs.size, inputs.values, inputs.low) == ((40, 48), ((0,), (255,)), ())
    assert (
        predict.main([f"{study}/labels", str(images), "--out", str(tmp_path / "out"), *tools.stored(tmp_path), "--device", "cpu"])
        == 0
    )
    for path in sorted(images.iterdir()):
        with Image.open(path) as image, Image.open(tmp_path / "out" / f"{path.stem}.png") as mask:
            assert mask.size == image.size
            assert set(np.unique(np.array(mask)).tolist()) <= {0, 255}


def test_files_of_another_kind_are_refused_in_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, out = f"{place / 'results' / 'taken'}/teacher", ["--out", str(tmp_path / "out"), *tools.stored(place), "--device", "cpu"]
    Image.new("RGB", (40, 40), (9, 8, 7)).save(tmp_path / "colour.png")
    Image.new("L", (40, 40), 9).save(tmp_path / "grey.png")
    for name in ("a.png", "a.tif"):
        Image.fromarray(tools.scene(0)[0]).save(tmp_path / name)
    for images, said in (
        (["colour.png"], "data.channels: got 1; allowed: 3, as "),
        (["grey.png"], "grey.png: got uint8 with 1 channel; allowed: uint16 with 1, as the images of the study"),
        (["nothing.png"], "allowed: files, and folders with files, that exist"),
        ([], "images: got none; allowed: files, and folders with files"),
        (["a.png", "a.tif"], "allowed: one file for each name"),
    ):
        assert predict.main([row, *(str(tmp_path / name) for name in images), *out]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert said in error


def test_a_network_that_fails_is_told_in_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, image = f"{place / 'results' / 'taken'}/teacher", str(place / "data" / "images" / "10.png")
    words = ["--out", str(tmp_path / "out"), *tools.stored(place), "--device", "cpu", "--window", "32", "32", "--overlap", "0"]
    assert predict.main([row, image, *words]) == 2  # of 33 columns the second window sees one
    error = capsys.readouterr().err
    assert "images: unet cannot be shown them" in error
    assert len(error.splitlines()) == 1


def test_a_study_of_before_names_the_command_that_adds_what_is_missing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "results" / "taken", tmp_path / "old")
    record = json.loads((tmp_path / "old" / "study.json").read_text())
    del record["inputs"]
    (tmp_path / "old" / "study.json").write_text(json.dumps(record))
    image = str(place / "data" / "images" / "10.png")
    assert predict.main([f"{tmp_path}/old/teacher", image, "--out", str(tmp_path / "out"), *tools.stored(place)]) == 2
    assert "allowed: the same command again, which trains nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "how",
    [
        Normalisation("minmax", "dataset"),
        Normalisation("zscore", "group"),
        Normalisation("percentile", "image", 2.0, 98.5),
        Normalisation("window", "image", -160.0, 240.0),
        Normalisation("none"),
        Normalisation("dataset"),
    ],
)
def test_a_normalisation_is_read_back_from_its_words(how: Normalisation) -> None:
    again = Normalisation.read(str(how))
    assert (again.kind, str(again)) == (how.kind, str(how))
    assert how.kind not in ("percentile", "window") or (again.low, again.high) == (how.low, how.high)


@pytest.mark.parametrize(
    ("shape", "channels", "axes"), [((9, 8), 1, "HW"), ((9, 8, 5), 5, "HWC"), ((5, 9, 8), 5, "CHW"), ((5, 9, 8), 1, "DHW")]
)
def test_axes_of_arrays_follow_the_number_of_channels(shape: tuple[int, ...], channels: int, axes: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    assert layout_of(open_npy(tmp_path / "x.npy"), channels) == {axes}
