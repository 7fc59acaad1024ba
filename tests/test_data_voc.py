"""PASCAL VOC with and without the augmented set: lists, which mask counts, palette, and training on images of many sizes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from data_trees import VOC_COLOURS, build_voc, decoded, label_counts, shared, source_of, splits_of
from PIL import Image
from sklearn.metrics import jaccard_score
from torchvision.datasets import VOCSegmentation

from semiseg.config import Data, SettingError, Weak
from semiseg.data import Pack, load, split
from semiseg.data.voc_aug import voc_colour
from semiseg.device import resolve
from semiseg.methods import Supervised
from semiseg.pseudo import load_role as load_weights
from semiseg.pseudo import network
from semiseg.runner import split_of
from semiseg.train import Trainer

LISTS = "VOCdevkit/VOC2012/ImageSets/Segmentation"


def raw(root: Path, part: str, name: str) -> np.ndarray:
    """The indexes of a palette mask as Pillow reads them."""
    with Image.open(root / "VOCdevkit/VOC2012" / part / f"{name}.png") as mask:
        return np.array(mask)


def names(numbers: range) -> set[str]:
    return {f"2007_{i:06d}" for i in numbers}


def in_split(splits: dict[str, str], wanted: str) -> set[str]:
    return {name for name, found in splits.items() if found == wanted}


def test_the_augmented_list_goes_first_and_then_train(tmp_path: Path) -> None:
    splits = splits_of(source_of("voc_aug", build_voc(tmp_path)))
    assert in_split(splits, "train") == names(range(10))
    assert in_split(splits, "test") == names(range(10, 14))
    (tmp_path / LISTS / "train_aug.txt").unlink()
    assert in_split(splits_of(source_of("voc_aug", tmp_path)), "train") == names(range(4))


@pytest.mark.parametrize("place", ["Segmentation/trainaug.txt", "SegmentationAug/train_aug.txt", "SegmentationAug/trainaug.txt"])
def test_the_augmented_list_has_other_usual_places(place: str, tmp_path: Path) -> None:
    before = splits_of(source_of("voc_aug", build_voc(tmp_path)))
    (tmp_path / LISTS).with_name("SegmentationAug").mkdir()
    (tmp_path / LISTS / "train_aug.txt").rename((tmp_path / LISTS).parent / place)
    assert splits_of(source_of("voc_aug", tmp_path)) == before


@pytest.mark.parametrize("place", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_may_be_the_folder_of_the_devkit_or_of_the_year(place: str, tmp_path: Path) -> None:
    source = source_of("voc_aug", build_voc(tmp_path))
    other = source_of("voc_aug", tmp_path / place)
    assert other.items == source.items
    assert other.stamp == source.stamp


def test_training_takes_the_augmented_mask_and_scoring_that_of_voc(tmp_path: Path) -> None:
    build_voc(tmp_path)
    aug = tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug"
    for name in ("2007_000010", "2007_000011"):
        Image.fromarray(np.zeros_like(raw(tmp_path, "SegmentationClass", name))).save(aug / f"{name}.png")
    (aug.with_name("SegmentationClass") / "2007_000011.png").unlink()
    source = source_of("voc_aug", tmp_path)
    came_from = {"2007_000000": "SegmentationClass", "2007_000001": "SegmentationClassAug", "2007_000009": "SegmentationClassAug"}
    came_from |= {"2007_000010": "SegmentationClass", "2007_000011": "SegmentationClassAug"}
    for name, part in came_from.items():
        image, mask = decoded(source, name)
        np.testing.assert_array_equal(mask, raw(tmp_path, part, name))
        with Image.open(tmp_path / "VOCdevkit/VOC2012/JPEGImages" / f"{name}.jpg") as photo:
            np.testing.assert_array_equal(image, np.array(photo))
    assert (raw(tmp_path, "SegmentationClass", "2007_000001") != raw(tmp_path, "SegmentationClassAug", "2007_000001")).any()


def test_images_keep_their_sizes_unless_one_is_asked_for(tmp_path: Path) -> None:
    data = Data(name="voc_aug", root=build_voc(tmp_path / "tree"))
    native, small = load(data, tmp_path), load(replace(data, size=(16, 24)), tmp_path)
    sizes = {name: (13 + 2 * (int(name[-2:]) % 8), 27 - int(name[-2:]) % 8) for name in native.ids}
    assert [sizes[name] for name in native.ids] == list(zip(native.heights, native.widths, strict=True))
    assert len(set(sizes.values())) == 8
    assert {native.image(row).shape[:2] for row in range(len(native))} == set(sizes.values())
    assert {small.image(row).shape for row in range(len(small))} == {(16, 24, 3)}
    assert set(np.flatnonzero(label_counts(native))) == {*range(21), 255}


def test_the_palette_is_the_one_of_vocs_files() -> None:
    assert tuple(voc_colour(i) for i in range(21)) == VOC_COLOURS
    assert voc_colour(255) == (224, 224, 192)  # of the borders
    assert len({voc_colour(i) for i in range(256)}) == 256


def test_a_third_list_with_masks_makes_val_the_selection_images(tmp_path: Path) -> None:
    build_voc(tmp_path, augmented=False)
    (tmp_path / LISTS / "test.txt").write_text("2008_000001\n")  # as in the real set, whose test masks are not given away
    assert set(splits_of(source_of("voc_aug", tmp_path)).values()) == {"train", "test"}
    (tmp_path / LISTS / "train.txt").write_text("2007_000000\n2007_000001\n")
    (tmp_path / LISTS / "test.txt").write_text("2007_000002\n2007_000003\n")
    (tmp_path / "VOCdevkit/VOC2012").rename(tmp_path / "VOCdevkit/VOC2007")
    splits = splits_of(source_of("voc_aug", tmp_path))
    assert in_split(splits, "train") == names(range(2))
    assert in_split(splits, "test") == names(range(2, 4))
    assert in_split(splits, "selection") == names(range(10, 14))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    data = Data(name="voc_aug", root=build_voc(tmp_path / "tree"))
    lists, cache = tmp_path / "tree" / LISTS, tmp_path / "cache"
    val = (lists / "val.txt").read_text()
    for extra in ("2007_000003", "2007_000010"):
        (lists / "val.txt").write_text(f"{val}{extra}\n")
        with pytest.raises(SettingError, match=rf"val.txt, line 5: got '{extra}', which is listed before; allowed: each name once"):
            load(data, cache)
    (lists / "val.txt").write_text(val)
    mask = lists.parents[1] / "SegmentationClass" / "2007_000012.png"
    with pytest.raises(SettingError, match=r"2007_0000\d\d.png: got mask value \d+; allowed: 0, 1, 2, 255 \(ignore\)$"):
        load(replace(data, classes=("a", "b", "c")), cache)
    Image.fromarray(np.full(raw(tmp_path / "tree", "SegmentationClass", "2007_000012").shape, 21, np.uint8)).save(mask)
    with pytest.raises(
        SettingError, match=r"SegmentationClass/2007_000012.png: got mask value 21; allowed: 0, 1, .*255 \(ignore\)$"
    ):
        load(data, cache)
    mask.write_bytes(b"junk")
    with pytest.raises(SettingError, match=r"SegmentationClass/2007_000012.png: cannot be read"):
        load(data, cache)
    mask.unlink()
    with pytest.raises(SettingError, match=r"SegmentationClass/2007_000012.png: cannot be read \(No such file or directory\)"):
        load(data, cache)
    (lists / "val.txt").unlink()
    with pytest.raises(SettingError, match=r"val.txt: cannot be read .*; allowed: a text file"):
        load(data, cache)
    lists.rename(tmp_path / "lists")
    with pytest.raises(
        SettingError, match=r"data.root: got '.*lists' without VOCdevkit/VOC2012/JPEGImages; allowed: a folder with"
    ):
        load(replace(data, root=tmp_path / "lists"), cache)


def test_a_stage_trains_on_crops_of_images_of_many_sizes_and_scores_them_whole(tmp_path: Path) -> None:
    """The smallest image has 13 rows, fewer than the crop; the scores are counted again, image by image, by scikit-learn."""
    torch.set_num_threads(1)
    data = Data(name="voc_aug", root=build_voc(tmp_path / "tree"), labelled=4)
    pack = load(data, tmp_path / "cache")
    splits = split(pack, data)
    with pytest.raises(SettingError, match="train.crop: got None; allowed: height and width, as the images are of several sizes"):
        resolve(replace(tiny.TRAIN, crop=None), None, tiny.CPU)
    train = resolve(replace(tiny.TRAIN, steps=2, crop=(16, 16), weak=Weak(scale=(0.5, 1.5))), None, tiny.CPU)
    (stage,) = Supervised().stages(split_of(pack, splits), tiny.NET, train, seed=0)
    trainer = Trainer(stage, pack, splits, tiny.CPU)
    while not trainer.finished:
        trainer.advance(60)
    outcome = trainer.finish()
    assert all(np.isfinite(tiny.losses(trainer)))
    shapes = [(int(pack.heights[row]), int(pack.widths[row])) for row in splits.test]
    assert [sample.shape for sample in outcome.samples.values()] == shapes
    assert len(set(shapes)) == 4
    net = network(stage, pack, tiny.CPU).eval()
    load_weights(net, outcome.weights, "last.student.")
    truth, found = (np.concatenate(parts) for parts in zip(*(by_hand(net, pack, row) for row in splits.test), strict=True))
    miou = jaccard_score(truth, found, labels=np.union1d(truth, found), average="macro")
    place = {"role": "student", "weights": "last", "split": "test", "class": "", "metric": "miou"}
    (score,) = (line["value"] for line in outcome.metrics if place.items() <= line.items())
    assert score == pytest.approx(miou, abs=1e-12)


def by_hand(net: torch.nn.Module, pack: Pack, row: int) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes of the pixels of an image that count."""
    mask = pack.mask(row)
    assert mask is not None
    with torch.inference_mode():
        image = torch.tensor(pack.image(row)).permute(2, 0, 1)[None].float() / 255
        found = net(image)[0].argmax(0).numpy()
    return mask[mask != 255], found[mask != 255]


