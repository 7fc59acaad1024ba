"""Images of every type and number of channels: what comes out of a pack is what went in, and its name tells the last bit."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import SHARED, build_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from semiseg.config import Data, SettingError, Train
from semiseg.data import Item, Pack, Source, load, split, understood
from semiseg.data.images import resized
from semiseg.data.normalise import AS_THE_SET_SAYS, TOP, Normalisation
from semiseg.data.pack import open_pack
from semiseg.methods import ThreeStage
from semiseg.nets import UNet
from semiseg.runner import split_of

TYPES = tuple(TOP)
MASK = np.eye(8, 9, dtype=np.uint8)
Images = Mapping[str, np.ndarray]
RANDOM = np.random.default_rng(0)


def source_of(images: Images, **changes: object) -> Source:
    """Images by split and name, such as "test/b", all with the same mask but the unlabelled ones."""
    height, width = next(iter(images.values())).shape[:2]
    mask = np.eye(height, width, dtype=np.uint8)
    made = Source(
        items=tuple(Item(name, name.split("/")[0]) for name in images),
        classes=("a", "b"),
        palette=((0, 0, 0), (255, 255, 255)),
        read=lambda item: (images[item.id], None if item.split == "unlabelled" else mask[: len(images[item.id])]),
        stamp="stamp",
        default_size="native",
        default_labelled=1,
    )
    return dataclasses.replace(made, **changes)  # pyright: ignore[reportArgumentType]


def packed(images: Images, cache: Path, how: Normalisation | None = None, **changes: object) -> Pack:
    """The pack of those images, of a cache folder that nothing else uses."""
    place = cache / str(len([*cache.iterdir()]))
    return open_pack(source_of(images, **changes), "made", None, place, how or Normalisation())


def some(dtype: str, channels: int, size: tuple[int, int] = (8, 9)) -> np.ndarray:
    """Random values of a type, floating point in 0..1."""
    drawn = RANDOM.random((*size, channels))
    return (drawn * (255 if dtype == "uint8" else 65535)).astype(dtype) if dtype.startswith("u") else drawn.astype(dtype)


ORDERS = ("as it is", "planar", "big-endian", "every second")


def laid_out(image: np.ndarray, order: str) -> np.ndarray:
    """The same values with another layout in memory."""
    if order == "planar":
        return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    if order == "big-endian":
        return image.astype(image.dtype.newbyteorder(">"))
    return np.repeat(image, 2, 1)[:, ::2] if order == "every second" else image


@st.composite
def image_sets(draw: st.DrawFn) -> list[np.ndarray]:
    """Three images of one type and number of channels, of any finite values and several sizes."""
    dtype, channels = np.dtype(draw(st.sampled_from(TYPES))), draw(st.integers(1, 6))
    bound: dict[str, Any] = {"min_value": -60000.0, "max_value": 60000.0} if dtype.kind == "f" else {}
    shapes = [(draw(st.integers(8, 11)), draw(st.integers(8, 11)), channels) for _ in range(3)]
    return [draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **bound))) for shape in shapes]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(images=image_sets(), splits=st.permutations(["train", "test", "unlabelled"]), order=st.sampled_from(ORDERS))
def test_what_comes_out_is_what_went_in(images: list[np.ndarray], splits: list[str], order: str, tmp_path: Path) -> None:
    def read(item: Item) -> tuple[np.ndarray, np.ndarray | None]:
        image = images[int(item.id)]
        return laid_out(image, order), None if item.split == "unlabelled" else np.eye(*image.shape[:2], dtype=np.uint8)

    items = tuple(Item(str(i), name) for i, name in enumerate(splits))
    how = Normalisation("window", "image", 0.0, 1.0)
    source = source_of({"train/a": images[0]}, items=items, read=read)
    pack = open_pack(source, "made", None, tmp_path / str(len([*tmp_path.iterdir()])), how)
    assert (pack.dtype, pack.channels) == (images[0].dtype, images[0].shape[2])
    for row, image in enumerate(images):
        found = pack.image(row)
        assert (found.dtype, found.shape) == (image.dtype, image.shape)
        assert found.tobytes() == image.tobytes()
        assert not found.flags.writeable
        assert not found.flags.owndata


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_last_bit_of_any_value_is_in_the_fingerprint(dtype: str, channels: int, tmp_path: Path) -> None:
    image, test = some(dtype, channels), some(dtype, channels)
    whole = packed({"train/a": image, "test/b": test}, tmp_path).fingerprint
    assert packed({"train/a": image.copy(), "test/b": test}, tmp_path).fingerprint == whole
    found = {whole}
    for place in [(0, 0, 0), (7, 8, channels - 1), (3, 4, channels // 2)]:
        changed = image.copy()
        bits = changed.view(f"u{changed.itemsize}")
        bits[place] ^= 1
        found.add(packed({"train/a": changed, "test/b": test}, tmp_path).fingerprint)
    assert len(found) == 4


def test_equal_bytes_of_another_type_have_another_fingerprint(tmp_path: Path) -> None:
    values = some("float16", 4)
    found = [packed({"train/a": one, "test/b": one}, tmp_path).fingerprint for one in (values, values.view("uint16"))]
    assert len({*found}) == 2


def test_volumes_and_spacings_are_in_the_fingerprint_of_deep_images_alone(tmp_path: Path) -> None:
    more = {"volume": lambda item: "one", "spacing": lambda item: (5.0, 1.5, 1.25)}
    for image, differ in ((some("uint16", 1), 3), (some("uint8", 3), 1)):
        images = {"train/a": image, "test/b": image}
        packs = [packed(images, tmp_path, **dict(part)) for part in ([], [*more.items()][:1], [*more.items()])]
        assert len({pack.fingerprint for pack in packs}) == differ
        assert packs[0].volumes == ["train/a", "test/b"]
        assert packs[0].spacings is None
        assert packs[2].volumes == ["one", "one"]
        assert packs[2].spacings is not None
        np.testing.assert_array_equal(packs[2].spacings, np.array([[5, 1.5, 1.25]] * 2, np.float32))


def test_spacing_follows_a_new_size(tmp_path: Path) -> None:
    images = {"train/a": some("uint16", 1, (8, 20)), "test/b": some("uint16", 1, (16, 10))}
    masks = {name: np.eye(*image.shape[:2], dtype=np.uint8) for name, image in images.items()}
    source = source_of(images, spacing=lambda item: (9.0, 2.0, 1.0), read=lambda item: (images[item.id], masks[item.id]))
    pack = open_pack(source, "made", (8, 10), tmp_path)
    assert pack.spacings is not None
    np.testing.assert_allclose(pack.spacings, [[9, 2, 2], [9, 4, 1]])


def test_a_spacing_of_some_images_is_refused(tmp_path: Path) -> None:
    images = {"train/a": some("uint16", 1), "test/b": some("uint16", 1)}
    with pytest.raises(SettingError, match=r"^test/b: got an image without spacing of its pixels, unlike train/a; allowed: "):
        packed(images, tmp_path, spacing=lambda item: (1.0, 1.0, 1.0) if item.id == "train/a" else None)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (some("uint8", 3), "test/b: got uint8 with 3 channels; allowed: uint16 with 3, as train/a has"),
        (some("uint16", 1), "test/b: got uint16 with 1 channel; allowed: uint16 with 3, as train/a has"),
    ],
)
def test_types_and_channels_are_not_mixed(second: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as refused:
        packed({"train/a": some("uint16", 3), "test/b": second}, tmp_path)
    assert str(refused.value) == said


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_its_file(dtype: str, value: float, tmp_path: Path) -> None:
    broken = some(dtype, 2)
    broken[5, 6, 1] = value
    with pytest.raises(SettingError, match=r"^FILE test/b: got values .*; allowed: finite numbers within 1e\+30$"):
        packed({"train/a": some(dtype, 2), "test/b": broken}, tmp_path, where=lambda item: f"FILE {item.id}")


def test_a_mark_of_missing_data_is_refused(tmp_path: Path) -> None:
    broken = np.where(np.eye(8, 9, dtype=bool)[..., None], np.float32(-3.4e38), np.float32(0.5))
    with pytest.raises(SettingError, match=r"^test/b: got values -3.4e\+38..0.5"):
        packed({"train/a": some("float32", 1), "test/b": broken}, tmp_path)


# ---- what was 8-bit colour

RECORDED = Path(__file__).with_name("golden_packs.json")
"""Fingerprints, keys of a three-stage table's last stage, means and spreads as they were when packs were 8-bit colour only."""


