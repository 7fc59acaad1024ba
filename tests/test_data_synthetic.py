"""The built-in scenes are deterministic, varied, imbalanced and quick to draw."""

import numpy as np
import pytest

from semiseg.config import Data
from semiseg.data.synthetic import SEED, scene, synthetic


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [scene(index, SEED) for index in range(256)]


def test_a_scene_is_a_function_of_index_and_seed() -> None:
    for one, other in zip(scene(5, 1), scene(5, 1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (scene(5, 1)[0] != scene(6, 1)[0]).mean() > 0.5
    assert (scene(5, 1)[0] != scene(5, 2)[0]).mean() > 0.5


def test_a_scene_does_not_depend_on_what_was_drawn_before() -> None:
    expected = scene(9, SEED)[0]
    np.random.seed(0)
    scene(3, SEED)
    np.testing.assert_array_equal(scene(9, SEED)[0], expected)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (17, 33)])
def test_a_scene_can_be_drawn_at_any_size(size: tuple[int, int]) -> None:
    image, mask = scene(0, 0, size)
    assert (image.dtype, image.shape, mask.dtype, mask.shape) == (np.uint8, (*size, 3), np.uint8, size)


def test_the_splits_have_the_promised_sizes() -> None:
    splits = [item.split for item in synthetic(Data()).items]
    assert {name: splits.count(name) for name in set(splits)} == {"train": 256, "selection": 48, "test": 128}


def test_every_class_occurs_and_some_are_rare(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts = np.array([np.bincount(mask.ravel(), minlength=5) for _, mask in scenes])
    images_with = (counts > 0).sum(0)
    assert images_with[0] == 256
    assert images_with[1] > images_with[2] > max(images_with[3], images_with[4])
    assert images_with[1:].min() >= 25
    shares = counts.sum(0) / counts.sum()
    assert 0.6 < shares[0] < 0.92
    assert (shares[1:] > 0.005).all()
    assert shares[1:].max() > 2 * shares[1:].min()
    assert (counts[:, 1:].sum(1) > 30).mean() > 0.95  # hardly a scene without something to find


def test_scenes_of_the_same_class_differ_in_colour(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for class_id in range(1, 5):
        means = np.array([image[mask == class_id].mean(0) for image, mask in scenes if (mask == class_id).sum() > 20])
        assert (means.std(0) > 20).all()


def test_an_object_stands_out_from_its_ground(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Pixels differ more across an outline than within the ground, so there is something to learn from few images."""
    across, within = [], []
    for image, mask in scenes:
        step = np.abs(np.diff(image.astype(int), axis=1)).mean(2)
        border = mask[:, 1:] != mask[:, :-1]
        ground = (mask[:, 1:] == 0) & (mask[:, :-1] == 0)
        across.append(step[border].mean())
        within.append(step[ground].mean())
    assert np.mean(across) > 1.5 * np.mean(within)
