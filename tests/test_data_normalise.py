"""Normalisations by name against NumPy, SciPy and scikit-learn; what they are over; constant images; keys."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_trees import build_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from test_data_types import TYPES, packed, some, source_of

from semiseg.config import Data, SettingError
from semiseg.data import Item, Pack, load, split
from semiseg.data import normalise as module
from semiseg.data.normalise import Normalisation, normalisation_of, quantiles, ranges_of, scaled, spaced
from semiseg.data.pack import open_pack
from semiseg.data.source import Normalise, Scope
from semiseg.runner import split_of

ROWS = ("train/a", "train/b", "unlabelled/c", "test/d")
GROUP: dict[str, str] = dict(zip(ROWS, ("one", "two", "two", "one"), strict=True))
DEEP = [dtype for dtype in TYPES if dtype != "uint8"]


def made(dtype: str, how: Normalisation, tmp_path: Path, channels: int = 2) -> tuple[Pack, dict[str, np.ndarray]]:
    """Four images of which each is in another part of the type's range, in two groups."""
    rng = np.random.default_rng(3)
    images = {}
    for i, name in enumerate(ROWS):
        values = (rng.random((12, 13, channels)) + i) / 5 + 0.02 * np.arange(channels)
        images[name] = (values * {"uint8": 255, "uint16": 65535}.get(dtype, 1)).astype(dtype)
    return packed(images, tmp_path, how, group=lambda item: GROUP[item.id]), images


def scope(images: dict[str, np.ndarray], name: str, over: str) -> np.ndarray:
    """All values (n,C) that the normalisation of an image is of."""
    names = {"image": [name], "group": [one for one in ROWS if GROUP[one] == GROUP[name]], "dataset": ROWS[:3]}[over]
    return np.concatenate([images[one].reshape(-1, images[one].shape[2]) for one in names]).astype(np.float64)


@pytest.mark.parametrize("over", ["image", "group", "dataset"])
@pytest.mark.parametrize("kind", ["minmax", "percentile", "zscore"])
@pytest.mark.parametrize("dtype", TYPES)
def test_ranges_and_statistics_are_those_of_the_libraries(dtype: str, kind: Normalise, over: Scope, tmp_path: Path) -> None:
    how = Normalisation(kind, over, 2.5, 90.0)
    pack, images = made(dtype, how, tmp_path)
    seen = []
    for row, name in enumerate(pack.ids):
        of, ranges = scope(images, name, over), pack.ranges(row)
        assert ranges is not None
        assert (ranges.dtype, ranges.shape) == (np.float32, (2, 2))
        flat = images[name].reshape(-1, 2).astype(np.float64)
        if kind == "minmax":
            truth = np.asarray(MinMaxScaler(clip=True).fit(of).transform(flat))
        elif kind == "zscore":
            deviations = np.asarray(StandardScaler().fit(of).transform(flat))
            truth = (deviations.clip(-4, 4) + 4) / 8
            np.testing.assert_allclose(np.asarray(stats.zscore(of)), np.asarray(StandardScaler().fit(of).transform(of)), atol=1e-9)
        else:
            low, high = np.percentile(of, (2.5, 90), axis=0)
            truth = ((flat - low) / (high - low)).clip(0, 1)
        found = scaled(pack.image(row), ranges).reshape(-1, 2)
        np.testing.assert_allclose(found, truth, atol=2e-6)
        seen.append(truth)
    training = np.concatenate(seen[:3])
    np.testing.assert_allclose(pack.mean, training.mean(0), atol=1e-6)
    np.testing.assert_allclose(pack.std, training.std(0), atol=1e-6)
    assert pack.normalise == {"minmax": "minmax", "percentile": "percentile 2.5..90.0", "zscore": "zscore"}[kind] + f" over {over}"


@pytest.mark.parametrize("dtype", TYPES)
def test_dataset_is_the_range_of_the_type_and_none_leaves_it_at_that(dtype: str, tmp_path: Path) -> None:
    top = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    for kind in ("dataset", "none"):
        pack, images = made(dtype, Normalisation(kind), tmp_path)
        ranges = pack.ranges(3)
        if dtype == "uint8":
            assert ranges is None
            assert pack.ranges_of([0, 1]) is None
        else:
            np.testing.assert_array_equal(ranges, [[0, 0], [top, top]])
            assert len(pack.ranges_of([0, 1]) or []) == 2
        values = np.concatenate([images[name].reshape(-1, 2) for name in ROWS[:3]]).astype(np.float64) / top
        whole = kind == "none"
        np.testing.assert_allclose(pack.mean, [0, 0] if whole else values.mean(0), atol=1e-6)
        np.testing.assert_allclose(pack.std, [1, 1] if whole else values.std(0), atol=1e-6)
        assert pack.normalise == ("none" if whole else "")


