"""A study of effects that adds seeds until all is decided: what is to be decided, and what the page says of it."""

from collections.abc import Sequence
from math import fsum

import numpy as np
import pytest
from effects_studies import make_effects

from semiseg.coalitions import Coalition
from semiseg.report.answer import answer
from semiseg.report.data import report_data
from semiseg.report.decisions import quantities
from semiseg.report.effects_table import effects_grid
from semiseg.report.scores import part_deltas
from semiseg.report.sequential import intervals
from semiseg.results import Results

WORTH = {"CR": 0.05, "T2": 0.0, "SA": -0.04}
PARTS = tuple(WORTH)
UNTIL = {"comparisons": 3, "max_seeds": 20, "reason": "decided", "order": [], "spent_seconds": 60.0}


def additive(one: Coalition) -> float:
    return 0.5 + fsum(WORTH[part] for part in one)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make_effects(tmp_path_factory.mktemp("until"), additive, PARTS, ("shapley",), seeds=12, own=0.002, until=UNTIL)


@pytest.mark.parametrize(
    ("asked", "names", "needed"),
    [
        (("shapley",), ["CR: Shapley", "T2: Shapley", "SA: Shapley"], 8),
        (("loo",), ["CR: out", "T2: out", "SA: out"], 2),
        (("factorial",), ["CR: main", "T2: main", "SA: main"], 8),
    ],
)
def test_what_was_asked_is_what_is_decided(tmp_path, asked: Sequence, names: list[str], needed: int) -> None:
    """Without values too, as the engine asks before anything has trained; each needs the rows that it weighs."""
    results = make_effects(tmp_path, additive, PARTS, tuple(asked), until=UNTIL)
    found = quantities(results.study, {})
    assert list(found) == names
    assert {len(one.rows) for one in found.values()} == {needed}
    assert not any(one.deltas for one in found.values())


def test_a_part_is_judged_by_the_anytime_interval_of_its_effect(decided: Results) -> None:
    data = report_data(decided)
    parts = {part.removed[0]: part for part in part_deltas(data.table)}
    assert {name: part.standing for name, part in parts.items()} == {
        "CR": "earns its place",
        "T2": "equivalent",
        "SA": "hurts here",
    }
    for part in parts.values():
        values = [part.gain.deltas[seed] for seed in sorted(part.gain.deltas)]
        low, high = intervals(values, 0.05 / 3)[-1]
        assert (part.gain.low, part.gain.high) == (pytest.approx(low), pytest.approx(high))
        assert low <= np.mean(values) <= high


def test_an_interval_without_bounds_says_nothing_of_0(tmp_path) -> None:
    results = make_effects(tmp_path, additive, PARTS, ("loo",), seeds=2, own=0.002, until=UNTIL)
    grid = effects_grid(report_data(results))
    assert grid is not None
    assert {line[-1] for line in grid.lines} == {"no bounds yet"}


def test_the_answer_says_what_each_part_adds_and_after_how_many_seeds(decided: Results) -> None:
    data = report_data(decided)
    said = " ".join(answer(data.table, data.label).sentences)
    assert "CR adds 5." in said or "CR adds 4.9" in said
    assert "SA takes away" in said
    assert "T2 adds less than 1 point" in said
    assert said.count("decided after") == 3