def test_the_shared_voc_images_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    root = shared("voc2012_mini")
    expected = json.loads((root / "stats.json").read_text())["expect"]["pairs"]
    data = Data(name="voc_aug", root=root, labelled=1)
    pack = load(data, tmp_path)
    assert sorted(pack.split) == ["test", "train", "train"]
    assert [len(rows) for rows in split(pack, data)[:4]] == [1, 1, 1, 1]
    counts = label_counts(pack)
    assert counts.sum() == expected["pixels"]
    for value in range(256):
        assert counts[value] / counts.sum() == pytest.approx(expected["frequency"].get(str(value), 0), abs=1e-6)
    for theirs, ours in (("train", "train"), ("val", "test")):
        reader = VOCSegmentation(str(root), year="2012", image_set=theirs)
        rows = {pack.ids[row]: row for row in range(len(pack)) if pack.split[row] == ours}
        assert [Path(name).stem for name in reader.images] == sorted(rows)
        for i, name in enumerate(sorted(rows)):
            image, mask = reader[i]
            np.testing.assert_array_equal(pack.image(rows[name]), np.array(image))
            np.testing.assert_array_equal(pack.mask(rows[name]), np.array(mask))
            assert [tuple(mask.getpalette()[3 * i : 3 * i + 3]) for i in range(256)] == [voc_colour(i) for i in range(256)]


