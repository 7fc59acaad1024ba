"""One run of an ablation table: plan, train what is missing, write results and report."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from semiseg import report
from semiseg.codec import write_row
from semiseg.methods import METHODS, name_of
from semiseg.results import read
from semiseg.runner import Place, provenance
from semiseg.stage import by_content, plain
from semiseg.store import writable_folder
from semiseg.sweep.arguments import Common
from semiseg.sweep.bench import DONE, FAILED, Bench, command_line, duration, run_name
from semiseg.sweep.collect import collect
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows
from semiseg.sweep.estimate import estimate
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import Plan, make_plan
from semiseg.sweep.rows import resolve_row
from semiseg.sweep.stop import Stopped

REPORT_EVERY = 20.0
"""The report of an unfinished study is renewed at most this often, in seconds."""


class Study:
    """One run of a table with a resolved preset: everything between the command line and the exit status.

    `words` are those of the command line. With a bench that is open it uses that one's.
    """

    def __init__(
        self, table: Ablation, preset: Preset, arguments: Common[Any], words: Sequence[str] = (), bench: Bench | None = None
    ) -> None:
        self.table, self.preset, self.arguments, self.words, self.bench = table, preset, arguments, words, bench
        methods, rows = preset.methods(), chosen_rows(table, preset)
        self.lines = {name: resolve_row(table.name, name, row, methods) for name, row in rows.items()}
        self.rows = {name: write_row(row, methods) for name, row in rows.items()}
        """As words."""
        self.name = run_name(table.name, preset, arguments)
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
        bench = self.bench or Bench(self.preset, self.arguments, self.table.name)
        bench.check_data({name: line.method for name, line in self.lines.items()})
        plan = self.plan(bench)
        queue = Queue(plan.to_train, plan.done)
        print(plan, end="" if plan.to_train else "\n", flush=True)
        if plan.to_train:
            print(f", {bench.cost(lambda slots: self._cost(plan, bench.place, slots))}", flush=True)
        if self.arguments.dry_run:
            return DONE
        writable_folder(self.out, "out")

        def write() -> None:
            study = self._study(plan, bench)
            collect(self.out, plan, queue, bench.place.open_store(), study)

        stopped = self._train(plan, queue, bench, write) if plan.to_train else 0
        write()
        status = self._close(queue)
        if stopped:
            raise Stopped(stopped)
        return status

    def plan(self, bench: Bench) -> Plan:
        """The stages of all rows and seeds; a dry run prints the settings."""
        plan = make_plan(
            self.lines,
            self.preset.seeds,
            split=lambda line: bench.split(line.labelled),
            net=bench.net,
            train=bench.train,
            has=bench.place.open_store().has,
        )
        bench.check_stages(list(plan.stages.values()))
        if self.arguments.dry_run:
            used = {name_of(line.method) for line in self.lines.values()}
            bench.show_settings(self.rows, {name: one for name, one in self.preset.methods().items() if name in used})
        return plan

    def _cost(self, plan: Plan, place: Place, slots: int) -> str:
        return f"about {duration(estimate(plan, place, slots))} on {slots} slot{'s' if slots != 1 else ''}"

    def _train(self, plan: Plan, queue: Queue, bench: Bench, write: Callable[[], None]) -> int:
        began = time.time()

        def row_finished(row: str, seed: int) -> None:
            write()
            self._refresh_report()

        with bench.cluster() as self.slots:
            stopped = bench.feed(PlanFeed(plan, queue, row_finished), self.slots)
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

    def _study(self, plan: Plan, bench: Bench) -> dict[str, Any]:
        pack, splits, place = bench.pack, bench.splits, bench.place
        a, table = self.preset, self.table
        train = next(iter(plan.stages.values())).train
        chosen = "best on the selection images" if train.weights == "best" else "of the last step"
        finals = [chain[-1] for chain in plan.chains.values()]
        labelled = sorted({stage.split.labelled for stage in finals})
        reported = {stage.rule.evaluated for stage in finals if stage.rule.evaluated != "student"}
        rule = f"test images are scored once, with the weights {chosen}"
        about = provenance(torch.device(place.device), place.git)
        paper = table.paper
        return {
            "format": 1,
            "name": self.name,
            "title": table.title,
            "question": table.question,
            "paper": paper and plain(paper),
            "rows": self.rows,
            "method": name_of(a.method),
            "methods": list(METHODS),
            "against": table.against and {row: table.against.get(row, table.reference) for row in self.rows},
            "metrics": list(table.metrics),
            "curve": self._curve(),
            "reference": table.reference if table.reference in self.rows else next(iter(self.rows)),
            "baseline": table.baseline if table.baseline in self.rows else None,
            "seeds": list(a.seeds),
            "classes": list(pack.classes),
            "palette": [list(colour) for colour in pack.palette],
            "data": {
                "name": a.data.name,
                "labelled": labelled[0] if len(labelled) == 1 else ", ".join(map(str, labelled)),
                "labelled_hash": splits.labelled_hash,
                "train": len(splits.training),
                "selection": len(splits.selection),
                "test": len(splits.test),
                "size": f"{pack.heights.max()} x {pack.widths.max()}",
                "fingerprint": pack.fingerprint,
            },
            "settings": plain(
                {"data": replace(place.data, root=None), "net": by_content(bench.net), "train": train, "method": a.method}
            ),
            "score": {
                "metric": a.train.score,
                "split": "test",
                "weights": train.weights,
                "rule": f"{rule}; rows with a teacher report the {' or '.join(sorted(reported))}" if reported else rule,
            },
            "plan": plan.counts(),
            "provenance": {
                "command": command_line(self.words),
                "git": place.git,
                "versions": about["versions"] | {"python": ".".join(map(str, sys.version_info[:3]))},
                "device": about["device"],
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "wall_seconds": self.wall,
            "slots": self.slots,
        }

    def _curve(self) -> dict[str, Any] | None:
        """The table's curve with the rows of this run; None when it has no point in it."""
        curve, own = self.table.curve, self.preset.curve_paper
        if curve is None or not any(row in self.rows for line in curve.series.values() for row in line.values()):
            return None
        series = {name: {str(x): row for x, row in line.items() if row in self.rows} for name, line in curve.series.items()}
        stated = (curve.paper or {}) if own is None else own
        known = {name: {str(x): value for x, value in line.items()} for name, line in stated.items()}
        paper = {name: {x: value for x, value in line.items() if x in series[name]} for name, line in known.items()}
        return {
            "x": curve.x,
            "log": curve.log,
            "series": {name: line for name, line in series.items() if line},
            "levels": [row for row in curve.levels if row in self.rows],
            "paper": {name: line for name, line in paper.items() if line},
        }
