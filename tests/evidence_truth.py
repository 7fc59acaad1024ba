"""What generated tables should say, computed anew from the Parquet files by slow loops and SciPy. Not a test module."""

import json
import math
import re
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow.parquet as pq
from scipy import stats

from semiseg.report.sequential import intervals
from semiseg.report.training import stage_labels
from semiseg.results import read

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d\d(?!\d)")
DELTA = re.compile(r"([-+]\d+\.\d\d) \[([-+]\d+\.\d\d), ([-+]\d+\.\d\d)\]")
LOSES = re.compile(r"(?P<count>\d+) of \d+ results loses? a class \([^)]+\): (?P<runs>.+?\)(?:; and \d+ more)?)\.(?=\s|$)")
CLOSE = 0.00501
Lines = list[dict[str, Any]]


def lines_of(folder: Path, table: str) -> Lines:
    file = folder / f"{table}.parquet"
    return pq.read_table(file).to_pylist() if file.is_file() else []


@lru_cache
def scores_of(folder: Path, metric: str | None = None) -> dict[str, dict[int, float]]:
    """Percent by row and seed, of chains whose final stage is done; None: of the metric that the study reports."""
    score = json.loads((folder / "study.json").read_text())["score"]
    stages = {line["key"]: line for line in lines_of(folder, "stages")}
    numbers = {
        (line["key"], line["role"]): 100 * line["value"]
        for line in lines_of(folder, "metrics")
        if (line["metric"], line["split"], line["weights"], line["class"])
        == (metric or score["metric"], score["split"], score["weights"], "")
    }
    found: dict[str, dict[int, float]] = {}
    for line in lines_of(folder, "rows"):
        stage = stages.get(line["key"], {"state": ""})
        if line["final"] and stage["state"] == "done":
            found.setdefault(line["row"], {})[line["seed"]] = numbers[line["key"], stage["evaluated"]]
    return found


def delta_of(folder: Path, row: dict[int, float], other: dict[int, float]) -> tuple[float, float, float]:
    """Mean difference over the seeds of both, and the ends of its interval, points."""
    deltas = [row[seed] - other[seed] for seed in sorted(set(row) & set(other))]
    until = json.loads((folder / "study.json").read_text()).get("until")
    if until is not None:
        low, high = intervals([one / 100 for one in deltas], until["level"] / until["comparisons"])[-1]
        return fmean(deltas), 100 * float(low), 100 * float(high)
    if len(deltas) < 2:
        return fmean(deltas), math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(deltas) - 1)) * stdev(deltas) / math.sqrt(len(deltas))
    return fmean(deltas), fmean(deltas) - half, fmean(deltas) + half


def inside(share: float, row: dict[int, float], few: dict[int, float], every: dict[int, float]) -> bool:
    """Whether a share of the gap lies within Fieller's interval: a t test does not tell row - few from that share of every - few."""
    rest = [row[seed] - few[seed] - share * (every[seed] - few[seed]) for seed in set(row) & set(few) & set(every)]
    low, high = stats.ttest_1samp(rest, 0).confidence_interval()
    return bool(low <= 0 <= high)


def cells_of(body: str) -> Lines:
    """Every line of every pipe table, by head."""
    found, head = [], []
    for line in body.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|:- "):
            found.append(dict(zip(head, cells, strict=True)))
    return found


def close(said: str, wanted: float) -> bool:
    return abs(float(said) - wanted) < CLOSE


def wrong_delta(folder: Path, cell: str, row: str, against: str) -> list[str]:
    """What of "-7.94 [-9.01, -6.87]" is not so."""
    scores = scores_of(folder)
    wanted, found = delta_of(folder, scores[row], scores[against]), DELTA.fullmatch(cell)
    if found is None:  # one seed, or no bounds yet: the mean alone
        return [] if close(cell.split()[0], wanted[0]) and not all(map(math.isfinite, wanted)) else [f"{row} - {against}: {cell}"]
    return [
        f"{row} - {against}: {said}, not {value:.2f}"
        for said, value in zip(found.groups(), wanted, strict=True)
        if not close(said, value)
    ]


