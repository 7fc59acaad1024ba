"""The journal of a search: what is asked, told, continued and refused."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from search_drive import open_ledger

from semiseg.config import SettingError
from semiseg.search.folder import read_search
from semiseg.search.ledger import JOURNAL, STARTUP, Ledger, make_sampler, rungs


def ask_and_tell(ledger: Ledger, most: int = 1000) -> list[dict[str, float]]:
    """Params of the trials that a quadratic with its best at (0.3, 0.01) is asked for."""
    asked = []
    while len(asked) < most and (trial := ledger.ask()) is not None:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 1e-4, 1, log=True)
        ledger.tell(trial, [-((x - 0.3) ** 2) - (y - 0.01) ** 2], TrialState.COMPLETE, {})
        asked.append(trial.params)
    return asked


def test_a_study_continues_with_the_proposals_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    with open_ledger(whole, 2 * STARTUP) as ledger:
        expected = ask_and_tell(ledger)
    found = []
    for most in (3, 1, STARTUP, 100):
        with open_ledger(parts, 2 * STARTUP) as ledger:
            found += ask_and_tell(ledger, most)
    assert found == expected
    assert len({tuple(point.values()) for point in found}) == 2 * STARTUP


def test_another_seed_proposes_other_points(tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        with open_ledger(tmp_path / str(seed), 3, seed=seed) as ledger:
            found.append(ask_and_tell(ledger))
    assert found[0] != found[1]


def test_more_trials_extend_a_study_and_fewer_leave_it(tmp_path: Path) -> None:
    for trials, begun in ((4, 4), (6, 6), (5, 6)):
        with open_ledger(tmp_path, trials) as ledger:
            ask_and_tell(ledger)
            assert ledger.asked == begun


def test_points_come_first_and_once(tmp_path: Path) -> None:
    points = [{"x": 0.5, "y": 0.5}, {"x": 0.25, "y": 0.125}]
    for _ in range(2):
        with open_ledger(tmp_path, 4) as ledger:
            ledger.enqueue(points)
            ask_and_tell(ledger, 2)
    with open_ledger(tmp_path, 4) as ledger:
        found = [trial.params for trial in ledger.all()]
    assert found[:2] == points
    assert len(found) == 4
    assert not any(point in found[2:] for point in points)


def test_a_grid_ends_with_its_points(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 10, sampler="grid") as ledger:
        ledger.enqueue([{"x": 0.1, "y": 0.1}, {"x": 0.2, "y": 0.1}])
        assert len(ask_and_tell(ledger)) == 2


def test_what_was_running_is_opened_again_with_its_params(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 3) as ledger:
        trial = ledger.ask()
        assert trial is not None
        x = trial.suggest_float("x", 0, 1)
        ledger.report(trial, 1, 0.25)
    with open_ledger(tmp_path, 3) as ledger:
        (again,) = ledger.left_running()
        assert again.number == trial.number
        assert again.suggest_float("x", 0, 1) == x
        ledger.report(again, 1, 0.75)
        assert ledger.frozen(again).intermediate_values == {1: 0.25}
        ledger.tell(again, [0.5], TrialState.COMPLETE, {"used": 2.0})
        assert ledger.all(TrialState.RUNNING) == []
        assert ledger.all()[0].user_attrs["used"] == 2.0


def test_a_line_that_a_killed_driver_did_not_finish_is_dropped(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 2) as ledger:
        ask_and_tell(ledger)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    with open_ledger(tmp_path, 4) as ledger:
        ask_and_tell(ledger)
    with open_ledger(tmp_path, 4) as ledger:
        assert [trial.state for trial in ledger.all()] == [TrialState.COMPLETE] * 4


DAMAGED = {
    "blank": b"\n",
    "garbage": b"\xff\x00\x80 not json\n",
    "cut": b'{"op_code":4,"worker\n',
    "a list": b"[]\n",
    "no record of Optuna's": b"{}\n",
    "deep": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_in_the_middle_is_left_out_named_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    with open_ledger(tmp_path, 3) as ledger:
        ask_and_tell(ledger)
        expected = ledger.all()
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:7], line, *lines[7:]])
    journal.write_bytes(damaged)
    with pytest.raises(ValueError, match="expected the journal of a search"):
        read_search(tmp_path)  # reads and mends nothing
    with open_ledger(tmp_path, 4) as ledger:
        assert ledger.all() == expected
        ask_and_tell(ledger)
    (kept,) = tmp_path.glob(f"{JOURNAL}.damaged-*")
    assert kept.read_bytes() == damaged
    assert capsys.readouterr().err == f"out: {journal} had 1 damaged line, left out now; as it was: {kept}\n"
    assert len(read_search(tmp_path).trials) == 4


@pytest.mark.parametrize("number", range(14))
def test_a_journal_that_lost_any_of_its_lines_goes_on(tmp_path: Path, number: int) -> None:
    with open_ledger(tmp_path, 3) as ledger:
        ask_and_tell(ledger)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 14
    journal.write_bytes(b"".join([*lines[:number], b"\xff\n", *lines[number + 1 :]]))
    with open_ledger(tmp_path, 4) as ledger:
        for trial in ledger.left_running():  # whose end was lost, or whose begin
            trial.suggest_float("x", 0, 1)
            ledger.tell(trial, [0.0], TrialState.COMPLETE, {})
        ask_and_tell(ledger)
        assert all(trial.state == TrialState.COMPLETE for trial in ledger.all())


def test_a_disk_without_locks_is_not_taken_for_another_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("semiseg.search.ledger.fcntl.flock", no_locks)
    with pytest.raises(
        SettingError,
        match=r"^out: .*search\.journal cannot be locked \(No locks available\); allowed: a folder on a disk that has locks$",
    ):
        open_ledger(tmp_path, 1)


def test_two_drivers_and_two_kinds_of_search_are_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 2, identity={"net": 8, "steps": 4}):
        code = f"""
