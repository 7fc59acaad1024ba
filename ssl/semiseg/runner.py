"""One stage from the plan to the store: open the data, go on from a checkpoint, train, publish. Needs no ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.batches import unlabelled_rows
from semiseg.config import Data
from semiseg.data import load, split
from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.data_settings import OF_MASKS
from semiseg.derived import derived, derived_name, quality_of
from semiseg.lazy import torch
from semiseg.methods.rule import Masks, Pick, PseudoMasks, keep_all
from semiseg.nets import located
from semiseg.provenance import provenance
from semiseg.pseudo import Learned, pseudo_masks, read_masks, write_masks
from semiseg.published import WEIGHTS_FILE, picked, write_outcome
from semiseg.quality import Quality, learned_lines
from semiseg.stage import Split, Stage, hash_of
from semiseg.store import Store
from semiseg.train import StageError, Trainer


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a stage runs: nothing in here can change a weight, so nothing of it is in a key. Paths are absolute."""

    data: Data
    cache: Path
    store: str
    device: str = "cpu"
    graphs: str = ""
    """How networks are replayed on a GPU (`Trainer`)."""
    threads: int = 1
    checkpoint_seconds: float = 30.0
    wait_seconds: float = 60.0
    """For how long an answer of a remote store is awaited."""
    git: str = ""

    def open(self, **changes: Any) -> tuple[Pack, Splits]:
        """The packed data and its splits, opened once per process; `changes` are a row's other values of the data.

        Where they change masks, those of selection and test stay as they are without, so that all rows are scored on the same.
        """
        pack, splits = self.opened(replace(self.data, **changes))
        return pack, splits._replace(opened=tuple(changes.items()))

    def reopen(self, split: Split) -> tuple[Pack, Splits]:
        """The images of a stage."""
        return self.open(**dict(split.opened))

    def opened(self, asked: Data) -> tuple[Pack, Splits]:
        """What `open` gives for a row's data."""
        return _opened(self.data, asked, self.cache)

    def open_store(self, say: Callable[[str], None] = print) -> Store:
        """The store; `say` is told of what was damaged in it."""
        return Store(self.store, self.cache / "mirror", limit=self.wait_seconds, say=say)


def split_of(pack: Pack, splits: Splits) -> Split:
    """The part of a stage's key that says what it learns from and is scored on."""

    def names(rows: np.ndarray) -> str:
        return hash_of(sorted(pack.ids[row] for row in rows))

    return Split(
        fingerprint=pack.fingerprint,
        classes=pack.classes,
        labelled=len(splits.labelled),
        labelled_hash=splits.labelled_hash,
        training=len(splits.training),
        training_hash=names(splits.training),
        selection_hash=names(splits.selection),
        test_hash=names(splits.test),
        normalise=pack.normalise,
        scored=pack.scored,
        opened=splits.opened,
    )


