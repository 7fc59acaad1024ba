"""What a search trains next: simulated stages through the real feed, ledger and store."""

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, TrialState
from search_drive import BASE, RESOURCE, SPACE, chain_of, drive, hill, make_feed, open_ledger, publish, states

from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, Method, ThreeStage
from semiseg.search.closing import spent
from semiseg.search.feed import TrialFeed
from semiseg.search.space import Space
from semiseg.stage import Stage

POINT = {"weight": 0.3, "ema_decay": 0.6}


def search(
    folder: Path, trials: int, *, most: int | None = None, score: Any = hill, feed: dict[str, Any] | None = None, **ledger: Any
) -> TrialFeed:
    folder.mkdir(exist_ok=True)
    with open_ledger(folder, trials, **ledger) as opened:
        opened.enqueue([POINT])
        made = make_feed(folder, opened, **(feed or {}))
        drive(made, score, most=most)
        return made


def proposals(folder: Path) -> list[dict[str, Any]]:
    with open_ledger(folder, 0) as ledger:
        return [trial.params for trial in ledger.all()]


def test_every_trial_is_told_its_score(tmp_path: Path) -> None:
    feed = search(tmp_path, 6)
    assert states(feed.ledger) == [TrialState.COMPLETE] * 6
    for trial in feed.ledger.all():
        (stage,) = chain_of(SPACE.suggest(optuna.trial.FixedTrial(trial.params), BASE), 0)
        assert trial.value == hill(stage, RESOURCE)
        assert trial.intermediate_values == {number: hill(stage, number) for number in range(1, RESOURCE + 1)}
        assert trial.user_attrs["used"] == trial.user_attrs["alone"] == RESOURCE
    assert [trial.user_attrs["default"] for trial in feed.ledger.all()] == [True] + [False] * 5


@pytest.mark.parametrize("slots", [1, 3])
def test_halving_spends_less_and_never_stops_the_default(tmp_path: Path, slots: int) -> None:
    whole = search(tmp_path / "whole", 24, feed={"slots": slots})
    halved = search(tmp_path / "halved", 24, feed={"slots": slots}, total=RESOURCE)
    assert states(whole.ledger) == [TrialState.COMPLETE] * 24
    assert set(states(halved.ledger)) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert states(halved.ledger)[0] == TrialState.COMPLETE
    cost = [spent(feed.ledger) for feed in (whole, halved)]
    assert cost[0] == {"spent": 24 * RESOURCE, "alone": 24 * RESOURCE, "saved_by_sharing": 0, "saved_by_pruning": 0}
    assert cost[1]["spent"] < 0.8 * cost[0]["spent"]
    assert cost[1]["saved_by_pruning"] == cost[1]["alone"] - cost[1]["spent"] == cost[0]["spent"] - cost[1]["spent"]
    for trial in halved.ledger.all(TrialState.PRUNED):
        assert trial.last_step in (2, 6)
        assert trial.user_attrs["used"] == trial.last_step


@pytest.mark.parametrize("seed", range(3))
def test_a_driver_killed_at_any_moment_leaves_the_search_it_would_have_been(tmp_path: Path, seed: int) -> None:
    """With one slot: the same proposals and states, though five drivers died between two reports; no trial twice, none left
    running."""
    whole = search(tmp_path / "whole", 12, total=RESOURCE, seed=seed)
    rng = random.Random(seed)
    for _ in range(5):
        search(tmp_path / "killed", 12, most=rng.randint(1, 12), total=RESOURCE, seed=seed)
    killed = search(tmp_path / "killed", 12, total=RESOURCE, seed=seed)
    assert proposals(tmp_path / "killed") == proposals(tmp_path / "whole")
    assert states(killed.ledger) == states(whole.ledger)
    assert len(killed.ledger.all()) == 12
    assert TrialState.RUNNING not in states(killed.ledger)


def test_a_configuration_in_the_store_is_answered_without_training(tmp_path: Path) -> None:
    first = search(tmp_path, 8)
    (tmp_path / "search.journal").unlink()
    with open_ledger(tmp_path, 8) as ledger:
        ledger.enqueue([POINT])
        assert drive(make_feed(tmp_path, ledger), hill) == []
        assert [trial.value for trial in ledger.all()] == [trial.value for trial in first.ledger.all()]
        assert {trial.user_attrs["used"] for trial in ledger.all()} == {float(RESOURCE)}
        assert spent(ledger) == {"spent": 0.0, "alone": 8 * RESOURCE, "saved_by_sharing": 8 * RESOURCE, "saved_by_pruning": 0.0}


def lambda_and_own(trial: BaseTrial, base: Method) -> Method:
    value = trial.suggest_float("lambda1", 0.1, 2.0)
    return ThreeStage(lambda1=value, lambda2=value)


CHAIN = Space("three_stage", lambda_and_own, lambda method: {"lambda1": method.lambda1})  # type: ignore[attr-defined]


