"""What a step sees: which rows, labelled how, with which confidences."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from semiseg.batch import Batch
from semiseg.config import Weak
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy
from semiseg.methods import DMT, METHODS, MeanTeacher, Method, PseudoLabel, Supervised
from semiseg.pseudo import Learned
from semiseg.stage import Stage
from semiseg.train import Trainer

JOINT = MeanTeacher(objective=CrossEntropy())
MIXED = replace(JOINT, draw="mixed", ema=Ema(decay=(0.9,)))
STILL: dict[str, Any] = {"weak": Weak(scale=(1.0, 1.0), flip=0.0)}


def stage(method: Method, number: int = 0, **train: Any) -> Stage:
    return tiny.chain(method, train=replace(tiny.TRAIN, **train))[number]


def batches(trainer: Trainer, steps: int) -> Iterator[Batch]:
    for step in range(steps):
        yield trainer.batches.make(step, torch.Generator().manual_seed(step))


def rows_of(batch: Batch) -> list[int]:
    """Rows of the pack by the pixels of the images, which are neither moved nor cut."""
    pack, _ = tiny.opened()
    known = {pack.image(row).tobytes(): row for row in range(len(pack))}
    images = (batch.image * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return [known[image.tobytes()] for image in images]


# ---- rows


def test_joint_batches_hold_any_number_of_labelled_images_first_and_show_all_images_once_an_epoch() -> None:
    """4 of 24 images are labelled, a step takes 4: in the 6 steps of an epoch the counts add up to 4."""
    trainer = tiny.trainer(stage(JOINT, **STILL))
    (pack, splits), counts = tiny.opened(), []
    known = set(splits.labelled.tolist())
    seen: list[int] = []
    for batch in batches(trainer, 60):
        rows = rows_of(batch)
        counts.append(batch.labelled)
        assert [row in known for row in rows] == [i < batch.labelled for i in range(4)]
        for i, row in enumerate(rows):
            expected = pack.mask(row) if i < batch.labelled else np.full(tiny.SIZE, 255)
            np.testing.assert_array_equal(batch.mask[i].numpy(), expected)
        seen += rows
    assert len(set(counts)) >= 3
    assert 0 in counts
    assert [sum(counts[start : start + 6]) for start in range(0, 60, 6)] == [4] * 10
    assert all(sorted(seen[start : start + 24]) == splits.training.tolist() for start in range(0, 240, 24))


def test_mixed_batches_hold_fixed_parts_and_hide_the_masks_of_labelled_images_drawn_as_unlabelled() -> None:
    trainer = tiny.trainer(stage(MIXED, batch_labelled=1, batch_unlabelled=3, **STILL))
    pack, splits = tiny.opened()
    known, second = set(splits.labelled.tolist()), []
    for batch in batches(trainer, 16):  # two epochs of the unlabelled images
        rows = rows_of(batch)
        assert batch.labelled == 1
        assert rows[0] in known
        np.testing.assert_array_equal(batch.mask[0].numpy(), pack.mask(rows[0]))
        assert (batch.mask[1:] == 255).all()
        second += rows[1:]
    assert sorted(second) == sorted([*splits.training.tolist()] * 2)
    assert known & set(second)


@pytest.mark.parametrize("method", [DMT(pseudo_on="unlabelled"), PseudoLabel(pseudo_on="unlabelled")], ids=["dmt", "pseudo_label"])
def test_the_unlabelled_part_of_a_batch_can_leave_out_labelled_images(method: Method) -> None:
    trainer = tiny.trainer(replace(stage(method, -2 if isinstance(method, DMT) else -1), train=replace(tiny.TRAIN, **STILL)))
    _, splits = tiny.opened()
    known, seen = set(splits.labelled.tolist()), []
    assert trainer.batches.epoch_steps == 10  # 20 of 24 images have no labels
    for batch in batches(trainer, 20):
        rows = rows_of(batch)
        assert set(rows[: batch.labelled]) <= known
        seen += rows[batch.labelled :]
    assert sorted(seen) == sorted([row for row in splits.training.tolist() if row not in known] * 2)


def test_supervised_batches_hold_labelled_images_alone() -> None:
    trainer = tiny.trainer(stage(Supervised(), **STILL))
    pack, splits = tiny.opened()
    for batch in batches(trainer, 5):
        rows = rows_of(batch)
        assert batch.labelled == 4
        assert (sorted(rows), batch.pseudo, batch.confidence) == (splits.labelled.tolist(), None, None)
        for row, mask in zip(rows, batch.mask, strict=True):
            np.testing.assert_array_equal(mask.numpy(), pack.mask(row))


@pytest.mark.parametrize("method", [JOINT, MIXED, Supervised()], ids=["joint", "mixed", "supervised"])
def test_batches_are_the_same_at_every_start(method: Method) -> None:
    one, other = (list(batches(tiny.trainer(stage(method)), 8)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert a.labelled == b.labelled
        assert a.image.equal(b.image)
        assert a.mask.equal(b.mask)
    last = tiny.trainer(stage(method)).batches.make(7, torch.Generator().manual_seed(7))  # without the steps before it
    assert last.image.equal(one[7].image)


@pytest.mark.parametrize(
    ("method", "batch", "steps"),
    [  # 4 labelled of 24 images; pretraining of DMT takes 3 of the 4
        (Supervised(), (2, 2), 1), (Supervised(), (1, 2), 2), (DMT(), (1, 1), 2), (JOINT, (2, 2), 6), (JOINT, (1, 4), 5),
        (MIXED, (2, 2), 12), (MIXED, (2, 5), 5), (MIXED, (2, 0), 24),
    ],
)  # fmt: skip
def test_an_epoch_shows_every_image_of_the_stage_once(method: Method, batch: tuple[int, int], steps: int) -> None:
    trainer = tiny.trainer(stage(method, batch_labelled=batch[0], batch_unlabelled=batch[1]))
    assert trainer.batches.epoch_steps == steps


SHORT = DMT(phases=(0.5, 1.0))


@pytest.mark.parametrize("name", METHODS)
def test_no_image_of_selection_or_test_is_read_in_training_and_masks_only_of_labelled_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = SHORT if name == "dmt" else METHODS[name]()
    pack, splits = tiny.opened()
    read: dict[str, set[int]] = {"image": set(), "mask": set()}
    trainers = [tiny.trainer(one) for one in tiny.chain(method) if one.train.steps > 0]
    for kind, rows in read.items():
        function = getattr(type(pack), kind)
        monkeypatch.setattr(type(pack), kind, lambda self, row, rows=rows, f=function: rows.add(row) or f(self, row))
    for trainer in trainers:
        for _ in range(6):
            trainer.train_step()
    assert read["image"] <= set(splits.training.tolist())
    assert read["mask"] == set(splits.labelled.tolist())
    assert (read["image"] == read["mask"]) == (name == "supervised")


# ---- confidences


def numbered() -> dict[int, np.ndarray]:
    """A number of its own for every pixel of every training image, as its confidence: 33 x 1024 fit in 16 bits."""
    pixels = np.arange(1024, dtype=np.int64).reshape(tiny.SIZE)
    return {row: (40503 * (1024 * row + pixels) % 65536).astype(np.uint16) for row in tiny.opened()[1].training.tolist()}


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.6, 1.6)], ids=["unscaled", "scaled"])
def test_confidences_travel_with_pixels_and_masks_through_scale_crop_and_flip(scale: tuple[float, float]) -> None:
    """The confidence says which pixel it was of: image, pseudo-mask and true mask there must be that pixel's."""
    numbers, pseudo = numbered(), {row: (mask + 1) % 5 for row, mask in tiny.true_masks().items()}
    home = {int(value): (row, y, x) for row, plane in numbers.items() for (y, x), value in np.ndenumerate(plane)}
    assert len(home) == 24 * 1024
    moving = stage(SHORT, 2, crop=(20, 28), weak=Weak(scale=scale, flip=0.5))
    trainer, (pack, _) = Trainer(moving, *tiny.opened(), tiny.CPU, Learned(pseudo, numbers)), tiny.opened()
    turned = set()
    for batch in batches(trainer, 6):
        assert batch.pseudo is not None
        assert batch.confidence is not None
        assert batch.confidence.dtype == torch.float32
        assert batch.confidence.shape == batch.pseudo.shape == (4, 20, 28)
        assert 0 <= batch.confidence.min() <= batch.confidence.max() <= 1
        assert scale != (1.0, 1.0) or batch.valid.all()
        values = (batch.confidence.double() * 65535).round().long()
        for n in range(4):
            places = [(y, x, *home[int(values[n, y, x])]) for y, x in batch.valid[n].nonzero().tolist()]
            assert len({row for _, _, row, _, _ in places}) == 1
            for y, x, row, there, across in places:
                assert batch.pseudo[n, y, x] == pseudo[row][there, across]
                if n < batch.labelled:
                    mask = pack.mask(row)
                    assert mask is not None
                    assert batch.mask[n, y, x] == mask[there, across]
                if scale == (1.0, 1.0):
                    expected = torch.tensor(pack.image(row)[there, across] / 255, dtype=torch.float32)
                    torch.testing.assert_close(batch.image[n, :, y, x], expected, rtol=0, atol=1e-6)
            turned.add(places[0][4] > places[27 if scale == (1.0, 1.0) else 3][4])
            assert (batch.pseudo[n][~batch.valid[n]] == 255).all()
    assert turned == {True, False}


def test_the_confidences_0_and_1_arrive_as_they_are_and_only_where_the_rule_asks() -> None:
    for value in (0, 255, 256, 65535):
        planes = {row: np.full(tiny.SIZE, value, np.uint16) for row in numbered()}
        trainer = Trainer(stage(SHORT, 2, **STILL), *tiny.opened(), tiny.CPU, Learned(tiny.true_masks(), planes))
        (batch,) = batches(trainer, 1)
        assert batch.confidence is not None
        assert batch.confidence.unique().tolist() == pytest.approx([value / 65535])
    (batch,) = batches(tiny.trainer(stage(PseudoLabel(), 1)), 1)
    assert batch.pseudo is not None
    assert batch.confidence is None
