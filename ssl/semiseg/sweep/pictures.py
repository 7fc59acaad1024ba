"""What the student of a stage sees of the sample images: written by the driver, so that a report needs neither data nor torch, and so
that stages which another version trained have it too."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg.augment.perturbation import View, perturb_batch
from semiseg.augment.views import pictures, weak
from semiseg.batch import IGNORE
from semiseg.data import Pack, Splits
from semiseg.lazy import F, torch
from semiseg.results import write_bytes
from semiseg.stage import Stage, stream
from semiseg.train import sampled_rows

VIEWS = 4
"""Sample images, the first ones, that are shown as a student sees them."""


def write_views(folder: Path, stages: Iterable[Stage], pack: Pack, splits: Splits) -> None:
    """`<folder>/<key>/seen_<i>.png` of every stage, unless they are there: what they show is decided by the key."""
    for stage in stages:
        rows = sampled_rows(splits, stage.seed)[:VIEWS].tolist()
        paths = [folder / stage.key / f"seen_{i}.png" for i in range(len(rows))]
        if all(path.is_file() for path in paths):
            continue
        for path, picture in zip(paths, student_views(stage, pack, rows), strict=True):
            held = io.BytesIO()
            Image.fromarray(picture).save(held, "PNG")
            write_bytes(path, held.getvalue())


def student_views(stage: Stage, pack: Pack, rows: Sequence[int]) -> list[np.ndarray]:
    """Uint8 (h,w,3): those images after weak augmentation and what the rule does to unlabelled images of its student, one draw, with the
    rows and columns that `Pack.picture` would have.

    Images of a seed are drawn alike in all stages, so that these differ by what methods do. A perturbation that mixes images takes each
    image's partner from the others; one that follows a teacher follows one that knows the truth.
    """
    generator = torch.Generator().manual_seed(stream(stage.seed, "picture"))
    images = [pack.image(row) for row in rows]
    masks = [pack.mask(row) for row in rows]
    truth = [
        np.broadcast_to(np.uint8(IGNORE), image.shape[:2]) if mask is None else mask
        for image, mask in zip(images, masks, strict=True)
    ]
    assert stage.train.crop is not None
    views = weak(
        images,
        [truth],
        weak=stage.train.weak,
        ranges=pack.ranges_of(rows),
        crop=stage.train.crop,
        generator=generator,
        device=torch.device("cpu"),
    )
    valid, labels = views.valid, views.masks[0]
    if pack.image_level:
        valid, labels = torch.ones_like(valid[:, :1, :1]), labels.amin((1, 2), keepdim=True)
    perturbation = stage.rule.student_perturbation
    view = View(views.image, valid)
    if perturbation is not None and perturbation.guided:
        count = len(pack.classes)
        view = view._replace(probs=F.one_hot(labels.clamp(max=count - 1), count).movedim(-1, 1).float())
    step = max(-(-max(stage.train.crop) // 1024), 1)
    return [picture[::step, ::step] for picture in pictures(perturb_batch(perturbation, view, generator).image)]