def wrong_rows(folder: Path, body: str) -> list[str]:
    """What of a table of rows is not so: mean, sd and n, differences with their intervals, shares of gaps."""
    found, scores, seen = [], scores_of(folder), 0
    for line in cells_of(body):
        row, (said,) = line["row"], [value for head, value in line.items() if head.endswith("mean ± sd")]
        values = list(scores.get(row, {}).values())
        seen += 1
        wanted = [fmean(values), *([stdev(values)] if len(values) > 1 else [])] if values else []
        given = [] if said == "-" else said.split(" ± ")
        if int(line["n"]) != len(values) or len(given) != len(wanted) or not all(map(close, given, wanted)):
            found.append(f"{row}: {said} (n = {line['n']}), not {wanted}")
        if line["against"] != "-" and line["delta [95 % interval]"] != "-":
            found += wrong_delta(folder, line["delta [95 % interval]"], row, line["against"])
        found += wrong_share(folder, line.get("of the gap", "-"), row)
    rows = json.loads((folder / "study.json").read_text())["rows"]
    return found + ([f"{seen} lines, not {len(rows)}"] if seen != len(rows) else [])


def wrong_claim(folder: Path, line: dict[str, str]) -> list[str]:
    """What of a line of all verdicts is not so."""
    delta = wrong_delta(folder, line["delta [95 % interval]"], line["row"], line["against"])
    return delta + wrong_share(folder, line["of the gap"], line["row"])


def wrong_share(folder: Path, said: str, name: str) -> list[str]:
    """What of "41 % [30, 52]" or "41 % (n = 3)" is not so; ends are whole percent."""
    if said == "-":
        return []
    said, _, counted = said.partition(" (n = ")
    scores, anchors = scores_of(folder), json.loads((folder / "study.json").read_text())["anchors"][name]
    row, few, every = (scores[one] for one in (name, anchors["row"], anchors["all_labels"]))
    value, *ends = map(int, re.findall(r"-?\d+", said))
    seeds = set(row) & set(few) & set(every)
    gain, gap = (fmean([line[seed] - few[seed] for seed in seeds]) for line in (row, every))
    found = [] if abs(value - 100 * gain / gap) < 0.51 else [f"{name}: {value} % of the gap, not {100 * gain / gap:.1f}"]
    if counted != ("" if seeds == set(row) & set(few) else f"{len(seeds)})"):
        found.append(f"{name}: of the gap (n = {counted}")
    if ends:
        low, high = ends
        within = [inside(share / 100, row, few, every) for share in (low - 1, low + 1, high - 1, high + 1)]
        found += [f"{name}: of the gap [{low}, {high}]"] if within != [False, True, True, False] else []
    return found


def wrong_words(folder: Path, text: str, stated: str) -> list[str]:
    """Scores, differences and ends of intervals in a text that are those of no row and no two rows, and that no paper prints."""
    scores = {row: line for row, line in scores_of(folder).items() if line}
    pool = [float(one) for one in re.findall(r"\d+\.\d+", stated)]
    for line in scores.values():
        pool += [fmean(line.values()), *([stdev(line.values())] if len(line) > 1 else [])]
        for other in scores.values():
            if line is not other and set(line) & set(other):
                pool += [abs(one) for one in delta_of(folder, line, other)]
    return [said for said in NUMBER.findall(text) if not any(close(said.lstrip("+-"), one) for one in pool)]


