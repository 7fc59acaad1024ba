"""Predictions on images of any size, whole and in windows, and their scores."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score
from torch import nn

from semiseg.batch import IGNORE
from semiseg.config import Data
from semiseg.data import Pack, load
from semiseg.device import autocast
from semiseg.evaluate import evaluate, predict, thinned_masks, windows
from semiseg.measures import ALWAYS
from semiseg.metrics import confusion_matrices
from semiseg.nets import BlockNet, UNet, build

MIDDLES = [0.1, 0.305, 0.507, 0.702, 0.9]  # no 8-bit value lies half way between two
OPTIONS = {"train": tiny.TRAIN, "device": tiny.CPU}


class Reddest(nn.Module):
    """Predicts one of five classes from the red channel of the pixel; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []
        self.modes: list[tuple[bool, bool]] = []
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(image.shape))
        self.modes.append((self.training, torch.is_grad_enabled()))
        self.norm(image)
        middle = torch.tensor(MIDDLES).reshape(1, 5, 1, 1)
        return -(image[:, :1] - middle).abs()


def by_hand(image: np.ndarray) -> np.ndarray:
    return np.abs(image[..., :1] / 255 - np.array(MIDDLES)).argmin(-1)


def test_scores_are_those_of_all_pixels_of_all_images_together() -> None:
    """Against scikit-learn on the flattened pixels; the first test mask has ignored ones."""
    pack, splits = tiny.opened()
    truth, guess = [], []
    for row in splits.test:
        mask = pack.mask(row)
        assert mask is not None
        truth.append(mask[mask != 255])
        guess.append(by_hand(pack.image(row))[mask != 255])
    assert sum(map(len, truth)) == 5 * 32 * 32 - 3 * 32
    flat, found = np.concatenate(truth), np.concatenate(guess)
    result = evaluate(Reddest(), pack, splits.test, batch=2, **OPTIONS).scores
    each = [jaccard_score(flat == index, found == index) for index in range(5)]
    assert [result[name, "iou"] for name in tiny.CLASSES] == pytest.approx(each)
    assert result["", "miou"] == pytest.approx(np.mean(each))
    assert result["", "accuracy"] == pytest.approx(accuracy_score(flat, found))
    assert {metric for name, metric in result if name == ""} == set(ALWAYS)


def test_the_batch_size_does_not_move_a_score() -> None:
    pack, splits = tiny.opened()
    network = tiny.trainer(tiny.chain()[0]).state.student
    assert len({evaluate(network, pack, splits.test, batch=size, **OPTIONS).scores["", "miou"] for size in (1, 2, 16)}) == 1


def test_every_row_is_predicted_once_in_order_in_batches_of_at_most_that_size() -> None:
    pack, splits = tiny.opened()
    network = Reddest()
    found = list(predict(network, pack, splits.test, batch=2, **OPTIONS))
    assert [row for row, *_ in found] == splits.test.tolist()
    assert [size[0] for size in network.sizes] == [2, 2, 1]
    for row, _, probs in found:
        assert probs.dtype == torch.float32
        assert probs.sum(0).allclose(torch.ones(tiny.SIZE))
        assert (probs.argmax(0).numpy() == by_hand(pack.image(row))).mean() > 0.99


def test_images_of_several_sizes_are_batched_with_neighbours_of_their_size(tmp_path) -> None:
    data = tiny.write_images(tmp_path / "images")
    assert data.root is not None
    for name in ("28", "31", "32"):
        for kind in ("images", "masks"):
            path = data.root / kind / f"{name}.png"
            with Image.open(path) as picture:
                cut = picture.crop((0, 0, 24, 17))
            cut.save(path)
    pack = load(replace(data, size="native"), tmp_path / "cache")
    rows = [row for row, split in enumerate(pack.split) if split == "test"]
    network = Reddest()
    shapes = [tuple(probs.shape[1:]) for *_, probs in predict(network, pack, rows, batch=8, **OPTIONS)]
    assert shapes == [(17, 24), (32, 32), (32, 32), (17, 24), (17, 24)]
    assert [size[0] for size in network.sizes] == [1, 2, 2]