def test_a_window_is_two_numbers(tmp_path: Path) -> None:
    pack, images = made("float32", Normalisation("window", "image", -0.25, 0.75), tmp_path)
    np.testing.assert_array_equal(pack.ranges(2), [[-0.25, -0.25], [0.75, 0.75]])
    truth, ranges = (images["train/b"] + 0.25).clip(0, 1), pack.ranges(1)
    assert ranges is not None
    np.testing.assert_allclose(scaled(pack.image(1), ranges), truth, atol=1e-6)
    assert pack.normalise == "window -0.25..0.75"


@pytest.mark.parametrize("over", ["image", "dataset"])
@pytest.mark.parametrize("kind", ["minmax", "percentile", "zscore"])
@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 7), ("uint16", 65535), ("float16", 0.1), ("float32", 1e29), ("float32", -3e9)]
)
def test_constant_images_are_not_divided_by_zero(dtype: str, value: float, kind: Normalise, over: Scope, tmp_path: Path) -> None:
    flat = np.full((8, 9, 2), value, dtype)
    how = Normalisation(kind, over)
    pack = packed({"train/a": flat, "test/b": flat}, tmp_path, how)
    ranges = pack.ranges(0)
    assert ranges is not None
    assert (ranges[1] > ranges[0]).all()
    seen = scaled(pack.image(0), ranges)
    assert np.isfinite(seen).all()
    assert np.ptp(seen) == 0
    assert np.isfinite([pack.mean, pack.std]).all()
    assert (pack.std > 0).all()
    assert seen[0, 0, 0] == pytest.approx(0.5 if kind == "zscore" else 0, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 65535), min_size=1, max_size=60),
    low=st.floats(0, 99, allow_subnormal=False),
    more=st.floats(0.001, 1),
)
def test_percentiles_of_whole_numbers_are_exact(values: list[int], low: float, more: float) -> None:
    high = low + more * (100 - low)
    found = quantiles(np.bincount(values, minlength=65536), (low / 100, high / 100))
    np.testing.assert_allclose(found, np.percentile(values, (low, high)), rtol=1e-12, atol=1e-9)


def test_many_values_are_taken_from_every_kth_row_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = [some("float32", 1, size)[..., 0] for size in ((30, 40), (50, 20))]
    assert len(spaced(planes)) == 2200
    monkeypatch.setattr(module, "SAMPLED", 300)
    np.testing.assert_array_equal(spaced(planes), np.concatenate([plane[::3, ::3].ravel() for plane in planes]))
    monkeypatch.setattr(module, "SAMPLED", 1)
    assert len(spaced(planes)) == 2
    found = ranges_of(Normalisation("percentile"), [planes[0][..., None]], ["a"], [0])
    assert found is not None
    assert found.shape == (1, 2, 1)


def test_what_nothing_was_said_about_is_8_bit_as_before_and_deeper_min_max_over_the_data_set(tmp_path: Path) -> None:
    for dtype, name in (("uint8", ""), *((dtype, "minmax over dataset") for dtype in DEEP)):
        assert made(dtype, Normalisation(), tmp_path)[0].normalise == name
    images = {"train/a": some("float16", 1), "test/b": some("float16", 1)}
    assert packed(images, tmp_path, default_normalise=("zscore", "group")).normalise == "zscore over group"
    assert packed(images, tmp_path, Normalisation("none"), default_normalise=("zscore", "group")).normalise == "none"


@pytest.mark.parametrize("kind", ["dataset", "none"])
@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_floating_point_outside_0_to_1_has_no_range_of_its_type(kind: Normalise, value: float, tmp_path: Path) -> None:
    broken = some("float32", 1)
    broken[3, 3] = value
    with pytest.raises(SettingError) as refused:
        packed({"train/a": some("float32", 1), "test/b": broken}, tmp_path, Normalisation(kind))
    said = f"data.normalise: got '{kind}', with a value of {value} in test/b; allowed: floating-point images in 0..1, or "
    assert str(refused.value).startswith(said)