def wrong_lost(folder: Path, text: str) -> list[str]:
    """What is said, or not said, of runs with a class of less than 10 % IoU that more than half of all runs hold."""
    study = json.loads((folder / "study.json").read_text())
    evaluated = {line["key"]: line["evaluated"] for line in lines_of(folder, "stages")}
    runs: dict[str, list[tuple[str, int]]] = {}
    for line in lines_of(folder, "rows"):
        if line["final"]:
            runs.setdefault(line["key"], []).append((line["row"], line["seed"]))
    ious: dict[str, dict[tuple[str, int], float]] = {}
    for line in lines_of(folder, "metrics"):
        own = line["role"] == evaluated.get(line["key"]) and line["weights"] == study["score"]["weights"]
        if own and line["metric"] == "iou" and line["split"] == study["score"]["split"] and line["class"]:
            for run in runs.get(line["key"], []):
                ious.setdefault(line["class"], {})[run] = math.nan if line["value"] is None else 100 * line["value"]
    wanted = {}
    for name, values in ious.items():
        there = {run: iou for run, iou in values.items() if not math.isnan(iou)}
        low = {run: iou for run, iou in there.items() if iou < 10}
        wanted |= {(*run, name): f"{iou:.2f}" for run, iou in low.items() if len(low) < len(there) / 2}
    said = LOSES.search(text)
    given = {}
    for row, seed, classes in re.findall(r"(?:^|; )([^;]+?) \(seed (\d+): ([^)]+)\)", said["runs"] if said else ""):
        given |= {(row, int(seed), one.rsplit(" ", 2)[0]): one.split()[-2] for one in classes.split(", ")}
    count = len({key[:2] for key in wanted})
    right = given == wanted if count <= 6 else given.items() <= wanted.items()
    return [] if right and int(said["count"] if said else 0) == count else [f"lost: {said and said[0]}, not {wanted}"]


def wrong_metrics(folder: Path, text: str) -> list[str]:
    """What of lines "row  mean (sd)  mean (sd)  ..." is not so, a column for each metric of the study; a paper's lines are left out."""
    found, metrics = [], json.loads((folder / "study.json").read_text())["metrics"]
    by_metric = [scores_of(folder, one) for one in metrics]
    rows = {row for row, values in by_metric[0].items() if values}
    seen = set()
    for line in text.splitlines():
        row, *cells = re.split(r" {2,}", line.strip())
        if row not in rows:
            continue
        seen.add(row)
        wanted = [(fmean(values[row].values()), stdev(values[row].values())) for values in by_metric]
        given = [re.findall(r"\d+\.\d\d", cell) for cell in cells]
        if len(given) != len(wanted) or not all(all(map(close, *pair)) for pair in zip(given, wanted, strict=True)):
            found.append(f"{row}: {cells}, not {wanted}")
    return found + [f"{row}: no line" for row in rows - seen]


def wrong_course(folder: Path, body: str) -> list[str]:
    """What of a table of scores along stages is not so."""
    results, found = read(folder), []
    labels, curves, metric = stage_labels(results), lines_of(folder, "curves"), results.study.score.metric
    by_stage: dict[str, list[tuple[int, list[tuple[int, float]]]]] = {}
    for stage in lines_of(folder, "stages"):
        at = stage["key"], f"selection/{stage['evaluated']}/{metric}"
        points = sorted((one["step"], 100 * one["value"]) for one in curves if (one["key"], one["name"]) == at)
        by_stage.setdefault(labels[stage["key"]][0], []).append((stage["steps"], points))
    for line in cells_of(body):
        for share in (25, 50, 75, 100):
            said = line[f"at {share} %"].split(" ± ")
            stages = by_stage[line["stage"]]
            values = [
                next(value for step, value in points if step >= share / 100 * steps - 1) for steps, points in stages if points
            ]
            wanted = [fmean(values), *([stdev(values)] if len(values) > 1 else [])]
            if len(said) != len(wanted) or not all(map(close, said, wanted)):
                found.append(f"{line['stage']} at {share} %: {said}, not {wanted}")
    return found


def wrong_pseudo(folder: Path, body: str) -> list[str]:
    """Numbers of a table of pseudo-masks that are no mean of any stages of one name."""
    results = read(folder)
    labels, groups = stage_labels(results), {}
    for one in lines_of(folder, "pseudo"):
        if one["class"] == "" and one["value"] is not None:
            at = (labels[one["key"]][0], one["teacher"] == one["key"], one["role"], one["metric"])
            groups.setdefault(at, []).append(100 * one["value"])
    found = []
    for line in cells_of(body):
        stage, own = re.split(r" ← |, own ", line["stage ← maker"])[0], ", own " in line["stage ← maker"]
        pool = [fmean(values) for (name, its, _, _), values in groups.items() if (name, its) == (stage, own)]
        said = [one for one in list(line.values())[2:] if one != "-"]
        found += [f"{stage}: {one}" for one in said if not any(close(one, value) for value in pool)]
    return found
