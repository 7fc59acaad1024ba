"""Every method trains on images of one and of five channels, weakly turned."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from test_trainer_batches import rows_of

from semiseg.config import Weak
from semiseg.data import Pack
from semiseg.methods import METHODS, Supervised
from semiseg.pseudo import Learned, network
from semiseg.train import Trainer

TURNED = Weak(scale=(0.7, 1.4), flip=0.5, vertical_flip=0.5, rot90=0.75, rotation=20.0)
TRAIN = replace(tiny.TRAIN, weak=TURNED)


class Banded(Pack):
    """The tiny images as 1 or 5 bands: of the red one, of the others and what is left of them."""

    bands: int

    def image(self, row: int) -> np.ndarray:
        image = super().image(row)
        return np.concatenate([image, 255 - image[..., :2]], 2)[..., : self.bands]


def banded(bands: int) -> Banded:
    """A pack that hands out as many channels, with their means and deviations."""
    pack = copy.copy(tiny.opened()[0])
    pack.__class__ = Banded
    assert isinstance(pack, Banded)
    pack.bands = bands
    pack.mean, pack.std = np.linspace(0.4, 0.6, bands), np.linspace(0.2, 0.3, bands)
    return pack


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bands", [1, 5])
def test_every_method_trains_on_any_channels(name: str, bands: int) -> None:
    pack, splits = banded(bands), tiny.opened()[1]
    for stage in tiny.chain(METHODS[name](), train=TRAIN):
        if stage.train.steps == 0:
            continue
        needs = stage.rule.needs
        sure = {row: np.full(mask.shape, 65535, np.uint16) for row, mask in tiny.true_masks().items()}
        masks = needs.masks.keep(tiny.true_masks(), sure) if needs.masks else None
        initial = {role: network(replace(stage, seed=9), pack, tiny.CPU, role).state_dict() for role in needs.initial}
        learned = Learned(masks, sure if needs.masks and needs.masks.confidences else None, initial)
        trainer = Trainer(stage, pack, splits, tiny.CPU, learned)
        assert trainer.batches.make(0, torch.Generator()).image.shape[1] == bands
        for _ in range(2):
            trainer.train_step()
        assert tiny.flat(trainer.state.student).isfinite().all()


def test_turned_batches_show_the_same_images_in_the_same_order() -> None:
    (still,) = tiny.chain(Supervised(), train=replace(TRAIN, weak=Weak(scale=(1.0, 1.0), flip=0.0)))
    (turned,) = tiny.chain(Supervised(), train=replace(TRAIN, weak=Weak(scale=(1.0, 1.0), flip=0.0, rot90=1.0)))
    for step in range(3):
        one, other = (tiny.trainer(stage).batches.make(step, torch.Generator().manual_seed(step)) for stage in (still, turned))
        for there, here in zip(one.image, other.image, strict=True):
            assert any(torch.allclose(here, there.rot90(k, (1, 2)), atol=1e-6) for k in (1, 2, 3))
        assert len(rows_of(one)) == 4  # whole images
