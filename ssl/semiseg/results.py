"""One results folder on disk: `study.json` and four Parquet tables, written aside and renamed, read back and checked.

| file | one line per |
| --- | --- |
| `study.json` | study: what was asked, every resolved setting, how rows are scored, provenance |
| `stages.parquet` | stage: state, seconds, device, chosen step, teachers |
| `metrics.parquet` | number: stage, role, weights, split, class ("" = over all classes), metric; fractions in [0, 1], never
percent |
| `curves.parquet` | point of a training curve: stage, step, name such as `loss/total` or `selection/teacher/miou` |
| `rows.parquet` | link of a chain: table row x seed x position -> stage |
| `samples/` | `image_<i>.png`, `truth_<i>.png`, `<key>/prediction_<i>.png` (class ids; 255 = ignore) |

What only comparisons of methods have in `study.json` is optional: `methods` (words of rows that name a method; `method` is that of
the other rows), `against` (row -> row it is compared with instead of the reference, or null), `metrics` (for a second table),
`paper.metrics` (our metric, or null, of each of the paper's columns) and `curve` (`x`: label, `log`, `series`: name -> x -> row,
`levels`: rows without x, `paper`: series -> x -> percent).

Equal content gives equal bytes: lines are sorted by what identifies them, compression and format version are fixed, and no file
holds the time of writing. Imports neither torch nor ray, so that results can be read where neither is installed.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FORMAT = 1

STAGES = pa.schema(
    [
        ("key", pa.string()),
        ("name", pa.string()),
        ("number", pa.int32()),
        ("seed", pa.int32()),
        ("state", pa.string()),
        ("error", pa.string()),
        ("evaluated", pa.string()),
        ("teachers", pa.list_(pa.string())),
        ("steps", pa.int32()),
        ("seconds", pa.float64()),
        ("images_per_second", pa.float64()),
        ("device", pa.string()),
        ("precision", pa.string()),
        ("chosen_step", pa.int32()),
        ("started", pa.float64()),
        ("ended", pa.float64()),
    ]
)
METRICS = pa.schema(
    [
        ("key", pa.string()),
        ("role", pa.string()),
        ("weights", pa.string()),
        ("split", pa.string()),
        ("step", pa.int32()),
        ("class", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)
CURVES = pa.schema([("key", pa.string()), ("step", pa.int32()), ("name", pa.string()), ("value", pa.float64())])
ROWS = pa.schema(
    [
        ("row", pa.string()),
        ("seed", pa.int32()),
        ("position", pa.int32()),
        ("stage", pa.string()),
        ("key", pa.string()),
        ("final", pa.bool_()),
    ]
)
SCHEMAS = {"stages": STAGES, "metrics": METRICS, "curves": CURVES, "rows": ROWS}

# What identifies a line. Files are sorted by it, so their bytes do not depend on the order in which stages finished.
IDENTITY = {
    "stages": ("key",),
    "metrics": ("key", "role", "weights", "split", "step", "class", "metric"),
    "curves": ("key", "name", "step"),
    "rows": ("row", "seed", "position"),
}
STATES = ("done", "failed", "skipped", "waiting")
STUDY_KEYS = (
    "format",
    "name",
    "title",
    "question",
    "rows",
    "reference",
    "baseline",
    "seeds",
    "classes",
    "palette",
    "data",
    "settings",
)
STUDY_KEYS += ("score", "plan", "provenance", "slots")
SCORE_KEYS = ("metric", "split", "weights", "rule")


@dataclass(frozen=True)
class Results:
    """A results folder in memory; the tables have the schemas above."""

    folder: Path
    study: dict[str, Any]
    stages: pa.Table
    metrics: pa.Table
    curves: pa.Table
    rows: pa.Table


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside `path` and rename: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_table(folder: Path, name: str, rows: pa.Table | Iterable[Mapping[str, Any]]) -> Path:
    """Write `<folder>/<name>.parquet`, sorted by what identifies a line.

    Args: name is one of SCHEMAS; rows is a table or dicts with exactly the schema's fields (None where unknown).
    Raises ValueError naming the file for a field too many or missing, a value of the wrong type, or two lines with one identity.
    """
    if name not in SCHEMAS:
        raise ValueError(f"no table {name!r}; there are {', '.join(SCHEMAS)}")
    path = Path(folder) / f"{name}.parquet"
    table = _as_table(path, SCHEMAS[name], rows)
    identity = list(IDENTITY[name])
    if table.group_by(identity).aggregate([]).num_rows != table.num_rows:
        raise ValueError(f"{path}: two lines with the same {', '.join(identity)}")
    # One chunk: row groups and pages would otherwise follow the chunks of the table that came in.
    table = table.sort_by([(column, "ascending") for column in identity]).combine_chunks()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, version="2.6", compression="zstd", compression_level=3, row_group_size=1 << 20)
    write_bytes(path, sink.getvalue().to_pybytes())
    return path


def _as_table(path: Path, schema: pa.Schema, rows: Any) -> pa.Table:
    given = isinstance(rows, pa.Table)
    lines: list[Mapping[str, Any]] = [] if given else list(rows)
    for fields in [rows.schema.names] if given else lines:
        if set(fields) != set(schema.names):
            missing, extra = sorted(set(schema.names) - set(fields)), sorted(set(fields) - set(schema.names))
            raise ValueError(f"{path}: fields missing: {missing}, unknown: {extra}; allowed: {schema.names}")
    try:
        return rows.select(schema.names).cast(schema) if given else pa.Table.from_pylist(lines, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def write_study(folder: Path, study: Mapping[str, Any]) -> Path:
    """Write `<folder>/study.json`; paths in the settings become text. Raises ValueError naming the field that cannot be used."""
    path = Path(folder) / "study.json"
    text = json.dumps(study, indent=1, ensure_ascii=False, default=str)
    _check_study(path, json.loads(text))
    write_bytes(path, f"{text}\n".encode())
    return path


def _check_study(path: Path, study: Any) -> None:
    """Raise ValueError naming file and field; the report relies on what is checked here."""
    if not isinstance(study, dict) or study.get("format") != FORMAT:
        found = study.get("format") if isinstance(study, dict) else type(study).__name__
        raise ValueError(f"{path}: format: got {found!r}; allowed: {FORMAT}")
    if missing := [key for key in STUDY_KEYS if key not in study]:
        raise ValueError(f"{path}: fields missing: {', '.join(missing)}")
    rows, paper = study["rows"], study.get("paper") or {"columns": [], "rows": {}}
    if not isinstance(rows, dict) or not rows or not all(isinstance(switches, str) for switches in rows.values()):
        raise ValueError(f"{path}: rows: got {rows!r}; allowed: a dict of row name to switches, at least one")
    if study["reference"] not in rows:
        raise ValueError(f"{path}: reference: got {study['reference']!r}; allowed: {', '.join(rows)}")
    if study["baseline"] is not None and study["baseline"] not in rows:
        raise ValueError(f"{path}: baseline: got {study['baseline']!r}; allowed: {', '.join(rows)} or null")
    if not study["seeds"]:
        raise ValueError(f"{path}: seeds: got {study['seeds']!r}; allowed: at least one seed")
    if missing := [key for key in SCORE_KEYS if key not in study["score"]]:
        raise ValueError(f"{path}: score: fields missing: {', '.join(missing)}")
    for row, values in paper["rows"].items():
        if len(values) != len(paper["columns"]):
            raise ValueError(f"{path}: paper.rows[{row!r}]: got {len(values)} values; allowed: one per column, {paper['columns']}")
    _check_comparison(path, study, paper)


def _check_comparison(path: Path, study: dict[str, Any], paper: dict[str, Any]) -> None:
    """Check what only comparisons of methods have: `methods`, `against`, `metrics`, `paper.metrics` and `curve`, all optional."""
    rows = study["rows"]

    def need(holds: bool, field: str, found: object, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{path}: {field}: got {found!r}; allowed: {allowed}")

    for field in ("methods", "metrics"):
        names = study.get(field)
        need(names is None or _names(names), field, names, "a list of names, each once")
    metrics, count = paper.get("metrics"), len(paper["columns"])
    fits = isinstance(metrics, list) and len(metrics) == count and all(name is None or isinstance(name, str) for name in metrics)
    need(metrics is None or fits, "paper.metrics", metrics, f"a metric's name or null for each of the {count} columns")
    against = study.get("against")
    need(against is None or isinstance(against, dict), "against", against, "a dict of row name to row name or null")
    for row, other in (against or {}).items():
        need(row in rows, "against", row, ", ".join(rows))
        need(other is None or other in rows, f"against[{row!r}]", other, f"{', '.join(rows)} or null")
    if (curve := study.get("curve")) is not None:
        _check_curve(curve, rows, need)


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and len(set(value)) == len(value)


def _check_curve(curve: Any, rows: dict[str, str], need: Callable[[bool, str, object, str], None]) -> None:
    whole = isinstance(curve, dict) and isinstance(curve.get("x"), str) and isinstance(curve.get("series"), dict)
    need(whole, "curve", curve, "a dict with x (text) and series (a dict of dicts), perhaps log, levels and paper")
    log = curve.get("log", False)
    need(isinstance(log, bool), "curve.log", log, "true or false")
    levels, paper = curve.get("levels", []), curve.get("paper", {})
    need(_names(levels) and set(levels) <= set(rows), "curve.levels", levels, f"a list of rows: {', '.join(rows)}")
    need(isinstance(paper, dict), "curve.paper", paper, "a dict of dicts")
    places = "text of a number" + (" above 0" if log else "")
    for field, lines in (("series", curve["series"]), ("paper", paper)):
        for name, line in lines.items():
            where = f"curve.{field}[{name!r}]"
            need(isinstance(line, dict), where, line, f"a dict of x ({places}) to {'row' if field == 'series' else 'percent'}")
            for x, value in line.items():
                need(_number(x, log), where, x, places)
                if field == "series":
                    need(value in rows, f"{where}[{x!r}]", value, ", ".join(rows))
                else:
                    need(isinstance(value, int | float), f"{where}[{x!r}]", value, "percent")


def _number(text: str, above_zero: bool) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and (number > 0 or not above_zero)


def read(folder: Path) -> Results:
    """Read a results folder. Raises ValueError naming the file that is missing, unreadable or of another format."""
    folder = Path(folder)
    return Results(
        folder, _read_study(folder), **{name: _read_table(folder / f"{name}.parquet", SCHEMAS[name]) for name in SCHEMAS}
    )


def _read_study(folder: Path) -> dict[str, Any]:
    path = folder / "study.json"
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {_reason(error)}; expected a results folder with study.json") from error
    _check_study(path, study)
    return study


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read: {_reason(error)}") from error
    if not table.schema.equals(schema, check_metadata=False):
        raise ValueError(f"{path}: columns: got {table.schema.names}; allowed: {schema.names} with the types of semiseg.results")
    return table


def _reason(error: Exception) -> str:
    """First line of an error, without the path that the caller names already."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (getattr(error, "strerror", None) or str(error)).strip().splitlines()[0]
