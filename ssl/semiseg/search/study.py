"""One run of a search: train what the ledger asks for, compare the configuration that is picked with the default."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from optuna.trial import FixedTrial, TrialState

from semiseg.change import Row
from semiseg.codec import write_row
from semiseg.config import Net, require
from semiseg.methods import name_of
from semiseg.nets import build
from semiseg.outside import writable_folder
from semiseg.search.about import about_of, identity_of
from semiseg.search.arguments import SearchArguments
from semiseg.search.choice import choose
from semiseg.search.configuration import Configuration
from semiseg.search.declaration import Search
from semiseg.search.feed import TrialFeed, evaluations
from semiseg.search.final import DEFAULT, close, final_study
from semiseg.search.folder import set_damaged_aside
from semiseg.search.identity import identity_in, unsaid
from semiseg.search.judging import judges_of
from semiseg.search.ledger import ENDED, JOURNAL, Ledger
from semiseg.search.report import write_search_report
from semiseg.search.space import Params, Space, first_points, grid_points, shared_stages
from semiseg.search.warm import Earlier, earlier
from semiseg.stage import Stage
from semiseg.sweep.bench import DONE, FAILED, Bench, duration, results_folder, run_name
from semiseg.sweep.costs import Costs
from semiseg.sweep.declaration import Preset
from semiseg.sweep.dry_run import offline
from semiseg.sweep.estimate import costs_of, stage_seconds
from semiseg.sweep.planned import note, unchanged
from semiseg.sweep.renewal import Renewal
from semiseg.sweep.stop import Stopped
from semiseg.sweep.study import Study
from semiseg.train import StageError
from semiseg.users import note_user

RENDER = "import os, sys, pathlib, semiseg.search.report as r; os.nice(15); r.write_search_report(pathlib.Path(sys.argv[1]))"


class SearchStudy:
    """One run of a search with a resolved preset: everything between the command line and the exit status."""

    def __init__(
        self, search: Search, preset: Preset, arguments: SearchArguments[Any], space: Space, words: Sequence[str] = ()
    ) -> None:
        self.search, self.preset, self.arguments, self.space, self.words = search, preset, arguments, space, words
        self.default = Configuration(preset.method, preset.net)
        self.out = results_folder(arguments, run_name(search.name, preset, arguments))
        self.judges = judges_of(arguments, identity_in(self.out / JOURNAL))
        self._parameters: dict[Net, int] = {}

    def open(self) -> None:
        """Open the data, and refuse a default that cannot be trained on them."""
        self.bench = bench = Bench(self.preset, self.arguments, self.search.name)
        self.default = Configuration(self.preset.method, bench.net)  # whose files are found
        bench.check_data({DEFAULT: self.preset.method})
        if not self.arguments.dry_run and not (self.out / JOURNAL).exists():
            bench.begin()
        stages = [
            stage for seed in self.preset.seeds for stage in self.preset.method.stages(bench.split(), bench.net, bench.train, seed)
        ]
        bench.check_stages([*stages, *(stage for seed in self.judges.seeds for stage in self.chain_of(self.default, seed))])

    def run(self) -> int:
        """Search, compare, report; the exit status."""
        try:
            return self._run()
        finally:
            if "bench" in vars(self):  # the data could be opened
                self.bench.end()

    def _run(self) -> int:
        self.open()
        a, bench = self.arguments, self.bench
        if a.dry_run:
            method = self.preset.method
            bench.show_settings({DEFAULT: write_row(Row(), {name_of(method): method})}, {name_of(method): method})
        points, before = self._points(), self._earlier()
        if a.dry_run:
            print(f"{self._head()}, {bench.cost(self._cost)}")
            return DONE
        writable_folder(self.out, "out")
        set_damaged_aside(self.out)
        with ExitStack() as stack:
            ledger = stack.enter_context(self._ledger())
            ledger.study.set_user_attr("about", self._about())
            ledger.enqueue(points)
            ledger.enqueue([one.best for one in before if one.best])
            for one in before:
                ledger.add(one.trials)
            wanted = len(points) if a.sampler == "grid" else a.trials
            left = wanted - len(ledger.all(*ENDED))
            print(f"{self._head()}, {max(left, 0)} to go", flush=True)
            note_user(self.bench.place.open_store(), self.out, {})  # its journal names its stages
            try:
                self._train(ledger, stack)
            except Stopped:
                write_search_report(self.out)
                raise
            except StageError as error:
                print(f"failed: {error}", file=sys.stderr)
                write_search_report(self.out)
                return FAILED
            trial = choose(ledger.all(TrialState.COMPLETE), a.pick)
            if trial is None:
                print(f"no trial has finished; report: {write_search_report(self.out)}", file=sys.stderr)
                return FAILED
            picked = self.space.suggest(FixedTrial(trial.params), self.default)
            seeds = ", ".join(map(str, self.preset.seeds))
            seeds += " and more until decided" if self.arguments.until else ""
            print(
                f"\n{'selection' if a.development else 'test'} images, best configuration (trial {trial.number}) against the default, "
                f"seeds {seeds}:",
                flush=True,
            )
            compared = self.comparison(picked)
            status = compared.run()
            if not compared.unwritten:
                close(self.out, ledger, trial, picked, compared)
        return status

    def _train(self, ledger: Ledger, stack: ExitStack) -> None:
        """Train until all trials have ended. Raises Stopped when a signal came, StageError when a stage that all share failed."""
        renewal = Renewal(self.out, lambda: None, RENDER)  # the journal is written already
        feed = self._feed(ledger, self.arguments.ray.expected_slots(), renewal)
        first = feed.take()
        if first is None:
            return
        feed.stop(first.key)
        feed.slots = stack.enter_context(self.bench.cluster())
        try:
            stopped = self.bench.feed(feed, feed.slots)
        finally:
            renewal.close()
        if stopped:
            raise Stopped(stopped)
        if feed.broken:
            raise StageError(f"{feed.broken}; all trials need this stage, and the same command tries it again")
        feed.tidy()

    def chain_of(self, made: Configuration, seed: int) -> tuple[Stage, ...]:
        """The stages of a configuration that a seed judges."""
        bench = self.bench
        return made.method.stages(bench.split(**self.judges.images(seed)), made.net, bench.train, seed)

    def parameters_of(self, made: Configuration) -> int:
        """How many parameters the network that is evaluated has, without branches that only training needs."""
        net = offline(made.net)
        if net not in self._parameters:
            pack = self.bench.pack
            mean, std = (tuple(map(float, values)) for values in (pack.mean, pack.std))
            built = build(net, len(pack.classes), mean=mean, std=std, seed=0)
            self._parameters[net] = sum(one.numel() for one in built.parameters())
        return self._parameters[net]

    @cached_property
    def shared(self) -> int:
        """Leading stages that all configurations have in common; never all of the default's."""
        seed = self.judges.seeds[0]
        count = shared_stages(self.space, self.default, lambda made: self.chain_of(made, seed), seed)
        return min(count, len(self.chain_of(self.default, seed)) - 1)

    @property
    def _compared(self) -> tuple[Stage, ...]:
        return self.chain_of(self.default, self.judges.seeds[0])[self.shared :]

    def _points(self) -> list[Params]:
        points = first_points(self.space, self.default)
        if self.arguments.sampler == "grid":
            points += [point for point in grid_points(self.space, self.default) if point not in points]
            left_out = len(points) - self.arguments.trials
            if left_out > 0:
                print(f"note: the grid has {len(points)} points, --trials {self.arguments.trials} leaves out the last {left_out}")
        return points[: self.arguments.trials]

    def _earlier(self) -> list[Earlier]:
        """What the searches of --warm-start tell; says so."""
        found = []
        for folder in self.arguments.warm_start:
            require(folder.resolve() != self.out.resolve(), "warm_start", folder, "the results of another search than this one")
            one = earlier(
                folder,
                self.space,
                self.default,
                identity=self._identity,
                meant=unsaid(self.preset.method),
                objectives=self.arguments.objectives,
                parameters=self.parameters_of,
            )
            print(one.said(folder), flush=True)
            found.append(one)
        return found

    @property
    def _identity(self) -> dict[str, Any]:
        return identity_of(self.arguments, self.space, self.default, self.judges, self._compared[0], self.bench.train)

    def _ledger(self) -> Ledger:
        a = self.arguments
        return Ledger(
            self.out / JOURNAL,
            trials=a.trials,
            sampler=a.sampler,
            seed=a.sampler_seed,
            objectives=a.objectives,
            total=sum(map(evaluations, self._compared)) if a.pruner == "asha" else 0,
            eta=a.eta,
            parallel=a.ray.expected_slots() > 1,
            identity=self._identity,
            meant=unsaid(self.preset.method),
        )

    def _feed(self, ledger: Ledger, slots: int, renewal: Renewal) -> TrialFeed:
        return TrialFeed(
            ledger,
            self.space,
            self.default,
            chain_of=self.chain_of,
            seeds=self.judges.seeds,
            shared=self.shared,
            store=self.bench.place.open_store(),
            slots=slots,
            eta=self.arguments.eta,
            objectives=self.arguments.objectives,
            parameters=self.parameters_of,
            news=renewal.news,
        )

    def _head(self) -> str:
        chain = self.chain_of(self.default, self.judges.seeds[0])
        names = [stage.name for stage in chain]
        shared = f", of which {' '.join(names[: self.shared])} shared" if self.shared else ""
        return f"{self.arguments.trials} trials of {self.space.name} ({' '.join(names)}{shared}), {self.arguments.sampler}"

    def _cost(self, slots: int) -> str:
        chain, place = self.chain_of(self.default, self.judges.seeds[0]), self.bench.place
        memory = Costs(place)
        costs = costs_of(chain, place, memory=memory)
        seconds = [stage_seconds(stage, place, costs[stage.key]) for stage in chain]
        once, each = sum(seconds[: self.shared]), sum(seconds[self.shared :])
        alone = duration(self.arguments.trials * (once + each))
        full = duration((once + self.arguments.trials * each) / slots)
        if unchanged(self.words):
            note(place.cache, self.search.name, f"at most {full} on {slots} slot{'s' if slots != 1 else ''}")
        seeds = len(self.judges.seeds)
        further = f", and the best of {self.arguments.eta} on {seeds} seeds" if seeds > 1 else ""
        return (
            f"{alone} of stage time if trained alone and in full; at most {full} on {slots} slots with sharing, less what is stopped "
            f"early{further}{memory.said()}"
        )

    def comparison(self, picked: Configuration) -> Study:
        """The study that compares a configuration with the default."""
        return final_study(self.search, self.preset, self.arguments, picked, out=self.out, words=self.words, bench=self.bench)

    def _about(self) -> dict[str, Any]:
        return about_of(self.search, self.arguments, self.default, self.judges, self.bench, self._compared, self.words)
