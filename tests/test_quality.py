"""Quality of a stage's own targets: each number beside sklearn and scipy, and training that never hears of it."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tiny
import torch
from cps_example import CrossPseudo
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, jaccard_score, precision_score, recall_score
from torch import nn

import semiseg.train
from semiseg.batches import unlabelled_rows
from semiseg.data import Pack
from semiseg.ema import Ema
from semiseg.evaluate import Tile
from semiseg.losses import CrossEntropy
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.methods.kept import Kept
from semiseg.methods.rule import State
from semiseg.quality import LITTLE, MOST, Quality, learned_pixels, watch, watched_rows

Numbers = dict[tuple[str, str], float]
CLASSES = ("a", "b", "c", "d")


def packed(masks: list[np.ndarray | None], image_level: bool = False) -> Pack:
    """As much of a pack as is asked here."""
    ids = [f"image {i}" for i in range(len(masks))]
    return cast(Pack, SimpleNamespace(ids=ids, classes=CLASSES, image_level=image_level, mask=lambda row: masks[row]))


def by_hand(truth: np.ndarray, probs: np.ndarray, kept: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Numbers:
    """Every number from flat true classes (P,), probabilities (P,C) and whether a pixel is learned (P,)."""
    counted = truth != 255
    truth, probs, kept = truth[counted], probs[counted], kept[counted]
    said, ids = probs.argmax(1), list(range(len(classes)))
    values = {"kept": kept.astype(float), "confidence": probs.max(1), "entropy": entropy(probs, axis=1, base=len(classes))}
    found: Numbers = {("", name): float(each.mean()) for name, each in values.items()}
    for prefix, true, called in (("", truth, said), ("kept_", truth[kept], said[kept])):
        present = sorted({*true, *called})
        found["", f"{prefix}miou"] = float(jaccard_score(true, called, labels=present, average="macro"))
        found["", f"{prefix}accuracy"] = float(accuracy_score(true, called))
        options: dict[str, Any] = {"labels": ids, "average": None, "zero_division": np.nan}
        rates = {"precision": precision_score(true, called, **options)}
        rates["iou"] = [jaccard_score(true == i, called == i) if i in present else math.nan for i in ids]
        if not prefix:
            rates["recall"] = recall_score(true, called, **options)
        found |= {(classes[i], prefix + name): float(cast(Any, rate)[i]) for name, rate in rates.items() for i in ids}
    for i in ids:
        of = said == i
        found |= {(classes[i], name): float(each[of].mean()) if of.any() else math.nan for name, each in values.items()}
    return found


def nearly(found: Numbers, expected: Numbers, **counts: float) -> None:
    expected = expected | {("", name): value for name, value in counts.items()}
    assert found.keys() == expected.keys()
    assert found == {name: pytest.approx(value, rel=1e-5, abs=1e-7, nan_ok=True) for name, value in expected.items()}


def drawn(seed: int, pixels: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """True classes, a tenth of them ignored, and probabilities float32 that favour them; nothing is of class d or said to be of it."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, pixels)
    logits = rng.normal(0, 2, (pixels, 4))
    logits[np.arange(pixels), truth] += 1.5
    logits[:, 3] = -9
    probs = torch.from_numpy(logits).float().softmax(1).numpy()
    return np.where(rng.random(pixels) < 0.1, 255, truth), probs


@pytest.mark.parametrize("least", [0.0, 0.8])
def test_a_tally_of_tiles_is_what_sklearn_and_scipy_say_of_all_pixels(least: float) -> None:
    truth, probs = drawn(0)
    masks = [None, *truth.reshape(3, 10, 20).astype(np.uint8)]
    pack = packed(masks)
    quality = Quality(pack, [0, 1, 3], least)
    shown = torch.from_numpy(probs.reshape(3, 10, 20, 4)).permute(0, 3, 1, 2)
    for row in (1, 2, 3):
        for top in (0, 4):  # two tiles an image
            place = (slice(top, 4 if top == 0 else 10), slice(0, 20))
            quality.add(Tile(row, place, shown[row - 1][:, *place]))
    rows = np.r_[0:200, 400:600]  # row 2 was not asked for, row 0 has no mask
    kept = probs[rows].max(1) >= least
    nearly(quality.numbers(), by_hand(truth[rows], probs[rows], kept), images=2, without_mask=1)


def test_entropy_is_1_where_nothing_is_known_and_0_where_all_is() -> None:
    pack = packed([np.zeros((1, 2), np.uint8)])
    quality = Quality(pack, [0])
    quality.add(Tile(0, (slice(1), slice(2)), torch.tensor([[[0.25, 1.0]], [[0.25, 0.0]], [[0.25, 0.0]], [[0.25, 0.0]]])))
    numbers = quality.numbers()
    assert numbers["", "entropy"] == numbers["a", "entropy"] == pytest.approx(0.5)
    assert math.isnan(numbers["b", "entropy"])