# ---- windows


@pytest.mark.parametrize("overlap", [0, 32, 64])
@pytest.mark.parametrize("size", [(160, 192), (224, 160)])
@pytest.mark.parametrize("image", [(31, 500), (160, 192), (161, 193), (400, 417), (480, 231), (9, 9)])
def test_windows_cover_an_image_once_and_see_beyond_what_they_keep(
    image: tuple[int, int], size: tuple[int, int], overlap: int
) -> None:
    covered = np.zeros(image, int)
    for window in windows(*image, size, overlap):
        covered[window.kept] += 1
        for seen, kept, length, most in zip(window.seen, window.kept, image, size, strict=True):
            assert seen.start % 32 == 0
            assert seen.stop - seen.start <= most
            assert seen.stop == length or (seen.stop - seen.start == most and seen.stop - kept.stop == overlap)
            assert seen.start == kept.start == 0 or kept.start - seen.start >= overlap
            assert kept.stop > kept.start
    assert (covered == 1).all()
    assert len(windows(*image, None, overlap)) == 1


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Four images that are larger than a window, of odd sizes, and one that is smaller."""
    folder = tmp_path_factory.mktemp("large")
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate([(233, 301), (233, 301), (300, 129), (97, 411), (60, 50)]):
        for kind, channels in (("images", (3,)), ("masks", ())):
            (folder / kind).mkdir(exist_ok=True)
            coarse = generator.integers(0, 240 if channels else 3, (height // 9 + 1, width // 9 + 1, *channels), np.uint8)
            array = coarse.repeat(9, 0).repeat(9, 1)[:height, :width]
            if channels:
                array = array + generator.integers(0, 9, array.shape, np.uint8)
            Image.fromarray(array).save(folder / kind / f"{number}.png")
    (folder / "train.txt").write_text("0\n1\n")
    (folder / "test.txt").write_text("2\n3\n4\n")
    return load(Data(name="folder", root=folder, size="native", selection=1), folder / "cache")


def small_network(pack: Pack, depth: int) -> BlockNet:
    """A U-Net in which BatchNorm's statistics and factors are drawn too: what it says must not depend on the batch."""
    network = build(UNet(width=4, depth=depth), len(pack.classes), mean=(0.5,) * 3, std=(0.25,) * 3, seed=1)
    assert isinstance(network, BlockNet)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                assert values is not None
                values.data = 0.5 + torch.rand(values.shape, generator=generator)
    return network


@pytest.mark.parametrize(("depth", "window", "overlap"), [(2, (96, 128), 32), (3, (96, 128), 32), (4, (160, 160), 64)])
def test_windows_say_what_whole_images_do_where_the_network_looks_no_further_than_they_overlap(
    large: Pack, depth: int, window: tuple[int, int], overlap: int
) -> None:
    """A U-Net of depth 3 looks 18 pixels far, of depth 4 about 40; the images are no multiples of their strides."""
    network, rows = small_network(large, depth), [0, 2, 3, 4]
    whole_train = replace(tiny.TRAIN, crop=(32, 32))
    train = replace(whole_train, sliding_window=window, window_overlap=overlap)
    whole = {row: probs for row, _, probs in predict(network, large, rows, whole_train, batch=4, device=tiny.CPU)}
    tiles = list(predict(network, large, rows, train, batch=3, device=tiny.CPU))
    assert len(tiles) > 20
    stitched = {row: torch.full_like(probs, math.nan) for row, probs in whole.items()}
    for row, place, probs in tiles:
        stitched[row][:, *place] = probs
    for row, probs in whole.items():
        torch.testing.assert_close(stitched[row], probs, rtol=0, atol=2e-6)
        clear = probs.topk(2, 0).values.diff(dim=0)[0].abs() > 1e-5
        assert clear.float().mean() > 0.99
        assert stitched[row].argmax(0)[clear].equal(probs.argmax(0)[clear])

    asked = ("boundary_iou", "ece")
    one, other = (
        evaluate(network, large, rows, each, batch=4, device=tiny.CPU, metrics=asked).scores for each in (whole_train, train)
    )
    assert one == pytest.approx(other, abs=1e-4, nan_ok=True)


