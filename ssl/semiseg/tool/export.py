"""A network of a study's row as an ONNX file with a model card, or a whole study as an archive."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from semiseg.config import SettingError
from semiseg.outside import local_path, store_location
from semiseg.published import WEIGHTS_FILE
from semiseg.results import write_bytes
from semiseg.store import Store
from semiseg.sweep.command import guarded
from semiseg.sweep.words import read_words
from semiseg.tool.predict import tell
from semiseg.tool.which import RESULTS, stage_in, study_named, taken


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
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
    store: str = "results/store"
    """Where the study's stages are: a folder or a URI of pyarrow.fs."""
    cache: Path = Path("results/cache")
    """Where copies of a remote store's stages are kept."""
    wait_seconds: float = 60.0
    """For how long an answer of a remote store is awaited."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 written, 1 a disk is full, 2 what cannot be used (one line says what)."""
    return guarded(run_export, argv)


def run_export(words: list[str]) -> int:
    a = read_words(ExportArguments, ExportArguments(), words, __doc__ or "")
    if not 0 < a.wait_seconds < math.inf:
        raise SettingError(f"wait_seconds: got {a.wait_seconds}; allowed: a number > 0")
    if (a.onnx is None) == (a.archive is None):
        raise SettingError(f"arguments: got {' '.join(words)!r}; allowed: --onnx FILE or --archive FILE, one of the two")
    if a.archive is not None:
        if a.seed is not None or a.net is not None:
            raise SettingError("arguments: got --archive with --seed or --net; allowed: those with --onnx")
        archive = importlib.import_module("semiseg.tool.archive")
        study = study_named(a.what, RESULTS)
        archive.export(study, a.archive, weights=a.weights, store=a.store, cache=a.cache, wait_seconds=a.wait_seconds)
        return 0
    assert a.onnx is not None
    if not a.weights:
        raise SettingError("arguments: got --onnx with --no-weights; allowed: --no-weights with --archive")
    file = local_path(a.onnx, "onnx")
    if file.suffix != ".onnx":
        raise SettingError(f"onnx: got {str(a.onnx)!r}; allowed: a file NAME.onnx")
    return export_network(a, file)


def export_network(a: ExportArguments, file: Path) -> int:
    """Write the network and its card."""
    found = taken(a.what, RESULTS, a.seed)
    found.inputs  # noqa: B018  a study that does not say what its networks see is refused before torch is loaded
    store = Store(store_location(a.store), local_path(a.cache, "cache") / "mirror", limit=a.wait_seconds, say=tell)
    info, folder = stage_in(store, found)

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
