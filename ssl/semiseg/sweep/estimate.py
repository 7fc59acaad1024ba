"""How long a plan will take, from a few measured steps of every kind of stage in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from semiseg.device import autocast
from semiseg.lazy import torch
from semiseg.machine import usable_cpus
from semiseg.pseudo import blank
from semiseg.quality import watched_rows
from semiseg.runner import Place
from semiseg.stage import Stage
from semiseg.sweep.costs import STAGE, Cost, Costs, told
from semiseg.sweep.feed import Queue
from semiseg.sweep.plan import Plan
from semiseg.train import Trainer

WARM_STEPS, STEPS, SCORED = 1, 3, 8
PROBE, SLOW, LONG = 128, 0.5, 10.0
"""Longest side of the crops of a first, small step; seconds from which a step of the stage, and the scoring of its largest image, is not
timed as a whole."""


def estimate(plan: Plan, place: Place, slots: int) -> float:
    """Seconds until the last stage of the plan ends, when `slots` stages run at a time: the plan is played through with `costs_of`."""
    return simulate(plan, stage_costs(plan, place), slots)


def stage_costs(plan: Plan, place: Place, memory: Costs | None = None) -> dict[str, float]:
    """Seconds of every stage that is to be trained, by its key."""
    costs = costs_of(plan.to_train, place, [stage for key, stage in plan.stages.items() if key in plan.done], memory)
    return {stage.key: stage_seconds(stage, place, costs[stage.key]) for stage in plan.to_train}


def costs_of(stages: Iterable[Stage], place: Place, done: Iterable[Stage] = (), memory: Costs | None = None) -> dict[str, Cost]:
    """Costs by key: as remembered of the kind (`Costs`), as a finished stage of it among `done` tells, as known from elsewhere (which
    `memory.guessed` tells), or measured here and now, with empty pseudo-masks and random weights, and remembered."""
    memory = memory or Costs(place)
    learn(memory, done)
    found = {}
    for stage in stages:
        cost = memory.of(stage) or memory.elsewhere(stage)
        if cost is None:
            cost = timed_stage(stage, place)
            memory.keep(stage, cost, f"{STEPS} steps")
        found[stage.key] = cost
    return found


def learn(memory: Costs, done: Iterable[Stage]) -> None:
    """Remember what finished stages took, of each kind the first one that a machine of this kind trained; it counts for more than a
    few steps."""
    store = memory.place.open_store()
    known: set[str] = set()
    for stage in done:
        kind = memory.kind(stage)
        if kind in known or memory.by(stage).startswith(STAGE) or stage.train.steps == 0:
            continue
        info = store.info(stage.key)
        if info["provenance"].get("machine") != memory.machine:
            continue
        known.add(kind)
        pack, _ = memory.place.reopen(stage.split)
        seconds = info["cpu_seconds" if alone(memory.place) else "seconds"]
        memory.keep(stage, told(stage, seconds, scorings(stage, memory.place), pack), f"{STAGE} {stage.key[:12]}")


def alone(place: Place) -> bool:
    """Whether a stage computes in one thread of the CPU, whose time does not depend on what else the machine does."""
    return place.device == "cpu" and place.threads == 1


def stage_seconds(stage: Stage, place: Place, cost: Cost) -> float:
    """Seconds of all steps and scorings of the stage, the final ones on selection and test among them."""
    return stage.train.steps * cost.step + scorings(stage, place) * cost.image


def scorings(stage: Stage, place: Place) -> int:
    """How often an image is scored in a stage."""
    pack, splits = place.reopen(stage.split)
    looked_at = len(watched_rows(pack, splits, stage.train)) if stage.rule.needs.unlabelled else 0
    return stage.train.evaluations * (len(splits.selection) + looked_at) + 2 * (len(splits.selection) + len(splits.test))


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
        times.append(timed(partial(trainer.advance, 0.0), place))  # one step; the last one also scores the selection images
    step = float(np.median(times[WARM_STEPS:-1]))
    return Cost(step, max(times[-1] - step, 0.0) / len(trainer.splits.selection))


def probed(stage: Stage, place: Place) -> Cost | None:
    """What a small step and the prediction of a small image say; None when the network cannot be trained on so little."""
    assert stage.train.crop is not None
    crop = (min(stage.train.crop[0], PROBE), min(stage.train.crop[1], PROBE))
    trainer = small(stage, place, steps=2, batch_labelled=1, batch_unlabelled=min(stage.train.batch_unlabelled, 1), crop=crop)
    height, width = int(trainer.pack.heights.max()), int(trainer.pack.widths.max())
    try:
        step = timed(trainer.train_step, place)
        step = step if step > SLOW else timed(trainer.train_step, place)  # the first one takes longer
    except ValueError:  # of BatchNorm, about a single value per channel
        return None
    with torch.no_grad(), autocast(trainer.device, stage.train.precision):
        image = torch.zeros(1, len(trainer.pack.mean), *crop)
        seconds = sum(timed(partial(network.eval(), image), place) for network in trainer.state.scored().values())
    area = crop[0] * crop[1]
    whole = (stage.train.batch_labelled + stage.train.batch_unlabelled) * stage.train.crop[0] * stage.train.crop[1]
    return Cost(step * whole / (trainer.images_per_step * area), seconds * height * width / area)


def timed(call: Callable[[], object], place: Place) -> float:
    """Seconds that the call takes: of this thread's CPU where it is `alone`, as other work, such as Ray's start, is none of its; on a
    GPU until that has done what it was asked to."""
    clock = time.thread_time if alone(place) else time.perf_counter
    wait = torch.cuda.synchronize if place.device == "cuda" else lambda: None
    wait()
    started = clock()
    call()
    wait()
    return clock() - started


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
