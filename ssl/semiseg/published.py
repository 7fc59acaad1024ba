"""The published files of a stage: written at its end, read by the stages that learn from it."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from semiseg.data.pack import Pack
from semiseg.methods.rule import Pick
from semiseg.outcome import Outcome
from semiseg.results import write_table
from semiseg.stage import Stage
from semiseg.store import Store

WEIGHTS_FILE = "weights.safetensors"


def write_outcome(folder: Path, outcome: Outcome, pack: Pack) -> None:
    """The published files of a stage: weights, metrics, curves, counts and sample predictions, of large images every few rows and columns.

    Equal outcomes give equal bytes.
    """
    from safetensors.torch import save_file

    save_file(outcome.weights, folder / WEIGHTS_FILE)
    write_table(folder, "metrics", outcome.metrics)
    write_table(folder, "curves", outcome.curves)
    if outcome.targets:
        write_table(folder, "pseudo", outcome.targets)
    if outcome.counts:
        write_table(folder, "counts", outcome.counts)
    for number, (row, mask) in enumerate(outcome.samples.items()):
        Image.fromarray(pack.picture(row)).save(folder / f"image_{number}.png")
        truth, step = pack.mask(row), pack.step(row)
        assert truth is not None
        for name, picture in (("truth", truth[::step, ::step]), ("prediction", mask)):
            indexed = Image.fromarray(np.ascontiguousarray(picture), "P")
            colours = [*pack.palette, *[(255, 255, 255)] * (256 - len(pack.palette))]  # fewer entries would pack 255 into 4 bits
            indexed.putpalette([value for colour in colours for value in colour])
            indexed.save(folder / f"{name}_{number}.png")


def picked(stage: Stage, pick: Pick, store: Store) -> Stage:
    """The teacher stage that `pick` means; it compares scores of the networks that the teacher stages report, on selection."""
    teachers = [stage.teachers[number] for number in pick.among]
    if len(teachers) == 1:
        return teachers[0]
    ranked = sorted(
        teachers, key=lambda teacher: -selection_score(teacher, store)
    )  # stable: of equal ones the earlier is the better
    return ranked[0 if pick.choice == "best" else -1]


def selection_score(stage: Stage, store: Store) -> float:
    """The score on the selection images of the weights that a finished stage reports; -1 where it has none."""
    wanted = {
        "split": "selection",
        "class": "",
        "metric": stage.train.score,
        "role": stage.rule.evaluated,
        "weights": stage.train.weights,
    }
    table = pq.read_table(store.folder(stage.key) / "metrics.parquet").to_pylist()
    (value,) = [line["value"] for line in table if all(line[name] == text for name, text in wanted.items())]
    return -1.0 if np.isnan(value) else value
