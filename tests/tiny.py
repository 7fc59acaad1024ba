"""A road so small that a stage trains on it in a second: what the tests of the core share. Not a test module."""

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from semiseg.batch import IGNORE, Batch
from semiseg.codec import read_row
from semiseg.config import Data, Net, Train
from semiseg.data import Pack, Splits
from semiseg.methods import Method, ThreeStage
from semiseg.methods.rule import State
from semiseg.nets import UNet, build
from semiseg.pseudo import Learned, network
from semiseg.runner import Place, split_of
from semiseg.schedules import Moment
from semiseg.stage import Split, Stage
from semiseg.sweep.rows import ResolvedRow, resolve_row
from semiseg.train import Trainer

CPU = torch.device("cpu")
SIZE = (32, 32)
CLASSES = ("ground", "disc", "square", "bar", "corner")
NET = UNet(width=4, depth=2)
TRAIN = Train(
    steps=8, batch_labelled=2, batch_unlabelled=2, learning_rate=1e-2, crop=SIZE, precision="fp32", evaluations=2, decay="constant"
)
SPLIT = Split(
    fingerprint="f",
    classes=CLASSES,
    labelled=4,
    labelled_hash="l",
    training=12,
    training_hash="u",
    selection_hash="s",
    test_hash="t",
)
"""Of data that do not exist, for plans that nobody trains."""
FULL = "S1 S2 S3 CR T2 SA N2"


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask by a formula: nothing drawn at random, so the same for every version of every library."""
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    y, x = 8 + 5 * number % 17, 8 + 11 * number % 17
    mask = np.zeros(SIZE, np.uint8)
    mask[(row - y) ** 2 + (column - x) ** 2 < 40] = 1
    mask[(abs(row - x) < 4) & (abs(column - y - 3) < 4)] = 2
    mask[abs(row + column - 20 - 2 * number % 23) < 2] = 3
    mask[-5 - number % 4 :, -6:] = 4
    colours = np.array([[90, 110, 70], [200, 60, 60], [60, 80, 190], [210, 200, 60], [120, 200, 190]])
    texture = (13 * row + 29 * column + 7 * row * column + 41 * number) % 47 - 23
    return (colours[mask] + texture[..., None] + 5 * (number % 5)).astype(np.uint8), mask


def write_images(root: Path) -> Data:
    """24 training, 4 selection and 5 test scenes of 32 x 32 pixels as a folder; the first test mask has ignored pixels."""
    names = {"train": range(24), "selection": range(24, 28), "test": range(28, 33)}
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for split, numbers in names.items():
        (root / f"{split}.txt").write_text("".join(f"{number:02d}\n" for number in numbers))
        for number in numbers:
            image, mask = scene(number)
            if number == names["test"][0]:
                mask[:3, :] = IGNORE
            Image.fromarray(image).save(root / "images" / f"{number:02d}.png")
            Image.fromarray(mask).save(root / "masks" / f"{number:02d}.png")
    return Data(name="folder", root=root, size=SIZE, labelled=4, classes=CLASSES)


@lru_cache
def data() -> tuple[Data, Path]:
    """Settings of the images and a cache folder, made once per process."""
    folder = Path(tempfile.mkdtemp(prefix="semiseg-tiny-"))
    return write_images(folder / "images"), folder / "cache"


def place(store: Path, **changes: Any) -> Place:
    settings, cache = data()
    return Place(**({"data": settings, "cache": cache, "store": str(store)} | changes))


def opened() -> tuple[Pack, Splits]:
    return place(Path("unused")).open()


def chain(method: Method | None = None, *, train: Train = TRAIN, net: Net = NET, seed: int = 0) -> tuple[Stage, ...]:
    """Stages of a method on the tiny images."""
    return (method or ThreeStage()).stages(split_of(*opened()), net, train, seed)


def resolved(rows: dict[str, str]) -> dict[str, ResolvedRow]:
    """What the rows of a three-stage table train, given as words."""
    methods = {"three_stage": ThreeStage()}
    return {name: resolve_row("table", name, read_row(words, methods), methods) for name, words in rows.items()}


def empty_masks() -> dict[int, np.ndarray]:
    return {row: np.zeros(SIZE, np.uint8) for row in opened()[1].training.tolist()}


def true_masks() -> dict[int, np.ndarray]:
    """Pseudo-masks that happen to be right."""
    pack, splits = opened()
    masks = {row: pack.mask(row) for row in splits.training.tolist()}
    return {row: mask for row, mask in masks.items() if mask is not None}


def trainer(stage: Stage) -> Trainer:
    """A trainer whose pseudo-masks, if it learns some, are right and sure; what it starts from, if anything, are fresh weights."""
    needs, other = stage.rule.needs, replace(stage, seed=stage.seed + 1)
    sure = {row: np.full(mask.shape, 65535, np.uint16) for row, mask in true_masks().items()}
    masks = needs.masks.keep(true_masks(), sure) if needs.masks else None
    initial = {role: network(other, opened()[0], CPU, role).state_dict() for role in needs.initial}
    return Trainer(stage, *opened(), CPU, Learned(masks, sure if needs.masks and needs.masks.confidences else None, initial))


def run(stage: Stage) -> Trainer:
    """A finished trainer."""
    torch.set_num_threads(1)
    started = trainer(stage)
    while not started.finished:
        started.advance(60)
    return started


def start(rule: Any, seed: int = 0) -> State:
    """Networks of a rule at step 0, outside a trainer."""
    statistics = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    mean, std = statistics
    return rule.start(lambda role="student": build(NET, len(CLASSES), mean=mean, std=std, seed=seed, own=rule.own_blocks))


def batch(seed: int = 0, *, labelled: int = 2, unlabelled: int = 2, ignored: bool = False) -> Batch:
    """Random pixels and masks; with `ignored` no pixel of any mask counts."""
    generator = torch.Generator().manual_seed(seed)
    count = labelled + unlabelled
    mask = torch.randint(0, len(CLASSES), (count, *SIZE), generator=generator)
    mask[labelled:] = IGNORE
    pseudo = torch.randint(0, len(CLASSES), (count, *SIZE), generator=generator)
    if ignored:
        mask, pseudo = torch.full_like(mask, IGNORE), torch.full_like(pseudo, IGNORE)
    valid = torch.full((count, *SIZE), not ignored)
    image, confidence = (torch.rand((count, *shape), generator=generator) for shape in ((3, *SIZE), SIZE))
    return Batch(image, mask, pseudo, valid, labelled, confidence)


def at(progress: float) -> Moment:
    """A step of a long stage."""
    return Moment(round(progress * 1000), 1000, 10)


def losses(finished: Trainer, name: str = "loss/total") -> list[float]:
    return [point["value"] for point in finished.progress.curves if point["name"] == name]


def flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten().double() for value in network.state_dict().values()])
