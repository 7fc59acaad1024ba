"""What a seed draws: which stages `--vary` plans, what stays as it was, and what never varies."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import declared
import numpy as np
import pytest
import tiny
from data_trees import BUILDERS

from semiseg.change import Row, change
from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, load, split
from semiseg.development import is_development, reserved
from semiseg.methods import OneWay, Supervised
from semiseg.runner import Place, split_of
from semiseg.stage import Split, Stage
from semiseg.sweep.anchors import anchored
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.draws import SAID, Design, SeedDraw, design_of, draw_records, settled
from semiseg.sweep.plan import Plan, drawn_chain, make_plan
from semiseg.sweep.rows import ResolvedRow, resolve_row

ROWS = {
    "few": Row(change(Supervised), change(Data, labelled=2)),
    "labels": Row(change(Supervised)),
    "method": Row(change(OneWay)),
}
METHODS = {"one_way": OneWay(), "supervised": Supervised()}
LINES = {name: resolve_row("t", name, row, METHODS) for name, row in ROWS.items()}
ALL = ResolvedRow(Supervised(), {"labelled": "all"}, {})


def place() -> Place:
    return tiny.place(Path("unused"))


def images(line: ResolvedRow) -> Split:
    return split_of(*place().open(**line.data))


def planned(design: Design | None, lines: Mapping[str, ResolvedRow] = LINES, seeds: tuple[int, ...] = (0, 1, 2)) -> Plan:
    numbers = seeds if design is None else design.numbers
    return make_plan(lines, numbers, split=images, net=tiny.NET, train=tiny.TRAIN, has=lambda key: False, design=design)


def keys(plan: Plan) -> dict[tuple[str, int], list[str]]:
    return {at: [stage.key for stage in chain] for at, chain in plan.chains.items()}


def ends(plan: Plan, row: str) -> list[Stage]:
    return [chain[-1] for (name, _), chain in plan.chains.items() if name == row]


@pytest.mark.parametrize(
    ("design", "draws"),
    [
        (Design(seeds=(4, 7)), {4: (4, None), 7: (7, None)}),
        (Design(vary="labelled", seeds=(4, 7)), {4: (4, 4), 7: (4, 7)}),
        (Design(vary="both", seeds=(4, 7)), {4: (4, 4), 7: (7, 7)}),
        (Design(vary="crossed", seeds=(4, 7), subsets=(1, 0)), {0: (4, 1), 1: (4, 0), 2: (7, 1), 3: (7, 0)}),
    ],
)
def test_a_seed_stands_for_a_training_seed_and_a_subset(design: Design, draws: dict[int, tuple[int, int | None]]) -> None:
    assert design.draws == draws
    assert list(design.draws) == list(design.numbers)
    assert design.said(Data(name="folder")).startswith(SAID[design.vary])
    if design.vary != "crossed":
        assert design.draw(9) == SeedDraw(9 if design.vary != "labelled" else 4, 9 if design.vary != "training" else None)


def test_training_alone_plans_what_was_planned_before() -> None:
    assert keys(planned(Design(seeds=(0, 1, 2)))) == keys(planned(None))


def test_with_both_every_seed_has_a_subset_of_its_own_and_the_first_is_that_of_before() -> None:
    both, before = planned(Design(vary="both", seeds=(0, 1, 2))), planned(None)
    for row in LINES:
        assert len({stage.split.labelled_hash for stage in ends(both, row)}) == 3
        assert [stage.seed for stage in ends(both, row)] == [0, 1, 2]
    at_zero = {at: found for at, found in keys(both).items() if at[1] == 0}
    assert at_zero == {at: found for at, found in keys(before).items() if at[1] == 0}
    for seed in (1, 2):  # as a study with that labelled_seed has it
        line = replace(LINES["method"], data={"labelled_seed": seed})
        (one,) = planned(None, {"one": line}, (seed,)).chains.values()
        assert [stage.key for stage in one] == keys(both)["method", seed]


def test_with_labelled_the_subset_varies_alone() -> None:
    found = ends(planned(Design(vary="labelled", seeds=(3, 1, 2))), "method")
    assert len({stage.split.labelled_hash for stage in found}) == 3
    assert {stage.seed for stage in found} == {3}


@pytest.mark.parametrize("vary", ["labelled", "both"])
def test_what_scores_and_what_has_no_labels_is_the_same_for_all_seeds(vary: Any) -> None:
    found = [stage.split for row in LINES for stage in ends(planned(Design(vary=vary, seeds=tuple(range(5)))), row)]
    assert len({(one.fingerprint, one.selection_hash, one.test_hash, one.training_hash) for one in found}) == 1


def test_subsets_of_a_seed_are_nested() -> None:
    for draw in Design(vary="both", seeds=tuple(range(5))).draws.values():
        few, more = (set(place().open(**draw.of(LINES[row]).data)[1].labelled.tolist()) for row in ("few", "labels"))
        assert few < more


@pytest.mark.parametrize(("vary", "stages"), [("training", 3), ("labelled", 1), ("both", 3)])
def test_a_stage_with_all_labels_is_trained_once_for_each_training_seed(vary: Any, stages: int) -> None:
    plan = planned(Design(vary=vary, seeds=(0, 1, 2)), {"every": ALL})
    assert (len(plan.stages), plan.total) == (stages, 3)
    before = set(planned(None, {"every": ALL}).stages)
    assert set(plan.stages) <= before
    assert all(stage.split.opened == (("labelled", "all"),) for stage in plan.stages.values())


def test_a_crossed_plan_shares_stages_with_all_labels_and_says_which_run_it_is() -> None:
    design = Design(vary="crossed", seeds=(0, 1), subsets=(5, 6, 7))
    plan = planned(design, {"every": ALL, "method": LINES["method"]})
    assert len({stage.key for stage in ends(plan, "every")}) == 2
    found = ends(plan, "method")
    assert len({stage.key for stage in found}) == 6
    assert [stage.seed for stage in found] == [0, 0, 0, 1, 1, 1]
    assert len({stage.split.labelled_hash for stage in found}) == 3
    assert plan.label(found[4]) == f"method/seed 1 subset 6/{found[4].name}"
    assert (plan.counts()["seeds"], plan.counts()["rows"]) == (6, 2)


def test_anchors_have_the_labelled_images_of_their_row_at_every_seed() -> None:
    table = Ablation(name="t", title="T", question="Q?", rows=ROWS, reference="method", presets={"demo": Preset(method=OneWay())})
    design = Design(vary="both", seeds=(0, 1, 2))

    def chain(line: ResolvedRow) -> tuple[Stage, ...]:
        return drawn_chain(line, design.first, split=images, net=tiny.NET, train=tiny.TRAIN)

    made = anchored(table, LINES, ("fair",), METHODS, chain)
    record = made.anchors["method"]
    plan = planned(design, made.lines)
    for seed in design.seeds:
        row, few = plan.chains["method", seed][-1], plan.chains[record.row, seed][-1]
        assert row.split == few.split
        assert few.seed == seed
    assert record.all_labels is not None
    every = ends(plan, record.all_labels)
    assert len({stage.split.labelled_hash for stage in every}) == 1
    assert [stage.seed for stage in every] == [0, 1, 2]


@pytest.mark.parametrize("name", DATASETS)
def test_no_subset_moves_selection_test_or_training_images(name: str, tmp_path: Path) -> None:
    data = Data(name=name, root=None if name == "synthetic" else BUILDERS[name](tmp_path / "tree"), labelled=2)
    pack = load(data, tmp_path / "cache")
    found = [split(pack, replace(data, labelled_seed=seed)) for seed in (None, 0, 1, 2, 3, reserved(0))]
    for one in found:
        for part in ("training", "selection", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(found[0], part))


# ---- what is asked for


def asked(*words: str, data: Data | None = None, **changes: Any) -> Preset:
    """The preset of a command."""
    preset = replace(Preset(data=data or Data(name="camvid"), seeds=(0, 1)), **changes)
    table = replace(declared.TABLES["ablate_three_stage"], presets={"demo": preset})
    return parse(table, words)[1]


@pytest.mark.parametrize(
    ("words", "vary"),
    [
        ((), "both"),
        (("--data.labelled-seed", "3"), "training"),
        (("--data.split-seed", "3"), "both"),
        (("--vary", "training", "--data.labelled-seed", "3"), "training"),
        (("--vary", "labelled"), "labelled"),
        (("--vary", "crossed"), "crossed"),
    ],
)
def test_of_real_data_a_seed_draws_both_unless_one_subset_is_named(words: tuple[str, ...], vary: str) -> None:
    assert asked(*words).vary == vary


def test_of_the_built_in_scenes_and_of_presets_that_say_so_it_draws_training() -> None:
    assert asked(data=Data()).vary == "training"
    assert asked("--vary", "both", data=Data()).vary == "both"
    assert asked(vary="training").vary == "training"
    assert asked("--vary", "both", vary="training").vary == "both"
    assert declared.TABLES["compare_label_fractions"].presets["paper"].vary == "training"
    for table in declared.TABLES.values():
        for preset in table.presets.values():
            assert preset.vary in (None, "training")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--vary both --data.labelled-seed 3",
            "vary: got 'both'; allowed: training, as data.labelled_seed 3 names one labelled subset",
        ),
        ("--vary crossed --data.labelled-seed 3", "vary: got 'crossed'; allowed: training"),
        ("--subsets 0 1", r"subsets: got \(0, 1\); allowed: none, or --vary crossed"),
        ("--vary crossed --subsets 0", r"subsets: got \(0,\); allowed: with --vary crossed two at least"),
        ("--vary crossed --seeds 3 --subsets 0 1", "allowed: with --vary crossed two at least, and two --seeds"),
        ("--vary crossed --subsets 0 0", r"subsets: got \(0, 0\); allowed: distinct whole numbers"),
        ("--vary crossed --subsets 0 -1", "subsets: got .*; allowed: whole numbers >= 0"),
        ("--vary crossed --subsets 0 1000000", "subsets: got .*; allowed: none from 1000000"),
        ("--seeds 0 -1", "seeds: got .*; allowed: whole numbers >= 0, which draw labelled subsets .*, or --vary training"),
    ],
)
def test_what_contradicts_itself_is_one_line(words: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as error:
        asked(*words.split())
    assert "\n" not in str(error.value)


def test_development_draws_reserved_subsets() -> None:
    for vary in ("labelled", "both", "crossed"):
        design = design_of(asked("--development", "--vary", vary, "--seeds", "0", "5"))
        assert all(is_development(draw.training) and is_development(draw.subset or 0) for draw in design.draws.values())
    assert design_of(asked("--development", "--seeds", "0", "5")).draws == {reserved(s): (reserved(s), reserved(s)) for s in (0, 5)}
    with pytest.raises(SettingError, match="vary: got 'both'; allowed: training"):
        asked("--development", "--vary", "both", "--data.labelled-seed", "3")


def test_where_nothing_is_left_to_draw_both_is_training_and_the_others_are_refused(tmp_path: Path) -> None:
    lines: Mapping[str, ResolvedRow] = {"every": ALL}
    for design in (
        Design(vary="labelled", seeds=(0, 1)),
        Design(vary="crossed", seeds=(0, 1), subsets=(0, 1)),
        Design(vary="both", seeds=(0, 1)),
    ):
        assert settled(design, LINES, images) == design
        if design.vary == "both":
            assert settled(design, lines, images) == replace(design, vary="training")
            continue
        with pytest.raises(
            SettingError, match=f"vary: got '{design.vary}'; allowed: training, as every seed would have the same labelled"
        ):
            settled(design, lines, images)
    names = tmp_path / "names.txt"
    names.write_text("00\n03\n05\n")
    listed = tiny.place(Path("unused"), data=replace(tiny.data()[0], labelled=None, labelled_list=names))
    both = Design(vary="both", seeds=(0, 1))
    row = {"labels": LINES["labels"]}
    assert settled(both, row, lambda line: split_of(*listed.open(**line.data))).vary == "training"
    some = replace(listed, data=replace(listed.data, labelled=1))
    many = replace(both, seeds=tuple(range(5)))
    assert settled(many, row, lambda line: split_of(*some.open(**line.data))).vary == "both"


def test_results_know_every_subset_by_its_images() -> None:
    def opened(**values: Any) -> Split:
        return split_of(*place().open(**values))

    assert draw_records(Design(seeds=(0, 1)), (0, 1), opened) == ()
    found = draw_records(Design(vary="crossed", seeds=(3, 4), subsets=(0, 1)), range(4), opened)
    assert [(one.seed, one.training, one.subset) for one in found] == [(0, 3, 0), (1, 3, 1), (2, 4, 0), (3, 4, 1)]
    assert [one.labelled_hash for one in found] == [opened(labelled_seed=s).labelled_hash for s in (0, 1, 0, 1)]
