"""Where does a training step spend its time, and what does it keep in memory? CPU seconds per step and the share outside the networks,
and the activations that a step keeps for its backward pass.

Times the steps of the full row's stages of the default study (another preset, or rows of another table) in this process, on one
thread. "Networks" are the forward passes of student and teacher and the backward pass; the rest is batches, augmentation, losses,
optimiser and moving average. "Kept" are the bytes of the distinct storages that autograd has saved when the backward pass begins,
without weights and statistics: what grows with images that a gradient goes through, the same on every machine and for every allocator.
grubisic2021 claims that one-way consistency has the memory footprint of supervised training: a simple teacher keeps nothing, where both
branches of two-way consistency learn. Takes an estimated 60 seconds.

    python analysis/profile_steps.py
    python analysis/profile_steps.py --sweep sweeps/compare_consistency_directions.py --rows supervised "1w-ps simple" "1w-ps MT" "2w-p1 simple"
"""

import argparse
import runpy
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from semiseg.change import with_values
from semiseg.device import resolve
from semiseg.pseudo import blank
from semiseg.runner import Place, split_of
from semiseg.stage import Stage
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.rows import resolve_row
from semiseg.train import Trainer

WARM_STEPS = 5


class Clock:
    """CPU seconds spent inside wrapped functions, per call of `take`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.process_time() - started

        return timed

    def take(self) -> float:
        """Seconds since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


class Saved:
    """A tensor that autograd keeps, of the same storage but no part of the graph, so that no circle of references keeps it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


@contextmanager
def kept_bytes(not_counted: Iterable[Tensor]) -> Iterator[Callable[[], int]]:
    """Says, when it is called, how many bytes autograd holds of what was saved within: each storage once, without those given."""
    alive: weakref.WeakSet[Saved] = weakref.WeakSet()
    known = {tensor.untyped_storage().data_ptr() for tensor in not_counted}

    def pack(tensor: Tensor) -> Saved:
        saved = Saved(tensor)
        alive.add(saved)
        return saved

    def count() -> int:
        storages = {one.tensor.untyped_storage().data_ptr(): one.tensor.untyped_storage().nbytes() for one in alive}
        return sum(size for pointer, size in storages.items() if pointer not in known)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        yield count


class Profile(NamedTuple):
    """CPU seconds (steps,) of whole steps and of the networks in them; most bytes kept for a backward pass; images of a step."""

    whole: np.ndarray
    networks: np.ndarray
    kept: int
    images: int


def profile(stage: Stage, place: Place, steps: int) -> Profile:
    """Measure the stage's steps after WARM_STEPS, and what one more of them keeps: watching takes time."""
    pack, splits = place.reopen(stage.split)
    trainer = Trainer(stage, pack, splits, torch.device("cpu"), blank(stage.rule, pack, splits.training))
    trainer.state.student.train()
    clock = Clock()
    for network in trainer.state.scored().values():
        for name in ("forward", "both"):
            if hasattr(network, name):
                setattr(network, name, clock.wrap(getattr(network, name)))
    whole, networks, kept = [], [], []
    backward = torch.Tensor.backward
    torch.Tensor.backward = clock.wrap(backward)  # type: ignore[method-assign]
    try:
        for step in range(WARM_STEPS + steps):
            started = time.process_time()
            trainer.train_step()
            if step >= WARM_STEPS:
                whole.append(time.process_time() - started)
                networks.append(clock.take())
            else:
                clock.take()
        held = [value for network in trainer.state.networks().values() for value in network.state_dict().values()]
        with kept_bytes(held) as count:
            torch.Tensor.backward = lambda *args, **options: (kept.append(count()), backward(*args, **options))[1]  # type: ignore[method-assign]
            trainer.train_step()
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
    return Profile(np.array(whole), np.array(networks), max(kept), trainer.images_per_step)


def stages(table: Ablation, preset: Preset, rows: list[str], place: Place, precision: str) -> list[tuple[str, Stage]]:
    """The stages that rows train, with the row's name; without rows those of the preset's method. SettingError for an unknown row."""
    declared = table.rows_of(preset)
    lines = {name: resolve_row(table.name, name, declared[name], preset.methods()) for name in rows}
    found = []
    for name in rows or [""]:
        line = lines.get(name)
        pack, splits = place.open(**(line.data if line else {}))
        train = resolve(preset.train, (int(pack.heights[0]), int(pack.widths[0])), torch.device("cpu"))
        train = replace(with_values(train, line.train if line else {}), precision=precision)
        method = line.method if line else preset.method
        found += [(name, stage) for stage in method.stages(split_of(pack, splits), preset.net, train, seed=0)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description="CPU seconds per training step, the share outside the networks, and the memory kept."
    )
    sweep = Path(__file__).parents[1] / "sweeps" / "ablate_three_stage.py"
    parser.add_argument("--sweep", type=Path, default=sweep, help="script that declares the ablation TABLE")
    parser.add_argument("--preset", default="demo", help="preset of that table")
    parser.add_argument("--rows", nargs="+", default=[], help="rows of that table; none: the preset's method")
    parser.add_argument("--steps", type=int, default=40, help="measured steps of each stage")
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"], choices=["bf16", "fp32"], help="arithmetic")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="decoded images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table: Ablation = runpy.run_path(str(arguments.sweep))["TABLE"]
    for flag, words, known in (("preset", [arguments.preset], table.presets), ("rows", arguments.rows, table.rows)):
        for word in words:
            if word not in known:
                parser.error(f"--{flag}: got {word!r}; allowed: {', '.join(known)}")
    preset = table.presets[arguments.preset]
    place = Place(data=preset.data, cache=arguments.cache.resolve(), store="")
    print(
        "| row, stage | precision | CPU ms per step: median (5 %, 95 %) | outside the networks | images | kept for backward, MiB |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for precision in arguments.precision:
        for row, stage in stages(table, preset, arguments.rows, place, precision):
            found = profile(stage, place, arguments.steps)
            low, middle, high = 1000 * np.percentile(found.whole, (5, 50, 95))
            share, name = 1 - found.networks.sum() / found.whole.sum(), f"{row}, {stage.name}" if row else stage.name
            times = f"{middle:.1f} ({low:.1f}, {high:.1f}) | {share:.1%}"
            print(f"| {name} | {precision} | {times} | {found.images} | {found.kept / 2**20:.1f} |", flush=True)


if __name__ == "__main__":
    main()
