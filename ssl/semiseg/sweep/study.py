"""One run of an ablation table: open the data, plan, train what is missing, write results and report."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semiseg import report
from semiseg.batch import IGNORE
from semiseg.config import require
from semiseg.data import Pack, Splits
from semiseg.device import resolve
from semiseg.metrics import METRICS
from semiseg.nets import check_network, located
from semiseg.results import StudyRecord, read
from semiseg.runner import Place, git_revision, split_of
from semiseg.stage import Split
from semiseg.store import writable_folder
from semiseg.sweep.ablation import Ablation, chosen_rows, methods_of
from semiseg.sweep.arguments import Arguments
from semiseg.sweep.collect import collect
from semiseg.sweep.dry_run import KnownPlace, absent, notice, offline, printed, sections
from semiseg.sweep.estimate import estimate
from semiseg.sweep.feed import PlanFeed
from semiseg.sweep.monitor import Monitor
from semiseg.sweep.plan import Plan, Queue, make_plan
from semiseg.sweep.ray_settings import check_resources
from semiseg.sweep.record import study_record
from semiseg.sweep.rows import Line, read_row
from semiseg.sweep.saved import read_config, with_config
from semiseg.sweep.stop import Stopped
from semiseg.train import StageError

REPORT_EVERY = 20.0
"""The report of an unfinished study is renewed at most this often, in seconds."""
DONE, FAILED = 0, 1
"""Exit status of a study whose stages are all done, or of which some failed."""


class Study:
    """One run of a table: everything between the arguments and the exit status."""

    def __init__(self, table: Ablation, arguments: Arguments, words: Sequence[str]) -> None:
        self.table, self.arguments, self.words = table, arguments, words
        require(arguments.train.score in METRICS, "train.score", arguments.train.score, ", ".join(METRICS))
        preset = table.preset(arguments.preset, arguments.quick)
        if arguments.config is not None:
            preset = with_config(preset, read_config(arguments.config), arguments.config)
        self.methods = methods_of(arguments.method, preset.others)
        self.rows = chosen_rows(table, arguments.rows, self.methods, preset.words)
        self.lines = {row: read_row(table.name, row, words, self.methods) for row, words in self.rows.items()}
        self.net = located(arguments.net)
        self.train = arguments.train
        """Resolved by `plan`."""
        self.name = table.name
        if arguments.data.name != "synthetic":
            self.name += f"-{arguments.data.name}"
        if arguments.quick:
            self.name += "-quick"
        self.out = (arguments.out or Path("results") / self.name).resolve()
        self.refreshing: subprocess.Popen[bytes] | None = None
        self.refreshed = 0.0
        self.wall, self.slots = self._measured_before()

    def _measured_before(self) -> tuple[float | None, int]:
        """Wall seconds and slots of the last run that trained something, which one with nothing to do must not forget."""
        try:
            about = json.loads((self.out / "study.json").read_text(encoding="utf-8"))
            return about["wall_seconds"], about["slots"]
        except (OSError, ValueError, KeyError):
            return None, 0

    def run(self) -> int:
        """Plan, train what is missing, write results and report."""
        place, pack, splits = self.open()
        plan = self.plan(place, pack, splits)
        queue = Queue(plan.to_train, plan.done)
        print(plan, end="" if plan.to_train else "\n", flush=True)
        if plan.to_train:
            print(f", {self._cost(plan, place)}", flush=True)
        if self.arguments.dry_run:
            return DONE
        writable_folder(self.out, "out")

        def write() -> None:
            collect(self.out, plan, queue, place.open_store(), self._record(plan, pack, splits, place))

        stopped = 0
        if plan.to_train:
            stopped = self._train(plan, queue, place, write)
        write()
        status = self._close(queue)
        if stopped:
            raise Stopped(stopped)
        return status

    def open(self) -> tuple[Place, Pack, Splits]:
        a = self.arguments
        if a.ray.address is None:  # of a joined cluster the resources are known only when it is joined
            check_resources(a.ray, self.gpus(), os.cpu_count() or 1, torch.cuda.device_count())
        data = replace(a.data, root=a.data.root.expanduser().resolve() if a.data.root else None)
        cache = a.cache.expanduser().resolve()
        writable_folder(cache, "cache")
        store = a.store if "://" in a.store else str(Path(a.store).expanduser().resolve())
        place = (KnownPlace if a.dry_run and absent(data) else Place)(
            data=data,
            cache=cache,
            store=store,
            device="cuda" if self.gpus() > 0 else "cpu",
            threads=a.ray.cpus_per_trial,
            checkpoint_seconds=a.checkpoint_seconds,
            git=git_revision(),
        )
        place.open_store()
        pack, splits = place.open()
        for row, line in self.lines.items():
            dense = line.method.IMAGE_LEVEL or not pack.image_level
            require(dense, f"data.name in row {row!r}", a.data.name, "a data set with a mask per image")
        for name, rows in (("selection", splits.selection), ("test", splits.test)):
            counted = any((pack.mask(row) != IGNORE).any() for row in rows.tolist())
            require(counted, f"{name} masks of {a.data.name}", "only ignored pixels", "at least one pixel of a class")
        return place, pack, splits

    def gpus(self) -> float:
        asked = self.arguments.ray.gpus_per_trial
        return asked if asked is not None else float(torch.cuda.is_available())

    def _cost(self, plan: Plan, place: Place) -> str:
        slots = self.expected_slots()
        if place.device == "cuda" and not torch.cuda.is_available():
            return "cost unknown: no GPU on this machine to measure on"
        try:
            seconds = estimate(plan, place, slots)
        except StageError as error:  # it will fail alone when it is trained
            return f"cost unknown: {error}"
        return f"about {duration(seconds)} on {slots} slot{'s' if slots != 1 else ''}"

    def expected_slots(self) -> int:
        ray = self.arguments.ray
        fit = max((os.cpu_count() or 1) // ray.cpus_per_trial, 1)
        if (gpus := self.gpus()) > 0:
            fit = min(fit, max(int(torch.cuda.device_count() / gpus), 1))
        return min(fit, ray.trials or fit)

    def plan(self, place: Place, pack: Pack, splits: Splits) -> Plan:
        a = self.arguments
        sizes = set(zip(pack.heights.tolist(), pack.widths.tolist(), strict=True))
        self.train = train = resolve(a.train, sizes.pop() if len(sizes) == 1 else None, torch.device(place.device))

        def split(line: Line) -> Split:
            return split_of(*place.open(line.labelled))

        plan = make_plan(self.lines, a.seeds, split=split, net=self.net, train=train, has=place.open_store().has)
        branch = max(stage.rule.own_blocks for stage in plan.stages.values())
        check_network(offline(self.net) if a.dry_run else self.net, len(pack.classes), train, pack.image_level, branch)
        if a.dry_run:
            if isinstance(place, KnownPlace):
                print(notice(place.data, splits, place.device), end="\n\n")
            print(printed(sections(place.data, self.net, train, self.methods, self.rows, a.seeds)), flush=True)
        return plan

    def _train(self, plan: Plan, queue: Queue, place: Place, write: Callable[[], None]) -> int:
        from semiseg.sweep import tune  # ray takes seconds to import: only when something is to be trained

        settings, gpus = self.arguments.ray, self.gpus()
        began = time.time()

        def row_finished(row: str, seed: int) -> None:
            write()
            self._refresh_report()

        with tune.cluster(settings):
            self.slots = tune.slots(settings, gpus)
            with Monitor(plan, queue, row_finished) as monitor:
                feed = PlanFeed(plan, queue, monitor)
                stopped = tune.run(feed, place, settings, study=self.name, gpus_per_trial=gpus, count=self.slots)
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

    def _close(self, queue: Queue) -> int:
        """Write the report, print the table; the exit status."""
        if self.refreshing is not None:
            self.refreshing.wait()
        page = report.write_report(self.out)
        results = read(self.out)
        print(f"\n{report.text_table(results, shutil.get_terminal_size((132, 24)).columns)}\n")
        print(f"report: {page}")
        for key, error in queue.failed.items():
            print(f"failed: {key[:12]} {error}", file=sys.stderr)
        return FAILED if queue.failed else DONE

    def _record(self, plan: Plan, pack: Pack, splits: Splits, place: Place) -> StudyRecord:
        a = self.arguments
        return study_record(
            self.table,
            plan,
            place,
            pack,
            splits,
            name=self.name,
            rows=self.rows,
            method=a.method,
            net=self.net,
            seeds=a.seeds,
            curve_paper=self.table.presets[a.preset].curve_paper,
            command=shlex.join(["python", os.path.relpath(sys.argv[0]), *self.words]),
            wall_seconds=self.wall,
            slots=self.slots,
        )


def duration(seconds: float) -> str:
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