@pytest.mark.parametrize("name", [*json.loads(RECORDED.read_text())])
def test_8_bit_colour_keeps_its_fingerprint_keys_and_statistics(name: str, cache: Path, tmp_path: Path) -> None:
    if name == "synthetic":
        data = Data()
    elif name == "folder":
        data, cache = Data(name="folder", root=build_folder(tmp_path / "tree"), size=(8, 16)), tmp_path
    elif not (SHARED / "camvid").is_dir():
        pytest.skip(f"{SHARED / 'camvid'} is not here")
    else:
        data = Data(name="camvid", root=SHARED / "camvid", size=(48, 64), labelled=0.2)
    pack = load(data, cache)
    splits = split(pack, data)
    key = ThreeStage().stages(split_of(pack, splits), UNet(), Train(), 0)[-1].key
    fingerprint, old_key, mean, std, labelled_hash = json.loads(RECORDED.read_text())[name]
    assert (pack.fingerprint, key, splits.labelled_hash) == (fingerprint, old_key, labelled_hash)
    np.testing.assert_allclose([pack.mean, pack.std], [mean, std], rtol=1e-14)  # sums of another BLAS


# ---- other sizes


def triangle(length: int, new: int) -> np.ndarray:
    """Matrix (new,length) of antialiased linear interpolation: a triangle as wide as the larger of both grids' steps."""
    step = length / new
    wide = max(1.0, step)
    at = (np.arange(new)[:, None] + 0.5) * step
    weights = np.clip(1 - abs(np.arange(length) + 0.5 - at) / wide, 0, None)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(5, 7), (24, 33), (8, 11)])
