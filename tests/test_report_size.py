"""How long a page takes and how large it is: of three rows, and of a thousand stages."""

import time
from pathlib import Path

import numpy as np
import pytest
from test_report_studies import CLASSES, key_of, make_study, study_of, write_json

from semiseg.report import write_report
from semiseg.results import write_table

MEGABYTE = 1_000_000
STAGES, POINTS, ROWS = 1000, 200, 50


def test_a_page_of_three_rows_has_at_most_7_megabytes(tmp_path):
    page = write_report(
        make_study(tmp_path, rows={"S1": "S1", "no CR": "S1 S2 S3", "full": "S1 S2 S3 CR"}, baseline=None, paper=None)
    )
    assert page.stat().st_size <= 7 * MEGABYTE


def make_large(folder: Path) -> Path:
    """Every row and seed its own stage; two losses and a score at each point."""
    rows = {f"lambda {i}": f"lambda1={i}" for i in range(ROWS)}
    draw, seeds = np.random.default_rng(0), range(STAGES // ROWS)
    stages, metrics, curves, links = [], [], [], []
    for i, row in enumerate(rows):
        for seed in seeds:
            key, score = key_of(row, seed), 0.5 + 0.002 * i + draw.normal(0, 0.01)
            stages.append(
                {"key": key, "name": f"one-{i}", "number": 1, "seed": seed, "state": "done", "error": "", "evaluated": "student"}
                | {"teachers": [], "steps": 2000, "seconds": 2.0, "images_per_second": 9.0, "device": "cpu", "precision": "float32"}
                | {"chosen_step": 2000, "started": 1e9 + seed + 20 * i, "ended": 1e9 + seed + 20 * i + 2}
            )
            links.append({"row": row, "seed": seed, "position": 1, "stage": f"one-{i}", "key": key, "final": True})
            for weights in ("best", "last"):
                where = {"key": key, "role": "student", "weights": weights, "split": "test", "step": 2000}
                metrics.append({**where, "class": "", "metric": "miou", "value": score})
                metrics += [{**where, "class": name, "metric": "iou", "value": score} for name in CLASSES]
            noise = draw.normal(0, 0.01, POINTS)
            for step in range(POINTS):
                for name in ("loss/segmentation", "loss/total", "selection/student/miou"):
                    curves.append({"key": key, "step": 10 * step + 10, "name": name, "value": score + float(noise[step])})
    write_json(folder, study_of(seeds, rows=rows, reference=next(iter(rows)), baseline=None, paper=None))
    for name, lines in {"stages": stages, "metrics": metrics, "curves": curves, "rows": links}.items():
        write_table(folder, name, lines)
    return folder


@pytest.mark.slow
def test_a_page_of_a_thousand_stages_takes_15_seconds_and_20_megabytes(tmp_path):
    folder = make_large(tmp_path)
    began = time.process_time()
    page = write_report(folder)
    spent = time.process_time() - began
    assert page.stat().st_size <= 20 * MEGABYTE
    assert spent <= 15, f"{spent:.1f} s"
