"""Scores of rows and seeds as the tables of a results folder have them, and why there is none."""

import math
from typing import NamedTuple

import pyarrow.compute as pc

from semiseg.results import Results


class Cell(NamedTuple):
    """One row at one seed: the score of the chain's final stage, or why there is none."""

    value: float  # NaN when there is no score
    state: str  # of the final stage: done, failed, skipped, waiting; not needed: another seed would decide nothing
    error: str
    role: str  # the network whose score counts
    key: str


def numbers_of(results: Results, metric: str, weights: str = "", split: str = "") -> dict[tuple[str, str], float]:
    """A metric over all classes by (key, role), on the study's split and with the study's weights, or others."""
    score = results.study.score
    wanted = (pc.field("class") == "") & (pc.field("metric") == metric)
    wanted &= (pc.field("split") == (split or score.split)) & (pc.field("weights") == (weights or score.weights))
    return {(line["key"], line["role"]): line["value"] for line in results.metrics.filter(wanted).to_pylist()}


def score_cells(results: Results) -> dict[tuple[str, int], Cell]:
    """Score every row and seed: metrics of the final stage at the study's split, weights and metric, of the role the stage says."""
    stages = {stage["key"]: stage for stage in results.stages.to_pylist()}
    numbers = numbers_of(results, results.study.score.metric)
    final = {(line["row"], line["seed"]): line["key"] for line in results.rows.filter(pc.field("final")).to_pylist()}
    absent = "waiting" if results.study.until is None else "not needed"
    return {
        (row, seed): _cell(final.get((row, seed), ""), stages, numbers, absent)
        for row in results.study.rows
        for seed in results.study.seeds
    }


def _cell(key: str, stages: dict, numbers: dict, absent: str) -> Cell:
    if key not in stages:
        return Cell(math.nan, absent, "", "", key)
    stage = stages[key]
    state, role, error = stage["state"], stage["evaluated"] or "", stage["error"] or ""
    if state == "skipped":
        error = error or _cause(stage, stages)
    if state != "done":
        return Cell(math.nan, state, error, role, key)
    value = numbers.get((key, role))
    if value is None or not math.isfinite(value):
        return Cell(math.nan, "failed", f"stage {stage['name']} finished without a finite score", role, key)
    return Cell(value, "done", "", role, key)


def _cause(stage: dict, stages: dict) -> str:
    """Why a stage was left out: the first failed one of those that it learns from, directly or not."""
    for key in stage["teachers"] or ():
        found = stages.get(key, {"state": ""})
        if found["state"] == "failed":
            return f"{found['name']} failed: {found['error'] or 'no message'}"
        if found["state"] == "skipped":
            return _cause(found, stages)
    return "a stage that it learns from failed"
