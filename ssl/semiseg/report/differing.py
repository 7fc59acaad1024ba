"""The sample images on which rows differ most, and what each row predicts there."""

from typing import NamedTuple

import numpy as np

from semiseg.report.data import ReportData
from semiseg.report.markup import Section, empty, section
from semiseg.report.samples import IGNORED, SamplesInfo, ids_of, mask_of, panel, photo_of
from semiseg.results import Results

SHOWN = 3
"""Images."""
MOST_ROWS = 10
"""Rows whose predictions stand side by side."""
MOST_SIDE = 512
"""Pixels of a side in which rows are compared: of larger pictures every few rows and columns."""


class Differing(NamedTuple):
    """An image by number: the share of its pixels that count in which the rows do not all say the same class."""

    image: int
    share: float


def differing_images(results: Results, keys: dict[str, str]) -> tuple[Differing, ...]:
    """Images that all rows (name -> key of the final stage) have predicted, the one in which they differ most first."""
    folder, found = results.folder / "samples", []
    for i in range(len(list(folder.glob("image_*.png")))):
        masks = [ids_of(folder / key / f"prediction_{i}.png") for key in dict.fromkeys(keys.values())]
        truth = ids_of(folder / f"truth_{i}.png")
        shapes = {None if mask is None else mask.shape for mask in (truth, *masks)}
        if truth is None or None in shapes or len(shapes) > 1:
            continue
        step = -(-max(truth.shape) // MOST_SIDE)
        first, *others = (np.asarray(mask)[::step, ::step] for mask in masks)
        counts = truth[::step, ::step] != IGNORED
        apart = np.any([first != other for other in others], axis=0) & counts if others else np.zeros_like(counts)
        found.append(Differing(i, float(apart.sum() / max(counts.sum(), 1))))
    return tuple(sorted(found, key=lambda one: (-one.share, one.image)))


def differing_section(data: ReportData) -> list[Section]:
    """The panel; no section where fewer than two rows have predicted a sample image."""
    results, folder, palette = data.results, data.results.folder / "samples", list(data.study.palette)
    seed = data.study.seeds[0]
    keys = {row.name: row.cells[seed].key for row in data.table.rows if row.cells[seed].state == "done"}
    keys = dict([(name, key) for name, key in keys.items() if (folder / key).is_dir()][:MOST_ROWS])
    if len(set(keys.values())) < 2:
        return []
    images, name = differing_images(results, keys), "Rows apart"
    if not images:
        return [("differing", name, section("differing", name, empty("The rows have no sample image in common yet.")))]
    lines, seen = [], set()
    for one in images[:SHOWN]:
        i, truth = one.image, ids_of(folder / f"truth_{one.image}.png")
        line = [photo_of(folder / f"image_{i}.png", f"image {i}"), mask_of(truth, None, f"truth of image {i}", palette)]
        line[0] = line[0]._replace(below=f"{one.share:.1%} differ")
        for row, key in keys.items():
            mask = ids_of(folder / key / f"prediction_{i}.png")
            line.append(mask_of(mask, truth, f"{row} on image {i}", palette))
            seen.update(np.unique(mask).tolist() if mask is not None else ())
        seen.update(np.unique(truth).tolist() if truth is not None else ())
        lines.append(tuple(line))
    classes = tuple((word, palette[i]) for i, word in enumerate(data.study.classes) if i in seen and i < len(palette))
    note = (
        f"Of {len(images)} sample images those in which most pixels are not of one class in all rows, seed {seed}; below each prediction the share of "
        "pixels that match the truth."
    )
    return [
        ("differing", name, section("differing", name, panel(note, SamplesInfo(("image", "truth", *keys), tuple(lines), classes))))
    ]
