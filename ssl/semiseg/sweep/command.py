"""The command line that every ablation script shares: settings in, plan, training, results, report, exit status."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import tyro

from semiseg import report
from semiseg.config import Data, Net, SettingError, Train
from semiseg.data import Pack, Splits
from semiseg.methods import ThreeStage
from semiseg.results import read
from semiseg.runner import Place, git_revision, provenance, split_of
from semiseg.stage import plain
from semiseg.store import writable_folder
from semiseg.sweep.ablation import Ablation, Preset, chosen_rows
from semiseg.sweep.collect import collect
from semiseg.sweep.estimate import estimate
from semiseg.sweep.monitor import Monitor
from semiseg.sweep.plan import Plan, Queue, make_plan
from semiseg.sweep.ray_settings import Ray, check_resources
from semiseg.train import resolve

REPORT_EVERY = 20.0
"""The report of an unfinished study is renewed at most this often, in seconds."""
DONE, FAILED, UNUSABLE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a run of an ablation needs. Values not given on the command line are those of the preset."""

    data: Data = field(default_factory=Data)
    net: Net = field(default_factory=Net)
    train: Train = field(default_factory=Train)
    method: ThreeStage = field(default_factory=ThreeStage)
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; every row is trained once with each."""
    rows: tuple[str, ...] = ()
    """Rows to train: names of the table's rows, or NAME="S1 S2 ..." for new ones; none: all."""
    preset: str = "demo"
    """Set of defaults."""
    quick: bool = False
    """Very few steps and two seeds, to see everything work within a minute."""
    dry_run: bool = False
    """Print the plan and its cost, then stop."""
    out: Path | None = None
    """Results folder; None: results/STUDY."""
    store: str = "results/store"
    """Finished stages, shared by all studies: a folder or a URI of pyarrow.fs such as s3://bucket/store."""
    cache: Path = Path("results/cache")
    """Decoded images."""
    checkpoint_seconds: float = 30.0
    """A running stage saves a checkpoint this often."""
    ray: Ray = field(default_factory=Ray)


def main(table: Ablation, argv: Sequence[str] | None = None) -> int:
    """Run an ablation table with the command line's settings; returns the exit status.

    0: all stages done; 1: some stage failed; 2: unusable arguments or data (one line says what, where and what is allowed);
    128 + the signal's number after Ctrl-C or SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return Study(table, parse(table, words), words).run()
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE


def parse(table: Ablation, words: Sequence[str]) -> Arguments:
    """Arguments with the defaults of the chosen preset. Raises SettingError for values that cannot be, SystemExit(2) for words."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="demo")
    first.add_argument("--quick", action="store_true")
    early, _ = first.parse_known_args(words)
    if early.preset not in table.presets:
        raise SettingError(f"preset: got {early.preset!r}; allowed: {', '.join(table.presets)}")
    preset: Preset = table.presets[early.preset]
    if early.quick:
        preset = replace(preset, train=replace(preset.train, **table.quick), seeds=preset.seeds[:2])
    default = Arguments(
        data=preset.data,
        net=preset.net,
        train=preset.train,
        method=preset.method,
        seeds=preset.seeds,
        preset=early.preset,
        quick=early.quick,
    )
    arguments = tyro.cli(
        Arguments, default=default, args=list(words), description=table.question, config=(tyro.conf.AvoidSubcommands,)
    )
    if arguments.method.switches() != preset.method.switches():
        raise SettingError("method: the switches belong to the rows of the table; allowed: --rows NAME='S1 S2 ...'")
    if len(set(arguments.seeds)) != len(arguments.seeds) or not arguments.seeds:
        raise SettingError(f"seeds: got {arguments.seeds}; allowed: distinct whole numbers, at least one")
    return arguments


