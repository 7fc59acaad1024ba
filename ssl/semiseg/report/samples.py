"""The sample panel (paper Figure 2): image, truth and what each stage of the reference row predicts, as PNGs that fit into the
page."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from semiseg.results import Results

_IGNORE = 255  # as semiseg.batch says, which needs torch
IGNORE_COLOUR = (128, 128, 128)
SHOWN_IMAGES = 4


class Picture(NamedTuple):
    """One cell of the panel; `agreement` is the share of labelled pixels that equal the truth (None for image and truth)."""

    source: str  # data: URI, "" when the file is missing or unreadable
    caption: str
    agreement: float | None


class SamplesInfo(NamedTuple):
    """Column heads, lines of pictures (one line per image) and the classes that occur, with their colours."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Picture, ...], ...]
    classes: tuple[tuple[str, tuple[int, int, int]], ...]


def samples_info(results: Results) -> SamplesInfo:
    """Pictures of the reference row's chain at the first seed; empty without image files."""
    study, folder = results.study, results.folder / "samples"
    seed = study.seeds[0]
    chain = [one for one in results.rows.to_pylist() if one["row"] == study.reference and one["seed"] == seed]
    chain.sort(key=lambda one: one["position"])
    palette = list(study.palette)
    columns = ("image", "truth", *(one["stage"] for one in chain))
    lines, seen = [], set()
    for i in range(SHOWN_IMAGES):
        if not (folder / f"image_{i}.png").is_file():
            continue
        truth = _ids(folder / f"truth_{i}.png")
        masks = [_ids(folder / one["key"] / f"prediction_{i}.png") for one in chain]
        line = [_photo(folder / f"image_{i}.png"), _mask(truth, None, f"truth of image {i}", palette)]
        line += [_mask(mask, truth, f"{one['stage']} on image {i}", palette) for mask, one in zip(masks, chain, strict=True)]
        lines.append(tuple(line))
        seen.update(*(np.unique(mask).tolist() for mask in (truth, *masks) if mask is not None))
    named = tuple((name, palette[i]) for i, name in enumerate(study.classes) if i in seen and i < len(palette))
    return SamplesInfo(columns, tuple(lines), named + ((("ignored", IGNORE_COLOUR),) if _IGNORE in seen else ()))


def _ids(path: Path) -> np.ndarray | None:
    """Class ids (H,W) of a palette or grey PNG; None when the stage has not written it (yet)."""
    try:
        with Image.open(path) as image:
            return np.asarray(image if image.mode in ("P", "L") else image.convert("L"))
    except OSError:  # missing or cut short: the panel says so
        return None


def _photo(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            return Picture(_uri(image.convert("RGB")), path.stem.replace("_", " "), None)
    except OSError:
        return Picture("", path.stem.replace("_", " "), None)


def _mask(ids: np.ndarray | None, truth: np.ndarray | None, caption: str, palette: list) -> Picture:
    if ids is None:
        return Picture("", caption, None)
    colours = np.full((256, 3), IGNORE_COLOUR, np.uint8)
    colours[: len(palette)] = palette
    picture = Image.fromarray(ids.astype(np.uint8), "L")
    picture.putpalette(colours.tobytes())
    valid = None if truth is None or truth.shape != ids.shape else truth != _IGNORE
    agreement = None if truth is None or valid is None or not valid.any() else float((ids == truth)[valid].mean())
    return Picture(_uri(picture), caption, agreement)


def _uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
