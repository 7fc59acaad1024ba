"""The loop: which images a step sees, what it records, when it scores, when it stops; and a golden run."""

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from semiseg.augment import RandAugment
from semiseg.config import SettingError, Train, Weak
from semiseg.device import resolve
from semiseg.measures import ALWAYS
from semiseg.methods import ThreeStage
from semiseg.methods.supervised import Supervised
from semiseg.pseudo import pseudo_masks
from semiseg.stage import Stage
from semiseg.train import SAMPLES, StageError, Trainer

GOLDEN = Path(__file__).with_name("golden_losses.json")


def supervised(**train: Any) -> Stage:
    return tiny.chain(train=replace(tiny.TRAIN, **train))[0]


def semi(**train: Any) -> Stage:
    return tiny.chain(train=replace(tiny.TRAIN, **train))[1]


def drawn(trainer: Trainer, name: str, rows: np.ndarray, count: int, steps: int) -> list[list[int]]:
    return [trainer.batches.draw(name, rows, step, count) for step in range(steps)]


def test_every_image_is_drawn_equally_often() -> None:
    """Three labelled rows of which a step takes two: any 3 steps are two epochs."""
    trainer, rows = tiny.trainer(supervised()), np.array([7, 8, 9])
    flat = [row for step in drawn(trainer, "labelled", rows, 2, 30) for row in step]
    assert Counter(flat) == {7: 20, 8: 20, 9: 20}
    assert all(sorted(flat[start : start + 3]) == [7, 8, 9] for start in range(0, 60, 3))
    assert len({tuple(flat[start : start + 3]) for start in range(0, 60, 3)}) > 1


def test_a_batch_larger_than_the_set_takes_its_images_again() -> None:
    assert sorted(tiny.trainer(supervised()).batches.draw("labelled", np.array([3, 4]), 5, 4)) == [3, 3, 4, 4]


def test_draws_are_a_function_of_the_step_the_seed_and_the_stage() -> None:
    stage = semi()
    rows = np.arange(24)
    one, same = (drawn(tiny.trainer(stage), "unlabelled", rows, 2, 12) for _ in range(2))
    assert one == same
    assert one[7] == tiny.trainer(stage).batches.draw("unlabelled", rows, 7, 2)
    assert one != drawn(tiny.trainer(replace(stage, seed=1)), "unlabelled", rows, 2, 12)
    assert one != drawn(tiny.trainer(replace(stage, number=3)), "unlabelled", rows, 2, 12)
    assert one != drawn(tiny.trainer(stage), "labelled", rows, 2, 12)


def test_another_augmentation_or_loss_weight_does_not_reshuffle_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[int]] = {}
    pack, _ = tiny.opened()
    read = type(pack).image
    for name, method, train in (
        ("default", ThreeStage(), {}),
        ("changed", ThreeStage(lambda1=0.1, perturbation=RandAugment(ops=1)), {"weak": Weak(scale=(0.5, 2.0), flip=0.0)}),
    ):
        rows = seen.setdefault(name, [])
        monkeypatch.setattr(type(pack), "image", lambda self, row, rows=rows: rows.append(row) or read(self, row))
        trainer = tiny.trainer(tiny.chain(method, train=replace(tiny.TRAIN, **train))[1])
        for step in range(6):
            trainer.batches.make(step, torch.Generator())
    assert seen["default"] == seen["changed"]
    assert len(seen["default"]) == 24


def test_a_semi_supervised_batch_has_labelled_rows_first_and_ignores_the_masks_of_the_others() -> None:
    batch = tiny.trainer(semi(weak=Weak(scale=(1.0, 1.0), flip=0.0))).batches.make(0, torch.Generator())
    assert batch.image.shape == (4, 3, *tiny.SIZE)
    assert batch.labelled == 2
    assert (batch.mask[2:] == 255).all()
    assert batch.pseudo is not None
    assert batch.mask[:2].equal(batch.pseudo[:2])  # tiny's pseudo-masks are the true ones
    assert (batch.pseudo[2:] != 255).any()
    assert 0 <= batch.image.min() <= batch.image.max() <= 1


