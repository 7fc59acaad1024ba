"""What an ablation and a search share between their arguments and their training: the data opened, the settings that were left to the
machine, the cost, the cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from semiseg.change import with_values
from semiseg.config import SettingError, Train, require
from semiseg.data import Pack, Splits, understood
from semiseg.device import gpus, resolve
from semiseg.evaluate import check_scoring
from semiseg.graphs import BACKEND
from semiseg.lazy import torch
from semiseg.losses import Loss
from semiseg.machine import usable_cpus
from semiseg.methods import Method
from semiseg.nets import check_network, located
from semiseg.nets.weights import brief
from semiseg.outside import local_folder, local_path, store_location
from semiseg.provenance import git_revision
from semiseg.runner import Place, split_of
from semiseg.stage import Split, Stage
from semiseg.sweep.ahead import Ahead
from semiseg.sweep.anchors import learns_unlabelled
from semiseg.sweep.arguments import Common
from semiseg.sweep.costs import Costs
from semiseg.sweep.declaration import Preset
from semiseg.sweep.draws import design_of
from semiseg.sweep.dry_run import KnownPlace, absent, notice, offline, printed, sections
from semiseg.sweep.feed import Feed
from semiseg.sweep.resources import check_resources, sharing_advice
from semiseg.sweep.rows import ResolvedRow
from semiseg.train import StageError

DONE, FAILED = 0, 1
"""Exit status of a run whose stages are all done, or of which some failed."""


class Bench:
    """Where a resolved preset is run: data, store and cache opened, network and training settings without anything left open.

    Raises SettingError for what cannot be used.
    """

    def __init__(self, preset: Preset, arguments: Common[Any], name: str) -> None:
        self.preset, self.arguments = preset, arguments
        self.ray = arguments.ray
        self.net = located(preset.net)
        self.name = run_name(name, preset, arguments)
        self.place, self.pack, self.splits = self._open()
        """The splits are those of the first seed."""
        self.train = self._resolved()
        self._ahead: Ahead | None = None
        self._advised = False
        self._splits: dict[tuple[tuple[str, Any], ...], Split] = {}

    def _open(self) -> tuple[Place, Pack, Splits]:
        a, data = self.arguments, self.preset.data
        if self.ray.address is None:  # of a joined cluster the resources are known only when it is joined
            check_resources(self.ray, usable_cpus(), gpus())
        places = {name: path for name in ("root", "labelled_list") if (path := getattr(data, name)) is not None}
        data = replace(data, **{name: local_path(path, f"data.{name}") for name, path in places.items()})
        cache, store = local_folder(a.cache, "cache"), store_location(a.store)
        place = (KnownPlace if a.dry_run and absent(data) else Place)(
            data=data,
            cache=cache,
            store=store,
            device="cuda" if self.ray.gpus > 0 else "cpu",
            graphs=BACKEND if self.ray.cuda_graphs else "",
            threads=self.ray.cpus_per_trial,
            checkpoint_seconds=a.checkpoint_seconds,
            wait_seconds=a.wait_seconds,
            git=git_revision(),
        )
        place.open_store()
        return place, *place.open(**design_of(self.preset).first.data)

    def _resolved(self) -> Train:
        sizes = set(zip(self.pack.heights.tolist(), self.pack.widths.tolist(), strict=True))
        return resolve(self.preset.train, sizes.pop() if len(sizes) == 1 else None, self.place.device)

    def split(self, **changes: Any) -> Split:
        """The images of the preset's data, or with a row's other values of it."""
        asked = tuple(changes.items())
        if asked not in self._splits:
            self._splits[asked] = split_of(*self.place.open(**changes))
        return self._splits[asked]

    def images(self, line: ResolvedRow) -> Split:
        """The images of a row; of one that learns labels alone all training images, as their number changes none of its weights."""
        if line.data.get("unlabelled", self.preset.data.unlabelled) == "all":
            return self.split(**line.data)
        whole = self.split(**{**line.data, "unlabelled": "all"})
        chain = line.method.stages(whole, self.net, with_values(self.train, line.train), 0)
        return whole if learns_unlabelled(chain) is None else self.split(**line.data)

    def check_data(self, methods: Mapping[str, Method]) -> None:
        """Say what the data were understood to be. Raise SettingError for a row whose method cannot be trained on them."""
        name = self.preset.data.name
        for row, method in methods.items():
            dense = method.IMAGE_LEVEL or not self.pack.image_level
            require(dense, f"data.name in row {row!r}", name, "a data set with a mask per image")
            for field in fields(method):
                if isinstance(loss := getattr(method, field.name), Loss):
                    loss.check_classes(f"row {row!r}: method.{field.name}", self.pack.classes)
        if not isinstance(self.place, KnownPlace):
            print(understood(self.pack, self.splits), flush=True)

    def check_stages(self, stages: Sequence[Stage]) -> None:
        """Raise SettingError for a network that cannot be trained with these stages on the data, or scored as they ask. Kinds of stages
        with a known cost have been trained so, here or elsewhere; their weights need not have been there."""
        for train in {stage.train for stage in stages}:
            check_scoring(train, self.pack)
        memory = Costs(self.place)
        if not self.net.weights and all((memory.of(stage) or memory.elsewhere(stage)) is not None for stage in stages):
            return
        branch = max(stage.rule.own_blocks for stage in stages)
        net = offline(self.net) if self.arguments.dry_run else self.net
        sizes = list(zip(self.pack.heights.tolist(), self.pack.widths.tolist(), strict=True))
        scored = (min(height for height, _ in sizes), min(width for _, width in sizes))
        whole = any(stage.train.sliding_window is None for stage in stages)
        largest = max(sizes, key=math.prod) if whole else None
        check_network(net, len(self.pack.classes), self.train, self.pack.image_level, branch, scored, len(self.pack.mean), largest)

    def show_settings(self, rows: Mapping[str, str], used: Mapping[str, Method]) -> None:
        """Print all settings as a dry run does: rows as words, and of the methods those that are used."""
        if isinstance(self.place, KnownPlace):
            print(notice(self.place.data, self.splits, self.place.device), end="\n\n")
        found = sections(self.place.data, self.net, self.train, used, rows, self.preset.seeds)
        found["seeds"] |= (
            {"vary": self.preset.vary, "subsets": list(self.preset.subsets)} if design_of(self.preset).vary != "training" else {}
        )
        print(printed(found), flush=True)

    def cost(self, measure: Callable[[int], str]) -> str:
        """What `measure(slots)` says of the time that training takes, or why that is unknown."""
        if self.place.device == "cuda" and not gpus():
            return "cost unknown: no GPU on this machine to measure on"
        try:
            return f"{measure(self.ray.expected_slots())}{self._sharing()}"
        except StageError as error:  # it will fail alone when it is trained
            return f"cost unknown: {error}"
        except (RuntimeError, ValueError, MemoryError) as error:  # of BatchNorm, of shapes, of memory: so would all of them
            raise SettingError(
                f"{self.name}: a training step fails here ({brief(error)}); allowed: settings with which it does not"
            ) from None

    def _sharing(self) -> str:
        """A further line, said once, where a GPU on which a cost was measured would hold more stages."""
        if self.place.device != "cuda" or self._advised:
            return ""
        advice = sharing_advice(self.ray, torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1])
        self._advised = bool(advice)
        return f"\n{advice}" if advice else ""

    @contextmanager
    def cluster(self) -> Iterator[int]:
        """Ray, started, joined or as it runs already; how many stages it trains at a time."""
        from semiseg.sweep import cluster  # ray takes seconds to import: only when something is to be trained

        if self._ahead is not None:
            self._ahead.wait()
        try:
            with cluster.running(self.ray, self.arguments.wait_seconds):
                yield cluster.slots(self.ray)
        finally:
            self.end()

    def begin(self) -> None:
        """There is something to train: a private cluster starts beside what is still to be done, until `cluster` has been left, or
        `end`."""
        if self.ray.address is None and self._ahead is None:
            self._ahead = Ahead(self.ray, self.arguments.wait_seconds)

    def end(self) -> None:
        """Of what `begin` has started."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def feed(self, feed: Feed, slots: int) -> int:
        """Train what the feed gives on the running cluster; the signal that stopped it, or 0."""
        from semiseg.sweep import tune

        with feed.monitor:
            return tune.run(feed, self.place, self.ray, study=self.name, count=slots, limit=self.arguments.wait_seconds)


def results_folder(arguments: Common[Any], name: str) -> Path:
    """Where the results of a run go, absolute. SettingError for what is no folder of this machine."""
    return local_path(arguments.out or Path("results") / name, "out")


def run_name(name: str, preset: Preset, arguments: Common[Any]) -> str:
    """The name of a run: of what was declared, with the data set unless it is the built-in one; quick ones and development apart."""
    data = "" if preset.data.name == "synthetic" else f"-{preset.data.name}"
    return f"{name}{data}{'-development' * arguments.development}{'-quick' * arguments.quick}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
