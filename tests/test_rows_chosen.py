"""Which rows of a table a command line chooses, and what a table may declare."""

from dataclasses import replace
from typing import Any

import pytest

from semiseg.change import Row, change
from semiseg.codec import read_row
from semiseg.config import SettingError, Train
from semiseg.losses import Dice
from semiseg.methods import DMT, MeanTeacher, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.sweep.declaration import Ablation, Curve, Preset, Quick, chosen_rows, methods_of
from semiseg.sweep.rows import resolve_row

SOFT = MeanTeacher(target="soft", distance="kl")
METHODS = methods_of(ThreeStage(), (SOFT, OneWay(), DMT(), PseudoLabel()))


def table(**changes: Any) -> Ablation:
    values: dict[str, Any] = {
        "name": "t", "title": "T", "question": "Q?", "reference": "a", "presets": {"demo": Preset()},
        "rows": dict.fromkeys(("a", "b", "c", "d", "x=1/2", "alone"), Row(change(Supervised))),
    }  # fmt: skip
    return Ablation(**(values | changes))


def test_methods_are_the_presets_own_first_then_others_and_supervised_in_any_case() -> None:
    own, mine = MeanTeacher(), Supervised(objective=Dice())
    assert Preset(method=own).methods() == {"mean_teacher": own, "supervised": Supervised()}
    assert list(Preset(method=own, others=(DMT(), mine)).methods().items()) == [
        ("mean_teacher", own),
        ("dmt", DMT()),
        ("supervised", mine),
    ]
    assert methods_of(mine, ()) == {"supervised": mine}
    assert resolve_row("t", "r", Row(), Preset(method=own).methods()).method == own


def test_chosen_rows_are_closed_over_what_they_are_compared_with_and_hold_nothing_else() -> None:
    """b is compared with c, c with d, d with the reference a."""
    chained = table(against={"b": "c", "c": "d", "alone": "alone"})

    def names(*wanted: str) -> list[str]:
        return list(chosen_rows(chained, Preset(rows=wanted)))

    assert names("b") == ["b", "c", "d", "a"]
    assert names("d") == ["d", "a"]
    assert names("a") == ["a"]
    assert names("alone") == ["alone"]
    assert names("alone", "d") == ["alone", "d", "a"]
    assert names("mine=supervised") == ["mine", "a"]
    assert chosen_rows(chained, Preset()) == chained.rows


def test_names_may_hold_an_equals_sign() -> None:
    odd = table()
    assert list(chosen_rows(odd, Preset(rows=("x=1/2",)))) == ["x=1/2", "a"]
    found = chosen_rows(odd, Preset(rows=("new=supervised train.steps=3  objective=dice",)))
    assert found == {
        "new": Row(change(Supervised, objective=Dice()), train=change(Train, steps=3)),
        "a": Row(change(Supervised)),
    }


@pytest.mark.parametrize(
    "changes",
    [
{"reference": "z"}, {"baseline": "z"}, {"against": {"z": "a"}}, {"against": {"a": "z"}},
        {"curve": Curve(x="n", series={"s": {1.0: "a", 2.0: "z"}})},
        {"curve": Curve(x="n", series={}, levels=("z",))},
        {"quick": Quick(rows=("a", "z"))},
        {"presets": {"demo": Preset(), "other": Preset(rows=("z",))}},
    ],
    ids=str,
)  # fmt: skip
def test_a_table_that_speaks_of_an_unknown_row_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="^t: no row 'z'; there are a, b, c, d, x=1/2, alone$"):
        table(**changes)


def test_a_row_must_mean_something_in_every_preset() -> None:
    presets = {"demo": Preset(method=MeanTeacher()), "other": Preset(method=DMT())}
    with pytest.raises(SettingError, match=r"^t row 'a': no method 'mean_teacher'; there are dmt, supervised$"):
        table(rows={"a": Row(change(MeanTeacher))}, presets=presets)


def test_quick_changes_the_methods_of_the_classes_that_it_names() -> None:
    preset = Preset(method=MeanTeacher(), others=(DMT(gamma1=2.0), PseudoLabel()), seeds=(3, 4, 5), rows=("a", "b"))
    quick = Quick(train=change(Train, steps=6), methods=(change(DMT, phase_epochs=0.1), change(MeanTeacher, weight=9.0)), seeds=1)
    assert quick.apply(preset) == replace(
        preset,
        method=MeanTeacher(weight=9.0),
        others=(DMT(gamma1=2.0, phase_epochs=0.1), PseudoLabel()),
        train=Train(steps=6),
        seeds=(3,),
    )
    assert Quick(rows=("a",)).apply(preset).rows == ("a",)
    assert Quick().apply(preset).rows == ("a", "b")


def test_switches_that_make_no_chain_are_refused_where_the_table_is_declared() -> None:
    for words in ("S3", "three_stage lambda1=1", ""):
        with pytest.raises(SettingError, match="t row 'odd': switches: .*; allowed: S1 or S2 at least"):
            table(rows={"a": Row(change(Supervised)), "odd": read_row(words, METHODS)})
