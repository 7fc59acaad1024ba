"""What a search takes from earlier ones: trials it could have made itself, counted; and how its own trials go on after them."""

from pathlib import Path
from typing import Any

import pytest
import tiny
from optuna.trial import BaseTrial, TrialState
from search_drive import BASE, SPACE, drive, hill, make_feed, open_ledger, with_net

from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, Method, ThreeStage
from semiseg.search.configuration import Configuration
from semiseg.search.folder import read_search
from semiseg.search.identity import differing, unsaid
from semiseg.search.ledger import JOURNAL, WARM
from semiseg.search.space import Space, extent
from semiseg.search.warm import Earlier, earlier
from semiseg.stage import for_key

POINT = {"weight": 0.3, "ema_decay": 0.6}


def identity(space: Space = SPACE, base: Method = BASE, **changes: Any) -> dict[str, Any]:
    return {
        "data": {"fingerprint": "f"},
        "net": {"width": 4},
        "train": {"steps": 18},
        "method": {"name": space.name, **for_key(base)},
        "space": extent(space, base),
        "search_seeds": [0],
    } | changes


def searched(folder: Path, trials: int = 6, space: Space = SPACE, base: Method = BASE, **changes: Any) -> Path:
    """A search that has ended."""
    folder.mkdir()
    with open_ledger(folder, trials, sampler="random", identity=identity(space, base, **changes)) as ledger:
        ledger.enqueue([POINT])
        drive(make_feed(folder, ledger, space=space, base=base), hill)
        ledger.study.set_user_attr("about", {"objectives": ["miou"]})
    return folder


def told(folder: Path, space: Space = SPACE, base: Method = BASE, **options: Any) -> Earlier:
    said = identity(space, base)
    options = {"parameters": lambda made: 7, "meant": unsaid(base)} | options
    return earlier(folder, with_net(space), Configuration(base, tiny.NET), identity=said, **options)


def narrow(trial: BaseTrial, base: Method) -> Method:
    weight = trial.suggest_float("weight", 0.1, 1.0, log=True)
    return MeanTeacher(weight=weight, ema=Ema(decay=(trial.suggest_float("ema_decay", 0.5, 0.99),)))


NARROW = Space("mean_teacher", narrow, SPACE.values)


def test_trials_that_the_space_could_have_made_come_with_their_scores(tmp_path: Path) -> None:
    trials = read_search(searched(tmp_path / "first")).trials
    found = told(tmp_path / "first")
    assert [(one.params, one.values) for one in found.trials] == [(one.params, one.values) for one in trials]
    assert [one.user_attrs[WARM] for one in found.trials] == [f"first trial {number}" for number in range(6)]
    inside = [one.params for one in trials if one.params["weight"] <= 1]
    less = told(tmp_path / "first", NARROW)
    assert [one.params for one in less.trials] == inside
    assert less.ignored == {"outside the space": 6 - len(inside)}
    assert 0 < len(inside) < 6
    assert less.said(Path("first")) == f"warm start: {len(inside)} trials of first; ignored: {6 - len(inside)} outside the space"
    assert less.best == max(less.trials, key=lambda one: one.values[0]).params


@pytest.mark.parametrize("part", ["data", "net", "train"])
def test_trials_of_other_images_networks_or_training_are_ignored(tmp_path: Path, part: str) -> None:
    other: dict[str, Any] = {part: {"other": 1}}
    found = told(searched(tmp_path / "first", 2, **other))
    if part == "net":  # each trial says itself what it trained
        assert len(found.trials) == 2
    else:
        assert found.ignored == {f"of other {part}": 2}


def test_names_that_mean_something_else_are_not_taken(tmp_path: Path) -> None:
    """Equal names and ranges, but the second space ties the decay's start to it."""

    def other(trial: BaseTrial, base: Method) -> Method:
        weight = trial.suggest_float("weight", 0.1, 10.0, log=True)
        return MeanTeacher(weight=weight, ema=Ema(decay=(trial.suggest_float("ema_decay", 0.5, 0.99),), warmup=True))

    found = told(searched(tmp_path / "first", 3), Space("mean_teacher", other, SPACE.values))
    assert found.ignored == {"of settings that the space does not make": 3}