import pathlib, search_drive
search_drive.open_ledger(pathlib.Path({str(tmp_path)!r}), 2)
"""
        ran = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        assert "is being written by another search" in ran.stderr
    with pytest.raises(SettingError, match=r"holds a search with another steps; allowed: the same settings, or another --out"):
        open_ledger(tmp_path, 2, identity={"net": 8, "steps": 5})


@pytest.mark.parametrize(
    ("total", "eta", "expected"), [(8, 3, (2, 6)), (16, 3, (2, 6)), (40, 3, (5, 15)), (16, 2, (4, 8)), (2, 3, ()), (1, 3, ())]
)
def test_rungs(total: int, eta: int, expected: tuple[int, ...]) -> None:
    assert rungs(total, eta) == expected


def test_halving_stops_whom_a_slow_reading_of_the_rule_stops(tmp_path: Path) -> None:
    """At a rung a trial goes on if its score is among the best third of those that came there, or the best of the first two.

    A verdict is kept: asked again by a later driver, when others have come, it is the same.
    """
    scores = [0.5, 0.4, 0.6, 0.55, 0.45, 0.7, 0.58, 0.65, 0.9, 0.1]
    stopped, seen = [], []
    with open_ledger(tmp_path, len(scores), total=8) as ledger:
        for score in scores:
            trial = ledger.ask()
            assert trial is not None
            assert not ledger.report(trial, 1, score)
            seen.append(score)
            keep = max(len(seen) // 3, 1)
            stopped.append(ledger.report(trial, 2, score))
            assert stopped[-1] == (score < sorted(seen)[-keep])
    assert 0 < sum(stopped) < len(scores)
    with open_ledger(tmp_path, len(scores), total=8) as ledger:
        assert [ledger.report(trial, 2, 0.0) for trial in ledger.left_running()] == stopped


def test_nothing_is_stopped_without_a_total_or_with_two_objectives(tmp_path: Path) -> None:
    for name, settings in (("none", {}), ("two", {"objectives": ("score", "seconds"), "total": 8})):
        (tmp_path / name).mkdir()
        with open_ledger(tmp_path / name, 5, **settings) as ledger:
            for score in (0.9, 0.5, 0.1):
                trial = ledger.ask()
                assert trial is not None
                assert not ledger.report(trial, 2, score)


def test_samplers_are_those_named() -> None:
    kinds = {"tpe": TPESampler, "random": RandomSampler, "grid": RandomSampler, "nsga2": NSGAIISampler}
    for name, kind in kinds.items():
        assert type(make_sampler(name, 0, 0, False).joint) is kind  # type: ignore[arg-type]


def test_a_parameter_is_drawn_alike_whatever_was_drawn_before_it(tmp_path: Path) -> None:
    """A driver that died between two parameters goes on with the second as if nothing had happened."""
    values = []
    for most in (2, 1):
        folder = tmp_path / str(most)
        folder.mkdir()
        with open_ledger(folder, 1) as ledger:
            trial = ledger.ask()
            assert trial is not None
            values.append([trial.suggest_float(name, 0, 1) for name in "xy"[:most]])
    with open_ledger(tmp_path / "1", 1) as ledger:
        (again,) = ledger.left_running()
        assert [again.suggest_float(name, 0, 1) for name in "xy"] == values[0]
    assert values[0][0] != values[0][1]


def test_a_refused_search_leaves_the_journal_to_others(tmp_path: Path) -> None:
    open_ledger(tmp_path, 1, identity={"a": 1}).close()
    with pytest.raises(SettingError, match="another a"):
        open_ledger(tmp_path, 1, identity={"a": 2})
    (tmp_path / f"{JOURNAL}.lock").symlink_to(tmp_path / JOURNAL)  # of a driver killed while it wrote
    open_ledger(tmp_path, 1, identity={"a": 1}).close()


def test_costs_are_kept_by_stage_and_never_shrink(tmp_path: Path) -> None:
    with open_ledger(tmp_path, 1) as ledger:
        for key, seconds in (("a", 0.0), ("b", 2.0), ("a", 3.0), ("b", 1.0)):
            ledger.pay(key, seconds)
    with open_ledger(tmp_path, 1) as ledger:
        assert ledger.paid() == {"a": 3.0, "b": 2.0}