def test_windows_too_narrow_for_the_network_say_something_else(large: Pack) -> None:
    """The test above can fail: without an overlap seams are seen."""
    network, train = small_network(large, 3), replace(tiny.TRAIN, sliding_window=(96, 128), window_overlap=0)
    (whole,) = predict(network, large, [0], tiny.TRAIN, batch=1, device=tiny.CPU)
    apart = [
        (probs - whole.probs[:, *place]).abs().max().item()
        for _, place, probs in predict(network, large, [0], train, batch=1, device=tiny.CPU)
    ]
    assert max(apart) > 1e-3


def test_pictures_of_windows_are_those_of_whole_images_thinned_where_these_are_large(
    large: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, rows = small_network(large, 2), [0, 3, 4]
    train = replace(tiny.TRAIN, sliding_window=(96, 128), window_overlap=32)
    pictures = thinned_masks(network, large, rows, train, batch=2, device=tiny.CPU)
    monkeypatch.setattr(large, "step", lambda row, longest=100: -(-int(max(large.heights[row], large.widths[row])) // 100))
    thin = thinned_masks(network, large, rows, train, batch=2, device=tiny.CPU)
    for row, _, probs in predict(network, large, rows, tiny.TRAIN, batch=1, device=tiny.CPU):
        mask = probs.argmax(0).numpy()
        assert (pictures[row] == mask).mean() > 0.999
        step = math.ceil(max(mask.shape) / 100)
        assert thin[row].shape == mask[::step, ::step].shape == large.picture(row, 100).shape[:2]
        assert (thin[row] == mask[::step, ::step]).mean() > 0.999


def test_matrices_of_a_batch_are_those_of_its_images() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, mask = (torch.randint(0, 3, (5, 4, 6), generator=generator) for _ in range(2))
    mask[0, 0], mask[3], predicted[0, 0] = IGNORE, IGNORE, 99
    found = confusion_matrices(predicted, mask, 3)
    for matrix, one, other in zip(found, predicted, mask, strict=True):
        pairs = zip(other.flatten().tolist(), one.flatten().tolist(), strict=True)
        expected = Counter(pair for pair in pairs if pair[0] != IGNORE)
        assert {(t, p): int(matrix[t, p]) for t in range(3) for p in range(3) if matrix[t, p]} == expected


def test_a_cpu_predicts_as_many_pixels_at_a_time_as_its_caches_hold(large: Pack) -> None:
    network = Reddest()
    train = replace(tiny.TRAIN, sliding_window=(224, 224), window_overlap=64)
    wide = next(row for row in range(len(large)) if large.widths[row] == 411)
    list(predict(network, large, [wide, wide], train, batch=64, device=tiny.CPU))
    assert network.sizes == [(2, 3, 97, 224), (1, 3, 97, 219)] * 2
    network.sizes.clear()
    small = next(row for row in range(len(large)) if large.widths[row] == 50)
    list(predict(network, large, [small] * 400, train, batch=1000, device=tiny.CPU))
    most = (1 << 17) // 3000
    assert [size[0] for size in network.sizes] == [most] * (400 // most) + [400 % most]


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_network_and_its_mode_as_they_were(training: bool) -> None:
    pack, splits = tiny.opened()
    network = Reddest().train(training)
    before = tiny.flat(network)
    evaluate(network, pack, splits.test, batch=4, **OPTIONS)
    assert set(network.modes) == {(False, False)}
    assert network.training == network.norm.training == training
    assert tiny.flat(network).equal(before)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_failure_in_the_middle_leaves_no_mode_behind() -> None:
    pack, splits = tiny.opened()
    network = Reddest().train()
    with pytest.raises(IndexError):
        evaluate(network, pack, [*splits.test, 10_000], batch=2, **OPTIONS)
    assert network.training
    assert not torch.is_inference_mode_enabled()


def test_precision_decides_on_autocast() -> None:
    for precision, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast(tiny.CPU, precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind
