"""Anchors: labels only with a row's labelled images a step and its chain's steps, and all labels; which rows have one, under what name."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import tiny
from declared import TABLES

from semiseg.augment import CutMix, Gentle
from semiseg.augment.perturbation import Perturbation
from semiseg.batches import Batches
from semiseg.change import Row, change
from semiseg.codec import read_row
from semiseg.config import Data, SettingError, Train
from semiseg.losses import CrossEntropy, Dice, Loss, SoftDice
from semiseg.methods import DMT, METHODS, MeanTeacher, Method, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.methods.stage_train import StageTrain
from semiseg.methods.three_stage import parts
from semiseg.pseudo import Learned
from semiseg.results.records import AnchorRecord
from semiseg.stage import Split, Stage
from semiseg.sweep.anchors import Anchored, anchor, anchored, check_kinds, labelled_per_step, learns_unlabelled
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.plan import make_plan
from semiseg.sweep.rows import ResolvedRow, resolve_row

FULL = parts("S1", "S2", "S3", "CR", "T2", "SA", "N2")
PRESET = Preset(others=(MeanTeacher(), OneWay(), PseudoLabel(objective=Dice()), DMT(phases=(0.5, 1.0), phase_epochs=1)))


def split(line: ResolvedRow) -> Split:
    asked = line.data.get("labelled", 4)
    labelled = 12 if asked == "all" else max(1, int(asked))
    return replace(tiny.SPLIT, labelled=labelled, labelled_hash=f"{labelled} of 12")


def chain_of(line: ResolvedRow) -> tuple[Stage, ...]:
    return line.method.stages(split(line), tiny.NET, replace(tiny.TRAIN, **line.train), 0)


def of(method: Method, labelled: Any = None, **train: Any) -> ResolvedRow | None:
    line = ResolvedRow(method, {} if labelled is None else {"labelled": labelled}, train)
    return anchor(line, chain_of(line), "fair")


def found(rows: dict[str, Row], kinds: Any = ("fair",), against: dict[str, str] | None = None, **changes: Any) -> Anchored:
    table = Ablation(
        name="t", title="T", question="Q?", rows=rows, reference=next(iter(rows)), presets={"demo": PRESET}, against=against
    )
    methods = PRESET.methods()
    lines = {name: resolve_row("t", name, row, methods) for name, row in rows.items()}
    return anchored(table, lines, kinds, methods, chain_of)


def settings(line: ResolvedRow | None) -> tuple[int, int, int]:
    assert line is not None
    return line.train["steps"], line.train["batch_labelled"], line.train["batch_unlabelled"]


# ---- what an anchor is


@pytest.mark.parametrize(
    ("method", "steps", "batch"),
    [
        (ThreeStage(), 3 * 8, 2),
        (ThreeStage(stages_total=5), 5 * 8, 2),
        (ThreeStage(T2=False, S3=False), 8, 2),  # stage 2 learns from no stage, so stage 1 is no part of what was scored
        (ThreeStage(stage1=StageTrain(steps=3), stage3=StageTrain(steps=5, batch_labelled=7)), 3 + 8 + 5, 7),
        (PseudoLabel(rounds=2), 3 * 8, 2),
        (OneWay(), 8, 2),
        (MeanTeacher(draw="mixed"), 8, 2),
        (MeanTeacher(), 8, 1),  # joint: 4 images a step, of which 4 of 12 are labelled
        (
            DMT(phases=(0.5, 1.0), phase_epochs=1),
            2 * 8 + 2 * 2 * 6,
            2,
        ),  # two models: 8 steps each, then 2 phases of 12 images in twos
    ],
)
def test_an_anchor_has_the_steps_of_the_chain_and_the_labelled_images_of_a_step(method: Method, steps: int, batch: int) -> None:
    assert settings(of(method)) == (steps, batch, 0)


@pytest.mark.parametrize(("labelled", "batch"), [(1, 1), (2, 1), (4, 1), (5, 2), (8, 3), ("all", 4)])
def test_of_a_joint_draw_the_expected_number_is_rounded_and_at_least_1(labelled: Any, batch: int) -> None:
    assert settings(of(MeanTeacher(), labelled))[1] == batch


@dataclass(frozen=True, kw_only=True)
class Guided(CutMix):
    """Follows a teacher."""

    @property
    def guided(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("method", "objective", "perturbation"),
    [
        (MeanTeacher(objective=SoftDice(), perturbation=Gentle(noise=0.2)), SoftDice(), Gentle(noise=0.2)),
        (MeanTeacher(perturbation=Guided()), Dice(), None),
        (PseudoLabel(objective=Dice()), Dice(), None),
        (ThreeStage(), CrossEntropy(), None),
        (OneWay(), CrossEntropy(), None),
    ],
)
def test_it_treats_labelled_images_as_the_student_does(method: Method, objective: Loss, perturbation: Perturbation | None) -> None:
    line = of(method)
    assert line is not None
    assert line.method == Supervised(objective=objective, perturbation=perturbation)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_but_those_of_labels_alone_has_an_anchor(name: str) -> None:
    """Whatever is registered: one stage of labels alone, of the row's own images and training settings."""
    method = METHODS[name]() if name != "mean_teacher" else MeanTeacher()
    line = of(method, 3, learning_rate=0.5)
    if not any(stage.rule.needs.unlabelled for stage in chain_of(ResolvedRow(method, {"labelled": 3}, {}))):
        assert line is None
        return
    assert line is not None
    (stage,) = chain_of(line)
    assert (stage.rule.needs.draw, stage.split.labelled, stage.train.learning_rate) == ("labelled", 3, 0.5)
    assert learns_unlabelled((stage,)) is None


