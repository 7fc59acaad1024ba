"""One run of an ablation table: plan, train what is missing, write results and report."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from semiseg import report
from semiseg.codec import write_row
from semiseg.config import require
from semiseg.methods import name_of
from semiseg.outside import writable_folder
from semiseg.results import StudyRecord, read
from semiseg.results.records import ReportOptions
from semiseg.runner import Place
from semiseg.stage import Stage
from semiseg.sweep.anchors import Anchored, anchored
from semiseg.sweep.arguments import Common
from semiseg.sweep.bench import DONE, FAILED, Bench, command_line, duration, results_folder, run_name
from semiseg.sweep.collect import Collector, States
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows
from semiseg.sweep.draws import design_of, draw_records, settled
from semiseg.sweep.estimate import estimate
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.pictures import write_views
from semiseg.sweep.plan import Plan, drawn_chain, make_plan
from semiseg.sweep.record import study_record
from semiseg.sweep.renewal import Renewal
from semiseg.sweep.rows import ResolvedRow, resolve_row
from semiseg.sweep.stop import Stopped


class Study:
    """One run of a table with a resolved preset: everything between the command line and the exit status.

    `words` are those of the command line, `shown` what the page shows. With a bench that is open it uses that one's.
    """

    def __init__(
        self,
        table: Ablation,
        preset: Preset,
        arguments: Common[Any],
        words: Sequence[str] = (),
        bench: Bench | None = None,
        shown: ReportOptions | None = None,
    ) -> None:
        self.table, self.preset, self.arguments, self.words, self.bench = table, preset, arguments, words, bench
        self.shown = shown or ReportOptions()
        methods, rows = preset.methods(), chosen_rows(table, preset)
        self.lines = {name: resolve_row(table.name, name, row, methods) for name, row in rows.items()}
        self.rows = {name: write_row(row, methods) for name, row in rows.items()}
        """As words; those of anchors come when the data are open."""
        self.anchored = Anchored(self.lines, {}, {}, None)
        self.name = run_name(table.name, preset, arguments)
        self.out = results_folder(arguments, self.name)
        self.design = design_of(preset)
        self.unwritten = ""
        """Why results could not be written, if so."""
        self.wall, self.slots = self._measured_before()

    def _measured_before(self) -> tuple[float | None, int]:
        """Wall seconds and slots of the last run that trained something, which one with nothing to do must not forget."""
        try:
            about = json.loads((self.out / "study.json").read_text(encoding="utf-8"))
            return about["wall_seconds"], about["slots"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None, 0

    def run(self) -> int:
        """Plan, train what is missing, write results and report."""
        bench = self.bench or Bench(self.preset, self.arguments, self.table.name)
        bench.check_data({name: line.method for name, line in self.lines.items()})
        plan = self.plan(bench)
        queue = Queue(plan.to_train, plan.done)
        if said := self.design.said(bench.place.data):
            print(said)
        print(plan, end="" if plan.to_train else "\n", flush=True)
        if plan.to_train:
            print(f", {bench.cost(lambda slots: self._cost(plan, bench.place, slots))}", flush=True)
        if self.arguments.dry_run:
            return DONE
        writable_folder(self.out, "out")

        collector = Collector(self.out, plan, bench.place.open_store())

        def write() -> None:
            """Training goes on whatever becomes of the results: the store has all of them."""
            try:
                states = States.of(queue)
                collector.write(states, self._record(plan, bench))
                ends = (chain[-1] for (_, seed), chain in plan.chains.items() if seed == self.design.numbers[0])
                write_views(self.out / "samples", [one for one in ends if one.key in states.done], bench.pack, bench.splits)
                self.unwritten = ""
            except OSError as error:
                if not self.unwritten:
                    print(
                        f"out: cannot write to {self.out} ({error.strerror or error}); training goes on",
                        file=sys.stderr,
                        flush=True,
                    )
                self.unwritten = f"out: cannot write to {self.out} ({error.strerror or error})"

        stopped = self._train(plan, queue, bench, Renewal(self.out, write)) if plan.to_train else 0
        write()
        status = self._close(queue)
        if stopped:
            raise Stopped(stopped)
        return status

    def plan(self, bench: Bench) -> Plan:
        """The stages of all rows, anchors and seeds; a dry run prints the settings."""

        self.design = settled(self.design, self.lines, bench.images)

        def chain(line: ResolvedRow) -> tuple[Stage, ...]:
            return drawn_chain(line, self.design.first, split=bench.images, net=bench.net, train=bench.train)

        self.anchored = anchored(self.table, self.lines, self.arguments.anchors, self.preset.methods(), chain)
        rows = self.rows | self.anchored.words
        for row in self.shown.sample_rows:
            require(row in rows, "report.sample_rows", row, ", ".join(rows))
        plan = make_plan(
            self.anchored.lines,
            self.design.numbers,
            split=bench.images,
            net=bench.net,
            train=bench.train,
            has=bench.place.open_store().listed(),
            anchors=self.anchored.words,
            design=self.design,
        )
        bench.check_stages(list(plan.stages.values()))
        if self.arguments.dry_run:
            used = {name_of(line.method) for line in self.lines.values()}
            bench.show_settings(rows, {name: one for name, one in self.preset.methods().items() if name in used})
        return plan

    def _cost(self, plan: Plan, place: Place, slots: int) -> str:
        return f"about {duration(estimate(plan, place, slots))} on {slots} slot{'s' if slots != 1 else ''}"

    def _train(self, plan: Plan, queue: Queue, bench: Bench, renewal: Renewal) -> int:
        began = time.time()
        with bench.cluster() as self.slots:
            stopped = bench.feed(PlanFeed(plan, queue, lambda row, seed: renewal.news()), self.slots)
        self.wall = time.time() - began
        renewal.close()
        return stopped

    def _close(self, queue: Queue) -> int:
        """Write the report, print the table; the exit status."""
        try:
            if self.unwritten:
                raise OSError(self.unwritten)
            page = report.write_report(self.out)
        except OSError as error:
            said = self.unwritten or f"out: cannot write to {self.out} ({error.strerror or error})"
            print(f"{said}; allowed: the same command again, which trains nothing twice, or another --out", file=sys.stderr)
            return FAILED
        results = read(self.out)
        print(f"\n{report.text_table(results, shutil.get_terminal_size((132, 24)).columns)}\n")
        print(f"report: {page}")
        for key, error in queue.failed.items():
            print(f"failed: {key[:12]} {error}", file=sys.stderr)
        return FAILED if queue.failed else DONE

    def _record(self, plan: Plan, bench: Bench) -> StudyRecord:
        numbers = tuple(dict.fromkeys(seed for _, seed in plan.chains))
        return study_record(
            self.table,
            plan,
            bench.place,
            bench.pack,
            bench.splits,
            name=self.name,
            rows=self.rows,
            anchored=self.anchored,
            headroom=self.arguments.headroom,
            margin=self.arguments.margin,
            method=self.preset.method,
            net=bench.net,
            train=bench.train,
            asked=self.preset.train.metrics,
            seeds=numbers,
            vary=self.design.vary,
            draws=draw_records(self.design, numbers, bench.split),
            drawn=self.design.said(bench.place.data),
            curve_paper=self.preset.curve_paper,
            command=command_line(self.words),
            wall_seconds=self.wall,
            slots=self.slots,
            report=self.shown,
        )
