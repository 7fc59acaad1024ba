"""Searches that are killed: the journal is what it would have been, every trial is there once and none is left running."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import SCRIPT, below, checkpoints, finish, started, wait_for, workers
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from semiseg.search.ledger import JOURNAL, STUDY

SEARCH = SCRIPT.parent / "search_mean_teacher.py"
TRIALS = 12
SPACE = ["--space.weight", "0.1", "10", "--space.ema.decay", "0.5", "0.99", "--space.log", "weight"]
LONG = [
    *SPACE,
    *("--trials", str(TRIALS), "--train.steps", "48", "--train.evaluations", "8", "--net.width", "4", "--data.labelled", "8"),
    *("--seeds", "0", "--search-seeds", "0", "1", "--checkpoint-seconds", "0.3"),
]


def trials(place: Path) -> list[FrozenTrial]:
    """What the journal says, read without our code."""
    path = place / "out" / JOURNAL
    if not path.exists():
        return []
    try:
        return optuna.load_study(study_name=STUDY, storage=JournalStorage(JournalFileBackend(str(path)))).trials
    except KeyError:  # not made yet
        return []


def ended(place: Path) -> int:
    return sum(trial.state.is_finished() for trial in trials(place))


def told(place: Path) -> list[tuple[dict[str, Any], TrialState, list[float] | None, dict[int, float]]]:
    return [(trial.params, trial.state, trial.values, trial.intermediate_values) for trial in trials(place)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A search with one slot that nothing happens to."""
    place = tmp_path_factory.mktemp("undisturbed")
    ran = finish(place, cache, *LONG, "--ray.trials", "1", script=SEARCH, timeout=400)
    assert ran.returncode == 0, ran.stderr
    return place


@pytest.mark.slow
def test_a_driver_killed_five_times_leaves_the_search_it_would_have_been(undisturbed: Path, cache: Path, tmp_path: Path) -> None:
    draw = random.Random(11)
    words = [*LONG, "--ray.trials", "1"]
    for number in range(5):
        with started(tmp_path, cache, *words, script=SEARCH) as driver:
            wait_for(lambda number=number: ended(tmp_path) >= 2 * number, driver, "next trial")
            time.sleep(draw.uniform(0, 4))
            assert driver.poll() is None, "the search ended before it could be killed"
            driver.kill()
            driver.wait(30)
        time.sleep(3)  # Ray's processes end by themselves
    last = finish(tmp_path, cache, *words, script=SEARCH, timeout=400)
    assert last.returncode == 0, last.stderr
    assert told(tmp_path) == told(undisturbed)
    assert len(trials(tmp_path)) == TRIALS
    assert {trial.state for trial in trials(tmp_path)} == {TrialState.COMPLETE, TrialState.PRUNED}
    best, expected = (json.loads((place / "out" / "best.json").read_text()) for place in (tmp_path, undisturbed))
    assert best == expected


@pytest.mark.slow
def test_a_killed_trial_process_costs_no_trial(cache: Path, tmp_path: Path) -> None:
    with started(tmp_path, cache, *LONG, script=SEARCH) as driver:
        wait_for(lambda: ended(tmp_path) >= 2 and checkpoints(tmp_path) and workers(driver), driver, "checkpoint of a later trial")
        os.kill(workers(driver)[0], signal.SIGKILL)
        assert driver.wait(400) == 0, (tmp_path / "stderr").read_text()
    assert len(trials(tmp_path)) == TRIALS
    assert {trial.state for trial in trials(tmp_path)} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({tuple(trial.params.values()) for trial in trials(tmp_path)}) == TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_search_goes_on_and_more_trials_extend_it(cache: Path, tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, cache, *LONG, group=True, script=SEARCH) as driver:
        wait_for(lambda: ended(tmp_path) >= 3, driver, "third trial")
        os.killpg(driver.pid, number)
        assert driver.wait(60) == 128 + number
    assert f"stopped by {number.name}; the same command goes on from here" in (tmp_path / "stderr").read_text()
    before = told(tmp_path)
    assert finish(tmp_path, cache, *LONG, script=SEARCH, timeout=400).returncode == 0
    done = told(tmp_path)
    assert len(done) == TRIALS
    assert [line for line in before if line[1].is_finished()] == [done[i] for i, line in enumerate(before) if line[1].is_finished()]
    more = finish(tmp_path, cache, *LONG, "--trials", str(TRIALS + 2), script=SEARCH, timeout=400)
    assert more.returncode == 0, more.stderr
    assert told(tmp_path)[:TRIALS] == done
    assert len(trials(tmp_path)) == TRIALS + 2
    assert not [title for title in below(driver).values() if title]


@pytest.mark.slow
def test_the_best_configuration_reproduces_its_score_in_another_sweep(undisturbed: Path, cache: Path, tmp_path: Path) -> None:
    """`--config best.json` in a table of the method: the same stages, so the same scores, even from an empty store."""
    saved = json.loads((undisturbed / "out" / "best.json").read_text())
    words = ["--config", str(undisturbed / "out" / "best.json"), "--seeds", "0", "--rows", "mine=mean_teacher"]
    ran = finish(tmp_path, cache, *words, script=SCRIPT.parent / "compare_label_fractions.py", timeout=400)
    assert ran.returncode == 0, ran.stderr
    found = {path.parent.name for path in (tmp_path / "store").glob("*/stage.json")}
    expected = {path.parent.name for path in (undisturbed / "store").glob("*/stage.json")}
    assert found & expected, "the configuration's stage has another key"
    line, _ = [line for line in ran.stdout.splitlines() if line.startswith("mine ")]  # the scores, then all metrics
    assert f"{100 * saved['score']['test']['mean']:.2f}" in line
