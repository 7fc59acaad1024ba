"""Made-up results folders: the seven rows of ke2020 over some seeds, with shared stages, failures and gaps; and tests of them.

`python tests/test_report_studies.py <folder>` writes the complete one, to look at.
"""

import hashlib
import json
import math
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from semiseg.results import read, write_bytes, write_table

ROWS = {
    "S1": "S1",
    "S1+S2": "S1 S2 CR T2 SA",
    "no CR": "S1 S2 S3 T2 SA N2",
    "no T2": "S1 S2 S3 CR SA N2",
    "no SA": "S1 S2 S3 CR T2 N2",
    "no N2": "S1 S2 S3 CR T2 SA",
    "full": "S1 S2 S3 CR T2 SA N2",
}
CHAINS = {
    "S1": ("s1",),
    "S1+S2": ("s1", "s2"),
    "no CR": ("s1", "s2-CR", "s3-CR"),
    "no T2": ("s1", "s2-T2", "s3-T2"),
    "no SA": ("s1", "s2-SA", "s3-SA"),
    "no N2": ("s1", "s2", "s3-N2"),
    "full": ("s1", "s2", "s3"),
}
# Test mIoU of each row's final stage at seeds 0, 1, 2, ...; two decimals of percent, so that means are easy by hand.
SCORES: dict[str, tuple[float, ...]] = {
    "S1": (0.5000, 0.5200, 0.5100),
    "S1+S2": (0.5700, 0.5850, 0.5820),
    "no CR": (0.5500, 0.5720, 0.5580),
    "no T2": (0.5900, 0.5950, 0.6050),
    "no SA": (0.5400, 0.5610, 0.5490),
    "no N2": (0.6110, 0.6220, 0.6190),
    "full": (0.6000, 0.6100, 0.6080),
}
PAPER: dict[str, Any] = {
    "title": "A three-stage self-training framework (Ke et al. 2020)",
    "url": "arXiv:0000.00000",
    "table": "Table 3",
    "columns": ["Cityscapes, 100 labels", "VOC, 212 labels"],
    "rows": {
        "S1": [46.91, 55.20],
        "S1+S2": [53.25, 68.50],
        "no CR": [50.2, 59.82],
        "no T2": [52.63, 68.21],
        "no SA": [47.96, 64.37],
        "no N2": [53.80, 69.52],
        "full": [54.85, 70.77],
    },
}
CLASSES = ["background", "disc", "square", "triangle", "ring"]
PALETTE = [[40, 44, 52], [221, 122, 43], [59, 118, 196], [43, 154, 102], [138, 99, 201]]


def key_of(stage: str, seed: int) -> str:
    """A made-up key; equal for rows that share the stage."""
    return hashlib.sha256(f"{stage} {seed}".encode()).hexdigest()


def study_of(seeds: Collection[int] = (0, 1, 2), **changes: Any) -> dict[str, Any]:
    """What a valid study.json holds, as JSON."""
    study: dict[str, Any] = {
        "format": 1,
        "name": "three_stage",
        "title": "Three-stage self-training, part by part",
        "question": "Which parts of three-stage self-training earn their place? (made-up numbers)",
        "paper": PAPER,
        "rows": ROWS,
        "reference": "full",
        "baseline": "S1",
        "seeds": list(seeds),
        "classes": CLASSES,
        "palette": PALETTE,
        "data": {
            "name": "synthetic",
            "labelled": 8,
            "labelled_hash": "5e1f",
            "train": 96,
            "selection": 24,
            "test": 64,
            "size": [48, 64],
        },
        "settings": {
            "method": {"lambda1": 0.5, "lambda2": 0.5, "ema": [0.99, 0.995]},
            "train": {"steps": 300, "batch_labelled": 4},
        },
        "score": {
            "metric": "miou",
            "split": "test",
            "weights": "best",
            "rule": "best step on the selection images, scored once on test.",
        },
        "plan": {"stages": 18 * len(seeds), "distinct": 10 * len(seeds)},
        "provenance": {
            "command": "python sweeps/ablate_three_stage.py",
            "git": "abc1234",
            "versions": {"torch": "2.15"},
            "device": "cpu",
        },
        "wall_seconds": 300.0,
        "slots": 2,
    }
    study["data"]["fingerprint"] = "9c2b"
    return study | changes


