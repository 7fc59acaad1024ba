"""Changes of settings as values: two of them together, parts, and what is refused."""

import pytest

from semiseg.augment import Gentle, RandAugment
from semiseg.change import Change, Row, change, within
from semiseg.config import SettingError, Train, Weak
from semiseg.methods import MeanTeacher, Supervised, ThreeStage
from semiseg.methods.three_stage import parts
from semiseg.sweep.rows import resolve_row


def test_a_change_gives_its_values_and_keeps_all_else() -> None:
    assert change(Train, steps=7).of(Train(warmup=0.5)) == Train(warmup=0.5, steps=7)
    assert Change(Train).of(Train(steps=3)) == Train(steps=3)
    with pytest.raises(TypeError):
        change(Train, 7)  # type: ignore[call-arg, arg-type]


def test_switches_that_are_not_named_are_off() -> None:
    assert parts("S1", "CR").of(ThreeStage(lambda1=2.0)) == ThreeStage(lambda1=2.0).with_switches("S1 CR")


def test_of_two_changes_the_later_value_counts_and_two_classes_do_not_mix() -> None:
    one = Row(change(ThreeStage, lambda1=1.0, lambda2=2.0), train=change(Train, steps=3))
    other = Row(change(ThreeStage, lambda2=3.0), train=change(Train, steps=4, warmup=0.0))
    assert one | other == Row(change(ThreeStage, lambda1=1.0, lambda2=3.0), train=change(Train, steps=4, warmup=0.0))
    assert Row() | one == one | Row() == one
    with pytest.raises(SettingError, match="^row: got changes of ThreeStage and Supervised; allowed: one of them$"):
        _ = one | Row(change(Supervised))


def test_a_value_reaches_into_a_part_of_which_all_else_stays() -> None:
    base = MeanTeacher(perturbation=Gentle(hue=0.2))
    louder = within(MeanTeacher, "perturbation", change(Gentle, noise=0.5))
    assert louder.of(base) == MeanTeacher(perturbation=Gentle(hue=0.2, noise=0.5))
    assert (louder | change(MeanTeacher, perturbation=Gentle())).of(base) == MeanTeacher()
    assert (change(MeanTeacher, perturbation=Gentle()) | louder).of(base) == MeanTeacher(perturbation=Gentle(noise=0.5))
    turned = Row(train=within(Train, "weak", change(Weak, rot90=0.5)) | change(Train, steps=7))
    assert turned.train.of(Train(weak=Weak(flip=0.0))) == Train(weak=Weak(flip=0.0, rot90=0.5), steps=7)
    wrong = Row(within(MeanTeacher, "perturbation", change(RandAugment, ops=1)))
    with pytest.raises(SettingError, match=r"^t row 'a': no setting 'ops' in Gentle; there are hue"):
        resolve_row("t", "a", wrong, {"mean_teacher": base})
