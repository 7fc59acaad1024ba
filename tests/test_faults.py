"""Stages that fail, processes that are killed and studies that are stopped: what is lost, what is said, and that the rest is
exact."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import SCRIPT, TINY, below, checkpoints, finish, results_bytes, started, wait_for, workers

# Two chains, s1-s2-s3 and s2-T2-s3-T2, of stages that take some seconds each and save a checkpoint every half second
LONG = [
    "--anchors",
    "none",
    "--train.steps",
    "150",
    "--train.evaluations",
    "2",
    "--net.width",
    "4",
    "--data.labelled",
    "8",
    "--seeds",
    "0",
    "--checkpoint-seconds",
    "0.5",
    "--rows",
    "S1",
]
LONG.append("full without T2")
STAGES = 5

# A table as a user would write it, whose rule goes wrong in the last steps of a stage without strong augmentation
SICK = """
import math, sys
from dataclasses import dataclass, fields, replace
from ablate_three_stage import TABLE
from semiseg.methods import ThreeStage
from semiseg.methods.self_training import SelfTraining
from semiseg.sweep.command import main

@dataclass(frozen=True, kw_only=True)
class SickRule(SelfTraining):
    def loss(self, state, batch, now, generator):
        terms = dict(super().loss(state, batch, now, generator))
        if self.perturbation is None and now.progress > 0.9:
            terms["consistency"] = terms["consistency"] * math.nan
        return terms

@dataclass(frozen=True, kw_only=True)
class Sick(ThreeStage):
    def rule(self, **which):
        rule = super().rule(**which)
        return SickRule(**{field.name: getattr(rule, field.name) for field in fields(rule)})

if __name__ == "__main__":
    demo = TABLE.presets["demo"]
    method = Sick(ema=demo.method.ema, ramp=demo.method.ramp)
    sys.exit(main(replace(TABLE, presets={"demo": replace(demo, method=method)})))
