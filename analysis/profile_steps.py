"""Where does a training step spend its time? CPU seconds per step of stages 1, 2 and 3, and the share outside the networks.

Times the steps of the full row's stages of the default study (or another preset) in this process, on one thread. "Networks" are the
forward passes of student and teacher and the backward pass; the rest is batches, augmentation, losses, optimiser and moving
average. The numbers of docs/measured.md come from

    python analysis/profile_steps.py
"""

import argparse
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semiseg.device import resolve
from semiseg.pseudo import blank
from semiseg.runner import Place, split_of
from semiseg.stage import Stage
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


def profile(stage: Stage, place: Place, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """CPU seconds (steps,) of whole steps and of the networks in them."""
    pack, splits = place.open()
    trainer = Trainer(stage, pack, splits, torch.device("cpu"), blank(stage.rule, pack, splits.training))
    trainer.state.student.train()
    clock = Clock()
    for network in trainer.state.scored().values():
        for name in ("forward", "both"):
            if hasattr(network, name):
                setattr(network, name, clock.wrap(getattr(network, name)))
    whole, networks = [], []
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
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
    return np.array(whole), np.array(networks)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds per training step, and the share outside the networks.")
    sweep = Path(__file__).parents[1] / "sweeps" / "ablate_three_stage.py"
    parser.add_argument("--sweep", type=Path, default=sweep, help="script that declares the ablation TABLE")
    parser.add_argument("--preset", default="demo", help="preset of that table")
    parser.add_argument("--steps", type=int, default=40, help="measured steps of each stage")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="decoded images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    preset = runpy.run_path(str(arguments.sweep))["TABLE"].presets[arguments.preset]
    place = Place(data=preset.data, cache=arguments.cache.resolve(), store="")
    pack, splits = place.open()
    print("| stage | precision | CPU ms per step: median (5 %, 95 %) | outside the networks |\n| --- | --- | --- | --- |")
    for precision in ("bf16", "fp32"):
        train = resolve(preset.train, (int(pack.heights[0]), int(pack.widths[0])), torch.device("cpu"))
        train = type(train)(**{**vars(train), "precision": precision})
        for stage in preset.method.stages(split_of(pack, splits), preset.net, train, seed=0):
            whole, networks = profile(stage, place, arguments.steps)
            low, middle, high = 1000 * np.percentile(whole, (5, 50, 95))
            share = 1 - networks.sum() / whole.sum()
            print(f"| {stage.name} | {precision} | {middle:.1f} ({low:.1f}, {high:.1f}) | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
