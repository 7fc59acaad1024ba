"""Confusion matrices and calibration: what evaluation counts, how it is stored, what the page makes of it; against scikit-learn."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from sklearn.metrics import confusion_matrix
from test_report_studies import CHAINS, CLASSES, key_of, make_study

from semiseg.evaluate import evaluate
from semiseg.outcome import count_lines
from semiseg.report.calibration import calibration_info
from semiseg.report.confusion import confusion_figure, confusion_info
from semiseg.report.counts import pixel_counts
from semiseg.report.scores import score_table
from semiseg.results import read, write_table

SEEDS = (0, 1, 2)
BINS = 15


def pixels_of(row: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and confidence of made-up pixels; the last class is neither there nor predicted."""
    draw = np.random.default_rng([len(row), seed])
    truth = draw.integers(0, len(CLASSES) - 1, 400)
    said = np.where(draw.random(400) < 0.7, truth, draw.integers(0, len(CLASSES) - 1, 400))
    return truth, said, draw.uniform(0.3, 1.0, 400)


def bin_of(confidence: np.ndarray) -> np.ndarray:
    return np.ceil(confidence * BINS).astype(int) - 1


def make_counted(folder: Path, seeds: tuple[int, ...] = SEEDS) -> Path:
    """The study of seven rows, whose final stages have kept counts of both tables; those of the last weights are nonsense."""
    make_study(folder, seeds=seeds, samples=False)
    lines = []
    for name in dict.fromkeys(chain[-1] for chain in CHAINS.values()):
        for seed in seeds:
            counts: dict[tuple[str, str, str], float] = {}
            for true, predicted, sure in zip(*pixels_of(name, seed), strict=True):
                place = str(bin_of(np.array(sure)))
                for at, value in (
                    (("confusion", CLASSES[true], CLASSES[predicted]), 1.0),
                    (("calibration", place, "pixels"), 1.0),
                    (("calibration", place, "right"), float(true == predicted)),
                    (("calibration", place, "confidence"), sure),
                ):
                    counts[at] = counts.get(at, 0.0) + value
            for role in ("student",) if name == "s1" else ("student", "teacher"):
                where = {"key": key_of(name, seed), "role": role, "split": "test"}
                lines += count_lines(counts, where | {"weights": "best"})
                lines += count_lines(dict.fromkeys(counts, 7.0), where | {"weights": "last"})
    write_table(folder, "counts", lines)
    return folder


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return read(make_counted(tmp_path_factory.mktemp("counted")))


def test_confusion_of_a_row_is_that_of_all_its_seeds(counted):
    found = {one.row: one for one in confusion_info(counted, score_table(counted))}
    assert list(found) == list(CHAINS)
    full, there = found["full"], list(range(len(CLASSES) - 1))
    truth, said = (np.concatenate([pixels_of("s3", seed)[i] for seed in SEEDS]) for i in range(2))
    assert (full.n, full.classes) == (3, tuple(CLASSES[:-1]))  # the class of no pixel is left out
    np.testing.assert_allclose(full.shares, confusion_matrix(truth, said, labels=there, normalize="true"))
    np.testing.assert_allclose(full.precision, confusion_matrix(truth, said, labels=there, normalize="pred").diagonal())
    layout: Any = confusion_figure(full).layout
    assert layout.title.text == "full (n = 3)"


def test_calibration_is_the_mean_distance_of_confidence_and_share_of_right_ones(counted):
    lines = {(one.row, one.role): one for one in calibration_info(counted, score_table(counted))}
    assert ("S1", "teacher") not in lines
    assert [role for row, role in lines if row == "full"] == ["student", "teacher"]
    line = lines["full", "teacher"]
    truth, said, sure = (np.concatenate([pixels_of("s3", seed)[i] for seed in SEEDS]) for i in range(3))
    error, places = 0.0, bin_of(sure)
    for place in range(BINS):
        inside = places == place
        if not inside.any():
            assert place >= len(line.right) or math.isnan(line.right[place])
            continue
        right, mean = (truth == said)[inside].mean(), sure[inside].mean()
        assert (line.right[place], line.confidence[place]) == pytest.approx((right, mean))
        assert line.shares[place] == pytest.approx(inside.mean())
        error += inside.mean() * abs(right - mean)
    assert line.error == pytest.approx(error)


def test_results_of_before_have_neither(tmp_path):
    results = read(make_study(tmp_path, samples=False))
    assert not (tmp_path / "counts.parquet").exists()
    table = score_table(results)
    assert (confusion_info(results, table), calibration_info(results, table), pixel_counts(results, "confusion")) == ((), (), {})


class Guess(torch.nn.Module):
    """Probabilities that depend on the image alone."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.stack([image[:, i % 3] * (3 + i) for i in range(5)], 1)


def test_evaluation_counts_the_pixels_of_its_scores():
    pack, splits = tiny.opened()
    found = evaluate(Guess(), pack, splits.test, tiny.TRAIN, batch=4, device=tiny.CPU, metrics=("ece",))
    counted = {(one, two): value for (table, one, two), value in found.counts.items() if table == "confusion"}
    right = sum(value for (one, two), value in counted.items() if one == two)
    assert all(counted.values())
    assert right / sum(counted.values()) == pytest.approx(found.scores["", "accuracy"])
    sums = {(int(one), two): value for (table, one, two), value in found.counts.items() if table == "calibration"}
    assert sum(value for (_, name), value in sums.items() if name == "pixels") == sum(counted.values())
    apart = sum(abs(sums.get((i, "right"), 0.0) - sums.get((i, "confidence"), 0.0)) for i in range(BINS))
    assert apart / sum(counted.values()) == pytest.approx(found.scores["", "ece"])
