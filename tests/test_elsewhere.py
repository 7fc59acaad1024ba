"""Costs known from another machine: what is planned at once, and what is still timed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from semiseg.methods import ThreeStage
from semiseg.sweep import costs, elsewhere, estimate
from semiseg.sweep.costs import Cost, Costs, portable


@pytest.fixture
def stage() -> Any:
    (found,) = tiny.chain(ThreeStage().with_switches("S1"))
    return found


@pytest.fixture
def known(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with the stage's kind, of a machine that took half as long for the same work."""
    kind = portable(stage, tiny.place(tmp_path).reopen(stage.split)[0])
    monkeypatch.setattr(elsewhere, "table", lambda: {"pace": 2.0, "kinds": {kind: [0.5, 0.25]}})
    monkeypatch.setattr(elsewhere, "pace", lambda: 4.0)
    monkeypatch.setattr(costs, "FILE", f"costs-{tmp_path.name}.json")  # other tests remember costs beside the same images
    return tmp_path


def test_a_cost_from_elsewhere_is_scaled_to_the_pace_of_this_machine_and_not_remembered(
    stage: Any, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.place(known)
    monkeypatch.setattr(estimate, "timed_stage", None)  # timing it would fail
    memory = Costs(place)
    assert memory.said() == ""
    assert estimate.costs_of([stage], place, memory=memory) == {stage.key: (1.0, 0.5)}
    assert memory.said() == ", not timed on this machine"
    assert not memory.file.exists()
    again = replace(stage, seed=5, train=replace(stage.train, steps=77, learning_rate=0.5))
    assert estimate.costs_of([again], place) == {again.key: (1.0, 0.5)}


def test_what_was_measured_here_counts_for_more(stage: Any, known: Path) -> None:
    place = tiny.place(known)
    Costs(place).keep(stage, Cost(3.0, 1.0), "test")
    memory = Costs(place)
    assert estimate.costs_of([stage], place, memory=memory) == {stage.key: (3.0, 1.0)}
    assert memory.said() == ""


def test_other_settings_and_other_threads_are_timed_here(stage: Any, known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tiny.place(known)
    monkeypatch.setattr(estimate, "timed_stage", lambda *_: Cost(9.0, 9.0))
    wider = replace(stage, net=replace(stage.net, width=6))
    assert estimate.costs_of([wider], place) == {wider.key: (9.0, 9.0)}
    threads = replace(place, threads=2)
    assert estimate.costs_of([stage], threads) == {stage.key: (9.0, 9.0)}


def test_a_remembered_cost_says_of_which_kind_it_is_on_any_machine(stage: Any, known: Path) -> None:
    memory = Costs(tiny.place(known))
    memory.keep(stage, Cost(1.0, 1.0), "test")
    (entry,) = json.loads(memory.file.read_text()).values()
    assert entry["of"] in elsewhere.table()["kinds"]


def test_a_table_that_cannot_be_read_knows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    for text in (None, "", "[]", "{}"):
        if text is not None:
            file.write_text(text)
        elsewhere.table.cache_clear()
        assert elsewhere.table(file)["kinds"] == {}


def test_the_table_in_the_package_holds_costs_and_the_pace_they_belong_to() -> None:
    elsewhere.table.cache_clear()
    found = elsewhere.table()
    assert found["pace"] > 0
    assert found["kinds"]
    assert all(costs.usable(dict(zip(Cost._fields, one, strict=True))) for one in found["kinds"].values())
    assert elsewhere.pace() > 0
