"""A network of a study's row as an ONNX file with a model card, or a whole study as an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from semiseg.care.archive import write_archive
from semiseg.care.held import spoken_size
from semiseg.config import SettingError
from semiseg.outside import local_path
from semiseg.published import WEIGHTS_FILE
from semiseg.results import write_bytes
from semiseg.sweep.command import guarded
from semiseg.sweep.words import read_words
from semiseg.tool.predict import tell
from semiseg.tool.stored import RESULTS, Stored, results_named
from semiseg.tool.which import stage_in, taken


@dataclass(frozen=True, kw_only=True)
class ExportArguments(Stored):
    """What is taken, and into which file."""

    what: Annotated[str, tyro.conf.Positional] = ""
    """With --onnx STUDY/ROW, with --archive STUDY: a results folder, or its name in results/, and a row of it."""
    onnx: Path | None = None
    """File of the network, NAME.onnx; beside it goes the model card, NAME.md."""
    archive: Path | None = None
    """File of the study, to be opened by `semiseg import`."""
    seed: int | None = None
    """With --onnx: whose weights; None: the seed whose weights score best on the selection images."""
    net: str | None = None
    """With --onnx: FILE.py:FUNCTION, where the network is one of your own."""
    weights: bool = True
    """With --archive: the stages' weights too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 written, 1 a disk is full, 2 what cannot be used (one line says what)."""
    return guarded(run_export, argv)


def run_export(words: list[str]) -> int:
    a = read_words(ExportArguments, ExportArguments(), words, __doc__ or "")
    if (a.onnx is None) == (a.archive is None):
        raise SettingError(f"arguments: got {' '.join(words)!r}; allowed: --onnx FILE or --archive FILE, one of the two")
    if a.archive is not None:
        if a.seed is not None or a.net is not None:
            raise SettingError("arguments: got --archive with --seed or --net; allowed: those with --onnx")
        return export_study(a, local_path(a.archive, "archive"))
    assert a.onnx is not None
    if not a.weights:
        raise SettingError("arguments: got --onnx with --no-weights; allowed: --no-weights with --archive")
    file = local_path(a.onnx, "onnx")
    if file.suffix != ".onnx":
        raise SettingError(f"onnx: got {str(a.onnx)!r}; allowed: a file NAME.onnx")
    return export_network(a, file)


def export_study(a: ExportArguments, file: Path) -> int:
    """Write the archive of a results folder, and say what is in it."""
    study = results_named(a.what)
    if study is None:
        raise SettingError(
            f"study: got {a.what!r}; allowed: a results folder of a sweep or a search, or the name of one in {RESULTS}"
        )
    count, size = write_archive(study, file, a.open(say=tell), weights=a.weights)
    print(f"{file}: {study.resolve().name}, {count} stages {'with' if a.weights else 'without'} weights, {spoken_size(size)}")
    return 0


def export_network(a: ExportArguments, file: Path) -> int:
    """Write the network and its card."""
    found = taken(a.what, RESULTS, a.seed)
    info, folder = stage_in(a.open(say=tell), found)

    from semiseg.model import load_model
    from semiseg.onnx_file import write_onnx
    from semiseg.tool.card import about, card

    model = load_model(info, folder / WEIGHTS_FILE, a.net)
    checked = write_onnx(model, file, about(found, model))
    page = file.with_suffix(".md")
    write_bytes(page, card(found, model, file, checked).encode())
    print(f"{file}: {found.study.name}/{found.row}, seed {found.seed}; differs from torch by {checked.difference:.1e} at most")
    print(page)
    return 0
