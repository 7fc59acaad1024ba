"""One run of a search: train what the ledger asks for, compare the best configuration with the default, write the results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from optuna.trial import FixedTrial, FrozenTrial, TrialState

from semiseg.change import Row
from semiseg.codec import difference, write_row
from semiseg.development import reported_data
from semiseg.lazy import torch
from semiseg.methods import Method, name_of
from semiseg.outside import writable_folder
from semiseg.provenance import provenance
from semiseg.report.answer import answer
from semiseg.report.metrics import pretty
from semiseg.report.scores import score_table
from semiseg.results import read
from semiseg.search.arguments import SearchArguments
from semiseg.search.closing import closing, finite, spent
from semiseg.search.declaration import Search
from semiseg.search.feed import TrialFeed, evaluations
from semiseg.search.folder import set_damaged_aside
from semiseg.search.ledger import JOURNAL, Ledger
from semiseg.search.report import write_search_report
from semiseg.search.space import Space, extent, first_points, grid_points, shared_stages
from semiseg.stage import Stage, by_content, for_key, of_training, plain
from semiseg.sweep.bench import DONE, FAILED, Bench, command_line, duration, results_folder, run_name
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.estimate import costs_of, stage_seconds
from semiseg.sweep.saved import Saved, write_config
from semiseg.sweep.stop import Stopped
from semiseg.sweep.study import Study
from semiseg.train import StageError

DEFAULT, BEST = "default", "best"
FINAL = "final"
"""Folder of the comparison inside the results of the search."""


class SearchStudy:
    """One run of a search with a resolved preset: everything between the command line and the exit status."""

    def __init__(
        self, search: Search, preset: Preset, arguments: SearchArguments[Any], space: Space, words: Sequence[str] = ()
    ) -> None:
        self.search, self.preset, self.arguments, self.space, self.words = search, preset, arguments, space, words
        self.default: Method = preset.method
        self.out = results_folder(arguments, run_name(search.name, preset, arguments))

    def open(self) -> None:
        """Open the data, and refuse a default that cannot be trained on them."""
        self.bench = Bench(self.preset, self.arguments, self.search.name)
        self.bench.check_data({DEFAULT: self.default})
        if not self.arguments.dry_run and not (self.out / JOURNAL).exists():
            self.bench.begin()
        self.bench.check_stages([stage for seed in self.preset.seeds for stage in self.chain_of(self.default, seed)])

    def run(self) -> int:
        """Search, compare, report; the exit status."""
        try:
            return self._run()
        finally:
            if "bench" in vars(self):  # the data could be opened
                self.bench.end()

    def _run(self) -> int:
        self.open()
        if self.arguments.dry_run:
            name = name_of(self.default)
            self.bench.show_settings({DEFAULT: write_row(Row(), {name: self.default})}, {name: self.default})
        points = self._points()
        if self.arguments.dry_run:
            print(f"{self._head()}, {self.bench.cost(self._cost)}")
            return DONE
        writable_folder(self.out, "out")
        set_damaged_aside(self.out)
        with ExitStack() as stack:
            ledger = stack.enter_context(self._ledger())
            ledger.study.set_user_attr("about", self._about())
            ledger.enqueue(points)
            wanted = len(points) if self.arguments.sampler == "grid" else self.arguments.trials
            left = wanted - len(ledger.all(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
            print(f"{self._head()}, {max(left, 0)} to go", flush=True)
            try:
                self._train(ledger, stack)
            except Stopped:
                write_search_report(self.out)
                raise
            except StageError as error:
                print(f"failed: {error}", file=sys.stderr)
                write_search_report(self.out)
                return FAILED
            best = ledger.best()
            if best is None:
                print(f"no trial has finished; report: {write_search_report(self.out)}", file=sys.stderr)
                return FAILED
            method = self.space.suggest(FixedTrial(best.params), self.default)
            seeds = ", ".join(map(str, self.preset.seeds))
            seeds += " and more until decided" if self.arguments.until else ""
            print(
                f"\n{'selection' if self.arguments.development else 'test'} images, best configuration (trial {best.number}) against the default, seeds {seeds}:",
                flush=True,
            )
            comparison = self.comparison(method)
            status = comparison.run()
            if not comparison.unwritten:
                self._close(ledger, best, method)
        return status

    def _train(self, ledger: Ledger, stack: ExitStack) -> None:
        """Train until all trials have ended. Raises Stopped when a signal came, StageError when a stage that all share failed."""
        feed = self._feed(ledger, self.arguments.ray.expected_slots())
        first = feed.take()
        if first is None:
            return
        feed.stop(first.key)
        feed.slots = stack.enter_context(self.bench.cluster())
        if stopped := self.bench.feed(feed, feed.slots):
            raise Stopped(stopped)
        if feed.broken:
            raise StageError(f"{feed.broken}; all trials need this stage, and the same command tries it again")
        feed.tidy()

    def chain_of(self, method: Method, seed: int) -> tuple[Stage, ...]:
        """The stages of a configuration."""
        return method.stages(self.bench.split(), self.bench.net, self.bench.train, seed)

    @cached_property
    def shared(self) -> int:
        """Leading stages that all configurations have in common; never all of the default's."""
        seed = self.arguments.search_seeds[0]
        count = shared_stages(self.space, self.default, lambda method: self.chain_of(method, seed), seed)
        return min(count, len(self.chain_of(self.default, seed)) - 1)

    @property
    def _compared(self) -> tuple[Stage, ...]:
        return self.chain_of(self.default, self.arguments.search_seeds[0])[self.shared :]

    def _points(self) -> list[dict[str, Any]]:
        points = first_points(self.space, self.default)
        if self.arguments.sampler == "grid":
            points += [point for point in grid_points(self.space, self.default) if point not in points]
            left_out = len(points) - self.arguments.trials
            if left_out > 0:
                print(f"note: the grid has {len(points)} points, --trials {self.arguments.trials} leaves out the last {left_out}")
        return points[: self.arguments.trials]

    def _ledger(self) -> Ledger:
        a = self.arguments
        total = sum(map(evaluations, self._compared)) if a.pruner == "asha" else 0
        one = self._compared[0]
        return Ledger(
            self.out / JOURNAL,
            trials=a.trials,
            sampler=a.sampler,
            seed=a.sampler_seed,
            objectives=2 if self._costs else 1,
            total=total,
            eta=a.eta,
            parallel=a.ray.expected_slots() > 1,
            identity={
                "data": plain(one.split),
                "net": by_content(one.net),
                "train": of_training(self.bench.train),
                "method": {"name": name_of(self.default), **for_key(self.default)},
                "space": extent(self.space, self.default),
                "sampler": [a.sampler, a.sampler_seed],
                "search_seeds": list(a.search_seeds),
                "objectives": a.objectives,
                "pruner": [a.pruner, a.eta],
            },
        )

    def _feed(self, ledger: Ledger, slots: int) -> TrialFeed:
        return TrialFeed(
            ledger,
            self.space,
            self.default,
            chain_of=self.chain_of,
            seeds=self.arguments.search_seeds,
            shared=self.shared,
            store=self.bench.place.open_store(),
            slots=slots,
            eta=self.arguments.eta,
            costs=self._costs,
        )

    @property
    def _costs(self) -> bool:
        return self.arguments.objectives == "score+seconds"

    def _head(self) -> str:
        chain = self.chain_of(self.default, self.arguments.search_seeds[0])
        names = [stage.name for stage in chain]
        shared = f", of which {' '.join(names[: self.shared])} shared" if self.shared else ""
        return f"{self.arguments.trials} trials of {name_of(self.default)} ({' '.join(names)}{shared}), {self.arguments.sampler}"

    def _cost(self, slots: int) -> str:
        chain, place = self.chain_of(self.default, self.arguments.search_seeds[0]), self.bench.place
        costs = costs_of(chain, place)
        seconds = [stage_seconds(stage, place, costs[stage.key]) for stage in chain]
        once, each = sum(seconds[: self.shared]), sum(seconds[self.shared :])
        alone = duration(self.arguments.trials * (once + each))
        full = duration((once + self.arguments.trials * each) / slots)
        return f"{alone} of stage time if trained alone and in full; at most {full} on {slots} slots with sharing, less what is stopped early"

    def comparison(self, method: Method) -> Study:
        """The study of the default, its anchors and, when it is another one, the given configuration, on all seeds."""
        rows = {DEFAULT: Row()} | ({} if method == self.default else {BEST: Row(difference(method, self.default))})
        preset = replace(self.preset, rows=tuple(rows), adds={})
        table = Ablation(  # a comparison, so that both rows stand beside their anchors and all labels
            name=self.search.name,
            title=f"{self.search.title}: the best configuration against the default",
            question=self.search.question,
            rows=rows,
            reference=DEFAULT,
            against={},
            presets={self.arguments.preset: preset},
        )
        return Study(table, preset, replace(self.arguments, out=self.out / FINAL), self.words, self.bench)

    def _about(self) -> dict[str, Any]:
        a, bench = self.arguments, self.bench
        one = self._compared[0]
        about = provenance(torch.device(bench.place.device), bench.place.git)
        return {
            "title": self.search.title,
            "question": self.search.question,
            "method": name_of(self.default),
            "data": {
                "name": self.preset.data.name,
                "labelled": one.split.labelled,
                "train": len(bench.splits.training),
                "selection": len(bench.splits.selection),
                "test": len(bench.splits.test),
                "size": f"{bench.pack.heights.max()} x {bench.pack.widths.max()}",
                "fingerprint": bench.pack.fingerprint,
            },
            "metric": bench.train.score,
            "objectives": [bench.train.score, "seconds"] if self._costs else [bench.train.score],
            "resource": {
                "stages": [stage.name for stage in self._compared],
                "evaluations": evaluations(one),
                "total": sum(map(evaluations, self._compared)),
            },
            "trials": a.trials,
            "sampler": a.sampler,
            "sampler_seed": a.sampler_seed,
            "pruner": a.pruner,
            "eta": a.eta,
            "seeds": list(a.search_seeds),
            "command": command_line(self.words),
            "git": about["git"],
            "versions": about["versions"],
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": {"net": by_content(one.net), "train": plain(self.bench.train), "method": plain(self.default)},
        }

    def _close(self, ledger: Ledger, best: FrozenTrial, method: Method) -> None:
        """Write best.json, search.json and the report; print the closing table."""
        table = score_table(read(self.out / FINAL))
        rows = {row.name: row for row in table.rows}
        first = next((trial for trial in ledger.all(TrialState.COMPLETE) if trial.user_attrs.get("default")), None)
        chosen, default = rows.get(BEST, rows[DEFAULT]), rows[DEFAULT]
        delta = chosen.delta if chosen is not default else None  # the default's is to its anchor
        room = table.headrooms.get(chosen.name)
        beside = {} if room is None else {"labels only": room.anchor, "all labels": room.all_labels}
        summary: dict[str, Any] = {
            "split": "selection" if self.arguments.development else "test",
            "best": {"trial": best.number, "selection": best.values[0], "test": chosen.score._asdict(), "params": best.params},
            "default": {"selection": first.values[0] if first else None, "test": default.score._asdict()},
            "anchors": {who: rows[name].score._asdict() for who, name in beside.items() if name},
            "verdict": answer(table, pretty(self.preset.train.score)).sentences if room or table.until else (),
            "delta_selection": best.values[0] - first.values[0] if first else None,
            "delta_test": {name: getattr(delta, name) for name in ("mean", "sd", "n", "low", "high")} if delta else None,
            "counts": {
                name: len(ledger.all(state))
                for name, state in (("finished", TrialState.COMPLETE), ("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL))
            },
            "seconds": spent(ledger),
        }
        (self.out / "search.json").write_text(json.dumps(finite(summary), indent=1) + "\n", encoding="utf-8")
        saved = Saved(reported_data(self.preset.data), self.bench.net, self.bench.train, method)
        score = {"selection": best.values[0], "test": finite(chosen.score._asdict()), "seeds": list(table.seeds)}
        write_config(self.out / "best.json", saved, {"score": score, "trial": best.number})
        page = write_search_report(self.out)
        print(
            f"\n{closing(summary, pretty(self.preset.train.score))}\n\nbest configuration: {self.out / 'best.json'}\nreport: {page}"
        )
