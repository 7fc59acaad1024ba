"""How good pseudo-masks and a teacher's targets are, where the unlabelled images have masks, which training is never shown.

For reports alone: nothing here draws a random number, moves a network or a statistic of one, or chooses weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semiseg.batch import IGNORE
from semiseg.batches import unlabelled_rows
from semiseg.config import Train
from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.evaluate import Tile, predict
from semiseg.lazy import torch
from semiseg.methods.rule import Masks, Rule, State
from semiseg.metrics import confusion_matrix, scores
from semiseg.stage import hash_of

if TYPE_CHECKING:
    from torch import Tensor

MOST, COST, LITTLE = 64, 0.04, 1 << 14
"""Images of a sample at most; pixels that are predicted in it during a stage as a share of those that are trained on; pixels of it that
cost too little to count."""
STRIP = 1 << 22
"""Pixels of a learned mask that are compared at a time."""
OF_ALL = ("miou", "accuracy", "iou", "recall")
OF_KEPT = ("miou", "accuracy", "iou")
"""Metrics of `scores`, of all pixels and of those that are learned."""


def watched_rows(pack: Pack, splits: Splits, train: Train) -> np.ndarray:
    """The unlabelled images on which a running stage's own networks are looked at: the first ones in an order of their ids' sha256.

    At most MOST, and no more than cost a few percent of the stage: twice COST pixels are predicted for each pixel that is trained on
    (forward, backward, and often the teacher's forward).
    """
    assert train.crop is not None
    trained = train.steps * (train.batch_labelled + train.batch_unlabelled) * train.crop[0] * train.crop[1]
    most = max(COST * trained / max(min(train.evaluations, train.steps), 1), LITTLE)
    rows = sorted(unlabelled_rows(splits).tolist(), key=lambda row: hashlib.sha256(pack.ids[row].encode()).digest())[:MOST]
    pixels = np.cumsum([int(pack.heights[row]) * int(pack.widths[row]) for row in rows])
    return np.array(rows[: int((pixels <= most).sum())], np.int64)


class Quality:
    """What a network says of images, beside their masks: sums over the pixels whose true class counts.

    Where a class belongs to a whole image, a pixel is an image.
    """

    def __init__(self, pack: Pack, rows: Sequence[int] | np.ndarray, least: float = 0.0) -> None:
        self.pack, self.least = pack, least
        self.ids = hash_of(sorted(pack.ids[int(row)] for row in rows))
        self.rows = frozenset(int(row) for row in rows if pack.mask(int(row)) is not None)
        self.without_mask = len(rows) - len(self.rows)
        classes = len(pack.classes)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        """Pixels by (true class, class that is said)."""
        self.sure = torch.zeros_like(self.confusion)
        """Those whose confidence is at least `least`."""
        self.sums = torch.zeros(2, classes, dtype=torch.float64)
        """Summed confidence (the largest probability) and entropy in nats by the class that is said."""

    def add(self, tile: Tile) -> None:
        """Count a tile, if it is of an image that has a mask and is one of the rows."""
        if tile.row not in self.rows:
            return
        mask = self.pack.mask(tile.row)
        assert mask is not None
        part = mask[:1, :1] if self.pack.image_level else mask[tile.place]
        truth = torch.from_numpy(part.astype(np.int64)).to(tile.probs.device)
        confidence, said = tile.probs.max(0)
        classes, counts = len(self.confusion), truth != IGNORE
        self.confusion += confusion_matrix(said, truth, classes).cpu()
        if self.least > 0:
            self.sure += confusion_matrix(said, truth.masked_fill(confidence < self.least, IGNORE), classes).cpu()
        for total, values in zip(self.sums, (confidence, torch.special.entr(tile.probs).sum(0)), strict=True):
            total += torch.bincount(said[counts], values[counts].double(), classes).cpu()

    def numbers(self, kept: Tensor | None = None) -> dict[tuple[str, str], float]:
        """`{(class name or "", metric): value}`, shares in [0, 1] but for the two counts of images; nan where nothing defines it.

        miou, accuracy, and by class iou and recall are those of `scores`. By class of the pixels that are said to be of it: precision, the
        share of right ones, and as over all pixels kept, the share that is learned, confidence and entropy, means of the largest
        probability and of the entropy as a share of log C. `kept` is the matrix of the pixels that are learned (None: of those that are
        sure enough), of which kept_miou, kept_accuracy, kept_iou and kept_precision are. Without a pixel whose true class counts
        there are only the counts.
        """
        found = {("", "images"): float(len(self.rows)), ("", "without_mask"): float(self.without_mask)}
        if not self.confusion.any():
            return found
        if kept is None:
            kept = self.sure if self.least > 0 else self.confusion
        names = {str(index): name for index, name in enumerate(self.pack.classes)} | {"": ""}
        for prefix, matrix, wanted in (("", self.confusion, OF_ALL), ("kept_", kept, OF_KEPT)):
            for (index, metric), value in scores(matrix[None]).items():
                if metric in wanted:
                    found[names[index], prefix + metric] = value
            right = matrix.diagonal() / matrix.sum(0)
            found |= {(names[str(index)], f"{prefix}precision"): value for index, value in enumerate(right.tolist())}
        said, (confidence, entropy) = self.confusion.sum(0), self.sums
        entropy = entropy / math.log(max(len(said), 2))
        for metric, values in {"kept": kept.sum(0), "confidence": confidence, "entropy": entropy}.items():
            found["", metric] = (values.sum() / said.sum()).item()
            found |= {(names[str(index)], metric): value for index, value in enumerate((values / said).tolist())}
        return found

    def write(self, path: Path) -> None:
        """The sums as JSON."""
        sums = {"ids": self.ids, "confusion": self.confusion.tolist(), "sums": self.sums.tolist()}
        path.write_text(json.dumps(sums), encoding="utf-8")

    def read(self, path: Path) -> Quality:
        """Take the sums of a file. Raises ValueError or KeyError for one that is cut or of other images."""
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found["ids"] != self.ids:
            raise ValueError("not of these images")
        confusion, sums = torch.tensor(found["confusion"]), torch.tensor(found["sums"], dtype=torch.float64)
        if confusion.shape != self.confusion.shape or sums.shape != self.sums.shape:
            raise ValueError("not of these classes")
        self.confusion, self.sums = confusion, sums
        return self


def learned_pixels(masks: Masks, pack: Pack, rows: Sequence[int] | np.ndarray) -> Tensor:
    """(C,C) int64 pixels by (true class, learned class) of pseudo-masks as a stage learns them, IGNORE where not, of rows that have a
    mask."""
    classes = len(pack.classes)
    found = torch.zeros(classes, classes, dtype=torch.int64)
    for row in (int(row) for row in rows):
        truth, learned = pack.mask(row), masks[row]
        if truth is None:
            continue
        height = 1 if pack.image_level else max(STRIP // truth.shape[1], 1)
        for top in range(0, 1 if pack.image_level else len(truth), height):
            place = (slice(top, top + height), slice(0, 1) if pack.image_level else slice(None))
            said, true = (torch.from_numpy(np.asarray(one[place]).astype(np.int64)) for one in (learned, truth))
            found += confusion_matrix(said, true.masked_fill(said == IGNORE, IGNORE), classes)
    return found


def learned_lines(quality: Quality, kept: Masks | None, key: str, teacher: str, prefix: str) -> list[dict[str, Any]]:
    """Lines of the table `pseudo` of pseudo-masks that the stage `key` learns from a network of the stage `teacher`; `kept` are the masks
    as they are learned, None: with all their pixels."""
    weights, role = prefix.rstrip(".").split(".", 1)
    place = {"key": key, "teacher": teacher, "role": role, "weights": weights, "step": 0}
    return quality_lines(quality.numbers(None if kept is None else learned_pixels(kept, quality.pack, sorted(quality.rows))), place)


def quality_lines(numbers: Mapping[tuple[str, str], float], place: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of the table `pseudo`: `place` says key, teacher, role, weights and step."""
    return [{**place, "class": name, "metric": metric, "value": value} for (name, metric), value in numbers.items()]


class OwnTargets(NamedTuple):
    """What a stage's own networks say of a sample."""

    quality: dict[str, Quality]
    """By role, of networks that make targets while the stage runs: its averages and fixed teachers or, where there are neither these nor
    learned pseudo-masks, the trained networks themselves."""
    disagreement: dict[str, float]
    """By role of an average or a fixed teacher: share of all pixels of the sample in which its argmax is not that of the network that it
    follows, or of the student."""


def watch(
    state: State, rule: Rule, pack: Pack, rows: np.ndarray, train: Train, *, batch: int, device: torch.device
) -> OwnTargets | None:
    """Predict the rows with the networks of a running stage; None where it sees no unlabelled image or nothing makes targets."""
    teachers = {role: net for role, net in (state.averages | state.fixed).items() if role not in state.hidden}
    trained = {role: net for role, net in state.trained.items() if role not in state.hidden}
    makers = teachers or ({} if rule.needs.masks else trained)
    if not (rule.needs.unlabelled and makers and len(rows)):
        return None
    followed = {role: state.follows.get(role, "student") for role in teachers}
    shown = makers | {role: state.trained[role] for role in followed.values()}
    found = {role: Quality(pack, rows, rule.least) for role in makers}
    apart, pixels = dict.fromkeys(teachers, 0), 0
    for tiles in zip(*(predict(net, pack, rows, train, batch=batch, device=device) for net in shown.values()), strict=True):
        tile = dict(zip(shown, tiles, strict=True))
        said = {role: one.probs.max(0).indices for role, one in tile.items()}
        pixels += tiles[0].probs[0].numel()
        for role, quality in found.items():
            quality.add(tile[role])
        for role, other in followed.items():
            apart[role] += int((said[role] != said[other]).sum())
    return OwnTargets(found, {role: count / pixels for role, count in apart.items()})