def write_json(folder: Path, study: Any) -> Path:
    """study.json as any version may have written it; `write_study` takes only what this one may write."""
    write_bytes(folder / "study.json", json.dumps(study).encode())
    return folder / "study.json"


def make_study(
    folder: Path,
    seeds: Collection[int] = (0, 1, 2),
    states: Mapping[tuple[str, int], str] | None = None,
    scores: Mapping[str, tuple[float, ...]] = SCORES,
    samples: bool = True,
    **changes: Any,
) -> Path:
    """Write a results folder. `states` sets stages that are not done, by (stage, seed); `changes` go into study.json."""
    states = states or {}
    stages, metrics, curves, pseudo, rows = [], [], [], [], []
    clock = [0.0, 0.0]
    for seed in seeds:
        finals = {chain[-1]: scores[row][list(seeds).index(seed)] for row, chain in CHAINS.items()}
        for row, chain in CHAINS.items():
            for i, name in enumerate(chain, 1):
                line = {"row": row, "seed": seed, "position": i, "stage": name, "key": key_of(name, seed), "final": i == len(chain)}
                rows.append(line)
        for name in dict.fromkeys(name for chain in CHAINS.values() for name in chain):
            state = states.get((name, seed), "done")
            slot = clock.index(min(clock))
            seconds = 8.0 + int(name[1]) * 4
            started, clock[slot] = 1e9 + clock[slot], clock[slot] + seconds + 0.3
            ran = state in ("done", "failed")
            stages.append(_stage(name, seed, state, started if ran else None, seconds if ran else None))
            if state == "done":
                metrics += _metrics(name, seed, finals.get(name, 0.5))
                pseudo += _pseudo(name, seed, stages[-1]["teachers"])
            if ran:
                curves += _curves(name, seed, finals.get(name, 0.5))
    write_json(folder, study_of(seeds, **changes))
    for table, lines in {"stages": stages, "metrics": metrics, "curves": curves, "pseudo": pseudo, "rows": rows}.items():
        write_table(folder, table, lines)
    if samples:
        _samples(folder / "samples", [key_of(name, next(iter(seeds))) for name in ("s1", "s2", "s3")])
    return folder


def _stage(name: str, seed: int, state: str, started: float | None, seconds: float | None) -> dict[str, Any]:
    teachers = {"1": (), "2": () if "T2" in name else ("s1",), "3": (name.replace("3", "2").replace("-N2", ""),)}[name[1]]
    return {
        "key": key_of(name, seed),
        "name": name,
        "number": int(name[1]),
        "seed": seed,
        "state": state,
        "error": "loss 'consistency' is NaN at step 17" if state == "failed" else "",
        "evaluated": "student" if name == "s1" else "teacher",
        "teachers": [key_of(teacher, seed) for teacher in teachers],
        "steps": 300,
        "seconds": seconds,
        "images_per_second": 210.0 if seconds else None,
        "device": "cpu",
        "precision": "float32",
        "chosen_step": 280 if state == "done" else None,
        "started": started,
        "ended": started + seconds if started and seconds else None,
    }


def _metrics(name: str, seed: int, score: float) -> list[dict[str, Any]]:
    """The score counts at (test, best, the evaluated role); every other combination is another number, to catch a mixed-up
    choice."""
    lines = []
    for role in ("student",) if name == "s1" else ("student", "teacher"):
        for weights in ("best", "last"):
            for split in ("selection", "test"):
                counts = (role, weights, split) == ("student" if name == "s1" else "teacher", "best", "test")
                value = score if counts else score - 0.01 - 0.02 * (weights == "last") + 0.05 * (split == "selection")
                where = {"key": key_of(name, seed), "role": role, "weights": weights, "split": split, "step": 280}
                lines.append({**where, "class": "", "metric": "miou", "value": value})
                lines.append({**where, "class": "", "metric": "accuracy", "value": 0.9})
                for i, label in enumerate(CLASSES):
                    lines.append({**where, "class": label, "metric": "iou", "value": max(0.0, value + 0.12 * (2 - i))})
    return lines


