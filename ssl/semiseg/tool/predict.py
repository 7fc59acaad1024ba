"""Masks of your own images by the network of a study's row: values and palette of its data set, sizes of the files."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from semiseg.config import SettingError
from semiseg.inputs import Reader, files_in
from semiseg.outside import local_folder
from semiseg.predict import masks_written, predicted, write_classes
from semiseg.published import WEIGHTS_FILE
from semiseg.sweep.command import guarded
from semiseg.sweep.words import read_words
from semiseg.tool.stored import RESULTS, Stored
from semiseg.tool.which import stage_in, taken


@dataclass(frozen=True, kw_only=True)
class PredictArguments(Stored):
    """Whose network, which images, where to."""

    row: Annotated[str, tyro.conf.Positional] = ""
    """STUDY/ROW: a results folder, or its name in results/, and a row of it."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Files, and folders with files, of the kind that the study's data set has."""
    out: Path | None = None
    """Folder of the masks: NAME.png, below a folder as there; of pages NAME_p000.png, of NIfTI volumes NAME.nii.gz."""
    seed: int | None = None
    """Whose weights; None: the seed whose weights score best on the selection images."""
    flips: Literal["none", "horizontal", "all"] = "none"
    """Average probabilities over flips of each image: horizontal, or also vertical and both (all). The evaluation has none."""
    window: tuple[int, int] | None = None
    """Height and width, multiples of 32, of the windows in which large images are shown; None: as they were scored."""
    overlap: int | None = None
    """Pixels, a multiple of 32, that a window sees beyond those it decides; None: as they were scored."""
    probabilities: bool = False
    """Also NAME.npy, float32 (classes, height, width), in the size that the network sees."""
    net: str | None = None
    """FILE.py:FUNCTION, where the network is one of your own."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 ..."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 written, 1 a disk is full, 2 what cannot be used (one line says what)."""
    return guarded(run_predict, argv)


def run_predict(words: list[str]) -> int:
    a = read_words(PredictArguments, PredictArguments(), words, __doc__ or "")
    if a.out is None:
        raise SettingError("out: got None; allowed: a folder for the masks")
    found = taken(a.row, RESULTS, a.seed)
    inputs, data = found.inputs, found.study.settings["data"]
    files = files_in(a.images)
    groups = {}
    if inputs.normalise.endswith("over group") and (pattern := str(data.get("groups", ""))):
        groups = {name: match[1] for name in files if (match := re.search(pattern, name))}
    out = local_folder(a.out, "out")
    info, folder = stage_in(a.open(say=tell), found)

    from semiseg.lazy import torch
    from semiseg.model import load_model, to
    from semiseg.nets.weights import brief

    if a.threads:
        torch.set_num_threads(a.threads)
    device = to(a.device)
    model = load_model(info, folder / WEIGHTS_FILE, a.net)
    changed = {"sliding_window": a.window, "window_overlap": a.overlap}
    model = replace(model, train=replace(model.train, **{name: one for name, one in changed.items() if one is not None}))
    whole = inputs.image_level
    reader = Reader(inputs, next(iter(data.get("variant", ())), "axial") if data["name"] == "folder" else "axial")
    made = predicted(model, reader, files, groups=groups, device=device, flips=a.flips, probabilities=a.probabilities or whole)
    said = f"{found.study.name}/{found.row}, seed {found.seed}, {model.train.weights} weights of the {model.role}"
    try:
        if whole:
            print(f"{write_classes(made, out, model.classes)}: {said}")
            return 0
        count = sum(1 for _ in masks_written(made, out, values=inputs.values, palette=found.study.palette, plane=reader.plane))
    except RuntimeError as error:  # torch's, of windows that are too small and of memory that is
        allowed = "larger images or windows, or where memory ends a smaller --window"
        raise SettingError(f"images: {model.net.name} cannot be shown them ({brief(error)}); allowed: {allowed}") from None
    print(f"{out}: {count} masks of {len(files)} files; {said}")
    return 0


def tell(text: str) -> None:
    print(text, file=sys.stderr)
