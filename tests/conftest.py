"""What the tests of the command line share: small settings, one packed cache, and the front door in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from ablate_three_stage import TABLE
from semiseg.sweep.command import main

Found = TypeVar("Found")
Run = Callable[..., tuple[int, str, str]]
SCRIPT = Path(__file__).parent.parent / "sweeps" / "ablate_three_stage.py"
TINY = ["--train.steps", "6", "--train.evaluations", "2", "--net.width", "2", "--data.labelled", "8", "--anchors", "none"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests keep the packed synthetic images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 6 images, 16 x 16, with masks of classes 0 and 1."""
    return small_folder(tmp_path / "data")


def small_folder(root: Path) -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(6):
        mask = np.zeros((16, 16), np.uint8)
        mask[i : i + 6, 2:9] = 1
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
        Image.fromarray(np.repeat(mask[..., None] * 100 + 20 * i, 3, axis=2).astype(np.uint8)).save(root / "images" / f"{i}.png")
    return root


def command(place: Path, cache: Path, *words: str, script: Path = SCRIPT) -> list[str]:
    """The command line of a tiny study whose results and store are in `place`; later words win."""
    return [
        sys.executable,
        str(script),
        "--out",
        str(place / "out"),
        "--store",
        str(place / "store"),
        "--cache",
        str(cache),
        *words,
    ]


def environment(**changes: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "132", "PYTHONUNBUFFERED": "1"} | changes


def finish(
    place: Path, cache: Path, *words: str, script: Path = SCRIPT, timeout: float = 240, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    place.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        command(place, cache, *words, script=script),
        check=False,
        cwd=place,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@contextmanager
def started(place: Path, cache: Path, *words: str, group: bool = False, script: Path = SCRIPT) -> Iterator[subprocess.Popen[str]]:
    """The command in the background, its output in place/stdout and place/stderr; killed at the end if it still runs.

    With `group` it leads a process group, as a job of a shell does.
    """
    place.mkdir(parents=True, exist_ok=True)
    with (place / "stdout").open("w") as out, (place / "stderr").open("w") as err:
        process = subprocess.Popen(
            command(place, cache, *words, script=script),
            cwd=place,
            env=environment(),
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=group,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(30)


def wait_for(condition: Callable[[], Found], process: subprocess.Popen[str], what: str, timeout: float = 120) -> Found:
    """The first true value of `condition`, asked again and again while the process runs."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, f"the sweep ended before {what}"
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {timeout:g} s")


def checkpoints(place: Path) -> list[Path]:
    """Checkpoints of unfinished stages in the store."""
    return sorted((place / "store" / "unfinished").glob("*.pt"))


def results_bytes(place: Path) -> dict[str, bytes]:
    """What must not depend on how a study came about: the rows and all weights, by file."""
    files = [place / "out" / "rows.parquet", *sorted((place / "store").glob("*/weights.safetensors"))]
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def below(driver: subprocess.Popen[str]) -> dict[int, str]:
    """Processes that the driver has started, itself or through others, by number, with the first word of their command line."""
    said = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    lines = [line.split() for line in said.stdout.splitlines()]
    found: set[str] = {str(driver.pid)}
    while more := {pid for pid, parent, *_ in lines if parent in found} - found:
        found |= more
    return {int(pid): (*title, "")[0] for pid, _, *title in lines if pid in found}


def workers(driver: subprocess.Popen[str]) -> list[int]:
    """Processes of the driver's own Ray in which a stage is in progress."""
    return [pid for pid, title in below(driver).items() if re.match(r"ray::.*\.train", title)]


@pytest.fixture
def run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """main() in this process with tiny settings, in an empty folder: exit status, output, errors."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails: nothing here may need it

    def call(*words: str) -> tuple[int, str, str]:
        try:
            status = main(TABLE, ["--cache", str(cache), *TINY, *words])
        except SystemExit as stop:
            status = int(stop.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def refuses(run: Run, words: list[str], *said: str) -> None:
    """Exit status 2 and one line on stderr that holds all of `said`."""
    status, out, err = run(*words)
    assert status == 2, err
    assert len(err.splitlines()) == 1, err
    for text in said:
        assert text in err
    assert "mIoU" not in out, "it has trained"
    assert not list(Path("results").glob("*/*.parquet")), "it has written results"
