"""The Parquet tables of a results folder: their schemas, written sorted and aside, read back and checked."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg.results.files import first_line, write_bytes

SCHEMAS: dict[str, pa.Schema] = {
    "stages": pa.schema(
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
    ),
    "metrics": pa.schema(
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
    ),
    "curves": pa.schema([("key", pa.string()), ("step", pa.int32()), ("name", pa.string()), ("value", pa.float64())]),
    "pseudo": pa.schema(
        [
            ("key", pa.string()),
            ("teacher", pa.string()),
            ("role", pa.string()),
            ("weights", pa.string()),
            ("step", pa.int32()),
            ("class", pa.string()),
            ("metric", pa.string()),
            ("value", pa.float64()),
        ]
    ),
    "counts": pa.schema(
        [
            ("key", pa.string()),
            ("role", pa.string()),
            ("weights", pa.string()),
            ("split", pa.string()),
            ("table", pa.string()),
            ("first", pa.string()),
            ("second", pa.string()),
            ("value", pa.float64()),
        ]
    ),
    "rows": pa.schema(
        [
            ("row", pa.string()),
            ("seed", pa.int32()),
            ("position", pa.int32()),
            ("stage", pa.string()),
            ("key", pa.string()),
            ("final", pa.bool_()),
        ]
    ),
}
"""Columns of each table."""
IDENTITY = {
    "stages": ("key",),
    "metrics": ("key", "role", "weights", "split", "step", "class", "metric"),
    "curves": ("key", "name", "step"),
    "pseudo": ("key", "teacher", "role", "weights", "step", "class", "metric"),
    "counts": ("key", "role", "weights", "split", "table", "first", "second"),
    "rows": ("row", "seed", "position"),
}
"""What identifies a line. Files are sorted by it, so their bytes do not depend on the order in which stages finished."""

LATER = ("pseudo", "counts")
"""Tables that results of before, and some stages, do not have."""


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


def read_table(folder: Path, name: str) -> pa.Table:
    """Read `<folder>/<name>.parquet`; one of LATER that is missing is empty. Raises ValueError naming the file that is missing,
    unreadable or of another schema."""
    path, schema = Path(folder) / f"{name}.parquet", SCHEMAS[name]
    if name in LATER and not path.exists():
        return schema.empty_table()
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read: {first_line(error)}") from error
    if not table.schema.equals(schema, check_metadata=False):
        raise ValueError(f"{path}: columns: got {table.schema.names}; allowed: {schema.names} with the types of semiseg.results")
    return table
