"""A teacher is shown the images whose output counts and no others; what is trained stays the same."""

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from semiseg.augment import CutMix, Gentle
from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, OneWay, ThreeStage
from semiseg.methods.rule import Rule
from semiseg.schedules import Moment

LATE = Moment(step=90, steps=100, epoch_steps=10)
TRAINING = Ema(mode="train", buffers="own")


def shown(rule: Rule, now: Moment = LATE, **batch: Any) -> list[int]:
    """Images of each of the teacher's forward passes in a step."""
    state, counted = tiny.start(rule), []
    assert isinstance(state.teacher, nn.Module)
    state.teacher.register_forward_pre_hook(lambda _, given: counted.append(len(given[0])))
    rule.loss(state, tiny.batch(**batch), now, torch.Generator().manual_seed(0))
    return counted


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MeanTeacher(), [4]),
        (MeanTeacher(consistency_on="unlabelled"), [3]),
        (MeanTeacher(consistency_on="unlabelled", delayed="independent"), [3]),
        (MeanTeacher(consistency_on="unlabelled", delayed="shared", perturbation=CutMix()), [3]),
        (
            MeanTeacher(consistency_on="unlabelled", perturbation=CutMix()),
            [4],
        ),  # the first unlabelled one takes pixels of the labelled one
        (MeanTeacher(consistency_on="unlabelled", ema=TRAINING), [4]),  # BatchNorm's statistics are those of all
        (MeanTeacher(weight=0.0), []),
        (MeanTeacher(weight=0.0, ema=TRAINING), [4]),
        (OneWay(), [3]),
        (ThreeStage().rule(own=0, lambda2=0.0, teacher_is_supervised=True), [4]),  # L_con counts labelled images too
        (ThreeStage(CR=False).rule(own=0, lambda2=0.0, teacher_is_supervised=True), []),
    ],
)
def test_a_teacher_sees_the_images_whose_output_counts(rule: Rule, expected: list[int]) -> None:
    assert shown(rule, labelled=1, unlabelled=3) == expected


def test_before_the_ramp_and_in_label_only_steps_it_sees_none() -> None:
    assert shown(MeanTeacher(), Moment(7, 100, 10)) == []
    assert shown(MeanTeacher(), Moment(8, 100, 10)) == [4]
    assert shown(MeanTeacher(label_only=0.5, ramp=(0.0, 0.1)), Moment(49, 100, 10)) == []
    assert shown(MeanTeacher(label_only=0.5, ramp=(0.0, 0.1), ema=TRAINING), Moment(49, 100, 10)) == []
    assert shown(MeanTeacher(ema=TRAINING), Moment(7, 100, 10)) == [4]


def test_a_batch_without_unlabelled_images_needs_no_teacher() -> None:
    assert shown(MeanTeacher(consistency_on="unlabelled"), labelled=4, unlabelled=0) == []


@pytest.mark.parametrize("perturbation", [Gentle(), CutMix()])
@pytest.mark.parametrize("distance", ["dice", "ce"])
def test_the_terms_are_those_of_a_teacher_that_sees_all(
    perturbation: Gentle | CutMix, distance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = MeanTeacher(consistency_on="unlabelled", perturbation=perturbation, distance=distance)

    def terms() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return dict(rule.loss(tiny.start(rule), tiny.batch(), LATE, torch.Generator().manual_seed(0)))

    found = terms()
    monkeypatch.setattr(MeanTeacher, "_counted_guess", lambda self, state, image, labelled: self._guess(state, image))
    assert found["consistency"] > 0
    torch.testing.assert_close(found, terms())
