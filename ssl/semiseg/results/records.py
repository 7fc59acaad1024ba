"""`study.json` as values: what was asked, how rows are scored, and where the numbers come from.

The file is a JSON object: `format`, the version of what is written below (STUDY_FORMAT), and one field per field of `StudyRecord`,
nested as the dataclasses here are. Tuples are lists, numbers that are keys are text ("0.05"), and fields with a default may be
missing. All scores are fractions in [0, 1], but for distances, which are in `DataRecord.length`; what a paper states is percent, or the
distance, as printed.

A field that this version does not know is refused with one line: it could change what the numbers mean, and a report that ignores
it would be wrong without a word. Older files are read: `brought_up` says in which ways they differ.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from semiseg.results.decode import decode, encode
from semiseg.results.draws import DrawRecord, Vary
from semiseg.results.effects import EffectsRecord
from semiseg.results.files import first_line, write_bytes
from semiseg.results.inputs import InputRecord
from semiseg.results.printed import PrintedSpread
from semiseg.results.until import UntilRecord

STUDY_FORMAT = 1
STUDY_FILE = "study.json"


@dataclass(frozen=True, kw_only=True)
class PaperRecord:
    """Numbers that a paper prints for rows of the same name."""

    title: str
    url: str = ""
    table: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    """Percent, one per column; None where the paper states nothing. A row may be missing."""
    metrics: tuple[str | None, ...] | None = None
    """Our metric, or None, of each column; without this all columns are of the score."""
    spreads: Mapping[str, tuple[PrintedSpread | None, ...]] = field(default_factory=dict)
    """By row, one per column; None where the paper prints none. A row may be missing."""

    def __post_init__(self) -> None:
        for row, values in self.rows.items():
            fits = len(values) == len(self.columns)
            _need(fits, f"paper.rows[{row!r}]", list(values), f"a number or null for each of {', '.join(self.columns)}")
        metrics, count = list(self.metrics or ()), len(self.columns)
        fits = self.metrics is None or len(metrics) == count
        _need(fits, "paper.metrics", metrics, f"a metric's name or null for each of the {count} columns")
        for row, spreads in self.spreads.items():
            numbers = self.rows.get(row, (None,) * count)
            fits = len(spreads) == count and all(one is None or x is not None for one, x in zip(spreads, numbers, strict=False))
            allowed = f"a spread for numbers that paper.rows has, or null, for each of {', '.join(self.columns)}"
            _need(fits, f"paper.spreads[{row!r}]", encode(spreads), allowed)


@dataclass(frozen=True, kw_only=True)
class CurveRecord:
    """Rows as points of curves: score over a number."""

    x: str
    """What the number is, such as "labelled share"."""
    log: bool = False
    series: Mapping[str, Mapping[float, str]]
    """Name of a line -> number -> row."""
    levels: tuple[str, ...] = ()
    """Rows without a number, such as an upper bound."""
    paper: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    """Name of a line -> number -> percent, as printed."""
    spreads: Mapping[str, Mapping[float, PrintedSpread]] = field(default_factory=dict)
    """Name of a line -> number -> what is printed behind the paper's percent."""

    def __post_init__(self) -> None:
        for name, lines in (("series", self.series), ("paper", self.paper)):
            for line, places in lines.items():
                for x in places:
                    _need(x > 0 or not self.log, f"curve.{name}[{line!r}]", x, "a number above 0, because the axis is logarithmic")
        for name, spreads in self.spreads.items():
            stated = self.paper.get(name, {})
            for x in spreads:
                _need(
                    x in stated, f"curve.spreads[{name!r}]", x, f"numbers of curve.paper[{name!r}]: {', '.join(map(str, stated))}"
                )


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The images of a study."""

    name: str
    labelled: int | str
    """How many have labels; text such as "12, 64" where rows differ in it."""
    labelled_hash: str
    """Of the first seed."""
    train: int
    selection: int
    test: int
    size: str
    """The largest height and width, such as "64 x 64"."""
    fingerprint: str
    """Of images and masks."""
    length: str = "pixels"
    """Unit of distances in the images: where the data say how large a pixel is mm, or units of a map."""


@dataclass(frozen=True, kw_only=True)
class ScoreRecord:
    """Which number of metrics.parquet is the score of a stage; its role is the stage's own."""

    metric: str
    split: str
    weights: str
    rule: str
    """The same in words, for the notes below tables."""


@dataclass(frozen=True, kw_only=True)
class AnchorRecord:
    """Rows of labels alone beside a row."""

    row: str
    """What the row is judged by: labels only, with as many labelled images a step and as many steps."""
    all_labels: str | None = None
    """The same with all labels; None: the row has all."""
    beside: tuple[str, ...] = ()
    """Anchors of other kinds."""


