"""Masks of a user's own files: those of the evaluation, in the set's values and palette, in the files' sizes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import taken_tools as tools
from PIL import Image

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
