"""The second draw of training images that a rule can ask for (`Needs.partner`): which images, and that nothing else changes."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import tiny
import torch
from cps_example import CrossPseudo
from test_trainer_batches import rows_of

from semiseg.augment import CutMix
from semiseg.batch import IGNORE
from semiseg.config import Weak
from semiseg.methods import Method, Supervised
from semiseg.methods.rule import Needs
from semiseg.train import Trainer

MIXING = CrossPseudo(mix=CutMix())


@dataclass(frozen=True, kw_only=True)
class Paired(Supervised):
    """Supervised training that looks at nothing of its partners."""

    draw: Literal["labelled", "mixed", "joint"]

    @property
    def needs(self) -> Needs:
        return Needs(draw=self.draw, partner=True)


def trainer(method: Method, **train: Any) -> Trainer:
    return tiny.trainer(tiny.chain(method, train=replace(tiny.TRAIN, **train))[0])


def test_partners_are_training_images_without_their_masks_as_many_as_unlabelled_rows() -> None:
    made, (_, splits) = trainer(MIXING, batch_unlabelled=3, weak=Weak(scale=(1.0, 1.0), flip=0.0)), tiny.opened()
    seen: list[int] = []
    for step in range(16):  # two epochs of the unlabelled images
        batch = made.batches.make(step, torch.Generator().manual_seed(step))
        partner = batch.partner
        assert partner is not None
        assert (len(batch.image), len(partner.image), partner.labelled, partner.partner) == (5, 3, 0, None)
        assert (partner.mask == IGNORE).all()
        assert rows_of(partner) != rows_of(batch)[2:]
        seen += rows_of(partner)
    assert sorted(seen) == sorted([*splits.training.tolist()] * 2)


def test_a_second_draw_changes_nothing_of_the_first_and_is_the_same_at_every_start() -> None:
    plain, one, other = (trainer(method) for method in (CrossPseudo(), MIXING, MIXING))
    for step in (0, 1, 5):
        batches = [made.batches.make(step, torch.Generator().manual_seed(step)) for made in (plain, one, other)]
        assert batches[0].partner is None
        assert batches[0].image.equal(batches[1].image)
        assert batches[0].mask.equal(batches[1].mask)
        partners = [batch.partner for batch in batches[1:]]
        assert partners[0] is not None
        assert partners[1] is not None
        assert partners[0].image.equal(partners[1].image)


@pytest.mark.parametrize("draw", ["labelled", "joint"])
def test_a_second_draw_goes_with_every_kind_of_batch(draw: Any) -> None:
    made = trainer(Paired(draw=draw))
    for step in range(6):
        batch = made.batches.make(step, torch.Generator().manual_seed(step))
        assert batch.partner is not None
        assert len(batch.partner.image) == max(len(batch.image) - batch.labelled, 1)
