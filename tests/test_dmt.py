"""The chain of dynamic mutual training (feng2020_dmt, methods.md 1.2): labelled subsets, who teaches whom, keys."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import semiseg.published
from semiseg.config import SettingError
from semiseg.losses import Dice
from semiseg.methods.dmt import DMT, STRONGER, WEAKER, SubsetSupervised
from semiseg.methods.mutual import MutualTraining
from semiseg.methods.pseudo_label import PseudoLabel
from semiseg.methods.rule import Pick
from semiseg.published import picked
from semiseg.stage import Stage
from semiseg.store import Store


@pytest.mark.parametrize(("count", "alpha"), [(10, 0.7), (20, 0.5), (20, 0.8), (100, 0.55), (8, 1.0)])
def test_subsets_overlap_in_exactly_2_alpha_less_1_of_the_images(count: int, alpha: float) -> None:
    rows = np.arange(count) * 3 + 1
    first, last = (set(SubsetSupervised(alpha=alpha, part=part).labelled(rows, 0).tolist()) for part in ("first", "last"))
    assert len(first) == len(last) == round(alpha * count)
    assert len(first & last) == round((2 * alpha - 1) * count)
    assert first | last == set(rows.tolist())


@pytest.mark.parametrize(("count", "alpha", "size"), [(5, 0.7, 4), (5, 0.5, 3), (4, 0.7, 3), (1, 0.5, 1), (7, 0.9, 6)])
def test_a_broken_size_is_rounded_half_up_so_that_no_image_is_left_out(count: int, alpha: float, size: int) -> None:
    rows = np.arange(count)
    first, last = (set(SubsetSupervised(alpha=alpha, part=part).labelled(rows, 0).tolist()) for part in ("first", "last"))
    assert len(first) == len(last) == size
    assert first | last == set(rows.tolist())


def test_subsets_of_one_seed_are_nested_and_two_seeds_shuffle_differently() -> None:
    rows = np.arange(30)
    for part in ("first", "last"):
        small, large = (set(SubsetSupervised(alpha=alpha, part=part).labelled(rows, 5).tolist()) for alpha in (0.5, 0.8))
        assert small < large
        assert small == set(SubsetSupervised(alpha=0.5, part=part).labelled(rows, 5).tolist())
        assert small != set(SubsetSupervised(alpha=0.5, part=part).labelled(rows, 6).tolist())


@pytest.mark.parametrize(
    ("count", "sizes"), [(10, (0.4, 1.0)), (20, (0.9, 0.5)), (7, (0.3, 0.7)), (5, (0.05, 0.05)), (1, (0.2, 1.0))]
)
def test_subsets_of_unequal_size_are_the_beginning_and_the_end_of_one_shuffled_list(count: int, sizes: tuple[float, float]) -> None:
    """Equation 1 with a share for each: R[0 : alpha_a L] and R[(1 - alpha_b) L : L]."""
    stages = DMT(alpha_a=sizes[0], alpha_b=sizes[1]).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 3)
    rows = np.arange(count) * 2
    found = [stage.rule.labelled(rows, 3).tolist() for stage in stages[:2]]
    whole = SubsetSupervised(alpha=1.0, part="first").labelled(rows, 3).tolist()
    lengths = [max(int(count * share + 0.5), 1) for share in sizes]
    assert found == [whole[: lengths[0]], whole[count - lengths[1] :]]
    assert sorted(whole) == rows.tolist()


def test_a_share_of_one_model_leaves_the_others_stage_as_it_is() -> None:
    both, one = chain(), chain(DMT(alpha_a=0.9))
    assert (one[0].key == both[0].key, one[1].key == both[1].key) == (False, True)
    assert chain(DMT(alpha_a=0.8, alpha_b=0.8))[-1].key == chain(DMT(alpha=0.8))[-1].key


def chain(method: DMT | None = None, seed: int = 0, **train: Any) -> tuple[Stage, ...]:
    return (method or DMT()).stages(tiny.SPLIT, tiny.NET, replace(tiny.TRAIN, **train), seed)


def phases(method: DMT | None = None) -> list[Stage]:
    return [stage for stage in chain(method) if isinstance(stage.rule, MutualTraining)]


def picks(stage: Stage) -> list[Pick]:
    """Whose weights the student starts from, and whose masks it learns, as far as it takes any."""
    needs = stage.rule.needs
    assert needs.initial.keys() <= {"student"}
    return [*needs.initial.values(), *([needs.masks.of] if needs.masks else [])]


def graph(method: DMT) -> dict[str, tuple[str, str]]:
    """For every phase stage whose weights it starts from and whose masks it learns; two names when selection decides."""

    def named(stage: Stage, pick: Any) -> str:
        names = [stage.teachers[number].name for number in pick.among]
        return names[0] if len(names) == 1 else f"{pick.choice} of {' '.join(names)}"

    return {stage.name: (named(stage, picks(stage)[0]), named(stage, picks(stage)[1])) for stage in phases(method)}


PHASES = (0.3, 0.6, 1.0)


def test_sequential_phases_learn_from_the_model_just_trained() -> None:
    assert graph(DMT(phases=PHASES)) == {
        "follower1": ("worst of a0 b0", "best of a0 b0"),
        "leader1": ("best of a0 b0", "follower1"),
        "follower2": ("follower1", "leader1"),
        "leader2": ("leader1", "follower2"),
        "follower3": ("follower2", "leader2"),
        "leader3": ("leader2", "follower3"),
    }


def test_symmetric_phases_learn_from_the_models_before_the_phase() -> None:
    assert graph(DMT(phases=PHASES, update="symmetric")) == {
        "follower1": ("worst of a0 b0", "best of a0 b0"),
        "leader1": ("best of a0 b0", "worst of a0 b0"),
        "follower2": ("follower1", "leader1"),
        "leader2": ("leader1", "follower1"),
        "follower3": ("follower2", "leader2"),
        "leader3": ("leader2", "follower2"),
    }


@pytest.mark.parametrize(("update", "first"), [("sequential", "follower1"), ("symmetric", "b0")])
def test_a_can_teach_first_whatever_selection_says(update: Any, first: str) -> None:
    found = graph(DMT(phases=PHASES, update=update, teacher_first="a"))
    assert found["follower1"] == ("b0", "a0")
    assert found["leader1"] == ("a0", first)
    assert found["follower2"] == ("follower1", "leader1")


@pytest.mark.parametrize(("update", "learned"), [("sequential", "follower{0}"), ("symmetric", "worst of {1}")])
def test_who_teaches_first_can_be_decided_before_each_phase(update: Any, learned: str) -> None:
    """The better one before the phase teaches the worse one, then learns from it."""
    pairs = ["a0 b0", "leader1 follower1", "leader2 follower2"]
    expected = {}
    for phase, pair in enumerate(pairs, 1):
        expected[f"follower{phase}"] = (f"worst of {pair}", f"best of {pair}")
        expected[f"leader{phase}"] = (f"best of {pair}", learned.format(phase, pair))
    assert graph(DMT(phases=PHASES, update=update, teacher_first="each_phase")) == expected
    once, each = (phases(DMT(phases=PHASES, update=update, teacher_first=first)) for first in ("selection", "each_phase"))
    assert [one.key == other.key for one, other in zip(once, each, strict=True)] == [True] * 2 + [False] * 4


def test_with_the_same_start_both_pretrainings_begin_with_the_weights_of_a_stage_of_no_steps() -> None:
    start, a, b, *_, better = chain(DMT(same_start=True))
    assert (start.name, start.train.steps, start.teachers) == ("start", 0, ())
    assert [(stage.name, stage.teachers, *picks(stage)) for stage in (a, b)] == [
        (name, (start,), Pick(weights="last")) for name in ("a0", "b0")
    ]
    assert [len(stage.rule.needs.subset(np.arange(10), 0)) for stage in (a, b)] == [7, 7]
    assert better.number == 1 + 2 + 10 + 1


def test_masks_of_unlabelled_images_alone_make_an_epoch_of_them() -> None:
    method = DMT(pseudo_on="unlabelled", phase_epochs=2)  # 8 of 12 images have no labels: 2 steps an epoch
    assert [stage.train.steps for stage in chain(method, batch_unlabelled=5)[:4]] == [8, 8, 4, 4]
    full = replace(tiny.SPLIT, labelled=tiny.SPLIT.training)
    message = "method.pseudo_on: got 'unlabelled'; allowed: all where every training image is labelled$"
    for other in (method, PseudoLabel(pseudo_on="unlabelled")):
        with pytest.raises(SettingError, match=message):
            other.stages(full, tiny.NET, tiny.TRAIN, 0)


@pytest.mark.parametrize("update", ["sequential", "symmetric"])
@pytest.mark.parametrize("first", ["selection", "a", "each_phase"])
def test_every_stage_has_a_number_a_key_and_teachers_of_its_own_that_come_before_it(update: Any, first: Any) -> None:
    stages = chain(DMT(phases=PHASES, update=update, teacher_first=first))
    assert [stage.number for stage in stages] == list(range(1, 2 + 2 * len(PHASES) + 1 + 1))
    assert len({stage.key for stage in stages}) == len({stage.name for stage in stages}) == len(stages)
    for number, stage in enumerate(stages):
        assert {teacher.key for teacher in stage.teachers} <= {before.key for before in stages[:number]}
        assert {n for pick in picks(stage) for n in pick.among} == set(range(len(stage.teachers)))
    assert [teacher.name for teacher in stages[-1].teachers] == ["leader3", "follower3"]


def test_phases_learn_growing_shares_from_best_weights_on_all_labelled_images() -> None:
    rows = np.arange(10)
    stages = chain()
    assert len(stages) == 2 + 2 * 5 + 1
    rules = [stage.rule for stage in stages[2:-1]]
    assert [rule.share for rule in rules] == [0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0, 1.0]
    assert [[pick.weights for pick in picks(stage)] for stage in stages[2:-1]] == [["best", "best"]] * 10
    assert {(rule.needs.draw, rule.needs.unlabelled, rule.needs.masks.confidences) for rule in rules} == {("mixed", True, True)}
    assert all(rule.needs.subset is None for rule in rules)
    assert [len(stage.rule.needs.subset(rows, 0)) for stage in stages[:2]] == [7, 7]
    assert {stage.rule.evaluated for stage in stages} == {"student"}


def test_with_last_weights_reported_the_last_stage_is_a_model_of_last_weights() -> None:
    stages = chain(weights="last")
    assert picks(stages[-1])[0].weights == "last"
    assert picks(stages[2])[0].weights == "best"


def test_a_phase_is_so_many_epochs_and_pretraining_so_many_steps() -> None:
    stages = chain(DMT(phase_epochs=2.5, phase_rate=0.5), batch_unlabelled=5)  # 12 training images: 3 steps an epoch
    assert [stage.train.steps for stage in stages] == [8, 8, *[8] * 10, 0]
    assert [stage.train.steps for stage in chain(batch_unlabelled=5)[2:4]] == [30, 30]
    assert [stage.train.steps for stage in chain(DMT(phase_epochs=0.01))[2:4]] == [1, 1]
    assert [stage.train.learning_rate for stage in stages[:4]] == [0.01, 0.01, 0.005, 0.005]


def test_the_defaults_are_those_of_the_paper() -> None:
    """Section 4.1 and algorithm 1; where they are silent, DST-CBC (methods.md 1.2)."""
    method = DMT()
    assert (method.alpha, method.gamma1, method.gamma2, method.phase_epochs, method.phase_rate) == (0.7, 3, 3, 10, 1)
    assert method.phases == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert (method.teacher_first, method.update) == ("selection", "sequential")
    assert (method.ranking, method.scope, method.reduction) == ("class", "dataset", "pooled")


OTHER: dict[str, Any] = {
    "alpha": 0.5, "gamma1": 5.0, "gamma2": 5.0, "phases": (0.2, 0.4, 0.6, 0.8, 0.9), "phase_epochs": 5.0, "phase_rate": 0.1,
    "teacher_first": "a", "update": "symmetric", "ranking": "global", "scope": "batch", "reduction": "separate",
    "objective": Dice(), "alpha_a": 0.4, "alpha_b": 1.0, "same_start": True, "gamma_schedule": "sigmoid", "pseudo_on": "unlabelled",
}  # fmt: skip


def test_every_field_moves_the_last_key() -> None:
    assert {field.name for field in fields(DMT)} == {*OTHER, "masks"}
    changes = [{}, *({name: value} for name, value in OTHER.items()), {"masks": "online", "scope": "batch"}]
    assert len({chain(DMT(**change))[-1].key for change in changes}) == len(changes)
    assert chain(seed=1)[-1].key != chain()[-1].key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.4}, r"method.alpha: got 0.4; allowed: a share in \[0.5, 1\]"),
        ({"gamma1": -1}, "method.gamma1: got -1; allowed: a number >= 0"),
        ({"gamma2": float("nan")}, "method.gamma2: got nan; allowed: a number >= 0"),
        ({"phases": ()}, r"method.phases: got \(\); allowed: ascending shares in \(0, 1\], at least one"),
        ({"phases": (0.4, 0.2)}, r"method.phases: got \(0.4, 0.2\)"),
        ({"phases": (0.0, 0.2)}, r"method.phases: got \(0.0, 0.2\)"),
        ({"phases": (0.2, 1.2)}, r"method.phases: got \(0.2, 1.2\)"),
        ({"phase_epochs": 0}, "method.phase_epochs: got 0; allowed: a number > 0"),
        ({"phase_rate": float("inf")}, "method.phase_rate: got inf; allowed: a number > 0"),
        ({"update": "both"}, "method.update: got 'both'; allowed: sequential, symmetric"),
        ({"alpha_a": 0}, r"method.alpha_a: got 0; allowed: a share in \(0, 1\] or None$"),
        ({"alpha_b": 1.1}, r"method.alpha_b: got 1.1; allowed: a share in \(0, 1\] or None$"),
        ({"masks": "online"}, "method.scope: got 'dataset'; allowed: batch with masks made online$"),
        ({"masks": "never"}, "method.masks: got 'never'; allowed: phase, online$"),
        ({"pseudo_on": "none"}, "method.pseudo_on: got 'none'; allowed: all, unlabelled$"),
        ({"teacher_first": "b"}, "method.teacher_first: got 'b'; allowed: selection, a, each_phase$"),
        ({"gamma_schedule": "linear"}, "method.gamma_schedule: got 'linear'; allowed: constant, sigmoid$"),
    ],
    ids=str,
)
def test_unusable_values_name_field_value_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        DMT(**changes)


def test_a_batch_without_unlabelled_images_is_refused() -> None:
    with pytest.raises(SettingError, match=r"train.batch_unlabelled: got 0; allowed: a whole number >= 1 with dmt"):
        chain(batch_unlabelled=0)


@pytest.mark.parametrize(("scores", "stronger"), [((0.4, 0.3), "a0"), ((0.3, 0.4), "b0"), ((0.3, 0.3), "a0"), ((-1.0, -1.0), "a0")])
def test_the_stronger_one_teaches_first_and_the_weaker_one_is_the_other(
    scores: tuple[float, float], stronger: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a, b, follower, *_ = chain()
    monkeypatch.setattr(semiseg.published, "selection_score", lambda stage, _: dict(zip((a, b), scores, strict=True))[stage])
    found = [picked(follower, pick, Store(str(tmp_path), tmp_path)).name for pick in (STRONGER, WEAKER)]
    assert found == [stronger, {"a0": "b0", "b0": "a0"}[stronger]]
