"""What all labels add over few on real images, in development: nothing to gain on tiny street images, much on heart MRI.

Numbers and cost are in docs/measured.md. Settings are written here, so that no preset's change moves the measure.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from data_trees import SHARED
from in_process import without_ray

from semiseg.change import Row, change
from semiseg.config import Data, Train, Weak
from semiseg.losses import CrossEntropy, Dice, Loss
from semiseg.methods import Supervised
from semiseg.nets import UNet
from semiseg.report.scores import score_table
from semiseg.results import read
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.study import Study

pytestmark = pytest.mark.slow
TRAIN = Train(steps=600, batch_labelled=4, batch_unlabelled=0, learning_rate=5e-3, precision="fp32")
SETS: dict[str, tuple[Data, int, Loss, Train]] = {  # data, width of the network, loss, training
    "camvid": (Data(name="camvid", labelled=36, size=(48, 64)), 8, CrossEntropy(), TRAIN),
    "acdc70": (
        Data(name="acdc", labelled=42, size=(64, 64), normalise="percentile", normalise_over="group"),
        16,
        Dice(),
        # steps of the anchor of three stages with the preset acdc
        replace(
            TRAIN, steps=1800, learning_rate=1e-3, weak=Weak(scale=(1.0, 1.0), flip=1.0, rot90=0.75, rotation=20.0, either=0.5)
        ),
    ),
}
SEEDS = (0, 1)


def gap(folder: str, place: Path) -> dict[int, float]:
    """Points that all labels add over few, by seed; labels alone, no test image scored."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not there; a clone has no data")
    data, width, objective, train = SETS[folder]
    table = Ablation(
        name="gap",
        title="Few and all labels",
        question="What do all labels add?",
        rows={"few": Row(), "all": Row(data=change(Data, labelled="all"))},
        reference="few",
        presets={
            "demo": Preset(
                data=replace(data, root=SHARED / folder),
                net=UNet(width=width),
                train=train,
                method=Supervised(objective=objective),
                seeds=SEEDS,
                vary="training",
            )
        },
    )
    places = {"--store": "store", "--out": folder, "--cache": "cache"}
    words = [word for flag, name in places.items() for word in (flag, str(place / name))]
    arguments, preset = parse(table, ["--development", "--anchors", "none", *words])
    assert Study(table, preset, arguments).run() == 0
    found = score_table(read(place / folder))
    assert set(read(place / folder).metrics["split"].to_pylist()) == {"selection"}
    few, whole = (found.row(name).cells for name in ("few", "all"))
    points = {seed: 100 * (whole[seed].value - few[seed].value) for seed in few}
    for seed, value in points.items():
        print(f"{folder} seed {seed}: few {few[seed].value:.4f}, all {whole[seed].value:.4f}, {value:+.2f} points")
    return points


def test_on_tiny_street_images_there_is_nothing_to_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    points = gap("camvid", tmp_path)
    assert sum(points.values()) / len(points) < 2


def test_with_three_patients_there_is_much_to_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    points = gap("acdc70", tmp_path)
    assert sum(points.values()) / len(points) > 10