def test_a_stage_without_unlabelled_images_draws_exactly_its_labelled_ones() -> None:
    line = of(OneWay())
    assert line is not None
    (stage,) = chain_of(line)
    pack, splits = tiny.opened()
    batches = Batches(replace(stage, train=replace(stage.train, batch_labelled=3)), pack, splits, tiny.CPU, Learned())
    for step in range(5):
        rows, known = batches.rows(step)
        assert (len(rows), known) == (3, 3)
        assert set(rows) <= set(splits.labelled.tolist())


# ---- which rows have one


def test_an_ablation_has_the_anchor_of_its_reference_and_all_labels() -> None:
    made = found({"full": Row(FULL), "no S3": Row(parts("S1", "S2", "CR", "T2", "SA")), "S1": Row(parts("S1"))})
    assert made.anchors == {"full": AnchorRecord(row="labels only: 24 x 2", all_labels="all labels")}
    assert made.against is None
    assert [*made.lines] == ["full", "no S3", "S1", "labels only: 24 x 2", "all labels"]
    assert (made.lines["labels only: 24 x 2"].data, made.lines["all labels"].data) == ({}, {"labelled": "all"})
    assert chain_of(made.lines["all labels"])[0].train == chain_of(made.lines["labels only: 24 x 2"])[0].train
    assert made.words["all labels"] == "supervised data.labelled=all train.steps=24 train.batch_labelled=2 train.batch_unlabelled=0"


def test_the_words_of_an_anchor_are_a_row_of_the_command_line() -> None:
    made = found({"mean": Row(change(MeanTeacher, objective=CrossEntropy())), "pseudo": Row(change(PseudoLabel))}, against={})
    methods = PRESET.methods()
    for name, words in made.words.items():
        assert resolve_row("t", name, read_row(words, methods), methods) == made.lines[name]


def test_in_a_comparison_the_anchor_is_the_opponent_in_the_place_of_labels_alone() -> None:
    rows = {"plain": Row(change(Supervised)), "one way": Row(change(OneWay)), "pseudo": Row(change(PseudoLabel)), "full": Row(FULL)}
    made = found(rows, against={"full": "one way"})
    assert made.against is not None
    assert {row: made.against[row] for row in rows} == {
        "plain": "plain",
        "one way": "labels only: 8 x 2",
        "pseudo": "labels only: 16 x 2",
        "full": "one way",
    }
    assert {made.against[row] for row in made.words} == {None}
    assert made.anchors["one way"].all_labels == "all labels: 8 x 2"
    mine = found({name: rows[name] for name in ("full", "one way")}, against={})
    assert mine.against is not None
    assert (mine.against["full"], mine.against["one way"]) == ("labels only: 24 x 2", "full")


def test_equal_anchors_are_one_and_a_row_that_is_one_is_not_copied() -> None:
    same = Row(change(Supervised), train=change(Train, batch_unlabelled=0))
    bound = replace(same, data=change(Data, labelled="all"))
    rows = {"mine": same, "a": Row(change(OneWay)), "b": Row(change(OneWay, weight=2.0)), "upper": bound}
    made = found(rows, against={})
    assert made.words == {}
    assert made.anchors == dict.fromkeys(("a", "b"), AnchorRecord(row="mine", all_labels="upper"))
    assert found({name: rows[name] for name in ("a", "b")}, against={}).words.keys() == {"labels only: 8 x 2", "all labels"}


