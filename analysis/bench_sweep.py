"""What does a sweep cost beyond training? N one-step stages through the front door: CPU seconds a stage, processes, early and late.

Runs `sweeps/ablate_three_stage.py` on a few tiny images with stages of one step and a network of width 2, and reads from /proc (Linux)
what its processes take. The start (imports, opening data, Ray, the first stage of every process) is left out, the closing results and
report are not. CPU seconds of training are those that the stages note in the store. 30 and 300 stages take an
estimated 3 minutes on 2 CPU cores. The numbers of docs/measured.md come from

    python analysis/bench_sweep.py 30 300 1000
    python analysis/bench_sweep.py 1000 --nodes 4
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
FRONT_DOOR = ROOT / "sweeps" / "ablate_three_stage.py"
STAGES_PER_SEED = 10
"""Distinct stages of the seven rows of the three-stage table."""
TICK = os.sysconf("SC_CLK_TCK")
KINDS = ("driver", "trial", "report", "ray")
PARTS = ("planning", "driver", "trials", "reports", "ray", "closing")
"""What a stage costs beyond its training: making the plan; the driver while stages train; publishing; reports of the unfinished study; Ray's
own processes; the final results and report."""


@dataclass
class Family:
    """CPU seconds of the processes below one, kept when they have gone; `driver` is that of the study."""

    root: int
    driver: int
    cpu: dict[int, float] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    most: int = 0
    """Most processes that trained at one time."""

    def look(self) -> dict[str, float]:
        """CPU seconds of each kind so far."""
        stats = dict(processes())
        known, grown = {self.root}, True
        while grown:
            more = {pid for pid, (parent, _) in stats.items() if parent in known} - known
            grown = bool(more)
            known |= more
        for pid in ((known - {self.root}) | {self.driver}) & set(stats):
            self.cpu[pid] = stats[pid][1]
            self.kinds[pid] = kind if (kind := self._kind(pid, stats[pid][0])) != "gone" else self.kinds.get(pid, "ray")
        self.most = max(self.most, sum(self.kinds.get(pid) == "trial" for pid in known & set(stats)))
        return {kind: sum(self.cpu[pid] for pid, one in self.kinds.items() if one == kind) for kind in KINDS}

    def _kind(self, pid: int, parent: int) -> str:
        if pid == self.driver:
            return "driver"
        if self.kinds.get(pid) == "trial":
            return "trial"
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return "gone"
        if title.startswith("ray::") and "Trainable" in title:
            return "trial"
        return "report" if parent == self.driver and "write_report" in title else "ray"

    @property
    def trained(self) -> int:
        """Processes that have trained something."""
        return sum(kind == "trial" for kind in self.kinds.values())


def processes() -> Iterator[tuple[int, tuple[int, float]]]:
    """Parent and CPU seconds of every process by its number."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(folder.name), (int(words[1]), (int(words[11]) + int(words[12])) / TICK)


