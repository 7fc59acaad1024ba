"""Masks and probabilities of a user's own files, by the network of a study: in the files' sizes, in the set's values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from semiseg.batch import IGNORE
from semiseg.data.arrays import roomy
from semiseg.data.nifti import is_nifti, write_labels
from semiseg.evaluate import MOST_WHOLE, predict, spread_over
from semiseg.inputs import Frame, Frames, Reader
from semiseg.lazy import torch
from semiseg.metrics import decide
from semiseg.model import Model
from semiseg.results import write_bytes

Flips = Literal["none", "horizontal", "all"]
AXES: Mapping[Flips, tuple[tuple[int, ...], ...]] = {"none": ((),), "horizontal": ((), (-1,)), "all": ((), (-1,), (-2,), (-2, -1))}
"""Over which flips of an image probabilities are averaged."""
BATCH = 16
"""Images that are held and shown at a time, where all are small."""
STRIP = 1 << 24
"""Probabilities of an image in its own size that are made at a time."""


class Predicted(NamedTuple):
    """What was found of one image: class ids uint8 (H,W) in the size of its file, probabilities float32 (C,h,w) in the size that
    the network was shown, (C,1,1) where a class belongs to the whole image; None where they were not asked for."""

    frame: Frame
    mask: np.ndarray
    probs: np.ndarray | None


def predicted(
    model: Model,
    reader: Reader,
    files: Mapping[str, Path],
    *,
    groups: Mapping[str, str],
    device: torch.device,
    flips: Flips = "none",
    probabilities: bool = False,
) -> Iterator[Predicted]:
    """Every image of the files, in their order but for groups, whose images come together.

    `files` and `groups` are by name; a file of no group is one. What the network is shown, its windows and the rule by which it
    decides are those of the stage's evaluation. Where images were resized, probabilities are brought to the size of the file
    (bilinear) before a class is decided.
    """
    network = model.network.to(device)
    if flips != "none":
        from semiseg.nets.around import Flipped

        network = Flipped(network, AXES[flips])
    train = model.train if device.type != "cpu" else replace(model.train, precision="fp32")
    for frames in chunks(reader, files, groups):
        shown = Frames(frames, reader.inputs)
        rows = range(len(frames))
        held: dict[int, np.ndarray] = {}
        left = {row: int(shown.heights[row]) * int(shown.widths[row]) for row in rows}
        for row, place, probs in predict(network, shown, rows, train, batch=BATCH, device=device):
            frame = frames[row]
            whole = probabilities or frame.size != frame.pixels.shape[:2]
            if row not in held:
                size = (int(shown.heights[row]), int(shown.widths[row]))
                shape = (len(probs), *((1, 1) if probs.shape[-1] != place[1].stop - place[1].start else size))
                held[row] = roomy(shape, np.dtype(np.float32)) if whole else np.empty(size, np.uint8)
            if whole and held[row].shape[1:] == (1, 1):
                held[row][:] = probs.cpu().numpy()
            elif whole:
                held[row][:, *place] = probs.cpu().numpy()
            else:
                found = decide(probs[None], train.threshold)[0].to("cpu", torch.uint8).numpy()
                held[row][place] = spread_over(found, place)
            left[row] -= (place[0].stop - place[0].start) * (place[1].stop - place[1].start)
            if not left[row]:
                one = held.pop(row)
                mask = decided(one, frame.size, train.threshold) if whole else one
                yield Predicted(frame, mask, one if probabilities else None)


def chunks(reader: Reader, files: Mapping[str, Path], groups: Mapping[str, str]) -> Iterator[list[Frame]]:
    """Images that are held at a time: whole groups, and as many as fit in a batch."""
    held: list[Frame] = []
    pixels = 0
    names = sorted(files, key=lambda name: groups.get(name, "")) if groups else list(files)
    for group, members in groupby(names, key=lambda name: groups.get(name) or str(files[name])):
        found = [frame for name in members for frame in reader.frames(files[name], name, group)]
        more = sum(frame.pixels.shape[0] * frame.pixels.shape[1] for frame in found)
        if held and (len(held) + len(found) > BATCH or pixels + more > MOST_WHOLE):
            yield held
            held, pixels = [], 0
        held += found
        pixels += more
    if held:
        yield held


def decided(probs: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Class ids uint8 of height and width `size` from probabilities float32 (C,h,w), some rows at a time."""
    mask = roomy(size, np.dtype(np.uint8))
    step = max(1, STRIP // (len(probs) * size[1]))
    for start in range(0, size[0], step):
        rows = slice(start, min(start + step, size[0]))
        part = stretched(probs, size, rows)
        mask[rows] = decide(torch.from_numpy(part)[None], threshold)[0].to(torch.uint8).numpy()
    return mask


def stretched(probs: np.ndarray, size: tuple[int, int], rows: slice) -> np.ndarray:
    """Those rows of a map (C,h,w) at another height and width: bilinear between the centres of pixels, as torch's `interpolate`."""
    above, below, down = nearest_two(probs.shape[1], size[0], rows)
    left, right, across = nearest_two(probs.shape[2], size[1], slice(0, size[1]))
    lines = probs[:, above] * (1 - down)[:, None] + probs[:, below] * down[:, None]
    return lines[..., left] * (1 - across) + lines[..., right] * across


def nearest_two(source: int, target: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For places of an axis of `target` pixels: the two of `source` pixels around them, and how near the second one is, in 0..1."""
    at = ((np.arange(part.start, part.stop) + 0.5) * (source / target) - 0.5).clip(0, source - 1)
    first = np.floor(at).astype(int)
    return first, np.minimum(first + 1, source - 1), (at - first).astype(np.float32)


# ---- files


def masks_written(
    found: Iterable[Predicted],
    out: Path,
    *,
    values: Sequence[tuple[int, ...]],
    palette: Sequence[tuple[int, int, int]],
    plane: str = "axial",
) -> Iterator[Path]:
    """Write `out/NAME.png` of each image, `out/NAME.nii.gz` of each NIfTI volume whose masks have indexes, and `out/NAME.npy` of its
    probabilities where they are there; yields the masks' paths."""
    volumes: dict[Path, dict[int, np.ndarray]] = {}
    """Masks by slice, of volumes of which some are still to come."""
    indexes = np.array(values, np.uint16 if np.max(values) > IGNORE else np.uint8)[:, 0] if len(values[0]) == 1 else None
    for frame, mask, probs in found:
        path = out / f"{frame.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if probs is not None:
            np.save(path.with_suffix(".npy"), probs)
        part = frame.part
        if part is None or indexes is None or not is_nifti(part.file):
            with replacing(path, ".png") as aside:
                mask_picture(mask, values, palette).save(aside, "PNG")
            yield path
            continue
        masks = volumes.setdefault(part.file, {})
        masks[part.number] = mask
        if len(masks) == part.parts:
            path = out / f"{part.name}.nii.gz"
            labels = indexes[np.stack([masks[number] for number in range(part.parts)])]
            del volumes[part.file]
            with replacing(path, ".nii.gz") as aside:
                write_labels(aside, part.file, labels, plane)
            yield path


@contextmanager
def replacing(path: Path, ending: str) -> Iterator[Path]:
    """A file beside it that takes its place at the end of a with block, so that a file that is there is whole."""
    aside = path.with_name(f".{path.name}.part{ending}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def mask_picture(mask: np.ndarray, values: Sequence[tuple[int, ...]], palette: Sequence[tuple[int, int, int]]) -> Image.Image:
    """A mask as files of the set have it: indexes with a palette of the classes' colours, of 16 bits without one, or colours."""
    table = np.array(values, np.uint16)
    if table.shape[1] == 3:
        return Image.fromarray(table.astype(np.uint8)[mask])
    indexes = table[:, 0]
    if indexes.max() > IGNORE:
        return Image.fromarray(indexes[mask])
    picture = Image.fromarray(indexes.astype(np.uint8)[mask], "P")
    colours = [(255, 255, 255)] * 256
    for (value,), colour in zip(values, palette, strict=True):
        colours[value] = colour
    picture.putpalette([level for colour in colours for level in colour])
    return picture


def write_classes(found: Iterable[Predicted], out: Path, classes: Sequence[str]) -> Path:
    """Write `out/classes.csv` of a network of whole images: name, class, and the probability of each class."""
    lines = [",".join(["image", "class", *classes])]
    for frame, mask, probs in found:
        assert probs is not None  # they are asked for
        lines.append(",".join([frame.name, classes[int(mask[0, 0])], *(f"{value:.6f}" for value in probs[:, 0, 0])]))
    path = out / "classes.csv"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path
