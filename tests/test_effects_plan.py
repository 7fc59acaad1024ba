"""--effects on the command line: which sets there are, what they are called, what sharing saves; and what is refused."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import tiny
from conftest import Run, refuses

import ablate_mean_teacher_mri
import ablate_three_stage
import compare_consistency_directions
from semiseg.coalitions import Kind
from semiseg.codec import write_row
from semiseg.config import SettingError
from semiseg.methods import OneWay
from semiseg.sweep import estimate
from semiseg.sweep.costs import Cost
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.effects import Effects, Planned, planned_effects
from semiseg.sweep.plan import Plan, make_plan
from semiseg.sweep.rows import resolve_row
from semiseg.sweep.sharing import sets_said, time_saved

MANY = tuple(
    f"{name}=0.1,0.2" for name in ("lambda1", "lambda2", "ramp", "ramp2", "label_only", "threshold", "stage1.rate", "stage2.rate")
)
SEVEN = ("S1", "S1 + S2", "full without N2", "full without SA", "full without T2", "full without CR", "full")


def asked(table: Ablation, *kinds: Kind, preset: str = "demo", **more: Any) -> Planned:
    found = planned_effects(table, table.presets[preset], Effects(kinds=kinds, **more))
    assert found is not None
    return found


def plan_of(found: Planned, seeds: tuple[int, ...] = (0,)) -> Plan:
    methods = found.preset.methods()
    lines = {name: resolve_row(found.table.name, name, row, methods) for name, row in found.table.rows.items()}
    return make_plan(lines, seeds, split=lambda _: tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, has=lambda _: False)


@pytest.fixture(scope="module")
def three_stage() -> Planned:
    return asked(ablate_three_stage.TABLE, "shapley", "both")


def test_three_stage_has_25_feasible_sets(three_stage: Planned) -> None:
    """By hand: S2 takes CR, T2 and SA, S3 takes S2, N2 takes S3; S1 is the base."""
    names = ("S2", "S3", "CR", "T2", "SA", "N2")
    every = [set(one) for size in range(7) for one in combinations(names, size)]
    needs = {"S3": "S2", "CR": "S2", "T2": "S2", "SA": "S2", "N2": "S3"}
    right = [one for one in every if all(part not in one or other in one for part, other in needs.items())]
    record = three_stage.record
    assert record.players == names
    assert record.base == ("S1",)
    assert record.feasible == len(right) == 25
    assert {frozenset(on) for on in record.sets.values()} == set(map(frozenset, right))
    assert record.infeasible == "S3, CR, T2 and SA only with S2; N2 only with S3"


def test_rows_that_the_table_has_keep_their_names(three_stage: Planned) -> None:
    """Leave one out is the paper's Table 3; leave one in says what a stage 2 is worth alone."""
    table = ablate_three_stage.TABLE
    assert set(table.rows) <= set(three_stage.table.rows)
    assert all(three_stage.table.rows[name] == row for name, row in table.rows.items())
    assert tuple(asked(table, "loo").record.sets) == SEVEN
    assert asked(table, "loi").record.sets == {
        "S1": (),
        "only S2": ("S2",),
        "only S2 + S3": ("S2", "S3"),
        "only S2 + CR": ("S2", "CR"),
        "only S2 + T2": ("S2", "T2"),
        "only S2 + SA": ("S2", "SA"),
        "full without CR + T2 + SA": ("S2", "S3", "N2"),
    }
    methods = three_stage.preset.methods()
    assert write_row(three_stage.table.rows["only S2 + CR"], methods) == "S1 S2 CR"
    assert write_row(three_stage.table.rows["full without CR + SA"], methods) == "S1 S2 S3 T2 N2"
    assert (three_stage.table.reference, three_stage.table.baseline, three_stage.table.name) == (
        "full",
        "S1",
        "three_stage-effects",
    )


def test_25_sets_of_three_stage_share_25_stages(three_stage: Planned) -> None:
    """1 stage 1, 8 stages 2, 16 stages 3; from scratch 1 + 8 x 2 + 16 x 3."""
    plan = plan_of(three_stage, (0, 1))
    assert (plan.total, len(plan.stages)) == (2 * 65, 2 * 25)
    said = sets_said(three_stage.record, plan)
    assert "effects: shapley both of S2, S3, CR, T2, SA, N2, on top of S1\n25 of 64 sets can be trained (S3, CR, T2 and SA" in said
    assert said.endswith("25 sets x 2 seeds: 130 stages from scratch, 50 distinct, sharing saves 80 (62%)")
    costs = {stage.key: 60.0 for stage in plan.to_train}
    assert time_saved(three_stage.record, plan, costs) == "sharing saves 80 min of 2.2 h of training"
    known = replace(plan, done=frozenset([next(iter(plan.stages))]))  # stage 1 of a seed, which all its sets need
    costs = {stage.key: 1.0 for stage in known.to_train}
    assert time_saved(three_stage.record, known, costs) == "sharing saves 56 s of 2 min of training"


def test_chosen_parts_leave_the_others_on() -> None:
    found = asked(ablate_three_stage.TABLE, "factorial", parts=("SA", "CR")).record
    assert (found.players, found.base) == (("CR", "SA"), ("S1", "S2", "S3", "T2", "N2"))
    assert set(found.sets) == {"S1 + S2 + S3 + T2 + N2", "full without CR", "full without SA", "full"}
    stages = asked(ablate_three_stage.TABLE, "shapley", parts=("S2", "S3")).record
    assert stages.sets == {"S1": (), "S1 + S2": ("S2",), "full": ("S2", "S3")}