@dataclass(frozen=True, kw_only=True)
class ProvenanceRecord:
    """Where the results come from."""

    command: str
    git: str
    versions: Mapping[str, str]
    device: str
    written: str = ""
    """Time of writing, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What the page shows of a study."""

    axis: Literal["step", "epoch", "share"] = "step"
    """Axis that the training curves begin with; on the page there is a switch."""
    sample_rows: tuple[str, ...] = ()
    """Rows of the sample pictures; none: the reference."""
    figures: Literal["none", "svg", "pdf"] = "none"
    """Files of every figure in figures/, at the end of a study; this takes the extra "figures" and a browser."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """One study. Raises ValueError naming the field, as it stands in the file, that the report could not use."""

    name: str
    title: str
    question: str
    paper: PaperRecord | None = None
    rows: Mapping[str, str]
    """Name of a row -> its words."""
    method: str = ""
    """The method of rows that name none."""
    methods: tuple[str, ...] = ()
    """Words of rows that name a method."""
    against: Mapping[str, str | None] | None = None
    """Row -> row it is compared with instead of the reference, or None. A study that has this, even empty, is a comparison."""
    anchors: Mapping[str, AnchorRecord] = field(default_factory=dict)
    """Row -> its anchors. In an ablation the reference has some, in a comparison every row that learns unlabelled images."""
    added: tuple[str, ...] = ()
    """Rows that are anchors and nothing else: the table does not declare them."""
    headroom: float = 2.0
    """Points that all labels must add to an anchor before a difference that is not seen says anything."""
    margin: float = 1.0
    """Points: a difference whose interval lies within plus and minus this is called equivalent."""
    until: UntilRecord | None = None
    """How far seeds were added; None: all rows have the same."""
    metrics: tuple[str, ...] = ()
    """Metrics of a second table."""
    curve: CurveRecord | None = None
    reference: str
    """Row that others are compared with."""
    baseline: str | None
    """Row that is no part of the method, if the table has one."""
    seeds: tuple[int, ...]
    """Of a crossed design the numbers of its runs."""
    vary: Vary = "training"
    draws: tuple[DrawRecord, ...] = ()
    """One per seed, where the labelled subset varies."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    data: DataRecord
    settings: Mapping[str, Any]
    """Every resolved setting, nested, as JSON values."""
    score: ScoreRecord
    plan: Mapping[str, int]
    """Numbers of rows, stages and the like."""
    provenance: ProvenanceRecord
    wall_seconds: float | None = None
    """Of the last run that trained something."""
    slots: int
    """Stages that ran at once in it; 0 when all were found in the store."""
    report: ReportOptions = field(default_factory=ReportOptions)
    effects: EffectsRecord | None = None
    """What was asked of which parts; None: nothing."""
    inputs: InputRecord | None = None
    """What the networks are shown; None in studies of before."""

    def __post_init__(self) -> None:
        rows = self.rows
        names = ", ".join(rows)
        _need(bool(rows), "rows", rows, "a dict of row name to words, at least one")
        _need(self.reference in rows, "reference", self.reference, names)
        _need(self.baseline in (None, *rows), "baseline", self.baseline, f"{names} or null")
        _need(bool(self.seeds), "seeds", list(self.seeds), "at least one seed")
        drawn = sorted(draw.seed for draw in self.draws)
        _need(
            drawn == (sorted(self.seeds) if self.vary != "training" else []),
            "draws",
            drawn,
            f"one for each of {list(self.seeds)}, with vary training none",
        )
        for name, listed in (("methods", self.methods), ("metrics", self.metrics)):
            _need(len(set(listed)) == len(listed), name, list(listed), "a list of names, each once")
        for row, other in (self.against or {}).items():
            _need(row in rows, "against", row, names)
            _need(other in (None, *rows), f"against[{row!r}]", other, f"{names} or null")
        _need(set(self.added) < set(rows), "added", list(self.added), f"some of {names}, but not all")
        for row, anchors in self.anchors.items():
            _need(row in rows, "anchors", row, names)
            for name in (anchors.row, anchors.all_labels, *anchors.beside):
                _need(name in (None, *rows), f"anchors[{row!r}]", name, names)
        for row in self.report.sample_rows:
            _need(row in rows, "report.sample_rows", row, names)
        for row in self.effects.sets if self.effects else ():
            _need(row in rows, "effects.sets", row, names)
        if self.curve is not None:
            _check_rows(self.curve, rows)


def _check_rows(curve: CurveRecord, rows: Collection[str]) -> None:
    levels = set(curve.levels) <= set(rows) and len(set(curve.levels)) == len(curve.levels)
    _need(levels, "curve.levels", list(curve.levels), f"a list of rows, each once: {', '.join(rows)}")
    for name, places in curve.series.items():
        for x, row in places.items():
            _need(row in rows, f"curve.series[{name!r}][{x:g}]", row, ", ".join(rows))


def _need(holds: bool, where: str, found: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{where}: got {found!r}; allowed: {allowed}")


def write_study(folder: Path, study: StudyRecord) -> Path:
    """Write `<folder>/study.json`."""
    path = Path(folder) / STUDY_FILE
    write_bytes(path, f"{json.dumps({'format': STUDY_FORMAT} | encode(study), indent=1, ensure_ascii=False)}\n".encode())
    return path


def read_study(folder: Path) -> StudyRecord:
    """Read `<folder>/study.json`. Raises ValueError naming the file, and the field that is missing, unknown or cannot be used."""
    path = Path(folder) / STUDY_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {first_line(error)}; expected a results folder with study.json") from error
    version = found.get("format") if isinstance(found, dict) else type(found).__name__
    if version != STUDY_FORMAT:
        raise ValueError(f"{path}: format: got {version!r}; allowed: {STUDY_FORMAT}")
    try:
        return decode(StudyRecord, brought_up({name: value for name, value in found.items() if name != "format"}))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def brought_up(study: Mapping[str, Any]) -> dict[str, Any]:
    """A file of an earlier version as it would be written now: `methods` and `metrics` were null where there were none, and the
    size of the images was a list of numbers."""
    found = dict(study)
    for name in ("methods", "metrics"):
        if found.get(name, ()) is None:
            found[name] = []
    data = found.get("data")
    if isinstance(data, dict) and isinstance(data.get("size"), list):
        found["data"] = data | {"size": " × ".join(map(str, data["size"]))}
    return found