def test_the_shared_augmented_masks_are_those_counted_without_a_loader(tmp_path: Path) -> None:
    """They come without images: grey ones of their size stand in."""
    masks = sorted((shared("voc2012_mini") / "labels_only/SegmentationClassAug").glob("*.png"))
    expected = json.loads((shared("voc2012_mini") / "stats.json").read_text())["expect"]["labels_only"]
    for part in ("JPEGImages", "ImageSets/Segmentation"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "SegmentationClassAug").symlink_to(masks[0].parent)
    for file in masks:
        with Image.open(file) as mask:
            Image.new("L", mask.size).save(tmp_path / "JPEGImages" / f"{file.stem}.jpg")
    for name, files in (("train_aug", masks[10:]), ("val", masks[:10])):
        (tmp_path / "ImageSets/Segmentation" / f"{name}.txt").write_text("".join(f"{file.stem}\n" for file in files))
    pack = load(Data(name="voc_aug", root=tmp_path), tmp_path / "cache")
    assert len(pack) == expected["pairs"]
    counts = label_counts(pack)
    assert counts.sum() == expected["pixels"]
    for value in range(256):
        assert counts[value] / counts.sum() == pytest.approx(expected["frequency"].get(str(value), 0), abs=1e-6)


def test_the_shared_rock_slices_in_vocs_layout_have_classes_of_their_own(tmp_path: Path) -> None:
    root = shared("rock_ct")
    expected = json.loads((root / "stats.json").read_text())["expect"]["all"]
    pack = load(Data(name="voc_aug", root=root, classes=("pore", "dark", "matrix", "bright")), tmp_path)
    assert [pack.split.count(name) for name in ("train", "selection", "test")] == [177, 23, 26]
    assert pack.palette == VOC_COLOURS[:4]
    counts = label_counts(pack)
    assert counts.sum() == expected["pixels"]
    np.testing.assert_allclose(counts[:4] / counts.sum(), [expected["frequency"][str(i)] for i in range(4)], atol=1e-6)