def test_settings_with_two_levels_are_parts_of_any_method() -> None:
    found = asked(
        ablate_mean_teacher_mri.TABLE, "shapley", settings=("weight=0,2.9", "threshold=0,0.9", "ramp=(0.0,0.5),(0.0,1.0)")
    )
    record = found.record
    assert record.players == ("weight", "threshold", "ramp")
    assert record.levels["ramp"] == ("(0.0,0.5)", "(0.0,1.0)")
    assert (record.feasible, record.infeasible, len(record.sets)) == (8, "", 8)
    assert record.sets["mean teacher"] == ("weight", "ramp")
    assert record.sets["threshold 0.9"] == ("weight", "threshold", "ramp")
    assert record.sets["weight=0 + threshold=0 + ramp=(0.0,0.5)"] == ()
    assert record.sets["only threshold=0.9"] == ("threshold",)
    methods = found.preset.methods()
    assert write_row(found.table.rows["full with weight=0"], methods) == ("mean_teacher weight=0 threshold=0.9 ramp=(0.0,1.0)")
    train = asked(ablate_mean_teacher_mri.TABLE, "both", settings=("train.steps=100,500", "data.labelled=4,8")).record
    assert train.feasible == 4


def test_a_setting_of_a_term_goes_only_with_its_switch() -> None:
    found = asked(ablate_three_stage.TABLE, "shapley", parts=("CR", "T2"), settings=("lambda1=0.2,0.5",)).record
    assert (found.feasible, found.infeasible) == (6, "lambda1 only with CR")
    assert found.sets["full with lambda1=0.2"] == ("CR", "T2")


def test_parts_of_another_row_and_method_may_be_asked_for() -> None:
    table = compare_consistency_directions.TABLE
    row = next(name for name, one in table.rows.items() if one.method and one.method.kind is OneWay)
    found = asked(table, "both", of=row, settings=("threshold=0,0.9", "label_only=0,0.5"))
    assert row in found.record.sets
    assert found.table.against is None


def test_a_name_that_another_row_has_is_not_taken() -> None:
    base = ablate_three_stage.TABLE
    table = replace(base, rows=base.rows | {"only S2": base.rows["full"]})
    assert "only S2 of the parts" in asked(table, "loi").record.sets


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kinds": ("factorial",)}, "6 parts S2, S3, CR, T2, SA, N2; allowed: at most 5, chosen with --effects.parts S2"),
        ({"parts": ("CR",)}, "effects.parts: got ('CR',); allowed: together with --effects loo|loi|both|factorial|shapley"),
        ({"kinds": ("loo",), "parts": ("XX",)}, "effects.parts: got 'XX'; allowed: switches of 'full': S1 S2"),
        ({"kinds": ("loo",), "parts": ("CR", "CR")}, "allowed: each once"),
        ({"kinds": ("loo",), "parts": ("S1", "S2", "S3")}, "got S1 S2 S3, without which nothing is left to train; allowed: fewer"),
        ({"kinds": ("loo",), "settings": ("weight=1,2",)}, "weight"),
        ({"kinds": ("loo",), "settings": ("lambda1=0.5",)}, "effects.settings: got 'lambda1=0.5'; allowed: FIELD=LOW,HIGH"),
        ({"kinds": ("loo",), "settings": ("CR=false,true",)}, "effects.settings: got 'CR=false,true'; allowed: --effects.parts CR"),
        ({"kinds": ("loo",), "settings": ("lambda1=0.5,x",)}, "lambda1: got 'x'; allowed: float"),
        ({"kinds": ("loo",), "settings": ("lambda1=0.2,0.2",)}, "got lambda1, which changes nothing here; allowed: other parts"),
        ({"kinds": ("loo",), "settings": MANY, "parts": ("S2", "S3", "CR")}, "at most 10 parts, chosen with --effects.parts"),
        ({"kinds": ("loo",), "of": "nobody"}, "effects.of: got 'nobody'; allowed: S1, S1 + S2"),
    ],
)  # fmt: skip
def test_what_is_no_effect_is_refused_in_one_line(more: dict[str, Any], said: str) -> None:
    table = ablate_three_stage.TABLE
    with pytest.raises(SettingError) as raised:
        planned_effects(table, table.presets["demo"], Effects(**more))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_method_without_switches_says_what_to_name() -> None:
    with pytest.raises(SettingError, match="which has no switches: --effects.settings FIELD=LOW,HIGH"):
        asked(ablate_mean_teacher_mri.TABLE, "loo")


def test_a_dry_run_shows_sets_sharing_and_cost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "costs_of", lambda stages, *_: {stage.key: Cost(step=10.0, image=0.0) for stage in stages})
    status, out, err = run("--effects", "loo", "loi", "--effects.parts", "CR", "--dry-run", "--seeds", "0")
    assert (status, err) == (0, "")
    said = out.splitlines()[-4:]
    assert said[0] == "effects: loo loi of CR, on top of S1 S2 S3 T2 SA N2"
    assert said[1] == "2 of 2 sets can be trained; these 2 are: full without CR, full"
    assert said[2] == "2 sets x 1 seed: 6 stages from scratch, 5 distinct, sharing saves 1 (17%)"
    assert said[3].startswith("2 rows x 1 seeds: 6 stages, 5 distinct, 0 done, 5 to train, about ")
    assert said[3].endswith("; sharing saves 60 s of 6 min of training")  # 6 steps of each of 6 stages, 5 of them distinct


def test_rows_and_effects_do_not_go_together(run: Run) -> None:
    refuses(run, ["--effects", "loo", "--rows", "full"], "rows: got full; allowed: none with --effects, which chooses them")