@pytest.mark.parametrize("masks", [[None, None], [np.full((2, 2), 255, np.uint8)]], ids=["no mask", "nothing counts"])
def test_where_nothing_can_be_measured_there_are_only_counts(masks: list[np.ndarray | None]) -> None:
    pack, without = packed(masks), sum(mask is None for mask in masks)
    quality = Quality(pack, range(len(masks)))
    for row in range(len(masks)):
        quality.add(Tile(row, (slice(2), slice(2)), torch.full((4, 2, 2), 0.25)))
    assert quality.numbers() == {("", "images"): len(masks) - without, ("", "without_mask"): without}


def test_learned_pixels_are_those_that_are_kept_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, (7, 9)).astype(np.uint8)
    truth[truth == 4] = 255
    mask, levels = rng.integers(0, 4, (7, 9)).astype(np.uint8), rng.integers(0, 65536, (7, 9)).astype(np.uint16)
    lowest = np.array([0, 30000, 40000, 65535])
    expected = np.zeros((4, 4), int)
    for true, said, level in zip(truth.flat, mask.flat, levels.flat, strict=True):
        if true != 255 and level >= lowest[said]:
            expected[true, said] += 1
    monkeypatch.setattr("semiseg.quality.STRIP", 20)  # two lines at a time
    masks = {0: Kept(mask, levels, lowest), 1: Kept(mask, levels, lowest)}
    assert learned_pixels(masks, packed([truth, None]), [0, 1]).tolist() == expected.tolist()
    whole = {0: np.broadcast_to(np.uint8(2), (7, 9))}
    assert learned_pixels(whole, packed([np.full((7, 9), 1, np.uint8)], image_level=True), [0])[1, 2] == 1


# ---- the sample


def test_the_sample_is_a_beginning_of_one_order_and_costs_a_share_of_the_stage() -> None:
    pack, splits = tiny.opened()
    long = watched_rows(pack, splits, replace(tiny.TRAIN, steps=10_000))
    assert sorted(long) == unlabelled_rows(splits).tolist() == sorted({*splits.training} - {*splits.labelled})
    short = watched_rows(pack, splits, tiny.TRAIN)
    assert len(short) == LITTLE // (32 * 32) == 16
    assert long[:16].tolist() == short.tolist()
    middle = replace(tiny.TRAIN, steps=900, evaluations=2)  # 0.04 * 900 steps * 4 images / 2 times
    assert len(watched_rows(pack, splits, replace(middle, steps=225))) == 18
    assert MOST == 64


def test_stages_without_unlabelled_images_or_targets_of_their_own_look_at_nothing() -> None:
    trainer = tiny.run(tiny.chain(Supervised())[0])
    assert not trainer.progress.targets
    assert not [line for line in trainer.progress.curves if line["name"].startswith(("unlabelled", "disagreement"))]
    trainer = tiny.run(tiny.chain(PseudoLabel())[1])  # its targets come from the stage before
    assert not trainer.progress.targets


# ---- a stage's own targets


class Says(nn.Module):
    """A network that says, from the red channel, one of five classes, those above `top` as `top`."""

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        at = (image[:, 0] * 255).long().remainder(5).clamp(max=self.top)
        return 4.0 * nn.functional.one_hot(at, 5).movedim(-1, 1)


def test_disagreement_is_the_share_of_pixels_whose_classes_differ() -> None:
    pack, splits = tiny.opened()
    rule = CrossPseudo()
    trained: dict[str, nn.Module] = {"student": Says(4), "second": Says(2)}
    averages: dict[str, nn.Module] = {"teacher": Says(3), "second_teacher": Says(2)}
    state = State(trained, averages, {"teacher": "student", "second_teacher": "second"})
    rows = splits.training[:5]
    seen = watch(state, rule, pack, rows, tiny.TRAIN, batch=2, device=tiny.CPU)
    assert seen is not None
    reds = np.concatenate([pack.image(int(row))[..., 0].ravel() for row in rows]) % 5
    assert seen.disagreement == {"teacher": pytest.approx((reds == 4).mean()), "second_teacher": 0.0}
    assert seen.quality.keys() == averages.keys()
    truth = np.concatenate([cast(Any, pack.mask(int(row))).ravel() for row in rows])
    assert seen.quality["teacher"].numbers()["", "accuracy"] == pytest.approx(accuracy_score(truth, np.minimum(reds, 3)))
    alone = watch(State(trained), rule, pack, rows, tiny.TRAIN, batch=2, device=tiny.CPU)  # they teach each other
    assert alone is not None
    assert (alone.quality.keys(), alone.disagreement) == (trained.keys(), {})
    assert watch(state, rule, pack, rows[:0], tiny.TRAIN, batch=2, device=tiny.CPU) is None


ONLINE: dict[str, tuple[Method, int]] = {
    "mean teacher": (MeanTeacher(objective=CrossEntropy(), ema=Ema(decay=(0.9,)), threshold=0.304), 0),
    "three stages": (ThreeStage(), 1),
    "one way": (OneWay(), 0),
    "one way, simple": (OneWay(teacher="simple"), 0),
    "cross pseudo": (CrossPseudo(), 0),
    "mutual training, online": (DMT(masks="online", scope="batch"), -2),
}


