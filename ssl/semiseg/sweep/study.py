"""One run of an ablation table: plan, train what is missing, write results and report."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from semiseg.codec import write_row
from semiseg.config import require
from semiseg.methods import name_of
from semiseg.outside import command_line, writable_folder
from semiseg.results import StudyRecord, read
from semiseg.results.records import ReportOptions
from semiseg.runner import Place
from semiseg.stage import Stage
from semiseg.sweep.anchors import Anchored, anchored
from semiseg.sweep.arguments import Common
from semiseg.sweep.bench import DONE, FAILED, Bench, duration, results_folder, run_name
from semiseg.sweep.collect import Collector, States
from semiseg.sweep.costs import Costs
from semiseg.sweep.declaration import Ablation, Preset, chosen_rows
from semiseg.sweep.draws import design_of, draw_records, settled
from semiseg.sweep.effects import Planned
from semiseg.sweep.estimate import simulate, stage_costs
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.noting import Noting
from semiseg.sweep.pictures import write_views
from semiseg.sweep.plan import Plan, drawn_chain, make_plan
from semiseg.sweep.planned import note, unchanged, whole_cost
from semiseg.sweep.record import study_record
from semiseg.sweep.renewal import Renewal
from semiseg.sweep.rows import ResolvedRow, resolve_row
from semiseg.sweep.sharing import sets_said, time_saved
from semiseg.sweep.stop import Stopped

if TYPE_CHECKING:
    from semiseg.sweep.deciding import Deciding


class Study:
    """One run of a table with a resolved preset: everything between the command line and the exit status.

    `words` are those of the command line, `shown` what the page shows, `command` what is said to have run it in place of the words.
    With a bench that is open it uses that one's.
    """

    def __init__(
        self,
        table: Ablation,
        preset: Preset,
        arguments: Common[Any],
        words: Sequence[str] = (),
        bench: Bench | None = None,
        shown: ReportOptions | None = None,
        effects: Planned | None = None,
        command: str | None = None,
    ) -> None:
        self.effects = effects.record if effects else None
        table, preset = (effects.table, effects.preset) if effects else (table, preset)
        if arguments.until is not None:
            from semiseg.sweep.deciding import first_seeds  # and with it scipy, which no other study needs before its report

            preset = replace(preset, seeds=first_seeds(preset.seeds, arguments))
        self.table, self.preset, self.arguments, self.bench = table, preset, arguments, bench
        self.shown = shown or ReportOptions()
        self.command = command or command_line(words)
        self.plain = command is None and bench is None and unchanged(words)
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
        self.wall, self.slots, self.device = self._measured_before()

    def _measured_before(self) -> tuple[float | None, int, str]:
        """Wall seconds, slots and device of the last run that trained something, which one with nothing to do must not forget."""
        try:
            about = json.loads((self.out / "study.json").read_text(encoding="utf-8"))
            return about["wall_seconds"], about["slots"], about["provenance"]["device"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None, 0, ""

    def run(self) -> int:
        """Plan, train what is missing, write results and report."""
        if self.bench is not None:
            return self._run(self.bench)
        bench = Bench(self.preset, self.arguments, self.table.name)
        try:
            return self._run(bench)
        finally:
            bench.end()

    def _run(self, bench: Bench) -> int:
        bench.check_data({name: line.method for name, line in self.lines.items()})
        plan = self.plan(bench)
        queue = Queue(self._ordered(plan), plan.done)
        deciding = self._deciding(plan, queue, bench)
        plan = deciding.plan if deciding else plan
        if said := self.design.said(bench.place.data):
            print(said)
        if self.effects:
            print(sets_said(self.effects, plan), flush=True)
        print(plan, end="" if plan.to_train else "\n", flush=True)
        if plan.to_train:
            print(f", {bench.cost(lambda slots: self._cost(plan, bench.place, slots))}", flush=True)
        if deciding:
            print(*deciding.outlook(), sep="\n", flush=True)
        if self.arguments.dry_run:
            if deciding:
                most = deciding.longest()
                cost = bench.cost(lambda slots: self._cost(most, bench.place, slots)) if most.to_train else "nothing"
                print(f"at most {len(most.stages)} stages, {len(most.to_train)} to train, {cost}")
            return DONE
        writable_folder(self.out, "out")

        collector = Collector(self.out, plan, bench.place.open_store())
        noting = Noting(collector.store, self.out)

        def write() -> None:
            """Training goes on whatever becomes of the results: the store has all of them."""
            nonlocal collector
            try:
                states, (now, until) = States.of(queue), deciding.seen() if deciding else (plan, None)
                noting.note(now)
                if collector.lines.keys() - now.stages.keys():  # of stages that were dropped
                    collector = Collector(self.out, now, bench.place.open_store())
                collector.plan = now
                record = self._record(now, bench)
                collector.write(states, replace(record, until=until, seeds=tuple(sorted(record.seeds))) if until else record)
                ends = (chain[-1] for (_, seed), chain in now.chains.items() if seed == self.design.numbers[0])
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

        if deciding:
            write()  # from when on the order counts
        noting.note(plan)
        trains = deciding.trains if deciding else bool(plan.to_train)
        stopped = self._train(plan, queue, bench, Renewal(self.out, write), deciding) if trains else 0
        if deciding:
            deciding.close(bool(stopped))
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
        plan = self._planned(bench, list(self.anchored.lines), self.design.numbers, bench.place.open_store().listed())
        if plan.to_train:  # what is finished has been trained with these settings
            if not self.arguments.dry_run:
                bench.begin()
            bench.check_stages(list(plan.to_train))
        if self.arguments.dry_run:
            used = {name_of(line.method) for line in self.lines.values()}
            bench.show_settings(rows, {name: one for name, one in self.preset.methods().items() if name in used})
        return plan

    def _planned(self, bench: Bench, rows: Sequence[str], seeds: Sequence[int], has: Callable[[str], bool]) -> Plan:
        """The stages of some rows and seeds."""
        return make_plan(
            {row: self.anchored.lines[row] for row in rows},
            seeds,
            split=bench.images,
            net=bench.net,
            train=bench.train,
            has=has,
            light=bench.place.open_store().has_light,
            anchors=self.anchored.words,
            design=self.design,
        )

    def _ordered(self, plan: Plan) -> Sequence[Stage]:
        if self.arguments.until is None:
            return plan.to_train
        from semiseg.sweep.deciding import seed_by_seed

        return seed_by_seed(plan)

    def _deciding(self, plan: Plan, queue: Queue, bench: Bench) -> Deciding | None:
        """What adds seeds until all is decided, if that is asked for."""
        if self.arguments.until is None:
            return None
        from semiseg.sweep.deciding import Deciding

        store = bench.place.open_store()
        has = store.listed()
        record = self._record(plan, bench)
        return Deciding(
            plan, queue, record, self.arguments, lambda rows, seeds: self._planned(bench, rows, seeds, has), store, self.out
        )

    def _cost(self, plan: Plan, place: Place, slots: int) -> str:
        memory = Costs(place)
        costs = stage_costs(plan, place, memory)
        where = f"on {slots} slot{'s' if slots != 1 else ''}"
        if self.plain and (whole := whole_cost(plan, place, slots)) is not None:
            note(place.cache, self.table.name, f"about {duration(whole)} {where}")
        said = f"about {duration(simulate(plan, costs, slots))} {where}{memory.said()}"
        return said + (f"; {time_saved(self.effects, plan, costs)}" if self.effects else "")

    def _train(self, plan: Plan, queue: Queue, bench: Bench, renewal: Renewal, deciding: Deciding | None) -> int:
        began = time.time()

        def finished(row: str, seed: int) -> None:
            renewal.news()

        with bench.cluster() as self.slots:
            feed = deciding.feed(finished) if deciding else PlanFeed(plan, queue, finished)
            stopped = bench.feed(feed, self.slots)
            self.wall, self.device = time.time() - began, ""
            renewal.close()  # no thread of ours is left when Ray ends
        return stopped

    def _close(self, queue: Queue) -> int:
        """Write the report, print the table; the exit status."""
        from semiseg import report  # a dry run has no use for it

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
            command=self.command,
            device=self.device,
            wall_seconds=self.wall,
            slots=self.slots,
            report=self.shown,
            effects=self.effects,
        )
