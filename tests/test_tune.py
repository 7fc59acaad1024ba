"""Ray as it may be found: without room to start, or a cluster that is busy."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from semiseg.config import SettingError
from semiseg.sweep import awaited
from semiseg.sweep.cluster import connected
from semiseg.sweep.feed import Careful, Feed
from semiseg.sweep.resources import Ray
from semiseg.sweep.tune import Starting


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


WARMED = """
import os, time
from pathlib import Path
from semiseg.sweep import cluster
from semiseg.sweep.resources import Ray
close = cluster.begin(Ray(trials=1), 60)
from ray import tune
from semiseg.sweep.tune import warm_taken

def mine(pid):
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()

def idle():
    for folder in Path("/proc").iterdir():
        try:
            if not folder.name.isdigit() or not (folder / "cmdline").read_bytes().startswith(b"ray::IDLE"):
                continue
            if mine(int(folder.name)) and "libtorch_cpu" in (folder / "maps").read_text():
                yield int(folder.name)
        except OSError:
            continue

end = time.monotonic() + 60
while not (found := set(idle())) and time.monotonic() < end:
    time.sleep(0.2)

class Told(tune.Trainable):
    def step(self):
        return {"pid": os.getpid(), "chdir": os.environ["RAY_CHDIR_TO_TRIAL_DIR"], "done": True}

with warm_taken():
    (result,) = tune.Tuner(Told, run_config=tune.RunConfig(storage_path=FOLDER, verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False))).fit()
close()
print(len(found), result.metrics["pid"] in found, result.metrics["chdir"], cluster.inherited)
"""


def test_a_trial_takes_the_process_that_has_imported_torch_already(tmp_path: Path) -> None:
    """As many are begun as stages may run at a time, before Tune asks for any."""
    code = WARMED.replace("FOLDER", repr(str(tmp_path)))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=180)
    assert ran.stdout.splitlines()[-1:] == ["1 True 0 {}"], ran.stdout + ran.stderr
