"""What did the tool make of my files? A line, the findings, and an offline page with images, masks and augmentations.

Opens a data set as a sweep does and prints what was understood, then what may be a mistake: classes that are missing in the
labelled images, in selection or in test; one patient in selection; constant images; the same pixels twice. Writes one HTML page,
which loads nothing from elsewhere: images as they are packed, their masks on them, and what weak augmentation and each perturbation
make of both. Exit status 0, and 2 with one line when the data cannot be used. Takes a few seconds on a thousand images.

    python analysis/look_at_data.py --data.name folder --data.root my_images --out data.html
"""

import base64
import html
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch.nn.functional import one_hot

from semiseg.augment import PERTURBATIONS, View, views
from semiseg.config import Data, SettingError, Train, require
from semiseg.data import IGNORE, Pack, Splits, findings, load, split, understood

CPU = torch.device("cpu")
SIDE = 256  # pixels of a picture on the page, of its longer side
LARGEST = 1024  # pixels a side of what is augmented where --train.crop says nothing
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 100em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .3em .6em; vertical-align: top; text-align: left; font-weight: normal }
img { display: block; max-width: 100%; image-rendering: pixelated } .key { display: inline-block; width: 1em; height: 1em }
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which data, and where the page goes."""

    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)
    """Of these settings crop and weak make the weak augmentation."""
    cache: Path = Path("results/cache")
    """Decoded images."""
    out: Path = Path("data.html")
    """The page."""
    images: int = 4
    """Images of each part on the page, the first ones."""
    seed: int = 0
    """Of the augmentations."""

    def __post_init__(self) -> None:
        require(self.images >= 1, "images", self.images, "a whole number >= 1")
        require(self.out.suffix == ".html", "out", str(self.out), "a file NAME.html")


def painted(image: np.ndarray, mask: np.ndarray | None, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Image uint8 (H,W,3) under the colours of its classes; ignored pixels are grey, a missing mask leaves it as it is."""
    if mask is None:
        return image
    colours = np.full((256, 3), 128, np.uint8)
    colours[: len(palette)] = palette
    return ((image.astype(np.uint16) + 2 * colours[mask]) // 3).astype(np.uint8)


def picture(pixels: np.ndarray, alt: str) -> str:
    """An <img> with the pixels in it, at least about SIDE pixels wide or high."""
    factor = max(1, SIDE // max(pixels.shape[:2]))
    image = Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, "PNG")
    source = base64.b64encode(held.getvalue()).decode()
    return f'<img src="data:image/png;base64,{source}" alt="{html.escape(alt)}">'


Shown = tuple[np.ndarray, np.ndarray | None]
"""Image uint8 (H,W,3) and mask uint8 (H,W), or None without one."""


def augmented(pack: Pack, row: int, partner: int, train: Train, seed: int) -> dict[str, Shown]:
    """A row after weak augmentation, and that after each perturbation of the package, by name; `partner` is what CutMix pastes."""
    height, width = train.crop or [min(side, LARGEST) for side in pack.image(row).shape[:2]]
    generator = torch.Generator().manual_seed(seed + row)
    images = [pack.image(one) for one in (row, partner)]
    masks = [pack.mask(one) for one in (row, partner)]
    blank = [
        np.broadcast_to(np.uint8(IGNORE), image.shape[:2]) if mask is None else mask
        for image, mask in zip(images, masks, strict=True)
    ]
    weak = views.weak(
        images,
        [blank],
        weak=train.weak,
        ranges=pack.ranges_of((row, partner)),
        crop=(height, width),
        generator=generator,
        device=CPU,
    )
    own, other = (View(weak.image[i : i + 1], weak.valid[i : i + 1]) for i in (0, 1))
    labels = weak.masks[0]
    known = labels[:1].clamp(max=len(pack.classes) - 1)  # ignored pixels are of some class to a teacher
    probs = one_hot(known, len(pack.classes)).movedim(-1, 1).float()
    made = {"weak": (views.pictures(own.image)[0], labels[0])}
    for name, kind in PERTURBATIONS.items():
        perturbation = kind()
        one = perturbation(own._replace(probs=probs), generator, partner=other if perturbation.partner else None)
        made[name] = (views.pictures(one.image)[0], one.labels(labels[:1], labels[1:] if perturbation.partner else None)[0])
    return {name: (image, None if masks[0] is None else ids.numpy().astype(np.uint8)) for name, (image, ids) in made.items()}


def page(pack: Pack, splits: Splits, found: Sequence[str], arguments: Arguments) -> str:
    """The HTML page."""
    first = "".join(f"<li>{html.escape(line)}</li>" for line in found) or "<li>nothing odd</li>"
    colours = zip((*pack.classes, "ignored"), (*pack.palette, (128, 128, 128)), strict=True)
    key = " ".join(f'<span class="key" style="background:rgb{colour}"></span> {html.escape(name)}' for name, colour in colours)
    unlabelled = np.setdiff1d(splits.training, splits.labelled)
    parts = {
        "labelled": splits.labelled,
        "training, masks not used": unlabelled,
        "selection": splits.selection,
        "test": splits.test,
    }
    tables = []
    for part, rows in parts.items():
        lines = []
        for number, row in enumerate(rows[: arguments.images].tolist(), 1):
            image, mask, step = pack.picture(row), pack.mask(row), pack.step(row)
            mask = mask if mask is None else mask[::step, ::step]
            cells = [picture(image, "image"), picture(painted(image, mask, pack.palette), "mask")]
            partner = int(rows[number % len(rows)])
            for name, (changed, moved) in augmented(pack, row, partner, arguments.train, arguments.seed).items():
                cells += [picture(changed, name), picture(painted(changed, moved, pack.palette), f"mask after {name}")]
            lines.append(f"<tr><th>{html.escape(pack.ids[row])}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        heads = "".join(
            f"<th>{name}</th>"
            for name in ("", "image", "mask", *(part for name in ("weak", *PERTURBATIONS) for part in (name, "mask")))
        )
        tables.append(f"<h2>{part} ({len(rows)})</h2><table><tr>{heads}</tr>{''.join(lines)}</table>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(pack.name)}</title><style>{STYLE}</style>'
        f"<h1>{html.escape(pack.name)}</h1><p>{html.escape(understood(pack, splits))}</p><ul>{first}</ul><p>{key}</p>"
        f"{''.join(tables)}</html>\n"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 the page is written, 2 unusable data."""
    try:
        arguments = tyro.cli(Arguments, args=None if words is None else list(words), description=(__doc__ or "").splitlines()[0])
        pack = load(arguments.data, arguments.cache)
        splits = split(pack, arguments.data)
        print(understood(pack, splits))
        found = findings(pack, splits)
        print("\n".join(found) or "nothing odd")
        try:
            arguments.out.write_text(page(pack, splits, found, arguments), encoding="utf-8")
        except OSError as error:
            raise SettingError(f"out: got {str(arguments.out)!r}, which cannot be written ({error.strerror})") from None
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"page: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
