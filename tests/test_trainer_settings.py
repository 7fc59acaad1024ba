"""How settings of training reach a stage: optimiser, dropout, score, threshold."""

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import small_folder
from sklearn.metrics import precision_score, recall_score
from test_methods import same
from test_trainer_batches import MIXED, stage
from torch import nn

from semiseg.config import Data, Train
from semiseg.data import load, split
from semiseg.ema import Ema
from semiseg.evaluate import evaluate, predict
from semiseg.methods import Method, OneWay, Supervised
from semiseg.nets.optimiser import optimiser
from semiseg.runner import split_of
from semiseg.train import Trainer


def by_hand(train: Train, gradients: list[float]) -> list[float]:
    """A weight that starts at 1 after each step: momentum SGD as PyTorch writes it, Adam as Kingma and Ba do."""
    weight, first, second, found = 1.0, 0.0, 0.0, []
    for t, gradient in enumerate(gradients, 1):
        gradient += train.weight_decay * weight
        if train.optimiser == "sgd":
            first = train.betas[0] * first + gradient
            weight -= train.learning_rate * first
        else:
            first = train.betas[0] * first + (1 - train.betas[0]) * gradient
            second = train.betas[1] * second + (1 - train.betas[1]) * gradient**2
            corrected = second / (1 - train.betas[1] ** t)
            weight -= train.learning_rate * first / (1 - train.betas[0] ** t) / (math.sqrt(corrected) + 1e-8)
        found.append(weight)
    return found


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.6), (0.0, 0.9)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimiser_momentum_and_weight_decay_are_those_of_the_settings(name: Any, betas: Any, decay: float) -> None:
    train, gradients = Train(optimiser=name, betas=betas, weight_decay=decay, learning_rate=0.1), [1.0, -0.5, 2.0, 0.25]
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    steps, found = optimiser(net, train), []
    for gradient in gradients:
        net.weight.grad = torch.tensor([[gradient]])
        steps.step()
        found.append(net.weight.item())
    assert found == pytest.approx(by_hand(train, gradients), rel=1e-5)


def test_a_stage_trains_with_the_optimiser_of_its_settings() -> None:
    sgd, adam = (tiny.trainer(stage(Supervised(), optimiser=n, betas=(0.7, 0.8))).optimisers["student"] for n in ("sgd", "adam"))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == 0.7
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["betas"] == (0.7, 0.8)


DROPPING = [Supervised(), replace(MIXED, ema=Ema(decay=(0.9,), mode="train", buffers="own")), OneWay()]


@pytest.mark.parametrize("method", DROPPING, ids=["supervised", "mean teacher", "one way"])
def test_a_stage_with_dropout_that_was_cut_short_ends_bit_for_bit_the_same(method: Method) -> None:
    dropping = tiny.chain(method, net=replace(tiny.NET, dropout=0.5))[0]
    whole, broken = tiny.run(dropping), tiny.trainer(dropping)
    for stop in (3, 4):
        while broken.progress.step < stop:
            broken.advance(0.0)
        file = io.BytesIO()
        torch.save(broken.checkpoint(), file)
        torch.manual_seed(1000 + stop)  # what a new process would have is no part of the result
        broken = tiny.trainer(dropping)
        broken.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    while not broken.finished:
        broken.advance(0.0)
    same(whole, broken)
    assert tiny.losses(whole) != tiny.losses(tiny.run(tiny.chain(method)[0]))


def test_the_score_of_the_settings_chooses_the_weights() -> None:
    """The two runs differ in nothing else; the curve of either score says at which step it was best."""
    chosen = {}
    for score in ("miou", "image_recall"):
        finished = tiny.run(stage(Supervised(), steps=12, evaluations=12, learning_rate=0.3, score=score))
        curve = [point["value"] for point in finished.progress.curves if point["name"] == f"selection/student/{score}"]
        outcome = finished.finish()
        assert outcome.chosen_step == 1 + curve.index(max(curve))
        wanted = {"split": "selection", "class": "", "metric": score, "weights": "best"}
        (value,) = [line["value"] for line in outcome.metrics if wanted.items() <= line.items()]
        assert value == pytest.approx(max(curve))
        chosen[score] = outcome.chosen_step
    assert chosen["miou"] != chosen["image_recall"]


def test_the_threshold_decides_what_is_class_1(tmp_path: Any) -> None:
    """Precision and recall are scikit-learn's at that threshold; a higher one finds no more of the class."""
    data = Data(name="folder", root=small_folder(tmp_path / "data"), size=(16, 16), labelled=3, selection=1)
    pack = load(data, tmp_path / "cache")
    splits = split(pack, data)
    train = replace(tiny.TRAIN, crop=(16, 16), steps=6, batch_labelled=2, batch_unlabelled=1, learning_rate=3e-3)
    trainer = Trainer(Supervised().stages(split_of(pack, splits), tiny.NET, train, 0)[0], pack, splits, tiny.CPU)
    trainer.advance(60)
    net, rows = trainer.state.student, np.arange(len(pack))
    found = predict(net, pack, rows, train, batch=4, device=tiny.CPU)
    probs = np.concatenate([one.probs[1].numpy().ravel() for one in found])
    truth = np.concatenate([np.ravel(pack.mask(row)) for row in rows])  # type: ignore[arg-type]
    recalls = []
    for threshold in np.quantile(probs, (0.2, 0.4, 0.6, 0.8)).tolist():
        scores = evaluate(net, pack, rows, replace(train, threshold=threshold), batch=4, device=tiny.CPU).scores
        precision, recall = (scores[pack.classes[1], name] for name in ("precision", "recall"))
        assert precision == pytest.approx(precision_score(truth, probs > threshold))
        assert recall == pytest.approx(recall_score(truth, probs > threshold))
        recalls.append(recall)
    assert recalls == sorted(recalls, reverse=True)
    assert len(set(recalls)) == 4