def test_a_supervised_stage_sees_as_many_images_all_labelled() -> None:
    trainer = tiny.trainer(supervised())
    batch = trainer.batches.make(0, torch.Generator())
    assert trainer.images_per_step == len(batch.image) == batch.labelled == 4
    assert batch.pseudo is None
    assert ((batch.mask != 255).flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize(("steps", "evaluations"), [(8, 2), (7, 3), (3, 8), (5, 1), (10, 10)])
def test_selection_is_scored_so_often_evenly_and_last_at_the_end(steps: int, evaluations: int) -> None:
    finished = tiny.run(supervised(steps=steps, evaluations=evaluations))
    scored = [point["step"] for point in finished.progress.curves if point["name"] == "selection/student/miou"]
    count = min(steps, evaluations)
    assert scored == [math.ceil(steps * part / count) for part in range(1, count + 1)]


def test_every_step_is_in_the_mean_of_exactly_one_point_of_a_loss_curve() -> None:
    """101 steps in windows of two, and one that is left over."""
    trainer = Trainer(supervised(steps=101), *tiny.opened(), tiny.CPU)
    for step in range(101):
        trainer._log({"a": torch.tensor(float(step))}, torch.tensor(float(step)), step)
    points = [(point["step"], point["value"]) for point in trainer.progress.curves if point["name"] == "loss/a"]
    assert points == [*((step, step - 1.5) for step in range(2, 101, 2)), (101, 100.0)]


def test_losses_of_a_gpu_are_read_once_a_window_and_by_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage of 200 steps a window is four; the curve is the same."""
    read: list[int] = []
    trainer = Trainer(supervised(steps=200), *tiny.opened(), tiny.CPU)
    trainer.device = torch.device("cuda")  # where losses stay until they are read; here they lie on the CPU
    reading = Trainer._read_losses
    monkeypatch.setattr(Trainer, "_read_losses", lambda self: (read.append(len(self.unread)), reading(self))[1])
    for step in range(10):
        trainer._log({"a": torch.tensor(float(step))}, torch.tensor(float(step)), step)
    assert read == [4, 4]
    assert [point["value"] for point in trainer.progress.curves if point["name"] == "loss/a"] == [1.5, 5.5]
    assert trainer.checkpoint()["progress"]["sums"] == {"a": 17.0, "total": 17.0}
    assert read == [4, 4, 2]
    trainer._log({"a": torch.tensor(math.nan)}, torch.tensor(0.0), 10)
    with pytest.raises(StageError, match="the a loss is nan at step 10$"):
        trainer._log({"a": torch.tensor(0.0)}, torch.tensor(0.0), 11)


def test_both_roles_are_scored_with_last_and_best_weights_on_selection_and_test() -> None:
    finished = tiny.run(semi())
    outcome = finished.finish()
    places = {(line["role"], line["weights"], line["split"]) for line in outcome.metrics}
    assert places == {(r, w, s) for r in ("student", "teacher") for w in ("last", "best") for s in ("selection", "test")}
    assert len(outcome.metrics) == len(places) * (5 * (5 + 2) + len(ALWAYS))
    prefixes = {tuple(name.split(".")[:2]) for name in outcome.weights}
    assert prefixes == {(w, r) for w in ("last", "best") for r in ("student", "teacher")}
    assert outcome.images == 8 * 4
    assert len(outcome.samples) == min(SAMPLES, len(finished.splits.test))
    counted = {(line["role"], line["weights"], line["split"], line["table"]) for line in outcome.counts}
    assert counted == {(role, finished.train.weights, "test", "confusion") for role in ("student", "teacher")}
    assert all(sample.shape == tiny.SIZE and sample.dtype == np.uint8 for sample in outcome.samples.values())


def test_the_best_weights_are_those_of_the_best_selection_score() -> None:
    """Scored after every step, at a learning rate so high that the last score is not the best one."""
    finished = tiny.run(supervised(steps=12, evaluations=12, learning_rate=0.3))
    scores = [point["value"] for point in finished.progress.curves if point["name"] == "selection/student/miou"]
    outcome = finished.finish()
    assert scores.index(max(scores)) + 1 == outcome.chosen_step < 12
    lines = {(m["weights"], m["split"], m["class"], m["metric"]): m for m in outcome.metrics}
    best, last = (lines[weights, "selection", "", "miou"] for weights in ("best", "last"))
    assert (best["value"], best["step"]) == (pytest.approx(max(scores)), outcome.chosen_step)
    assert (last["value"], last["step"]) == (pytest.approx(scores[-1]), 12)
    assert tiny.run(supervised(steps=12, evaluations=12, learning_rate=0.3, weights="last")).finish().chosen_step == 12


def test_the_learning_rate_follows_the_schedule() -> None:
    for decay, expected in (
        ("constant", [0.01] * 4),
        ("cosine", [0.005 * (1 + math.cos(math.pi * s / 4)) for s in range(4)]),
        ("quarter_cosine", [0.01 * math.cos(math.pi * s / 8) for s in range(4)]),
        ("poly", [0.01 * (1 - s / 4) ** 0.9 for s in range(4)]),
    ):
        trainer, found = tiny.trainer(supervised(steps=4, evaluations=1, decay=decay)), []
        for _ in range(4):
            trainer.advance(0.0)
            found.append(trainer.optimisers["student"].param_groups[0]["lr"])
        assert found == pytest.approx(expected)


@dataclass(frozen=True, kw_only=True)
class Broken(Supervised):
    """A rule one of whose terms becomes `value` at step 3."""

    value: str

    def loss(self, state, batch, now, generator):
        bad = float(self.value) if now.progress == 3 / 8 else 0.0
        return {**super().loss(state, batch, now, generator), "odd": torch.tensor(bad)}


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_term_that_is_no_number_stops_the_stage_before_it_does_harm(value: str) -> None:
    trainer = tiny.trainer(replace(supervised(), rule=Broken(value=value)))
    with pytest.raises(StageError, match=f"s1, seed 0: the odd loss is {value} at step 3"):
        trainer.advance(60)
    assert trainer.progress.step == 3
    assert tiny.flat(trainer.state.student).isfinite().all()


def test_a_learning_rate_that_explodes_stops_the_stage_naming_the_term() -> None:
    with pytest.raises(StageError, match=r"s1, seed 0: the segmentation loss is (nan|inf) at step \d"):
        tiny.run(supervised(learning_rate=1e38))


def test_resolve_writes_out_crop_and_precision() -> None:
    auto = Train(precision="auto")
    found = resolve(auto, (48, 64), tiny.CPU)
    assert (found.crop, found.precision) == ((48, 64), "fp32")
    assert resolve(tiny.TRAIN, None, tiny.CPU) == tiny.TRAIN
    assert resolve(replace(auto, precision="bf16"), (48, 64), tiny.CPU).precision == "bf16"
    with pytest.raises(SettingError, match=r"train.crop: got None; allowed: height and width, as the images are of several sizes"):
        resolve(auto, None, tiny.CPU)


def test_bf16_trains_too_and_to_another_result() -> None:
    one, other = (tiny.run(semi(precision=precision)) for precision in ("fp32", "bf16"))
    assert all(math.isfinite(value) for value in tiny.losses(other))
    assert tiny.losses(other) != tiny.losses(one)
    assert tiny.losses(other) == pytest.approx(tiny.losses(one), rel=0.2)
    assert all(value.dtype != torch.bfloat16 for value in other.finish().weights.values())


def test_pseudo_masks_are_the_predictions_of_the_weights_on_whole_images() -> None:
    finished = tiny.run(semi())
    outcome, (pack, splits) = finished.finish(), tiny.opened()
    rows = splits.training[:3]
    masks = pseudo_masks(finished.stage, outcome.weights, "last.teacher.", pack, rows, tiny.CPU)
    network = tiny.trainer(finished.stage).state.student
    network.load_state_dict({n.split(".", 2)[2]: v for n, v in outcome.weights.items() if n.startswith("last.teacher.")})
    network.eval()
    for row, (_, _, mask, confidence) in zip(rows, masks, strict=True):
        image = torch.from_numpy(pack.image(row).copy()).permute(2, 0, 1)[None] / 255
        probs = network(image).softmax(1)[0].detach().numpy()
        assert (probs.argmax(0) == mask).mean() > 0.999  # another batch size may round a tie differently
        assert abs(probs.max(0) - confidence / 65535).max() < 1e-4


def test_twenty_steps_give_the_losses_that_are_kept_in_a_file() -> None:
    """The whole of stage 2, in fp32 on a CPU: a change of any part of a step shows here.

    When a change is meant (then raise stage.FORMAT too), write the file anew:
    python -c "import sys; sys.path.insert(0, 'tests'); import test_train; test_train.write_golden()"
    """
    assert golden() == {name: pytest.approx(values, rel=1e-3) for name, values in json.loads(GOLDEN.read_text()).items()}


def golden() -> dict[str, list[float]]:
    """The terms of stage 2 at each of its 20 steps. Unscaled: at other scales a CPU's rounding decides which pixel is nearest."""
    finished = tiny.run(semi(steps=20, evaluations=1, learning_rate=1e-3, weak=Weak(scale=(1.0, 1.0))))
    return {name: tiny.losses(finished, f"loss/{name}") for name in ("segmentation", "consistency", "pseudo", "total")}


def write_golden() -> None:
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
