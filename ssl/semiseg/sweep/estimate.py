"""How long a plan will take, from a few measured steps of every kind of stage in it."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from semiseg.device import autocast
from semiseg.machine import usable_cpus
from semiseg.pseudo import blank
from semiseg.quality import watched_rows
from semiseg.runner import Place
from semiseg.stage import Stage, hash_of, plain
from semiseg.sweep.feed import Queue
from semiseg.sweep.plan import Plan
from semiseg.train import Trainer

WARM_STEPS, STEPS, SCORED = 1, 4, 8
PROBE, SLOW, LONG = 128, 0.5, 10.0
"""Longest side of the crops of a first, small step; seconds from which a step of the stage, and the scoring of its largest image, is not
timed as a whole."""


class Cost(NamedTuple):
    """Seconds of an optimiser step, and of scoring an image with all networks of the stage."""

    step: float
    image: float


def estimate(plan: Plan, place: Place, slots: int) -> float:
    """Seconds until the last stage of the plan ends, when `slots` stages run at a time.

    Every kind of stage (rule, network, training settings, whatever the value of real numbers in them other than 0) is timed on this
    machine with empty pseudo-masks and random weights; the plan is then played through.
    """
    return simulate(plan, stage_costs(plan, place), slots)


def stage_costs(plan: Plan, place: Place) -> dict[str, float]:
    """Seconds of every stage that is to be trained, by its key."""
    kinds: dict[str, Cost] = {}
    cost = {}
    for stage in plan.to_train:
        kind = hash_of(
            [type(stage.rule).__name__, *(signs(plain(part)) for part in (stage.rule, stage.net, settings_of_a_step(stage)))]
        )
        if kind not in kinds:
            kinds[kind] = timed_stage(stage, place)
        cost[stage.key] = stage_seconds(stage, place, kinds[kind])
    return cost


def settings_of_a_step(stage: Stage) -> Any:
    """Training settings without those that say how often."""
    return replace(stage.train, steps=1, evaluations=1)


def signs(value: Any) -> Any:
    """Plain values with real numbers as whether they are 0."""
    if isinstance(value, dict):
        return {name: signs(item) for name, item in value.items()}
    if isinstance(value, list):
        return [signs(item) for item in value]
    return value != 0 if isinstance(value, float) else value


def stage_seconds(stage: Stage, place: Place, cost: Cost) -> float:
    """Seconds of all steps and scorings of the stage, the final ones on selection and test among them."""
    pack, splits = place.reopen(stage.split)
    looked_at = len(watched_rows(pack, splits, stage.train)) if stage.rule.needs.unlabelled else 0
    images = stage.train.evaluations * (len(splits.selection) + looked_at) + 2 * (len(splits.selection) + len(splits.test))
    return stage.train.steps * cost.step + images * cost.image


def timed_stage(stage: Stage, place: Place) -> Cost:
    """The stage timed in this process, by a few steps and one scoring of a few selection images.

    On a CPU a step of one labelled and one unlabelled image with crops of at most PROBE pixels a side goes ahead. When it says that
    a whole step takes more than SLOW seconds, as with DeepLabv2, or the largest image more than LONG to score, time is taken to grow
    with the number of pixels, and whole steps, which may not fit into memory either, are not made.
    """
    torch.set_num_threads(min(place.threads, usable_cpus()))
    if place.device == "cpu" and (cost := probed(stage, place)) is not None and (cost.step > SLOW or cost.image > LONG):
        return cost
    trainer = small(stage, place, steps=WARM_STEPS + STEPS)
    times = []
    while not trainer.finished:
        times.append(timed(partial(trainer.advance, 0.0)))  # one step; the last one also scores the selection images
    step = float(np.median(times[WARM_STEPS:-1]))
    return Cost(step, max(times[-1] - step, 0.0) / len(trainer.splits.selection))


def probed(stage: Stage, place: Place) -> Cost | None:
    """What a small step and the prediction of a small image say; None when the network cannot be trained on so little."""
    assert stage.train.crop is not None
    crop = (min(stage.train.crop[0], PROBE), min(stage.train.crop[1], PROBE))
    trainer = small(stage, place, steps=2, batch_labelled=1, batch_unlabelled=min(stage.train.batch_unlabelled, 1), crop=crop)
    height, width = int(trainer.pack.heights.max()), int(trainer.pack.widths.max())
    try:
        step = timed(trainer.train_step)
        step = step if step > SLOW else timed(trainer.train_step)  # the first one takes longer
    except ValueError:  # of BatchNorm, about a single value per channel
        return None
    with torch.no_grad(), autocast(trainer.device, stage.train.precision):
        image = torch.zeros(1, len(trainer.pack.mean), *crop)
        seconds = sum(timed(partial(network.eval(), image)) for network in trainer.state.scored().values())
    area = crop[0] * crop[1]
    whole = (stage.train.batch_labelled + stage.train.batch_unlabelled) * stage.train.crop[0] * stage.train.crop[1]
    return Cost(step * whole / (trainer.images_per_step * area), seconds * height * width / area)


def timed(call: Callable[[], object]) -> float:
    """Seconds that the call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def small(stage: Stage, place: Place, **changes: Any) -> Trainer:
    """A trainer of the stage with random weights that scores SCORED selection images after its last step."""
    pack, splits = place.reopen(stage.split)
    shorter = replace(stage, net=replace(stage.net, weights=""), train=replace(stage.train, evaluations=1, **changes))
    scored = splits._replace(selection=splits.selection[:SCORED])
    return Trainer(shorter, pack, scored, torch.device(place.device), blank(stage.rule, pack, splits.training))


def simulate(plan: Plan, cost: dict[str, float], slots: int) -> float:
    """End of the last stage when each takes `cost[key]` and a free slot takes the most urgent stage that can start."""
    queue = Queue(plan.to_train, plan.done)
    running: list[tuple[float, str]] = []
    now = 0.0
    while True:
        while len(running) < slots and (stage := queue.take()) is not None:
            running.append((now + cost[stage.key], stage.key))
        if not running:
            return now
        now, key = min(running)
        running.remove((now, key))
        queue.finish(key)
