"""Pseudo-labels (Lee 2013, the baseline of feng2020_dmt): the rising weight, the loss, the chain of stages."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from semiseg.batch import IGNORE
from semiseg.config import SettingError
from semiseg.losses import LOSSES, CrossEntropy, Dice, Loss, SoftDice
from semiseg.methods.pseudo_label import PseudoLabel, rising
from semiseg.methods.rule import Pick, State
from semiseg.methods.stage_train import StageTrain
from semiseg.methods.supervised import Supervised
from semiseg.pseudo import pseudo_masks
from semiseg.runner import StageRun, run_stage
from semiseg.stage import Stage

CLASSES = len(tiny.CLASSES)


def chain(seed: int = 0, **changes: Any) -> tuple[Stage, ...]:
    return PseudoLabel(**changes).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, seed)


def terms(progress: float, given: Any = None, **changes: Any) -> dict[str, torch.Tensor]:
    """Loss of a fixed network of one layer."""
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, CLASSES, 1)
    rule = chain(**changes)[-1].rule
    return dict(rule.loss(State({"student": net}), given or tiny.batch(), tiny.at(progress), torch.Generator()))


@pytest.mark.parametrize(
    ("progress", "expected"), [(0, 0), (0.1, 0), (0.2, 0.6), (0.35, 1.5), (0.6, 3), (0.9, 3), (0.0999, 0), (0.5999, 3 - 0.0006)]
)
def test_the_weight_is_0_then_rises_linearly_to_its_final_value(progress: float, expected: float) -> None:
    assert rising(progress, (0.1, 0.6), 3.0) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("rise", "values"), [((0.0, 0.0), [2, 2, 2]), ((0.5, 0.5), [0, 2, 2]), ((0.0, 1.0), [0, 1, 1.5])])
def test_a_rise_can_be_sudden_or_last_the_whole_stage(rise: tuple[float, float], values: list[float]) -> None:
    assert [rising(progress, rise, 2.0) for progress in (0.0, 0.5, 0.75)] == values


def test_the_loss_is_a_mean_over_labelled_and_a_weighted_mean_over_pseudo_labelled_pixels() -> None:
    given = tiny.batch()
    assert given.pseudo is not None
    given.pseudo[2, :5] = IGNORE
    torch.manual_seed(0)
    logits = torch.nn.Conv2d(3, CLASSES, 1)(given.image)
    mask, pseudo = given.mask[:2], given.pseudo[2:]
    each = F.cross_entropy(logits[2:], pseudo, ignore_index=IGNORE, reduction="none")
    expected = {
        "segmentation": F.cross_entropy(logits[:2], mask),
        "pseudo": 1.5 * each.sum() / (each.numel() - 5 * tiny.SIZE[1]),
    }
    torch.testing.assert_close(terms(0.35, given), expected)
    assert terms(0.05, given)["pseudo"] == 0


def test_pseudo_masks_of_labelled_rows_are_not_learned_and_ignored_pixels_give_zero() -> None:
    given = tiny.batch()
    assert given.pseudo is not None
    changed = given.pseudo.clone()
    changed[:2] = 0
    assert terms(0.5, given) == terms(0.5, given._replace(pseudo=changed))
    assert [value.item() for value in terms(0.5, tiny.batch(ignored=True)).values()] == [0, 0]


@pytest.mark.parametrize("objective", [kind() for kind in LOSSES.values()], ids=LOSSES.keys())
def test_both_terms_have_the_same_objective(objective: Loss) -> None:
    given = tiny.batch()
    assert given.pseudo is not None
    torch.manual_seed(0)
    logits = torch.nn.Conv2d(3, CLASSES, 1)(given.image)
    expected = {"segmentation": objective(logits[:2], given.mask[:2]), "pseudo": 3 * objective(logits[2:], given.pseudo[2:])}
    torch.testing.assert_close(terms(0.7, given, objective=objective), expected)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.95])
def test_pixels_below_the_threshold_are_not_learned(threshold: float) -> None:
    generator = np.random.default_rng(0)
    masks = {row: generator.integers(0, CLASSES, (4, 6 + row), np.uint8) for row in range(3)}
    confidences = {row: generator.integers(0, 65536, mask.shape).astype(np.uint16) for row, mask in masks.items()}
    found = chain(threshold=threshold)[-1].rule.needs.masks.keep(masks, confidences)
    for row, mask in masks.items():
        for place in np.ndindex(*mask.shape):
            kept = confidences[row][place] / 65535 >= threshold
            assert found[row][place] == (mask[place] if kept else IGNORE)
        assert found[row].dtype == np.uint8


def test_the_first_stage_is_that_of_the_supervised_baseline() -> None:
    for objective in (CrossEntropy(), SoftDice()):
        (alone,) = Supervised(objective=objective).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)
        assert chain(objective=objective)[0].key == alone.key
        assert chain(objective=objective, weight=1.0)[0].key == alone.key


def test_every_round_learns_from_the_stage_before_it() -> None:
    stages = chain(rounds=3)
    assert [stage.name for stage in stages] == ["supervised", "pseudo1", "pseudo2", "pseudo3"]
    assert [stage.number for stage in stages] == [1, 2, 3, 4]
    assert [[teacher.key for teacher in stage.teachers] for stage in stages] == [[], *([stage.key] for stage in stages[:-1])]
    assert len({stage.key for stage in stages}) == 4
    assert stages[1].key == chain()[-1].key
    for needs in (stage.rule.needs for stage in stages[1:]):
        assert (needs.masks.of, needs.initial) == (Pick(weights="best"), {"student": Pick(weights="best")})
        assert (needs.unlabelled, needs.masks.confidences) == (True, False)
    assert {stage.rule.evaluated for stage in stages} == {"student"}


OTHER: dict[str, Any] = {
    "objective": Dice(), "rounds": 2, "weight": 1.0, "rise": (0.0, 0.5), "threshold": 0.9, "start_from": "scratch",
    "stage1": StageTrain(steps=3), "stage2": StageTrain(rate=0.5), "pseudo_on": "unlabelled",
}  # fmt: skip


def test_every_field_moves_the_last_key() -> None:
    assert {field.name for field in fields(PseudoLabel)} == OTHER.keys()
    assert len({chain(**{name: value})[-1].key for name, value in OTHER.items()} | {chain()[-1].key}) == 1 + len(OTHER)
    assert chain(seed=1)[-1].key != chain()[-1].key


@pytest.mark.parametrize("name", ["objective", "weight", "rise"])
def test_another_setting_of_the_loss_gives_another_loss(name: str) -> None:
    assert terms(0.4, **{name: OTHER[name]})["pseudo"] != terms(0.4)["pseudo"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "mse"}, "method.objective: got 'mse'; allowed: a Loss"),
        ({"rounds": 0}, "method.rounds: got 0; allowed: a whole number >= 1"),
        ({"weight": -1.0}, "method.weight: got -1.0; allowed: a number >= 0"),
        ({"rise": (0.6, 0.1)}, r"method.rise: got \(0.6, 0.1\); allowed: two shares, 0 <= low <= high <= 1"),
        ({"rise": (0.0, 1.5)}, r"method.rise: got \(0.0, 1.5\)"),
        ({"threshold": 1.0}, r"method.threshold: got 1.0; allowed: a probability in \[0, 1\)"),
        ({"start_from": "last"}, "method.start_from: got 'last'; allowed: teacher, scratch"),
        ({"pseudo_on": "labelled"}, "method.pseudo_on: got 'labelled'; allowed: all, unlabelled$"),
    ],
    ids=str,
)
def test_unusable_values_name_field_value_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        PseudoLabel(**changes)


def test_a_batch_without_unlabelled_images_is_refused() -> None:
    train = replace(tiny.TRAIN, batch_unlabelled=0)
    with pytest.raises(SettingError, match=r"train.batch_unlabelled: got 0; allowed: a whole number >= 1 with pseudo_label"):
        PseudoLabel().stages(tiny.SPLIT, tiny.NET, train, 0)


def test_a_round_starts_from_the_best_weights_before_it_or_afresh_and_learns_their_masks(tmp_path: Path) -> None:
    stages = tiny.chain(PseudoLabel())
    for stage in stages:
        run_stage(stage, tiny.place(tmp_path))
    pack, splits = tiny.opened()
    given = load_file(tmp_path / stages[0].key / "weights.safetensors")
    masks = dict(
        zip(
            splits.training.tolist(),
            (tile.mask for tile in pseudo_masks(stages[0], given, "best.student.", pack, splits.training, tiny.CPU)),
            strict=True,
        )
    )
    best = {name.removeprefix("best.student."): value for name, value in given.items() if name.startswith("best.")}
    for start_from in ("teacher", "scratch"):
        run = StageRun(tiny.chain(PseudoLabel(start_from=start_from))[-1], tiny.place(tmp_path)).trainer
        assert run.learned.masks is not None
        assert run.learned.masks.keys() == masks.keys() == set(splits.training.tolist())
        assert all(np.array_equal(run.learned.masks[row], mask) for row, mask in masks.items())
        same = [value.equal(best[name]) for name, value in run.state.student.named_parameters()]
        assert all(same) if start_from == "teacher" else not all(same)
    weights = load_file(tmp_path / stages[1].key / "weights.safetensors")
    assert not all(
        value.equal(best[name.removeprefix("best.student.")]) for name, value in weights.items() if name.startswith("best.")
    )