def by_lambda(stage: Stage, evaluation: int) -> float:
    weight = getattr(stage.rule, "lambda1", None)
    return 0.5 if weight is None else 0.5 + 0.1 * stage.number - 0.1 * abs(weight - 0.7) + 0.001 * evaluation


def test_stages_that_trials_share_are_trained_once_and_give_no_scores(tmp_path: Path) -> None:
    settings = {"space": CHAIN, "base": ThreeStage(), "shared": 1, "slots": 2}
    with open_ledger(tmp_path, 5) as ledger:
        feed = make_feed(tmp_path, ledger, **settings)
        done = drive(feed, by_lambda)
    assert len(done) == len(set(done)) == 1 + 2 * 5
    for trial in feed.ledger.all():
        assert sorted(trial.intermediate_values) == list(range(1, 2 * RESOURCE + 1))
        assert trial.intermediate_values[1] == pytest.approx(0.7 - 0.1 * abs(trial.params["lambda1"] - 0.7) + 0.001)
    assert spent(feed.ledger) == {
        "spent": 11 * RESOURCE, "alone": 15 * RESOURCE, "saved_by_sharing": 4 * RESOURCE, "saved_by_pruning": 0
    }  # fmt: skip
    assert {trial.user_attrs["alone"] for trial in feed.ledger.all()} == {3.0 * RESOURCE}


def test_a_failed_stage_fails_its_trial_alone(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 6) as ledger:
        feed = make_feed(tmp_path, ledger)
        drive(feed, hill, dies=lambda stage: stage.rule.weight > 2)
        failed = [trial.params["weight"] > 2 for trial in ledger.all()]
        assert [state == TrialState.FAIL for state in states(ledger)] == failed
        assert 0 < sum(failed) < 6