@contextmanager
def watched(family: Family, every: float = 0.5) -> Iterator[None]:
    """Look at the family now and then."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            family.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def small_images(root: Path) -> None:
    """Sixteen images of 16 x 16 pixels with two classes, as a folder."""
    draw = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(16):
        mask = np.zeros((16, 16), np.uint8)
        mask[number % 8 : number % 8 + 6, 2:9] = 1
        image = (mask[..., None] * 90 + draw.integers(0, 60, (16, 16, 3))).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        Image.fromarray(image).save(root / "images" / f"{number}.png")


def command(place: Path, stages: int) -> list[str]:
    """Words for the front door: at least so many stages of one step on the images of a folder."""
    words = ["--anchors", "none", "--data.name", "folder", "--data.root", str(place / "data"), "--data.labelled", "4"]
    words += ["--train.steps", "1", "--train.evaluations", "1", "--train.batch-labelled", "1", "--train.batch-unlabelled", "1"]
    words += ["--net.width", "2", "--seeds", *map(str, range(-(-stages // STAGES_PER_SEED)))]
    return [*words, "--store", str(place / "store"), "--cache", str(place / "cache"), "--out", str(place / "out")]


@contextmanager
def nodes(number: int) -> Iterator[Sequence[str]]:
    """A cluster of so many nodes with one CPU each on this machine, as words for the front door; 0: the study starts Ray itself."""
    if not number:
        yield ()
        return
    os.environ["RAY_prestart_worker_first_driver"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(number - 1):
            cluster.add_node(num_cpus=1)
        yield ("--ray.address", str(cluster.address))
    finally:
        cluster.shutdown()


def bench(stages: int, on: int) -> dict[str, float]:
    """Run a study of at least so many stages on this machine, or on a cluster of so many nodes; what it took."""
    with tempfile.TemporaryDirectory(prefix="semiseg-bench-") as folder, nodes(on) as more:
        place = Path(folder)
        small_images(place / "data")
        words = [sys.executable, str(FRONT_DOOR), *command(place, stages), *more]
        began = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=place, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        family, marks = Family(os.getpid() if on else process.pid, process.pid), []
        """(seconds, CPU seconds by kind) when the data are open, the plan is made and whenever a stage is done."""
        assert process.stdout is not None
        with watched(family):
            for line in process.stdout:
                if line.startswith("[") or " distinct, " in line or not marks:
                    marks.append((time.monotonic() - began, family.look()))
            wall = time.monotonic() - began
        if process.wait():
            raise SystemExit(f"the study ended with status {process.returncode}")
        family.look()
        infos = [json.loads(path.read_text()) for path in (place / "store").glob("*/stage.json")]
    opened, planned, *done = marks
    number = len(done)
    assert number == len(infos)
    warm = min(number // 3, 20)  # by then every process has trained
    ended = {kind: sum(family.cpu[pid] for pid, one in family.kinds.items() if one == kind) for kind in KINDS}
    training = sorted(infos, key=lambda info: info["ended"])[warm:]
    spent = {kind: (ended[kind] - done[warm - 1][1][kind]) / (number - warm) for kind in KINDS}
    closing = ended["driver"] - done[-1][1]["driver"]
    steps = np.diff([when for when, _ in done])
    tenth = max(len(steps) // 10, 5)
    noted = sum(info["cpu_seconds"] for info in training) / len(training)
    return {
        "stages": number,
        "planning": (planned[1]["driver"] - opened[1]["driver"]) / number,
        "driver": spent["driver"] - closing / (number - warm),
        "trials": spent["trial"] - noted,
        "reports": spent["report"],
        "ray": spent["ray"],
        "closing": closing / number,
        "training": noted,
        "processes": family.trained,
        "at a time": family.most,
        "early": median(steps[warm : warm + tenth]),
        "late": median(steps[-tenth:]),
        "wall": wall,
    }


def main() -> None:
    """Print one line a number of stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("stages", type=int, nargs="*", default=[30, 300], help="numbers of stages, each a run of its own")
    parser.add_argument("--nodes", type=int, default=0, help="nodes with one CPU of a cluster on this machine; 0: none is joined")
    arguments = parser.parse_args()
    print(
        "CPU seconds a stage beyond training, and of those that the run before had not; training; processes; seconds between stages"
    )
    print(
        f"{'stages':>6} {'beyond':>7} {'further':>7} "
        + " ".join(f"{name:>8}" for name in PARTS)
        + "  training processes  early   late   wall"
    )
    before = (0.0, 0.0)
    for stages in arguments.stages:
        found = bench(stages, arguments.nodes)
        number, beyond = found["stages"], sum(found[name] for name in PARTS)
        further = (beyond * number - before[1]) / max(number - before[0], 1)
        before = (number, beyond * number)
        print(
            f"{number:6.0f} {beyond:7.3f} {further:7.3f} "
            + " ".join(f"{found[name]:8.3f}" for name in PARTS)
            + f"  {found['training']:8.3f} {found['processes']:5.0f} ({found['at a time']:.0f})"
            + f" {found['early']:6.3f} {found['late']:6.3f} {found['wall']:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