def test_every_channel_is_resized_as_the_formula_says(dtype: str, size: tuple[int, int]) -> None:
    image = some(dtype, 5, (16, 22))
    found, _ = resized(image, None, size)
    expected = np.einsum("ih,hwc,jw->ijc", triangle(16, size[0]), image.astype(np.float64), triangle(22, size[1]))
    assert found.dtype == image.dtype
    slack = {"uint8": 1.01, "uint16": 0.51, "float16": 1e-3, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(found, expected, rtol=0, atol=slack)


@pytest.mark.parametrize("dtype", TYPES)
def test_resizing_a_large_image_in_parts_changes_no_bit(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = some(dtype, 3, (61, 47))
    for size in ((20, 30), (61, 9), (13, 47), (100, 90)):
        whole = resized(image, None, size)[0]
        with monkeypatch.context() as small:
            small.setattr("semiseg.data.strips.VALUES", 400)
            small.setattr("semiseg.data.images.AT_ONCE", 0)
            assert resized(image, None, size)[0].tobytes() == whole.tobytes()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_8_bit_channels_are_resized_as_those_of_a_colour_image(channels: int) -> None:
    colour = some("uint8", 3, (16, 22))
    seen = np.asarray(Image.fromarray(colour).resize((9, 5), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized(colour, None, (5, 9))[0], seen)
    order = [0, 1, 2, 1][:channels]
    np.testing.assert_array_equal(resized(colour[..., order], None, (5, 9))[0], seen[..., order])


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 3), ("uint8", 8)])
def test_memory_is_asked_for_type_and_channels(dtype: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 x 200 pixels of 3 bytes and a mask, four times, are 640 kB."""
    monkeypatch.setattr("semiseg.machine.available_memory", lambda: 700_000)
    colour, more = some("uint8", 3), some(dtype, channels)
    assert open_pack(source_of({"train/a": colour, "test/b": colour}), "made", (200, 200), tmp_path).channels == 3
    with pytest.raises(SettingError, match=r"^data.size: got \(200, 200\), with which one image takes "):
        open_pack(source_of({"train/a": more, "test/b": more}, stamp="more"), "made", (200, 200), tmp_path)


# ---- for people


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_picture_is_what_a_network_sees(channels: int, tmp_path: Path) -> None:
    image = some("float32", channels, (30, 41)) * 3 - 1
    pack = packed({"train/a": image, "test/b": image}, tmp_path, Normalisation("percentile", "image", 10, 90))
    low, high = np.percentile(image, (10, 90), axis=(0, 1))
    seen = (np.clip((image - low) / (high - low), 0, 1) * 255)[::3, ::3, [0, 1, 2] if channels > 2 else [0, 0, 0]]
    picture = pack.picture(0, longest=16)
    assert (picture.dtype, picture.shape, pack.step(0, 16)) == (np.uint8, (10, 14, 3), 3)
    assert abs(picture - seen).max() < 0.51
    assert pack.picture(0).shape == (30, 41, 3)


def test_the_line_says_type_channels_and_normalisation_of_what_is_not_8_bit_colour(tmp_path: Path) -> None:
    def line(image: np.ndarray, how: Normalisation = AS_THE_SET_SAYS) -> str:
        pack = packed({"train/a": image, "train/c": image, "test/b": image}, tmp_path, how)
        return understood(pack, split(pack, Data(labelled=1)))

    assert "normalised" not in line(some("uint8", 3))
    assert "; uint8 of 1 channel, normalised by dataset; " in line(some("uint8", 1))
    assert "; uint16 of 5 channels, normalised by minmax over dataset; " in line(some("uint16", 5))
    assert "; uint8 of 3 channels, normalised by percentile 1.0..99.0 over group; " in line(
        some("uint8", 3), Normalisation("percentile", "group")
    )


def test_channels_that_the_images_do_not_have_are_refused(tmp_path: Path) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "tree"), channels=5)
    with pytest.raises(SettingError, match=r"^data.channels: got 5; allowed: 3, as .* has$"):
        load(data, tmp_path / "cache")