class Study:
    """One run of a table: everything between the arguments and the exit status."""

    def __init__(self, table: Ablation, arguments: Arguments, words: Sequence[str]) -> None:
        self.table, self.arguments, self.words = table, arguments, words
        self.rows = chosen_rows(table, arguments.rows, arguments.method)
        self.name = table.name
        if arguments.data.name != "synthetic":
            self.name += f"-{arguments.data.name}"
        if arguments.quick:
            self.name += "-quick"
        self.out = (arguments.out or Path("results") / self.name).resolve()
        self.refreshing: subprocess.Popen[bytes] | None = None
        self.refreshed = 0.0
        self.wall: float | None = None
        self.slots = 0

    def run(self) -> int:
        """Plan, train what is missing, write results and report."""
        place, pack, splits = self._open()
        plan = self._plan(place, pack, splits)
        queue = Queue(plan.to_train, plan.done)
        expected_slots = self._expected_slots()
        print(plan, end="" if plan.to_train else "\n", flush=True)
        if plan.to_train:
            seconds = estimate(plan, place, expected_slots)
            print(f", about {_duration(seconds)} on {expected_slots} slot{'s' if expected_slots != 1 else ''}", flush=True)
        if self.arguments.dry_run:
            return DONE
        writable_folder(self.out, "out")

        def write() -> None:
            collect(self.out, plan, queue, place.open_store(), self._study(plan, pack, splits, place))

        stopped = 0
        if plan.to_train:
            stopped = self._train(plan, queue, place, write)
        write()
        return self._close(queue, stopped)

    def _open(self) -> tuple[Place, Pack, Splits]:
        a = self.arguments
        if a.ray.address is None:  # of a joined cluster the resources are known only when it is joined
            check_resources(a.ray, self._gpus(), os.cpu_count() or 1, torch.cuda.device_count())
        data = replace(a.data, root=a.data.root.expanduser().resolve() if a.data.root else None)
        cache = a.cache.expanduser().resolve()
        writable_folder(cache, "cache")
        store = a.store if "://" in a.store else str(Path(a.store).expanduser().resolve())
        place = Place(
            data=data,
            cache=cache,
            store=store,
            device="cuda" if self._gpus() > 0 else "cpu",
            threads=a.ray.cpus_per_trial,
            checkpoint_seconds=a.checkpoint_seconds,
            git=git_revision(),
        )
        place.open_store()
        pack, splits = place.open()
        return place, pack, splits

    def _gpus(self) -> float:
        asked = self.arguments.ray.gpus_per_trial
        return asked if asked is not None else float(torch.cuda.is_available())

    def _expected_slots(self) -> int:
        ray = self.arguments.ray
        fit = max((os.cpu_count() or 1) // ray.cpus_per_trial, 1)
        if (gpus := self._gpus()) > 0:
            fit = min(fit, max(int(torch.cuda.device_count() / gpus), 1))
        return min(fit, ray.trials or fit)

    def _plan(self, place: Place, pack: Pack, splits: Splits) -> Plan:
        a = self.arguments
        sizes = set(zip(pack.heights.tolist(), pack.widths.tolist(), strict=True))
        train = resolve(a.train, sizes.pop() if len(sizes) == 1 else None, torch.device(place.device))
        has = place.open_store().has
        return make_plan(a.method, self.rows, a.seeds, split=split_of(pack, splits), net=a.net, train=train, has=has)

    def _train(self, plan: Plan, queue: Queue, place: Place, write: Callable[[], None]) -> int:
        from semiseg.sweep import tune  # ray takes seconds to import: only when something is to be trained

        settings, gpus = self.arguments.ray, self._gpus()
        began = time.time()

        def row_finished(row: str, seed: int) -> None:
            write()
            self._refresh_report()

        with tune.cluster(settings):
            self.slots = tune.slots(settings, gpus)
            with Monitor(plan, queue, row_finished) as monitor:
                stopped = tune.run(plan, queue, place, settings, monitor, study=self.name, gpus_per_trial=gpus, count=self.slots)
        self.wall = time.time() - began
        return stopped

    def _refresh_report(self) -> None:
        """Renew the page of the unfinished study beside the training, at low priority, unless that happened just now."""
        running = self.refreshing is not None and self.refreshing.poll() is None
        if running or time.monotonic() - self.refreshed < REPORT_EVERY:
            return
        code = "import os, sys, pathlib, semiseg.report as r; os.nice(15); r.write_report(pathlib.Path(sys.argv[1]))"
        self.refreshing = subprocess.Popen(
            [sys.executable, "-c", code, str(self.out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.refreshed = time.monotonic()

    def _close(self, queue: Queue, stopped: int) -> int:
        if self.refreshing is not None:
            self.refreshing.wait()
        page = report.write_report(self.out)
        results = read(self.out)
        print(f"\n{report.text_table(results)}\n")
        print(f"report: {page}")
        if stopped:
            again = " ".join(["python", shlex.quote(sys.argv[0]), *map(shlex.quote, self.words)])
            print(f"stopped by {signal.Signals(stopped).name}; the same command goes on from here: {again}", file=sys.stderr)
            return 128 + stopped
        for key, error in queue.failed.items():
            print(f"failed: {key[:12]} {error}", file=sys.stderr)
        return FAILED if queue.failed else DONE

    def _study(self, plan: Plan, pack: Pack, splits: Splits, place: Place) -> dict[str, Any]:
        a, table = self.arguments, self.table
        train = next(iter(plan.stages.values())).train
        chosen = "best on the selection images" if train.weights == "best" else "of the last step"
        about = provenance(torch.device(place.device), place.git)
        paper = table.paper
        return {
            "format": 1,
            "name": self.name,
            "title": table.title,
            "question": table.question,
            "paper": paper and plain(paper),
            "rows": self.rows,
            "reference": table.reference,
            "baseline": table.baseline if table.baseline in self.rows else None,
            "seeds": list(a.seeds),
            "classes": list(pack.classes),
            "palette": [list(colour) for colour in pack.palette],
            "data": {
                "name": a.data.name,
                "labelled": len(splits.labelled),
                "labelled_hash": splits.labelled_hash,
                "train": len(splits.unlabelled),
                "selection": len(splits.selection),
                "test": len(splits.test),
                "size": f"{pack.heights.max()} x {pack.widths.max()}",
                "fingerprint": pack.fingerprint,
            },
            "settings": plain({"data": replace(place.data, root=None), "net": a.net, "train": train, "method": a.method}),
            "score": {
                "metric": "miou",
                "split": "test",
                "weights": train.weights,
                "rule": f"test images are scored once, with the weights {chosen}; rows with a teacher report the {a.method.evaluate}",
            },
            "plan": plan.counts(),
            "provenance": {
                "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *self.words]),
                "git": place.git,
                "versions": about["versions"] | {"python": ".".join(map(str, sys.version_info[:3]))},
                "device": about["device"],
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "wall_seconds": self.wall,
            "slots": self.slots,
        }


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
