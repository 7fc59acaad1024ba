"""How long until the first training step, and what do --help, a dry run and a finished study take? Ratios to importing torch.

Everything is run once a round, one after the other, so that what else the machine does meets all parts alike. CPU seconds are those of
a process and all that it has started and seen end; the first training step is timed by the clock, from the start of the command to the
end of the first step in a trial's process, and compared with the sum of `import torch`, a bare `ray.init` and a bare actor
that imports torch, in one process. Takes an estimated 10 minutes. The numbers of docs/measured.md come from

    python analysis/bench_start.py 5
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Literal, NamedTuple

import tyro

from semiseg.machine import cpu_kind, usable_cpus

ROOT = Path(__file__).parents[1]
DOORS = {"comparison": ROOT / "sweeps" / "ablate_three_stage.py", "search": ROOT / "sweeps" / "search_three_stage.py"}
TORCH = "import torch"
BARE = f"""
import sys, torch, ray
ray.init(num_cpus={usable_cpus()}, include_dashboard=False, log_to_driver=False)
@ray.remote(num_cpus=1)
class Actor:
    def ready(self):
        import torch
        return torch.zeros(1)
ray.get(Actor.remote().ready.remote())
print("ready", flush=True)
"""
NOTED = """
import importlib.abc, importlib.machinery, os, sys, time

class Finder(importlib.abc.MetaPathFinder):
    \"\"\"Notes when a process has first made a step of training.\"\"\"
    def find_spec(self, name, path, target=None):
        if name != "semiseg.train":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            step = module.Trainer.train_step
            def train_step(self):
                step(self)
                note = os.path.join(NOTES, "process-%d" % os.getpid())
                if not os.path.exists(note):
                    with open(note, "x") as file:
                        file.write("%r" % time.time())
            module.Trainer.train_step = train_step
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
"""A `sitecustomize` that looks on."""


class Took(NamedTuple):
    """Seconds of a command: of CPU, with all that it has started, and by the clock."""

    cpu: float
    wall: float


def run(words: Sequence[str], folder: Path) -> Took:
    """Run a command to its end. SystemExit when it fails."""
    began, before = time.monotonic(), os.times()
    ended = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words[:4])} ended with status {ended.returncode}: {ended.stderr[-300:]}")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(spent, time.monotonic() - began)


def environment() -> dict[str, str]:
    """One thread, as in all benchmarks."""
    return os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def started(words: Sequence[str], folder: Path, **more: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that is interrupted at the end of the block."""
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment() | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def bare(folder: Path) -> float:
    """Seconds of importing torch, starting Ray and an actor that imports torch."""
    began = time.monotonic()
    with started([sys.executable, "-c", BARE], folder) as process:
        assert process.stdout is not None
        if "ready" not in process.stdout.readline():
            raise SystemExit("the bare actor did not start")
        return time.monotonic() - began


def first_step(door: Path, folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds from the start of a study, of which nothing is there yet, to its first training step, and MiB of PSS by process then."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NOTED.replace("NOTES", repr(str(folder))))
    words = [sys.executable, str(door), "--train.steps", "100000", "--seeds", "0"]
    began, clock = time.time(), time.monotonic()
    with started(
        words, folder, PYTHONPATH=os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    ) as process:
        while True:
            notes = {int(path.name.split("-")[1]): path for path in folder.glob("process-*")}
            trained = [float(path.read_text() or "inf") for pid, path in notes.items() if pid != process.pid]
            if trained and min(trained) < float("inf"):
                time.sleep(2.0)  # so that a step has been made
                return min(trained) - began, memory(process.pid)
            if process.poll() is not None or time.monotonic() - clock > 600:
                raise SystemExit(f"{door.name} trained nothing within {time.monotonic() - clock:.0f} s")
            time.sleep(0.02)


def memory(driver: int) -> dict[str, float]:
    """MiB of PSS of a driver, of its trials (the largest) and of all else that it has started."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    known, grown = {driver}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in known} - known
        grown = bool(more)
        known |= more
    found = {"driver": 0.0, "trial": 0.0, "Ray's daemons": 0.0}
    for pid in known:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        pss = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        if pid == driver:
            found["driver"] = pss
        elif title.startswith("ray::") and "Trainable" in title:
            found["trial"] = max(found["trial"], pss)
        else:
            found["Ray's daemons"] += pss
    return found


def measured(number: int, place: Path, doors: Sequence[str]) -> dict[str, float]:
    """One round: every ratio and every size of it."""
    base = run([sys.executable, "-c", TORCH], place)
    found: dict[str, float] = {"import torch, CPU s": base.cpu}
    for name in doors:
        door = DOORS[name]
        words, folder = [sys.executable, str(door)], place / f"{name}-{number}"
        folder.mkdir()
        found[f"{name}: --help / import torch, CPU"] = run([*words, "--help"], folder).cpu / base.cpu
        found[f"{name}: first --dry-run / import torch, CPU"] = run([*words, "--dry-run"], folder).cpu / base.cpu
        found[f"{name}: --dry-run again / import torch, CPU"] = run([*words, "--dry-run"], folder).cpu / base.cpu
        small = ["--quick", "--train.steps", "2"]
        if number == 0:
            run([*words, *small, "--out", str(place / f"{name}-out"), "--store", str(place / "store")], place)
        again = [*words, *small, "--out", str(place / f"{name}-out"), "--store", str(place / "store")]
        found[f"{name}: finished study again / import torch, CPU"] = run(again, place).cpu / base.cpu
        seconds = bare(place)
        first, sizes = first_step(door, place / f"{name}-first-{number}")
        found |= {f"{name}: bare torch + Ray + actor, s": seconds, f"{name}: first training step, s": first}
        found[f"{name}: first training step / bare"] = first / seconds
        found |= {f"{name}: {kind}, MiB of PSS": size for kind, size in sizes.items()}
    return found


def main(
    rounds: tyro.conf.Positional[int] = 5, doors: tuple[Literal["comparison", "search"], ...] = ("comparison", "search")
) -> None:
    """Print median, mean, standard deviation and range of every ratio over `rounds` rounds."""
    print(
        f"{cpu_kind()}, {usable_cpus()} CPUs, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}; n = {rounds} rounds\n"
    )
    with tempfile.TemporaryDirectory(prefix="semiseg-start-") as folder:
        found = [measured(number, Path(folder), doors) for number in range(rounds)]
    print("| | median | mean ± sd | range |\n| --- | --- | --- | --- |")
    for name in found[0]:
        values = [each[name] for each in found]
        spread = f" ± {stdev(values):.2f}" if rounds > 1 else ""
        print(f"| {name} | {median(values):.2f} | {mean(values):.2f}{spread} | {min(values):.2f} to {max(values):.2f} |")
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    tyro.cli(main)
