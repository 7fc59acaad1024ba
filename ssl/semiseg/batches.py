"""The mini-batch of a step, as a function of the step: which images, weakly augmented, with what the teacher stages made of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from semiseg.augment.views import weak
from semiseg.batch import IGNORE, Batch, Plane, Shares
from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.lazy import torch
from semiseg.pseudo import Learned
from semiseg.stage import Stage, stream

if TYPE_CHECKING:
    from torch import Tensor


class Batches:
    """Mini-batches of a stage: `needs` of its rule says what is in them.

    labelled     rows of the pack whose true masks the stage learns
    unlabelled   rows from which the rest of a mixed draw comes
    epoch_steps  steps that show every image of the stage once: all of `unlabelled`, or with labelled images alone those
    """

    def __init__(self, stage: Stage, pack: Pack, splits: Splits, device: torch.device, learned: Learned) -> None:
        self.stage, self.train, self.needs = stage, stage.train, stage.rule.needs
        self.pack, self.splits, self.device, self.learned = pack, splits, device, learned
        self.labelled = self.needs.subset(splits.labelled, stage.seed) if self.needs.subset else splits.labelled
        self.shares = Shares(*(one.to(device) for one in shares_of(pack.counts[self.labelled])))
        self.unlabelled = unlabelled_rows(splits) if self.needs.apart else splits.training
        drawn = max(self.train.batch_unlabelled if self.needs.draw == "mixed" else self.per_step, 1)
        self.epoch_steps = -(-len(self.unlabelled if self.needs.unlabelled else self.labelled) // drawn)

    @property
    def per_step(self) -> int:
        """Images of a mini-batch."""
        return self.train.batch_labelled + self.train.batch_unlabelled

    def make(self, step: int, generator: torch.Generator) -> Batch:
        """The mini-batch of a step, as the rule wants it: labelled rows, then unlabelled ones."""
        rows, known = self.rows(step)
        batch = self._views(rows, known, generator)._replace(shares=self.shares)
        if not self.needs.partner:
            return batch
        beside = self.draw("partner", self.splits.training, step, max(len(rows) - known, 1))
        return batch._replace(partner=self._views(beside, 0, generator))

    def _views(self, rows: list[int], n_labelled: int, generator: torch.Generator) -> Batch:
        """Those rows of the pack, weakly augmented; the first ones with their true masks."""
        images = [self.pack.image(row) for row in rows]
        maps: list[list[Plane]] = [[self._mask(row) if i < n_labelled else unlabelled(images[i]) for i, row in enumerate(rows)]]
        for learned in (self.learned.masks, self.learned.confidences):
            if learned is not None:
                maps.append([learned[row] for row in rows])
        assert self.train.crop is not None
        views = weak(
            images,
            maps,
            weak=self.train.weak,
            ranges=self.pack.ranges_of(rows),
            crop=self.train.crop,
            generator=generator,
            device=self.device,
        )
        image, valid, (truth, *more) = views.image.contiguous(memory_format=torch.channels_last), views.valid, views.masks
        pseudo = more.pop(0) if self.learned.masks is not None else None
        # outside the frame: the largest number, as IGNORE is for masks
        confidence = torch.where(valid, more.pop(0), 65535) / 65535 if self.learned.confidences is not None else None
        if not self.pack.image_level:
            return Batch(image, truth, pseudo, valid, n_labelled, confidence)

        def least(one: Tensor) -> Tensor:  # the class of an image is that of any pixel that shows it
            return one.amin((1, 2), keepdim=True)

        pseudo, confidence = (one if one is None else least(one) for one in (pseudo, confidence))
        return Batch(image, least(truth), pseudo, valid[:, :1, :1] | True, n_labelled, confidence)

    def rows(self, step: int) -> tuple[list[int], int]:
        """Rows of the mini-batch of a step, and how many of them, the first ones, are labelled."""
        if self.needs.draw == "labelled":
            return self.draw("labelled", self.labelled, step, self.per_step), self.per_step
        if self.needs.draw == "joint":
            known = set(self.labelled.tolist())
            rows = sorted(self.draw("unlabelled", self.splits.training, step, self.per_step), key=lambda row: row not in known)
            return rows, sum(row in known for row in rows)
        rows = self.draw("labelled", self.labelled, step, self.train.batch_labelled)
        return rows + self.draw("unlabelled", self.unlabelled, step, self.train.batch_unlabelled), len(rows)

    def draw(self, name: str, rows: np.ndarray, step: int, count: int) -> list[int]:
        """The next `count` rows of an endless sequence of permutations, as a function of the step."""
        first, last = step * count, (step + 1) * count
        epochs = range(first // len(rows), -(-last // len(rows)))
        seeds = [stream(self.stage.seed, "order", self.stage.number, epoch) for epoch in epochs]
        order = np.concatenate([_permutation(seed, name, len(rows)) for seed in seeds])
        begin = first - epochs.start * len(rows)
        return rows[order[begin : begin + count]].tolist()

    def _mask(self, row: int) -> np.ndarray:
        mask = self.pack.mask(row)
        assert mask is not None, self.pack.ids[row]
        return mask


def unlabelled_rows(splits: Splits) -> np.ndarray:
    """Training images that are not labelled, ascending."""
    return np.setdiff1d(splits.training, splits.labelled)


def unlabelled(image: np.ndarray) -> np.ndarray:
    """Uint8 (H,W) that is IGNORE everywhere, for an image however large in the memory of one pixel."""
    return np.broadcast_to(np.uint8(IGNORE), image.shape[:2])


def shares_of(counts: np.ndarray) -> Shares:
    """Shares of the classes among N images, from the numbers of pixels (N,C+1) of each class in each image, ignored ones last."""
    pixels = counts[:, :-1]
    total, shown = pixels.sum(1, keepdims=True), pixels > 0
    whole = (total.sum(), (total * shown).sum(0))
    of_all, where_met = (torch.from_numpy(pixels.sum(0) / np.maximum(one, 1)).float() for one in whole)
    return Shares(of_all, where_met)


@lru_cache(maxsize=16)
def _permutation(seed: int, name: str, count: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(stream(seed, name))
    return torch.randperm(count, generator=generator).numpy()