def test_a_failed_stage_that_all_share_stops_the_search_and_the_next_run_tries_it_again(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": CHAIN, "base": ThreeStage(), "shared": 1, "slots": 2}
    with open_ledger(tmp_path, 4) as ledger:
        feed = make_feed(tmp_path, ledger, **settings)
        assert drive(feed, by_lambda, dies=lambda stage: stage.number == 1) == []
        assert "died" in feed.broken
        assert set(states(ledger)) == {TrialState.RUNNING}
    with open_ledger(tmp_path, 4) as ledger:
        drive(make_feed(tmp_path, ledger, **settings), by_lambda)
        assert states(ledger) == [TrialState.COMPLETE] * 4


def test_a_failed_further_seed_leaves_the_score_of_the_others(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 3) as ledger:
        drive(make_feed(tmp_path, ledger, seeds=(0, 1, 2)), hill, dies=lambda stage: stage.seed == 1)
        assert states(ledger) == [TrialState.COMPLETE] * 3
        assert {tuple(trial.user_attrs["scores"]) for trial in ledger.all()} <= {("0",), ("0", "2")}
        assert tuple(ledger.all()[0].user_attrs["scores"]) == ("0", "2")


class Killed(BaseException):
    """A driver that dies while it writes."""


@pytest.mark.slow
def test_a_driver_killed_at_any_write_leaves_the_search_it_would_have_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to the journal, in the middle of asking, drawing, reporting, judging and telling, is once the last one."""
    write, left = JournalFileBackend.append_logs, [10**6]

    def append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        write(self, logs)

    def told(folder: Path) -> list[Any]:
        ledger = search(folder, 5, total=RESOURCE).ledger
        return [(one.params, one.state, one.values, one.intermediate_values, one.user_attrs) for one in ledger.all()] + [
            spent(ledger)
        ]

    monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    whole = told(tmp_path / "whole")
    writes = 10**6 - left[0]
    assert writes > 60
    for number in range(1, writes):
        left[0] = number
        with pytest.raises(Killed):
            told(tmp_path / str(number))
        left[0] = 10**6
        assert told(tmp_path / str(number)) == whole, f"killed at write {number}"


def test_further_seeds_are_for_those_that_lead(tmp_path: Path) -> None:
    """The told value is the mean over the seeds, which only trials in the best third by their first seed get."""

    def noisy(stage: Stage, evaluation: int) -> float:
        return hill(stage, evaluation) + 0.01 * stage.seed

    feed = search(tmp_path, 12, score=noisy, sampler="random", feed={"seeds": (0, 1, 2)})
    seen: list[float] = []
    for trial in feed.ledger.all():
        scores = trial.user_attrs["scores"]
        better = sum(other > scores["0"] for other in seen)
        assert len(scores) == (3 if trial.user_attrs["default"] or 3 * better <= len(seen) else 1)
        assert trial.value == pytest.approx(scores["0"] + (0.01 if len(scores) == 3 else 0.0))
        seen.append(scores["0"])
    assert {len(trial.user_attrs["scores"]) for trial in feed.ledger.all()} == {1, 3}


def test_two_objectives_are_score_and_seconds(tmp_path: Path) -> None:
    feed = search(tmp_path, 4, objectives=("score", "seconds"), feed={"objectives": ("score", "seconds")})
    for trial in feed.ledger.all():
        assert trial.values[1] == RESOURCE
        assert trial.values[0] == trial.user_attrs["scores"]["0"]


def test_further_seeds_are_for_the_front_of_several_objectives_too(tmp_path: Path) -> None:
    """A trial with a worse score than two thirds has further seeds where no finished one is better in all objectives; the value that is
    told is the mean all the same."""
    objectives = ("score", "seconds", "parameters")

    def size(made: Any) -> int:
        return round(1000 * made.method.ema.decay[0])

    def large_is_good(stage: Stage, evaluation: int) -> float:
        return 0.8 * stage.rule.ema.decay[0] - 0.03 * stage.rule.weight

    feed = search(
        tmp_path,
        12,
        score=large_is_good,
        sampler="random",
        objectives=objectives,
        feed={"seeds": (0, 1), "objectives": objectives, "parameters": size},
    )
    seen: list[list[float]] = []
    reasons = set()
    for trial in feed.ledger.all():
        mine = [trial.user_attrs["scores"]["0"], *trial.values[1:]]
        leads = 3 * sum(other[0] > mine[0] for other in seen) <= len(seen) or trial.user_attrs["default"]
        beaten = any(o[0] >= mine[0] and o[1] <= mine[1] and o[2] <= mine[2] and o != mine for o in seen)
        assert len(trial.user_attrs["scores"]) == (2 if leads or not beaten else 1)
        assert trial.values[1:] == [RESOURCE, round(1000 * trial.params["ema_decay"])]
        reasons.add((leads, beaten))
        seen.append(mine)
    assert {(False, False), (False, True)} <= reasons


def test_the_leaders_are_known_while_it_runs(tmp_path: Path) -> None:
    said = []
    with open_ledger(tmp_path, 4) as ledger:
        feed = make_feed(tmp_path, ledger, seeds=(0, 1), news=lambda: said.append([one.trial.number for one in feed.leaders]))
        drive(feed, hill)
        values = [one.values[0] for one in ledger.all()]
    assert [len(numbers) for numbers in said] == [1, 2, 3, 4]
    assert said[-1] == sorted(range(4), key=lambda number: -values[number])
    with open_ledger(tmp_path, 4) as ledger:
        assert [one.trial.number for one in make_feed(tmp_path, ledger).leaders] == said[-1]


def test_tpe_beats_random_search_on_a_hill(tmp_path: Path) -> None:
    """Five repetitions: in four or more TPE finds within 30 trials what random search does not (the hill's top is 0.8)."""

    def best(sampler: str, seed: int) -> float:
        (tmp_path / f"{sampler}{seed}").mkdir()
        with open_ledger(tmp_path / f"{sampler}{seed}", 30, sampler=sampler, seed=seed) as ledger:
            while (trial := ledger.ask()) is not None:
                (stage,) = chain_of(SPACE.suggest(trial, BASE), 0)
                ledger.tell(trial, [hill(stage, RESOURCE)], TrialState.COMPLETE, {})
            found = ledger.best()
        assert found is not None
        return found.values[0]

    pairs = [(best("tpe", seed), best("random", seed)) for seed in range(5)]
    assert sum(tpe > drawn for tpe, drawn in pairs) >= 4, pairs


def test_scores_of_no_class_are_failures(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 1) as ledger:
        feed = make_feed(tmp_path, ledger)
        stage = feed.take()
        assert stage is not None
        publish(feed.store, stage, lambda stage, number: float("nan"), 1.0)
        feed.finish(stage.key)
        assert states(ledger) == [TrialState.FAIL]


def test_labels_name_trial_seed_and_stage(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 2) as ledger:
        feed = make_feed(tmp_path, ledger, slots=2)
        labels = [feed.label(stage) for stage in (feed.take(), feed.take()) if stage is not None]
        assert labels == ["trial 0/seed 0/mean_teacher", "trial 1/seed 0/mean_teacher"]
        assert feed.take() is None
        assert isinstance(feed.active[0].made.method, MeanTeacher)


def test_values_that_do_not_go_together_fail_alone(tmp_path: Path) -> None:
    def hard_or_soft(trial: BaseTrial, base: Method) -> Method:
        target: Any = trial.suggest_categorical("target", ("hard", "soft"))
        return MeanTeacher(weight=trial.suggest_float("weight", 0.1, 10), target=target, distance="mse", ema=Ema())

    space = Space("mean_teacher", hard_or_soft, lambda method: {})
    with open_ledger(tmp_path, 8, sampler="random") as ledger:
        feed = make_feed(tmp_path, ledger, space=space)
        done = drive(feed, hill)
        hard = [trial.params["target"] == "hard" for trial in ledger.all()]
        assert [state == TrialState.FAIL for state in states(ledger)] == hard
        assert len(done) == 8 - sum(hard)
        assert 0 < sum(hard) < 8