def _pseudo(name: str, seed: int, teachers: list[str]) -> list[dict[str, Any]]:
    """Of learned masks 0.6 and a percent more with each seed, of the stage's own teacher 0.7."""
    key, lines = key_of(name, seed), []
    for teacher, value, images in [*((one, 0.6, 88) for one in teachers), *[(key_of(name, seed), 0.7, 64)] * (name != "s1")]:
        role = "student" if teacher == key_of("s1", seed) else "teacher"
        where = {"key": key, "teacher": teacher, "role": role, "weights": "last", "step": 300 * (teacher == key)}
        lines += pseudo_lines(where, value + 0.01 * seed, images)
    return lines


def pseudo_lines(where: Mapping[str, Any], value: float, images: int) -> list[dict[str, Any]]:
    """Every number of the table: `value` of all classes and of the first one, of those after it less and less, of the last none."""
    names = ("miou", "accuracy", "kept", "kept_miou", "kept_accuracy", "confidence")
    overall = {"images": float(images), "without_mask": 0.0, "entropy": 0.25} | dict.fromkeys(names, value)
    numbers = [*(value - 0.1 * i for i in range(len(CLASSES) - 1)), math.nan]
    lines = [{**where, "class": "", "metric": metric, "value": number} for metric, number in overall.items()]
    for metric in ("iou", "precision", "recall", "kept", "confidence", "entropy"):
        found = zip(CLASSES, numbers, strict=True)
        lines += [{**where, "class": label, "metric": metric, "value": number} for label, number in found]
    return lines


def _curves(name: str, seed: int, score: float) -> list[dict[str, Any]]:
    lines, noise = [], np.random.default_rng([seed, len(name)]).normal(0, 0.008, 400)
    for step in range(10, 301, 10):
        names = {"loss/segmentation": 1.2 * math.exp(-step / 90)}
        if name != "s1":
            names |= {"loss/consistency": 0.5 * math.exp(-step / 120), "loss/pseudo": 0.7 * math.exp(-step / 70)}
        names["loss/total"] = sum(names.values())
        if step % 20 == 0:
            for role in ("student", "teacher")[: 1 + (name != "s1")]:
                names[f"selection/{role}/miou"] = score * (1 - math.exp(-step / 60)) + noise[step]
            if name != "s1":
                names |= {"unlabelled/teacher/miou": 0.6, "disagreement/teacher": (0.2 + 0.1 * seed) * math.exp(-step / 100)}
        lines += [{"key": key_of(name, seed), "step": step, "name": one, "value": float(value)} for one, value in names.items()]
    return lines


def _samples(folder: Path, keys: list[str]) -> None:
    rng, (height, width) = np.random.default_rng(0), (48, 64)
    y, x = np.mgrid[:height, :width]
    for i in range(4):
        truth = np.zeros((height, width), np.uint8)
        for label in range(1, 5):
            top, left = rng.integers(0, 36), rng.integers(0, 50)
            truth[(abs(y - top - 6) < 6) & (abs(x - left - 6) < 6)] = label
        image = np.array(PALETTE, np.uint8)[truth] // 2 + rng.integers(0, 110, (height, width, 3), np.uint8)
        masks = {folder / f"truth_{i}.png": np.where(y < 1, 255, truth)}
        for key, wrong in zip(keys, (0.2, 0.1, 0.04), strict=True):
            masks[folder / key / f"prediction_{i}.png"] = np.where(
                rng.random(truth.shape) < wrong, rng.integers(0, 5, truth.shape), truth
            )
        for path, mask in masks.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(mask.astype(np.uint8))
            # 256 colours: with at most 16 Pillow writes 4 bits a pixel, and 255 (ignore) is read back as 15
            picture.putpalette([value for colour in PALETTE for value in colour] + [0] * (768 - 3 * len(PALETTE)))
            picture.save(path)
        Image.fromarray(image.astype(np.uint8)).save(folder / f"image_{i}.png")


def test_made_up_study_shares_stages_like_the_paper(tmp_path):
    results = read(make_study(tmp_path))
    assert results.rows.num_rows == 54
    assert results.stages.num_rows == len(set(results.rows.column("key").to_pylist())) == 30


if __name__ == "__main__":
    print(make_study(Path(sys.argv[1])))
