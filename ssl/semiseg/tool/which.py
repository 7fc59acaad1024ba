"""Which study, row and finished stage words of a command line mean."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from semiseg.config import SettingError
from semiseg.outside import local_path
from semiseg.report.cells import numbers_of, score_cells
from semiseg.results import Results, StudyRecord, read, read_study
from semiseg.results.inputs import InputRecord
from semiseg.results.records import STUDY_FILE
from semiseg.store import Store


class Taken(NamedTuple):
    """A row of a study at one seed, whose stage is finished."""

    results: Results
    row: str
    seed: int
    key: str
    inputs: InputRecord
    """What its networks are shown."""

    @property
    def study(self) -> StudyRecord:
        """The study's record."""
        return self.results.study


def study_named(word: str, out: Path) -> Path:
    """The results folder that a word means: a path, or a name below `out`. SettingError where there is no study."""
    for folder in (local_path(Path(word), "study"), local_path(out / word, "study")):
        if (folder / STUDY_FILE).is_file():
            return folder
    raise SettingError(f"study: got {word!r}; allowed: a results folder with {STUDY_FILE}, or the name of one in {out}")


def row_named(word: str, out: Path) -> tuple[Path, str]:
    """The results folder and the row that STUDY/ROW means; a row's name may have slashes. SettingError where there is no such."""
    parts = word.split("/")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            folder = study_named("/".join(parts[:cut]) or "/", out)
        except SettingError:
            continue
        rows, row = list(study_of(folder).rows), "/".join(parts[cut:])
        if row in rows:
            return folder, row
        raise SettingError(f"row: got {row!r}; allowed: {', '.join(rows)}")
    try:
        rows = ", ".join(f"{word}/{row}" for row in study_of(study_named(word.rstrip("/"), out)).rows)
    except SettingError:
        raise SettingError(
            f"row: got {word!r}; allowed: STUDY/ROW, a results folder or its name in {out}, and a row of it"
        ) from None
    raise SettingError(f"row: got {word!r}, a study without a row; allowed: {rows}")


def study_of(folder: Path) -> StudyRecord:
    """The record of a study. SettingError, one line, for one that cannot be read."""
    try:
        return read_study(folder)
    except ValueError as error:
        raise SettingError(str(error)) from None


def taken(word: str, out: Path, seed: int | None) -> Taken:
    """The stage of STUDY/ROW with that seed; None: with the best score on the selection images, of equal ones the first.

    SettingError where none is finished, and for a study that does not say what its networks are shown.
    """
    folder, row = row_named(word, out)
    try:
        results = read(folder)
    except ValueError as error:
        raise SettingError(str(error)) from None
    cells = {at: cell for (name, at), cell in score_cells(results).items() if name == row and cell.state == "done"}
    if seed is not None and seed not in cells:
        raise SettingError(f"seed: got {seed}; allowed: {', '.join(map(str, cells)) or 'none, as no stage of the row is finished'}")
    if not cells:
        raise SettingError(f"row: got {row!r}, of which no stage is finished; allowed: after {results.study.provenance.command}")
    chosen = numbers_of(results, results.study.score.metric, split="selection")

    def on_selection(at: int) -> float:
        value = chosen.get((cells[at].key, cells[at].role), math.nan)
        return -math.inf if math.isnan(value) else value

    seed = max(cells, key=on_selection) if seed is None else seed
    if results.study.inputs is None:
        again = f"the same command again, which trains nothing: {results.study.provenance.command}"
        raise SettingError(
            f"study: got {str(results.folder)!r}, which an earlier version wrote without what its networks see; allowed: {again}"
        )
    return Taken(results, row, seed, cells[seed].key, results.study.inputs)


def stage_in(store: Store, found: Taken) -> tuple[dict[str, Any], Path]:
    """stage.json and the folder of the row's stage. SettingError where the store does not have it."""
    try:
        return store.info(found.key), store.folder(found.key)
    except KeyError:
        again = f"the store of the study, or {found.study.provenance.command}"
        raise SettingError(
            f"store: got {store.location!r}, which has no stage {found.key[:12]} ({found.row}, seed {found.seed}); allowed: {again}"
        ) from None
