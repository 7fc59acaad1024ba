"""The sample panel (ke2020, Figure 2): image, truth, what the student sees of it, and what the stages of a row or the final stages of
several rows predict, as PNGs that fit into the page."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from semiseg.report.markup import render
from semiseg.results import Results

IGNORED = 255  # as semiseg.batch says, which needs torch
IGNORE_COLOUR = (128, 128, 128)
SHOWN_IMAGES = 4
SEEN = "seen"


class Picture(NamedTuple):
    """One cell of the panel; `agreement` is the share of labelled pixels that equal the truth (None for image and truth)."""

    source: str  # data: URI, "" when the file is missing or unreadable
    caption: str
    agreement: float | None
    below: str = ""


class SamplesInfo(NamedTuple):
    """Column heads, lines of pictures (one line per image) and the classes that occur, with their colours."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Picture, ...], ...]
    classes: tuple[tuple[str, tuple[int, int, int]], ...]
    rows: tuple[str, ...] = ()
    seen: bool = False  # whether there are pictures of what a student sees


def samples_info(results: Results) -> SamplesInfo:
    """Pictures at the first seed: of the chain of the row that is asked for, else of the reference, or of several rows their ends;
    empty without image files."""
    study, folder = results.study, results.folder / "samples"
    rows = study.report.sample_rows or (study.reference,)
    shown = [column for row in rows for column in _columns(results, row, folder, alone=len(rows) == 1)]
    palette = list(study.palette)
    columns = ("image", "truth", *(column.head for column in shown))
    lines, seen = [], set()
    for i in range(SHOWN_IMAGES):
        if not (folder / f"image_{i}.png").is_file():
            continue
        truth = ids_of(folder / f"truth_{i}.png")
        line = [photo_of(folder / f"image_{i}.png", f"image {i}"), mask_of(truth, None, f"truth of image {i}", palette)]
        masks = [truth]
        for column in shown:
            path, caption = folder / column.key / f"{column.kind}_{i}.png", f"{column.head} on image {i}"
            if column.kind == SEEN:
                line.append(photo_of(path, caption))
            else:
                masks.append(ids_of(path))
                line.append(mask_of(masks[-1], truth, caption, palette))
        lines.append(tuple(line))
        seen.update(*(np.unique(mask).tolist() for mask in masks if mask is not None))
    named = tuple((name, palette[i]) for i, name in enumerate(study.classes) if i in seen and i < len(palette))
    classes = named + ((("ignored", IGNORE_COLOUR),) if IGNORED in seen else ())
    return SamplesInfo(columns, tuple(lines), classes, rows, any(column.kind == SEEN for column in shown))


class _Column(NamedTuple):
    head: str
    key: str
    kind: str  # how names of its files begin


def _columns(results: Results, row: str, folder: Path, *, alone: bool) -> list[_Column]:
    """What is shown of a row: the student's view where there is one, then every stage of its chain or, beside other rows, its last."""
    seed = results.study.seeds[0]
    chain = [one for one in results.rows.to_pylist() if one["row"] == row and one["seed"] == seed]
    chain.sort(key=lambda one: one["position"])
    if not chain:
        return []
    end = chain[-1]["key"]
    view = [_Column("student's view" if alone else f"{row}: student's view", end, SEEN)]
    masks = [_Column(one["stage"], one["key"], "prediction") for one in chain] if alone else [_Column(row, end, "prediction")]
    return (view if any((folder / end).glob(f"{SEEN}_*.png")) else []) + masks


def ids_of(path: Path) -> np.ndarray | None:
    """Class ids (H,W) of a palette or grey PNG; None when the stage has not written it (yet)."""
    try:
        with Image.open(path) as image:
            return np.asarray(image if image.mode in ("P", "L") else image.convert("L"))
    except OSError:  # missing or cut short: the panel says so
        return None


def photo_of(path: Path, caption: str) -> Picture:
    try:
        with Image.open(path) as image:
            return Picture(_uri(image.convert("RGB")), caption, None)
    except OSError:
        return Picture("", caption, None)


def mask_of(ids: np.ndarray | None, truth: np.ndarray | None, caption: str, palette: list) -> Picture:
    if ids is None:
        return Picture("", caption, None)
    colours = np.full((256, 3), IGNORE_COLOUR, np.uint8)
    colours[: len(palette)] = palette
    picture = Image.fromarray(ids.astype(np.uint8), "L")
    picture.putpalette(colours.tobytes())
    valid = None if truth is None or truth.shape != ids.shape else truth != IGNORED
    agreement = None if truth is None or valid is None or not valid.any() else float((ids == truth)[valid].mean())
    return Picture(_uri(picture), caption, agreement)


def _uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def panel(note: str, info: SamplesInfo) -> str:
    """The pictures as markup, with the classes that occur."""
    classes = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in info.classes]
    pictures = [picture for line in info.lines for picture in line]
    least = max(620, 90 * len(info.columns))
    return render("samples", note=note, columns=info.columns, pictures=pictures, classes=classes, least=least)
