"""A small study of files of a kind, trained in this process, for tests of what is taken from it. Not a test module."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import without_ray
from PIL import Image

from semiseg.change import Row, change
from semiseg.config import Data, Net, Train
from semiseg.methods import MeanTeacher, Supervised
from semiseg.nets import UNet
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Preset

COLOURS = {3: (90, 10, 10), 7: (10, 120, 10), 200: (20, 30, 190)}
"""Values of the masks and their colours."""
TRAIN = Train(
    steps=6,
    batch_labelled=2,
    batch_unlabelled=2,
    learning_rate=2e-2,
    crop=(32, 32),
    precision="fp32",
    evaluations=2,
    decay="constant",
)
SIZES = ((37, 45), (40, 61), (53, 33), (75, 66))


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A uint16 image (H,W) and a mask of ids 0..2, of one of SIZES."""
    height, width = SIZES[number % len(SIZES)]
    row, column = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    mask[(row - 8 - number) ** 2 + (column - 12 - 2 * number) ** 2 < 60] = 1
    mask[height // 2 : height // 2 + 9, 3 + number : 14 + number] = 2
    noise = np.random.default_rng(number).integers(0, 3000, mask.shape)
    return (np.array([8000, 30000, 52000])[mask] + noise).astype(np.uint16), mask


def picture(mask: np.ndarray) -> Image.Image:
    """A palette file's image of class ids."""
    found = Image.fromarray(np.array([*COLOURS], np.uint8)[mask], "P")
    colours = [(0, 0, 0)] * 256
    for value, colour in COLOURS.items():
        colours[value] = colour
    found.putpalette([level for colour in colours for level in colour])
    return found


def write_deep(root: Path, count: int = 14) -> Data:
    """16-bit grey images of several sizes with palette masks of the values 3, 7 and 200."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    names = [f"{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        image, mask = scene(number)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        picture(mask).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("3 ground\n7 disc\n200 square\n")
    (root / "train.txt").write_text("\n".join(names[:8]))
    (root / "selection.txt").write_text("\n".join(names[8:10]))
    (root / "test.txt").write_text("\n".join(names[10:]))
    return Data(name="folder", root=root, size="native", labelled=4)


def write_coloured(root: Path) -> Data:
    """8-bit colour images of several sizes, resized by the study to 40 x 48, with grey masks of the values 0 and 255."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(12):
        image, mask = scene(number)
        colours = np.stack([image >> 8, 255 - (image >> 8), image >> 9], 2).astype(np.uint8)
        Image.fromarray(colours).save(root / "images" / f"{number:02d}.png")
        Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8)).save(root / "masks" / f"{number:02d}.png")
    return Data(name="folder", root=root, size=(40, 48), labelled=4)


def study(
    place: Path, data: Data, *words: str, net: Net | None = None, train: Train = TRAIN, seeds: tuple[int, ...] = (0, 1)
) -> Path:
    """The results folder of a finished study of two rows: "labels" and "teacher"; its store and cache lie beside it."""
    rows: dict[str, Row] = {"labels": Row(change(Supervised)), "teacher": Row(change(MeanTeacher))}
    preset: dict[str, Any] = {"data": data, "net": net or UNet(width=4, depth=2), "train": train, "method": MeanTeacher()}
    table = Ablation(
        name="taken",
        title="Taken",
        question="Which one?",
        rows=rows,
        reference="teacher",
        presets={"demo": Preset(**preset, others=(Supervised(),), seeds=seeds)},
    )
    out = place / "results" / "taken"
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        said = ["--out", str(out), *stored(place), "--anchors", "none", "--vary", "training", *words]
        assert main(table, said) == 0
    return out


def stored(place: Path) -> list[str]:
    """Words that name the store and the cache."""
    return ["--store", str(place / "store"), "--cache", str(place / "cache")]