def test_each_normalisation_has_a_pack_and_a_key_of_its_own(tmp_path: Path) -> None:
    """The same pixels: the fingerprint stays; "dataset" leaves the key alone."""
    kinds = [
        {},
        {"normalise": "dataset"},
        {"normalise": "none"},
        {"normalise": "zscore"},
        {"normalise": "minmax"},
        {"normalise": "minmax", "normalise_over": "dataset"},
        {"normalise": "percentile"},
        {"normalise": "percentile", "percentiles": (1, 98)},
        {"normalise": "window", "window": (0, 200)},
        {"normalise": "window", "window": (0, 200.00000001)},
    ]
    data = Data(name="folder", root=build_folder(tmp_path / "tree"))
    opened = [load(dataclasses.replace(data, **kind), tmp_path / "cache") for kind in kinds]
    assert len({pack.fingerprint for pack in opened}) == 1
    assert len({pack.path for pack in opened}) == len(kinds)
    splits = [split_of(pack, split(pack, data)) for pack in opened]
    assert splits[0] == splits[1]
    assert splits[0].normalise == ""
    assert len({one.normalise for one in splits}) == len(kinds) - 1
    assert load(dataclasses.replace(data, **kinds[4]), tmp_path / "cache").path == opened[4].path


def test_groups_are_in_the_fingerprint_where_images_are_normalised_over_them(tmp_path: Path) -> None:
    image = some("uint8", 3)
    images = {"train/a": image, "train/b": image, "test/c": image}
    found = []
    for how in (Normalisation("minmax", "group"), Normalisation("minmax")):
        packs = [packed(images, tmp_path, how, group=group) for group in (lambda item: item.id, lambda item: "one")]
        found.append(len({pack.fingerprint for pack in packs}))
    assert found == [2, 1]


def test_ranges_are_of_rows_in_many_batches_and_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Normalisation("minmax")
    whole = made("uint16", how, tmp_path)[0]
    monkeypatch.setattr("semiseg.data.packing.BATCH_BYTES", 1)
    parts = made("uint16", how, tmp_path)[0]
    for row in range(len(whole)):
        np.testing.assert_array_equal(parts.ranges(row), whole.ranges(row))
        np.testing.assert_array_equal(parts.image(row), whole.image(row))


def test_strips_are_as_good_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [made(dtype, Normalisation("zscore"), tmp_path)[0] for dtype in TYPES]
    monkeypatch.setattr("semiseg.data.strips.VALUES", 30)
    for one, dtype in zip(whole, TYPES, strict=True):
        parts = made(dtype, Normalisation("zscore"), tmp_path)[0]
        assert parts.fingerprint == one.fingerprint
        found, expected = parts.ranges(1), one.ranges(1)
        assert found is not None
        assert expected is not None
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(parts.mean, one.mean)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"normalise": "mean"}, "data.normalise: got 'mean'; allowed: none, dataset, zscore, percentile, minmax, window, None"),
        ({"normalise_over": "patient"}, "data.normalise_over: got 'patient'; allowed: image, group, dataset"),
        (
            {"normalise_over": "group"},
            "data.normalise_over: got 'group'; allowed: with data.normalise zscore, percentile or minmax",
        ),
        (
            {"normalise": "percentile", "percentiles": (5, 5)},
            "data.percentiles: got (5, 5); allowed: two numbers, 0 <= low < high <= 100",
        ),
        ({"normalise": "percentile", "percentiles": (5, 101)}, "data.percentiles: got (5, 101); allowed: two numbers"),
        ({"percentiles": (2, 98)}, "data.percentiles: got (2, 98); allowed: with data.normalise percentile"),
        ({"normalise": "window"}, "data.window: got None; allowed: two numbers with data.normalise window"),
        ({"window": (0, 1)}, "data.window: got (0, 1); allowed: two numbers with data.normalise window, else none"),
        ({"normalise": "window", "window": (3, 3)}, "data.window: got (3, 3); allowed: two numbers, low < high"),
        ({"normalise": "window", "window": (0, float("inf"))}, "data.window: got (0, inf); allowed: two numbers, low < high"),
        ({"channels": 0}, "data.channels: got 0; allowed: a whole number >= 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings_: dict, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        Data(**settings_)
    assert str(refused.value).startswith(said)


def test_settings_mean_their_normalisation() -> None:
    assert normalisation_of(Data()) == Normalisation(None, "image", 1, 99)
    assert normalisation_of(Data(normalise="window", window=(-160, 240))) == Normalisation("window", "image", -160, 240)
    assert normalisation_of(Data(normalise="percentile", normalise_over="group", percentiles=(2, 98)))[1:] == ("group", 2, 98)


def test_resizing_comes_before_ranges(tmp_path: Path) -> None:
    """What is normalised is what is stored."""
    image = some("uint16", 1, (16, 16))
    source = source_of({"train/a": image, "test/b": image}, items=(Item("train/a", "train"), Item("test/b", "test")))
    pack = open_pack(dataclasses.replace(source), "made", (8, 8), tmp_path, Normalisation("minmax"))
    small = pack.image(0)
    np.testing.assert_array_equal(pack.ranges(0), np.array([[small.min()], [small.max()]], np.float32))
