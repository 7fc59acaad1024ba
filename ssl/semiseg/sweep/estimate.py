"""How long a plan will take, from a few measured steps of every kind of stage in it."""

import os
import time
from dataclasses import replace

import numpy as np
import torch

from semiseg.pseudo import blank
from semiseg.runner import Place
from semiseg.stage import Stage, hash_of, plain
from semiseg.sweep.plan import Plan, Queue
from semiseg.train import Trainer

WARM_STEPS, STEPS, SCORED = 1, 4, 8


def estimate(plan: Plan, place: Place, slots: int) -> float:
    """Seconds until the last stage of the plan ends, when `slots` stages run at a time.

    Every kind of stage (rule, network, training settings) is timed on this machine for a few steps and one scoring of a few
    selection images, with empty pseudo-masks; the plan is then played through.
    """
    kinds: dict[str, float] = {}
    cost = {}
    for stage in plan.to_train:
        kind = hash_of([plain(stage.rule), plain(stage.net), plain(stage.train)])
        if kind not in kinds:
            kinds[kind] = stage_seconds(stage, place)
        cost[stage.key] = kinds[kind]
    return simulate(plan, cost, slots)


def stage_seconds(stage: Stage, place: Place) -> float:
    """Seconds that the stage takes in this process, extrapolated."""
    torch.set_num_threads(min(place.threads, os.cpu_count() or 1))
    pack, splits = place.open(stage.split.labelled)
    learned = blank(stage.rule, pack, splits.unlabelled)
    steps = replace(stage.train, steps=WARM_STEPS + STEPS, evaluations=1)
    scored = splits._replace(selection=splits.selection[:SCORED])
    trainer = Trainer(replace(stage, train=steps), pack, scored, torch.device(place.device), learned)
    times = []
    while not trainer.finished:
        started = time.perf_counter()
        trainer.advance(0.0)  # one step; the last one also scores the selection images
        times.append(time.perf_counter() - started)
    step = float(np.median(times[WARM_STEPS:-1]))
    scoring = max(times[-1] - step, 0.0) / len(scored.selection)  # per image, all roles together
    images = stage.train.evaluations * len(splits.selection) + 2 * (len(splits.selection) + len(splits.test))
    return stage.train.steps * step + images * scoring


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