class StageRun:
    """A stage in progress. Making one opens the data and the latest checkpoint; `advance` until `finished`, then it is published.

    Raises StageError when the data on this machine are not those that were planned for, or training cannot go on.
    """

    def __init__(self, stage: Stage, place: Place) -> None:
        self.notes: list[str] = []
        """What people must be told, such as that something damaged was set aside."""
        self.stage, self.place, self.store = stage, place, place.open_store(self.notes.append)
        self.started, self.cpu_started = time.time(), time.process_time()
        self.saved_at = time.monotonic()
        torch.set_num_threads(place.threads)
        pack, splits = place.reopen(stage.split)
        if split_of(pack, splits) != stage.split:
            raise StageError(
                f"{stage.name}: the data at {place.data.root} are not those of the plan (fingerprint {pack.fingerprint[:12]})"
            )
        if located(stage.net).digest != stage.net.digest:
            raise StageError(f"{stage.name}: the files of net.name and net.weights are not those of the plan")
        self.device = torch.device(place.device)
        self._trainer = partial(Trainer, stage, pack, splits, self.device, self._learn(pack, splits), place.graphs)
        self.trainer = self._trainer()
        self.earlier = {"seconds": 0.0, "cpu_seconds": 0.0, "started": self.started}
        self._resume()
        self.resumed_at = self.trainer.progress.step

    def _resume(self) -> None:
        """Go on from the stage's checkpoint; one that cannot be read is set aside, and the stage begins anew."""
        checkpoint = self.store.read_checkpoint(self.stage.key)
        if checkpoint is None:
            return
        try:
            saved = torch.load(checkpoint, map_location=self.device, weights_only=True)
            self.trainer.restore(saved)
            self.earlier = saved["clock"]
        except Exception as error:  # noqa: BLE001  torch, pickle and zipfile have many kinds
            self.store.set_aside(checkpoint, f"no checkpoint of this stage: {type(error).__name__}")
            self.trainer = self._trainer()

    @property
    def finished(self) -> bool:
        return self.trainer.finished

    def advance(self, seconds: float) -> dict[str, Any]:
        """Train for about `seconds`, checkpoint when it is time, publish at the end; returns figures for whoever watches."""
        begun, before = time.perf_counter(), self.trainer.progress.step
        self.trainer.advance(seconds)
        images = (self.trainer.progress.step - before) * self.trainer.images_per_step
        rate = images / (time.perf_counter() - begun)
        if self.finished:
            self._publish()
        elif time.monotonic() - self.saved_at >= self.place.checkpoint_seconds:
            self.checkpoint()
        return {
            "training_step": self.trainer.progress.step,
            "steps": self.stage.train.steps,
            "selection_score": self.trainer.progress.selection,
            "selection_curve": self.trainer.selection_curve(),
            "images_per_second": rate,
            "seconds": self._clock()["seconds"],
            "notes": self._take_notes(),
        }

    def _take_notes(self) -> list[str]:
        notes, self.notes[:] = list(self.notes), []
        return notes

    def checkpoint(self) -> None:
        """Save everything needed to go on from here."""
        saved = self.trainer.checkpoint() | {"clock": self._clock()}

        def write(path: Path) -> None:
            with path.open("wb") as file:  # torch.save refuses a file name that begins with a dot
                torch.save(saved, file)

        self.store.write_checkpoint(self.stage.key, write)
        self.saved_at = time.monotonic()

    def _clock(self) -> dict[str, float]:
        return {
            "seconds": self.earlier["seconds"] + time.time() - self.started,
            "cpu_seconds": self.earlier["cpu_seconds"] + time.process_time() - self.cpu_started,
            "started": self.earlier["started"],
        }

    def _learn(self, pack: Pack, splits: Splits) -> Learned:
        """What the rule takes from the teacher stages: pseudo-masks with their confidences, initial weights."""
        needs = self.stage.rule.needs
        initial = {role: self._initial(pick) for role, pick in needs.initial.items()}
        if needs.masks is None:
            return Learned(initial=initial)
        masks, confidences = self._masks(needs.masks, pack, splits)
        if needs.apart:  # those of labelled images are cut out too, but neither filtered nor learned
            some = set(unlabelled_rows(splits).tolist())
            chosen = ({row: one for row, one in maps.items() if row in some} for maps in (masks, confidences))
            masks = {**masks, **needs.masks.keep(*chosen)}
        else:
            masks = needs.masks.keep(masks, confidences)
        return Learned(masks, confidences if needs.masks.confidences else None, initial)

    def _initial(self, pick: Pick) -> dict[str, torch.Tensor]:
        teacher, prefix = self._network(pick)
        return {name.removeprefix(prefix): value for name, value in self._weights(teacher).items() if name.startswith(prefix)}

    def _network(self, pick: Pick) -> tuple[Stage, str]:
        """The picked teacher stage and the prefix of the picked network in its weights."""
        teacher = picked(self.stage, pick, self.store)
        role = teacher.rule.evaluated if pick.role == "evaluated" else pick.role
        return teacher, f"{pick.weights}.{role}."

    def _weights(self, teacher: Stage) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(self.store.folder(teacher.key) / WEIGHTS_FILE)

    def _masks(self, wanted: PseudoMasks, pack: Pack, splits: Splits) -> tuple[Masks, Masks]:
        """Pseudo-masks by row and, where they are wanted for anything, their confidences; made from the teacher's weights by the first
        stage that needs them, then kept."""
        teacher, prefix = self._network(wanted.of)
        sure, rows = wanted.confidences or wanted.keep is not keep_all, splits.training.tolist()

        def write(path: Path) -> None:
            quality = Quality(pack, unlabelled_rows(splits))
            tiles = pseudo_masks(
                teacher, self._weights(teacher), prefix, pack, splits.training, self.device, plane=wanted.plane, seen=quality.add
            )
            write_masks(path, pack, rows, tiles, confidences=sure)
            self.store.add(teacher.key, derived_name("quality", prefix, "json"), quality.write)

        plane = {"confidence": "-confidences", "certainty": "-certainties"}[wanted.plane] if sure else ""
        name = derived_name(f"masks{plane}", prefix, "planes")
        masks, confidences = derived(self.store, teacher, name, write, read_masks)
        masks, confidences = ({row: kept[pack.ids[row]] for row in rows} if kept else {} for kept in (masks, confidences))
        return masks, confidences

    def _quality_of_masks(self) -> list[dict[str, Any]]:
        """How good the pseudo-masks of unlabelled images are that the stage has learned."""
        wanted, trainer = self.stage.rule.needs.masks, self.trainer
        if wanted is None:
            return []
        teacher, prefix = self._network(wanted.of)
        kept = None if wanted.keep is keep_all else trainer.learned.masks
        quality = quality_of(teacher, self._weights(teacher), prefix, trainer.pack, trainer.splits, self.store, self.device)
        return learned_lines(quality, kept, self.stage.key, teacher.key, prefix)

    def _publish(self) -> None:
        outcome = self.trainer.finish()
        outcome.targets = [*self._quality_of_masks(), *outcome.targets]
        clock = self._clock()
        info = {
            "key": self.stage.key,
            "name": self.stage.name,
            "settings": self.stage.settings(),
            "evaluated": self.stage.rule.evaluated,
            "teachers": [teacher.key for teacher in self.stage.teachers],
            "chosen_step": outcome.chosen_step,
            "images_per_second": outcome.images / outcome.seconds,
            "ended": time.time(),
            "provenance": provenance(self.device, self.place.git),
        } | clock
        self.store.publish(self.stage.key, lambda folder: write_outcome(folder, outcome, self.trainer.pack), info)


def run_stage(stage: Stage, place: Place) -> None:
    """Train a stage to its end in this process, unless the store has it; its teachers must be there. For use without Ray."""
    if place.open_store().has(stage.key):
        return
    run = StageRun(stage, place)
    run.advance(place.checkpoint_seconds)  # a stage of no steps is published too
    while not run.finished:
        run.advance(place.checkpoint_seconds)


@lru_cache(maxsize=2)
def _loaded(data: Data, cache: Path) -> Pack:
    return load(data, cache)


def loaded(data: Data, cache: Path) -> Pack:
    """The pack, opened once for all labelled subsets: what draws them is of no matter to it."""
    return _loaded(replace(data, labelled=None, labelled_seed=None, unlabelled="all"), cache)


@lru_cache(maxsize=16)
def _opened(data: Data, asked: Data, cache: Path) -> tuple[Pack, Splits]:
    scored = replace(asked, **{name: getattr(data, name) for name in OF_MASKS})
    pack = loaded(scored, cache)
    splits = split(pack, asked)
    if scored != asked:
        pack = loaded(asked, cache).scored_as(pack, np.concatenate([splits.selection, splits.test]))
    return pack, splits