def test_trials_of_old_journals_count_where_method_and_space_are_the_same(tmp_path: Path) -> None:
    """They do not say what they trained."""
    (tmp_path / "old").mkdir()
    with open_ledger(tmp_path / "old", 2, identity=identity()) as ledger:
        for value in (0.5, 0.6):
            trial = ledger.ask()
            assert trial is not None
            SPACE.suggest(trial, BASE)
            ledger.tell(trial, [value], TrialState.COMPLETE, {"used": 1.0})
    assert len(told(tmp_path / "old").trials) == 2
    assert told(tmp_path / "old", NARROW).trials == ()


def test_every_objective_needs_its_value(tmp_path: Path) -> None:
    folder = searched(tmp_path / "first", 2)
    values = [one.values for one in told(folder, objectives=("score", "seconds", "parameters")).trials]
    assert [value[1:] for value in values] == [[9.0, 7.0]] * 2


def test_what_is_no_search_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"^warm_start: .*search\.journal: cannot be read: no such file; expected the results folder"
    ):
        told(tmp_path / "nothing")


def test_a_warm_sampler_knows_the_trials_and_counts_its_own(tmp_path: Path) -> None:
    """Warm trials are no trials of this search: not asked for, not shown, not spent; the sampler is past its random start at once. A
    second run adds none twice, and a search that is cut short goes on as it would have."""
    searched(tmp_path / "first", 10)
    known = told(tmp_path / "first")

    def run(folder: Path, *most: int) -> list[dict[str, Any]]:
        folder.mkdir(exist_ok=True)
        for rounds in (*most, None):
            with open_ledger(folder, 5) as ledger:
                ledger.enqueue([POINT, known.best])
                ledger.add(known.trials)
                drive(make_feed(folder, ledger), hill, most=rounds)
        with open_ledger(folder, 5) as ledger:
            assert len(ledger.study.trials) == 15
            assert ledger.add(known.trials) == 0
            return [one.params for one in ledger.all()]

    whole = run(tmp_path / "whole")
    assert len(whole) == 5
    assert whole[:2] == [POINT, known.best]
    assert run(tmp_path / "cut", 3, 20) == whole
    read = read_search(tmp_path / "whole")
    assert (len(read.trials), len(read.warm)) == (5, 10)

    cold = tmp_path / "cold"
    cold.mkdir()
    with open_ledger(cold, 5) as ledger:
        ledger.enqueue([POINT, known.best])
        drive(make_feed(cold, ledger), hill)
        assert [one.params for one in ledger.all()][2:] != whole[2:]


def test_a_warm_configuration_that_the_store_holds_is_not_trained_again(tmp_path: Path) -> None:
    first = searched(tmp_path / "first", 6)
    known = told(first)
    (first / JOURNAL).rename(first / "old.journal")
    with open_ledger(first, 2) as ledger:  # beside the same store
        ledger.enqueue([POINT, known.best])
        ledger.add(known.trials)
        assert drive(make_feed(first, ledger), hill) == []
        assert [one.values[0] for one in ledger.all()][1] == max(one.values[0] for one in known.trials)


# ---- identities of older journals


def test_a_search_begun_before_a_field_existed_goes_on_with_the_value_that_was_in_force(tmp_path: Path) -> None:
    base = ThreeStage()
    now = {
        "method": {"name": "three_stage", **for_key(base)},
        "data": {"fingerprint": "f", "normalise": "", "scored": "", "opened": []},
    }
    assert now["method"]["objective"] == "ce"
    before = {
        "method": {name: value for name, value in now["method"].items() if name != "objective"},
        "data": {"fingerprint": "f"},
    }
    assert differing(now, before, unsaid(base)) == []
    dice = now | {"method": now["method"] | {"objective": "dice"}}
    assert differing(dice, before, unsaid(base)) == ["method"]
    normalised = now | {"data": now["data"] | {"normalise": "zscore"}}
    assert differing(normalised, before, unsaid(base)) == ["data"]
    open_ledger(tmp_path, 1, identity=before).close()
    open_ledger(tmp_path, 1, identity=now, meant=unsaid(base)).close()
    with pytest.raises(SettingError, match="holds a search with another method; allowed"):
        open_ledger(tmp_path, 1, identity=dice, meant=unsaid(base))
