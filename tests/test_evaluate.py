"""Predictions on whole images of any size, and their scores from one confusion matrix."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, jaccard_score
from torch import nn

from semiseg.data import load
from semiseg.device import autocast
from semiseg.evaluate import evaluate, predict
from semiseg.metrics import METRICS

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
    result = evaluate(Reddest(), pack, splits.test, batch=2, **OPTIONS)
    each = [jaccard_score(flat == index, found == index) for index in range(5)]
    assert [result[name, "iou"] for name in tiny.CLASSES] == pytest.approx(each)
    assert result["", "miou"] == pytest.approx(np.mean(each))
    assert result["", "accuracy"] == pytest.approx(accuracy_score(flat, found))
    assert {metric for name, metric in result if name == ""} == set(METRICS)


def test_the_batch_size_does_not_move_a_score() -> None:
    pack, splits = tiny.opened()
    network = tiny.trainer(tiny.chain()[0]).state.student
    assert len({evaluate(network, pack, splits.test, batch=size, **OPTIONS)["", "miou"] for size in (1, 2, 16)}) == 1


def test_every_row_is_predicted_once_in_order_in_batches_of_at_most_that_size() -> None:
    pack, splits = tiny.opened()
    network = Reddest()
    found = list(predict(network, pack, splits.test, batch=2, **OPTIONS))
    assert [row for row, _ in found] == splits.test.tolist()
    assert [size[0] for size in network.sizes] == [2, 2, 1]
    for row, probs in found:
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
    shapes = [tuple(probs.shape[1:]) for _, probs in predict(network, pack, rows, batch=8, **OPTIONS)]
    assert shapes == [(17, 24), (32, 32), (32, 32), (17, 24), (17, 24)]
    assert [size[0] for size in network.sizes] == [1, 2, 2]


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