"""


def states(place: Path) -> dict[str, str]:
    return {line["name"]: line["state"] for line in pq.read_table(place / "out" / "stages.parquet").to_pylist()}


def test_a_stage_that_turns_nan_costs_only_its_descendants(cache: Path, tmp_path: Path) -> None:
    script = tmp_path / "ablate_sick.py"
    script.write_text(SICK)
    path = os.pathsep.join([str(SCRIPT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = [*TINY, "--train.steps", "20", "--seeds", "0", "--rows", "S1", "full without SA"]
    ran = finish(tmp_path, cache, *words, script=script, PYTHONPATH=path)
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    assert states(tmp_path) == {"s1": "done", "s2": "done", "s3": "done", "s2-SA": "failed", "s3-SA": "skipped"}
    causes = [line for line in ran.stderr.splitlines() if "failed" in line]
    assert len(causes) == 1
    for said in ("s2-SA", "seed 0", "consistency", "nan", "step 19"):
        assert said in causes[0]
    assert "FAILED full without SA/seed 0/s2-SA" in ran.stdout
    table = {line[:16].strip(): line for line in ran.stdout.splitlines() if line.startswith(("S1 ", "full"))}
    assert "n = 1" in table["S1"]
    assert "n = 1" in table["full"]
    assert " - " in table["full without SA"]
    assert "n = 1" not in table["full without SA"]
    lines = {line["name"]: line for line in pq.read_table(tmp_path / "out" / "stages.parquet").to_pylist()}
    assert "step 19" in lines["s2-SA"]["error"]
    assert "teacher" in lines["s3-SA"]["error"]


@pytest.mark.slow
def test_a_failed_stage_is_tried_again_by_the_next_command(cache: Path, tmp_path: Path) -> None:
    """The weights of stage 1 are damaged on disk: stages that learn its masks fail after three tries, the others finish."""
    words = [*TINY, "--seeds", "0"]
    assert finish(tmp_path, cache, *words, "--rows", "S1").returncode == 0
    first = {line["name"]: line["key"] for line in pq.read_table(tmp_path / "out" / "stages.parquet").to_pylist()}
    weights = tmp_path / "store" / first["s1"] / "weights.safetensors"
    for masks in weights.parent.glob("masks-*"):
        masks.unlink()
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    broken = finish(tmp_path, cache, *words, "--rows", "full without T2", "full without SA")
    assert broken.returncode == 1
    assert "Traceback" not in broken.stderr + broken.stdout
    found = states(tmp_path)
    assert (found["s2-SA"], found["s3-SA"]) == ("failed", "skipped")
    assert (found["s2-T2"], found["s3-T2"]) == ("done", "done")
    (cause,) = [line for line in broken.stderr.splitlines() if "failed" in line]
    assert "full without SA/seed 0/s2-SA" in cause
    assert "tried 3 times" in cause
    assert "Safetensor" in cause
    weights.write_bytes(whole)
    mended = finish(tmp_path, cache, *words, "--rows", "full without T2", "full without SA")
    assert mended.returncode == 0, mended.stderr
    assert "2 to train" in mended.stdout
    assert set(states(tmp_path).values()) == {"done"}


def steps_of(files: list[Path]) -> dict[str, int]:
    """Step of each checkpoint by key."""
    return {file.stem: torch.load(file, weights_only=True)["progress"]["step"] for file in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, bytes]:
    """Rows and weights of a study that nothing happens to."""
    place = tmp_path_factory.mktemp("undisturbed")
    ran = finish(place, cache, *LONG)
    assert ran.returncode == 0, ran.stderr
    assert len(results_bytes(place)) == STAGES + 1
    return results_bytes(place)


def resumed(place: Path, since: float) -> list[str]:
    """Keys of finished stages that began before `since` and ended after it: they went on from a checkpoint."""
    found = [json.loads(file.read_text()) for file in (place / "store").glob("*/stage.json")]
    return [info["key"] for info in found if info["started"] < since < info["ended"]]


@pytest.mark.slow
def test_killing_a_trial_process_changes_nothing(undisturbed: dict[str, bytes], cache: Path, tmp_path: Path) -> None:
    with started(tmp_path, cache, *LONG) as driver:
        wait_for(lambda: checkpoints(tmp_path) and workers(driver), driver, "first checkpoint")
        saved = steps_of(checkpoints(tmp_path))
        assert all(0 < step < 150 for step in saved.values())
        victims = workers(driver)
        killed_at = time.time()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        assert driver.wait(240) == 0, (tmp_path / "stderr").read_text()
    assert set(saved) & set(resumed(tmp_path, killed_at)), "no stage went on from its checkpoint"
    assert results_bytes(tmp_path) == undisturbed
    assert "FAILED" not in (tmp_path / "stdout").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


@pytest.mark.slow
def test_killing_the_driver_three_times_changes_nothing(undisturbed: dict[str, bytes], cache: Path, tmp_path: Path) -> None:
    draw = random.Random(4)
    continued: set[str] = set()
    for _ in range(3):
        began, before = time.time(), steps_of(checkpoints(tmp_path))
        with started(tmp_path, cache, *LONG) as driver:
            wait_for(lambda began=began: [c for c in checkpoints(tmp_path) if c.stat().st_mtime > began], driver, "new checkpoint")
            time.sleep(draw.uniform(0, 3))
            assert driver.poll() is None, "the study ended before it could be killed"
            driver.kill()
            driver.wait(30)
        time.sleep(3)  # Ray's processes end by themselves
        for key, step in steps_of(checkpoints(tmp_path)).items():
            if key in before:
                assert step >= before[key], "a resumed stage went back"
                continued.add(key)
    half_done = steps_of(checkpoints(tmp_path))
    rerun_at = time.time()
    last = finish(tmp_path, cache, *LONG)
    assert last.returncode == 0, last.stderr
    assert results_bytes(tmp_path) == undisturbed
    assert set(resumed(tmp_path, rerun_at)) == set(half_done)
    assert continued | set(half_done)
    assert not checkpoints(tmp_path)


def stop(place: Path, cache: Path, number: signal.Signals, *, group: bool) -> None:
    """Start the long study, stop it in the middle of a stage, and check how it ends."""
    with started(place, cache, *LONG, group=True) as driver:
        wait_for(lambda: checkpoints(place), driver, "first checkpoint")
        stopped_at = time.time()
        if group:
            os.killpg(driver.pid, number)  # what a terminal does at Ctrl-C
        else:
            driver.send_signal(number)
        status = driver.wait(60)
        seconds = time.time() - stopped_at
    out, err = (place / "stdout").read_text(), (place / "stderr").read_text()
    assert status == 128 + number, err
    assert seconds < 20, seconds
    assert "Traceback" not in out + err
    assert "FAILED" not in out
    assert f"stopped by {number.name}; the same command goes on from here: python " in err
    assert "report: " in out.splitlines()[-1]
    assert all(file.stat().st_mtime >= stopped_at for file in checkpoints(place)), "a checkpoint is older than the signal"
    assert checkpoints(place)
    assert set(states(place).values()) <= {"done", "waiting"}


def leave_early(place: Path, cache: Path, number: signal.Signals, when: Callable[[subprocess.Popen[str]], object]) -> None:
    """Stop the study before it trains, and check that this is as orderly as later."""
    with started(place, cache, *LONG, group=True) as driver:
        wait_for(lambda: when(driver), driver, "moment to stop it")
        os.killpg(driver.pid, number)
        status = driver.wait(60)
    said = (place / "stdout").read_text() + (place / "stderr").read_text()
    assert "Traceback" not in said
    assert status == 128 + number
    assert f"stopped by {number.name}; the same command goes on from here: python " in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_study_stopped_while_its_cost_is_measured_ends_in_good_order(cache: Path, tmp_path: Path, number: signal.Signals) -> None:
    leave_early(tmp_path, cache, number, lambda _: "5 to train" in (tmp_path / "stdout").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 1, 2, 4])
def test_a_study_stopped_while_ray_starts_ends_well(cache: Path, tmp_path: Path, delay: float) -> None:
    def ray_starts(driver: subprocess.Popen[str]) -> bool:
        return any("gcs_server" in title for title in below(driver).values())

    leave_early(tmp_path, cache, signal.SIGINT, lambda driver: ray_starts(driver) and (time.sleep(delay), True))


def test_sigterm_saves_the_running_stages(cache: Path, tmp_path: Path) -> None:
    stop(tmp_path, cache, signal.SIGTERM, group=False)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_goes_on(undisturbed: dict[str, bytes], cache: Path, tmp_path: Path, number: signal.Signals) -> None:
    stop(tmp_path, cache, number, group=True)
    half_done, rerun_at = steps_of(checkpoints(tmp_path)), time.time()
    again = finish(tmp_path, cache, *LONG)
    assert again.returncode == 0, again.stderr
    assert set(resumed(tmp_path, rerun_at)) == set(half_done)
    assert results_bytes(tmp_path) == undisturbed