def test_names_say_what_tells_anchors_apart() -> None:
    fewer, all_ = (replace(Row(change(OneWay)), data=change(Data, labelled=one)) for one in (3, "all"))
    made = found({"a": Row(change(OneWay)), "b": fewer, "c": all_, "mean": Row(change(MeanTeacher, draw="mixed"))}, against={})
    assert made.anchors["b"].row == "labels only: 8 x 2, 3 labels"
    assert made.anchors["c"].all_labels is None
    assert len(set(made.words)) == len(made.words) == 5
    other = found({"all labels": Row(change(OneWay))}, against={})
    assert other.anchors["all labels"] == AnchorRecord(row="labels only: 8 x 2", all_labels="all labels, like all labels")


def test_equal_images_take_labelled_ones_in_the_place_of_unlabelled_ones() -> None:
    rows = {"plain": Row(change(Supervised)), "one way": Row(change(OneWay)), "full": Row(FULL)}
    made = found(rows, ("fair", "equal_images"), {})
    assert made.anchors["one way"].beside == ("plain",)  # the supervised row of as many steps
    assert made.anchors["full"].beside == ("labels only, equal images in all: 24 x 4",)
    alone = found(rows, ("equal_images",), {})
    assert alone.anchors["full"] == AnchorRecord(row="labels only, equal images in all: 24 x 4", all_labels="all labels: 24 x 4")
    none = found(rows, ("none",), {"full": "plain"})
    assert (none.words, none.anchors) == ({}, {})
    assert none.against == {"plain": "plain", "one way": "plain", "full": "plain"}


@pytest.mark.parametrize("kinds", [(), ("none", "fair"), ("fair", "fair")])
def test_kinds_that_do_not_go_together_are_refused(kinds: Any) -> None:
    with pytest.raises(SettingError, match="^anchors: got .*; allowed: fair, equal_images or both, each once, or none alone$"):
        check_kinds(kinds)


def test_labels_alone_need_no_anchor() -> None:
    made = found({"plain": Row(change(Supervised)), "S1": Row(parts("S1"))})
    assert (made.words, made.anchors) == ({}, {})


def test_anchors_change_no_key_of_a_row_and_are_counted_apart() -> None:
    rows = {"full": Row(FULL), "S1": Row(parts("S1"))}
    with_, without = found(rows), found(rows, ("none",))
    plans = [
        make_plan(made.lines, (0, 1), split=split, net=tiny.NET, train=tiny.TRAIN, has=lambda key: False, anchors=made.words)
        for made in (with_, without)
    ]
    assert [str(plan).split(",")[0] for plan in plans] == [
        "2 rows and 2 anchors x 2 seeds: 12 stages",
        "2 rows x 2 seeds: 8 stages",
    ]
    assert plans[1].stages.keys() < plans[0].stages.keys()


SHIPPED = [(script, preset) for script, table in TABLES.items() for preset in table.presets]


@pytest.mark.parametrize(("script", "name"), SHIPPED)
def test_in_a_shipped_comparison_what_learns_unlabelled_images_is_not_compared_with_a_plain_supervised_row(
    script: str, name: str
) -> None:
    table, preset = TABLES[script], TABLES[script].presets[name]
    methods = preset.methods()
    lines = {row: resolve_row(script, row, one, methods) for row, one in table.rows_of(preset).items()}

    def chain(line: ResolvedRow) -> tuple[Stage, ...]:
        labelled = line.data.get("labelled", preset.data.labelled)
        known = replace(split(line), labelled_hash=str(labelled))
        return line.method.stages(known, tiny.NET, replace(preset.train, **line.train), 0)

    made = anchored(table, lines, ("fair",), methods, chain)
    assert made.anchors
    for row, record in made.anchors.items():
        other = None if made.against is None else made.against[row]
        assert other in (None, record.row) or learns_unlabelled(chain(made.lines[other])) is not None


# ---- training settings of a stage


def test_a_stage_has_settings_of_its_own_and_the_others_keep_their_keys() -> None:
    plain, own = (
        chain_of(ResolvedRow(method, {}, {})) for method in (ThreeStage(), ThreeStage(stage3=StageTrain(steps=5, rate=0.1)))
    )
    assert [stage.key for stage in own[:2]] == [stage.key for stage in plain[:2]]
    assert own[2].train == replace(plain[2].train, steps=5, learning_rate=plain[2].train.learning_rate * 0.1)
    first = chain_of(ResolvedRow(PseudoLabel(stage1=StageTrain(steps=3)), {}, {}))
    assert [stage.train.steps for stage in first] == [3, 8]


def test_labelled_images_a_step_are_of_the_last_stage_that_learns_unlabelled_ones() -> None:
    chain = chain_of(ResolvedRow(DMT(phases=(1.0,), phase_epochs=1), {}, {}))
    last = learns_unlabelled(chain)
    assert last is not None
    assert (last.name, labelled_per_step(last)) == ("leader1", 2)
