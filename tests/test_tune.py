"""Ray as it may be found: without room to start, or a cluster that is busy."""

import errno
import os
import signal
from typing import cast

import pytest

from semiseg.config import SettingError
from semiseg.sweep import awaited
from semiseg.sweep.feed import Careful, Feed
from semiseg.sweep.resources import Ray
from semiseg.sweep.tune import Starting, connected


@pytest.mark.parametrize("kind", [Exception, OSError, RuntimeError, ValueError, ConnectionError, TimeoutError])
def test_whatever_keeps_ray_from_starting_is_one_line(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a full folder for temporary files Ray says by Exception itself that its node timed out."""

    def fails(**_: object) -> None:
        raise kind("The current node timed out\nduring startup.")

    monkeypatch.setattr("ray.init", fails)
    with pytest.raises(SettingError, match=r"^ray: Ray cannot start \(The current node timed out during startup\.\); allowed: "):
        connected(None, {}, 1)
    with pytest.raises(SettingError, match=r"^ray\.address: Ray cannot join local \("):
        connected("local", {}, 1)


def test_a_busy_cluster_is_named_and_given_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(awaited, "SAY_AFTER", 0.0)
    starting = Starting(Ray(address="auto", cpus_per_trial=2, gpus_per_trial=0.5), limit=9)
    starting.on_step_begin(0, [])  # no trial yet: nothing is awaited
    assert capsys.readouterr().err == ""
    for _ in range(2):
        starting.on_step_begin(0, [object()])
    assert capsys.readouterr().err == "waiting for 2 CPUs and 0.5 GPU free on the cluster, for at most 9 s\n"
    assert (sent, starting.gave_up) == ([], "")
    starting.began -= 10
    for _ in range(2):
        starting.on_step_begin(0, [object()])
    assert sent == [(os.getpid(), signal.SIGUSR1)]
    assert starting.gave_up == (
        "ray: 2 CPUs and 0.5 GPU did not become free on the cluster within 9 s; allowed: a larger --wait-seconds"
    )


def test_a_cluster_on_which_a_stage_has_started_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(awaited, "SAY_AFTER", 0.0)
    joined, own = Starting(Ray(address="auto"), limit=0), Starting(Ray(), limit=0)
    joined.on_trial_start(0, [object()], object())
    for starting in (joined, own):
        starting.on_step_begin(0, [object()])
        assert starting.gave_up == ""
    assert capsys.readouterr().err == ""


def test_a_feed_whose_disk_is_full_halts_the_run_and_is_asked_no_more() -> None:
    asked: list[str] = []

    class Full:
        monitor = None
        exhausted = False

        def take(self) -> None:
            asked.append("take")

        def progress(self, key: str, figures: object) -> bool:
            asked.append("progress")
            raise OSError(errno.ENOSPC, "No space left on device", "search.journal")

    halted: list[int] = []
    feed = Careful(cast("Feed", Full()), lambda: halted.append(1))
    assert not feed.exhausted
    for _ in range(2):
        feed.take()
        assert feed.progress("a", {}) is False
        feed.finish("a")
    assert (asked, halted, feed.exhausted) == (["take", "progress"], [1], True)
    assert isinstance(feed.error, OSError)
