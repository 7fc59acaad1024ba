"""One run of a search: plan, train what the ledger asks for, compare the best configuration with the default, write the results."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from semiseg.methods import Method, name_of
from semiseg.report.metrics import pretty
from semiseg.report.scores import score_table
from semiseg.results import read
from semiseg.runner import provenance
from semiseg.search.closing import closing, finite, spent, words_of
from semiseg.search.declared import Search, SearchArguments
from semiseg.search.ledger import JOURNAL, Ledger
from semiseg.search.pool import Pool, evaluations
from semiseg.search.report import write_search_report
from semiseg.search.space import Space, extent, first_points, grid, shared_stages
from semiseg.stage import Stage, by_content, plain
from semiseg.store import writable_folder
from semiseg.sweep.ablation import Ablation
from semiseg.sweep.arguments import Arguments
from semiseg.sweep.estimate import measured, stage_seconds
from semiseg.sweep.saved import Saved, write_config
from semiseg.sweep.stop import Stopped
from semiseg.sweep.study import DONE, FAILED, Study, duration
from semiseg.train import StageError

DEFAULT, BEST = "default", "best"
FINAL = "final"
"""Folder of the comparison inside the results of the search."""


class Hunt:
    """One run of a search: everything between the arguments and the exit status."""

    def __init__(self, search: Search, arguments: SearchArguments[Any], space: Space, words: Sequence[str]) -> None:
        self.search, self.arguments, self.space, self.words = search, arguments, space, words
        self.default: Method = arguments.method
        self.opening = self._comparison(self.default, None)
        self.out = (arguments.out or Path("results") / self.opening.name).resolve()

    def run(self) -> int:
        """Search, compare, report; the exit status."""
        self.place, self.pack, self.splits = self.opening.open()
        self.plan = self.opening.plan(self.place, self.pack, self.splits)
        points = self._points()
        if self.arguments.dry_run:
            print(f"{self._head()}, {self._cost()}")
            return DONE
        writable_folder(self.out, "out")
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
            print(f"\ntest images, best configuration (trial {best.number}) against the default, seeds {self._seeds}:", flush=True)
            status = self._comparison(method, self.out / FINAL).run()
            self._close(ledger, best, method)
        return status

    def _train(self, ledger: Ledger, stack: ExitStack) -> None:
        """Train until all trials have ended. Raises Stopped when a signal came, StageError when a stage that all share failed."""
        settings, gpus = self.arguments.ray, self.opening.gpus()
        pool = self._pool(ledger, self.opening.expected_slots())
        first = pool.take()
        if first is None:
            return
        pool.stop(first.key)
        from semiseg.sweep import tune  # ray takes seconds to import: only when something is to be trained

        stack.enter_context(tune.cluster(settings))
        pool.slots = tune.slots(settings, gpus)
        if stopped := tune.run(pool, self.place, settings, study=self.opening.name, gpus_per_trial=gpus, count=pool.slots):
            raise Stopped(stopped)
        if pool.broken:
            raise StageError(f"{pool.broken}; all trials need this stage, and the same command tries it again")
        pool.tidy()

    def chain_of(self, method: Method, seed: int) -> tuple[Stage, ...]:
        """The stages of a configuration."""
        split = next(iter(self.plan.stages.values())).split
        return method.stages(split, self.opening.net, self.opening.train, seed)

    @cached_property
    def shared(self) -> int:
        """Leading stages that all configurations have in common; never all of the default's."""
        seed = self.arguments.search_seeds[0]
        count = shared_stages(self.space, self.default, lambda method: self.chain_of(method, seed), seed)
        return min(count, len(self.chain_of(self.default, seed)) - 1)

    @property
    def _compared(self) -> tuple[Stage, ...]:
        return self.chain_of(self.default, self.arguments.search_seeds[0])[self.shared :]

    @property
    def _seeds(self) -> str:
        return ", ".join(map(str, self.arguments.seeds))

    def _points(self) -> list[dict[str, Any]]:
        points = first_points(self.space, self.default)
        if self.arguments.sampler == "grid":
            points += [point for point in grid(self.space, self.default) if point not in points]
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
            parallel=self.opening.expected_slots() > 1,
            identity={
                "data": plain(one.split),
                "net": by_content(one.net),
                "train": plain(self.opening.train),
                "method": {"name": name_of(self.default), **plain(self.default)},
                "space": extent(self.space, self.default),
                "sampler": [a.sampler, a.sampler_seed],
                "search_seeds": list(a.search_seeds),
                "objectives": a.objectives,
                "pruner": [a.pruner, a.eta],
            },
        )

    def _pool(self, ledger: Ledger, slots: int) -> Pool:
        return Pool(
            ledger,
            self.space,
            self.default,
            chain_of=self.chain_of,
            seeds=self.arguments.search_seeds,
            shared=self.shared,
            store=self.place.open_store(),
            slots=slots,
            eta=self.arguments.eta,
            costs=self._costs,
            say=partial(print, file=sys.stdout, flush=True),  # this one: Tune's own output is sent nowhere
        )

    @property
    def _costs(self) -> bool:
        return self.arguments.objectives == "score+seconds"

    def _head(self) -> str:
        chain = self.chain_of(self.default, self.arguments.search_seeds[0])
        names = [stage.name for stage in chain]
        shared = f", of which {' '.join(names[: self.shared])} shared" if self.shared else ""
        return f"{self.arguments.trials} trials of {name_of(self.default)} ({' '.join(names)}{shared}), {self.arguments.sampler}"

    def _cost(self) -> str:
        if self.place.device == "cuda" and not torch.cuda.is_available():
            return "cost unknown: no GPU on this machine to measure on"
        chain = self.chain_of(self.default, self.arguments.search_seeds[0])
        kinds = [stage_seconds(stage, self.place, measured(stage, self.place)) for stage in chain]
        once, each, slots = sum(kinds[: self.shared]), sum(kinds[self.shared :]), self.opening.expected_slots()
        alone = duration(self.arguments.trials * (once + each))
        full = duration((once + self.arguments.trials * each) / slots)
        return f"{alone} of stage time if trained alone and in full; at most {full} on {slots} slots with sharing, less what is stopped early"

    def _comparison(self, method: Method, out: Path | None) -> Study:
        """The study of the default and, when it is another one, the given configuration, on all seeds."""
        a = self.arguments
        rows = {DEFAULT: words_of(self.default, self.default)}
        if method != self.default:
            rows[BEST] = words_of(method, self.default)
        table = Ablation(
            name=self.search.name,
            title=f"{self.search.title}: the best configuration against the default",
            question=self.search.question,
            rows=rows,
            reference=DEFAULT,
            presets={a.preset: replace(self.search.presets[a.preset], method=self.default, rows=(), words={})},
        )
        shared = {field.name: getattr(a, field.name) for field in fields(Arguments) if field.name not in ("rows", "out", "config")}
        return Study(table, Arguments(**shared, rows=tuple(rows), out=out), self.words)

    def _about(self) -> dict[str, Any]:
        a = self.arguments
        one = self._compared[0]
        about = provenance(torch.device(self.place.device), self.place.git)
        return {
            "title": self.search.title,
            "question": self.search.question,
            "method": name_of(self.default),
            "data": {
                "name": a.data.name,
                "labelled": one.split.labelled,
                "train": len(self.splits.training),
                "selection": len(self.splits.selection),
                "test": len(self.splits.test),
                "size": f"{self.pack.heights.max()} x {self.pack.widths.max()}",
                "fingerprint": self.pack.fingerprint,
            },
            "metric": a.train.score,
            "objectives": [a.train.score, "seconds"] if self._costs else [a.train.score],
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
            "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *self.words]),
            "git": about["git"],
            "versions": about["versions"],
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": {"net": by_content(one.net), "train": plain(self.opening.train), "method": plain(self.default)},
        }

    def _close(self, ledger: Ledger, best: FrozenTrial, method: Method) -> None:
        """Write best.json, search.json and the report; print the closing table."""
        table = score_table(read(self.out / FINAL))
        rows = {row.name: row for row in table.rows}
        first = next((trial for trial in ledger.all(TrialState.COMPLETE) if trial.user_attrs.get("default")), None)
        chosen, default = rows.get(BEST, rows[DEFAULT]), rows[DEFAULT]
        delta = chosen.delta
        summary: dict[str, Any] = {
            "best": {"trial": best.number, "selection": best.values[0], "test": chosen.score._asdict(), "params": best.params},
            "default": {"selection": first.values[0] if first else None, "test": default.score._asdict()},
            "delta_selection": best.values[0] - first.values[0] if first else None,
            "delta_test": {name: getattr(delta, name) for name in ("mean", "sd", "n", "low", "high")} if delta else None,
            "counts": {
                name: len(ledger.all(state))
                for name, state in (("finished", TrialState.COMPLETE), ("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL))
            },
            "seconds": spent(ledger),
        }
        (self.out / "search.json").write_text(json.dumps(finite(summary), indent=1) + "\n", encoding="utf-8")
        saved = Saved(self.arguments.data, self.opening.net, self.opening.train, method)
        score = {"selection": best.values[0], "test": finite(chosen.score._asdict()), "seeds": list(self.arguments.seeds)}
        write_config(self.out / "best.json", saved, {"score": score, "trial": best.number})
        page = write_search_report(self.out)
        print(
            f"\n{closing(summary, pretty(self.arguments.train.score))}\n\nbest configuration: {self.out / 'best.json'}\nreport: {page}"
        )