@pytest.mark.parametrize("name", ONLINE)
def test_training_and_what_is_reported_are_bit_for_bit_what_they_are_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, number = ONLINE[name]
    stage = tiny.chain(method, train=replace(tiny.TRAIN, evaluations=4))[number]
    with_it = tiny.run(stage).finish()
    monkeypatch.setattr(semiseg.train, "watch", lambda *_, **__: None)
    without = tiny.run(stage).finish()
    assert with_it.targets
    assert not without.targets
    assert with_it.weights.keys() == without.weights.keys()
    assert all(value.equal(without.weights[key]) for key, value in with_it.weights.items())
    plain = [line for line in with_it.curves if not line["name"].startswith(("unlabelled/", "disagreement/"))]
    assert repr(plain) == repr(without.curves)
    assert repr(with_it.metrics) == repr(without.metrics)
    assert with_it.chosen_step == without.chosen_step


def test_of_masks_made_online_the_fixed_teacher_is_measured_and_how_far_the_student_is_from_it() -> None:
    stage = tiny.chain(ONLINE["mutual training, online"][0])[-2]
    trainer = tiny.trainer(replace(stage, train=tiny.TRAIN))
    first, last = (
        watch(trainer.state, stage.rule, trainer.pack, trainer.sample, stage.train, batch=8, device=tiny.CPU)
        for _ in (trainer.advance(0), trainer.advance(60))
    )
    assert first is not None
    assert last is not None
    assert first.quality.keys() == first.disagreement.keys() == {"teacher"}
    assert repr(first.quality["teacher"].numbers()) == repr(last.quality["teacher"].numbers())


def test_masks_of_unlabelled_images_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other masks of unlabelled images change how good the targets look and nothing else."""
    stage, rows, mask = tiny.chain(ONLINE["mean teacher"][0])[0], unlabelled_rows(tiny.opened()[1]), Pack.mask
    true = tiny.run(stage).finish()
    monkeypatch.setattr(Pack, "mask", lambda pack, row: 4 - cast(Any, mask(pack, row)) if row in rows else mask(pack, row))
    false = tiny.run(stage).finish()
    assert all(value.equal(false.weights[key]) for key, value in true.weights.items())
    assert repr(true.metrics) == repr(false.metrics)
    assert true.chosen_step == false.chosen_step
    assert repr(true.targets) != repr(false.targets)


def test_curves_and_lines_say_how_good_the_teacher_is_on_the_sample() -> None:
    trainer = tiny.run(tiny.chain(ONLINE["mean teacher"][0])[0])
    pack, rows = trainer.pack, trainer.sample
    assert len(rows) == 16
    pixels, apart = [], []
    for row in rows.tolist():
        image = torch.from_numpy(pack.image(row).copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            student, teacher = (net.eval()(image).softmax(1)[0] for net in trainer.state.networks().values())
        pixels.append(teacher.flatten(1).T.numpy())
        apart.append((student.argmax(0) != teacher.argmax(0)).flatten().numpy())
    probs = np.concatenate(pixels)
    truth = np.concatenate([cast(Any, pack.mask(row)).ravel() for row in rows.tolist()]).astype(int)
    expected = by_hand(truth, probs, probs.max(1) >= 0.304, tiny.CLASSES)
    lines = trainer.progress.targets
    found = {(line["class"], line["metric"]): line["value"] for line in lines}
    # another number of images at a time may round the odd pixel to another class
    assert found == {
        name: pytest.approx(value, abs=2e-3, nan_ok=True)
        for name, value in (expected | {("", "images"): 16, ("", "without_mask"): 0}).items()
    }
    places = {(line["key"], line["teacher"], line["role"], line["weights"], line["step"]) for line in lines}
    assert places == {(trainer.stage.key, trainer.stage.key, "teacher", "last", 8)}
    curves = {(line["name"], line["step"]): line["value"] for line in trainer.progress.curves}
    for metric in ("miou", "accuracy", "kept", "confidence", "entropy"):
        assert curves[f"unlabelled/teacher/{metric}", 8] == found["", metric]
        assert 0 <= curves[f"unlabelled/teacher/{metric}", 4] <= 1
    assert curves["disagreement/teacher", 8] == pytest.approx(np.concatenate(apart).mean(), abs=2e-3)


def test_images_without_masks_are_counted_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, mask = set(unlabelled_rows(tiny.opened()[1]).tolist()), Pack.mask
    monkeypatch.setattr(Pack, "mask", lambda pack, row: None if row in rows else mask(pack, row))
    trainer = tiny.run(tiny.chain(ONLINE["mean teacher"][0])[0])
    assert {(line["class"], line["metric"]): line["value"] for line in trainer.progress.targets} == {
        ("", "images"): 0, ("", "without_mask"): 16
    }  # fmt: skip
    names = {line["name"] for line in trainer.progress.curves}
    assert "disagreement/teacher" in names  # which takes no mask
    assert not [name for name in names if name.startswith("unlabelled/")]
