"""Arrays as columns of an Arrow file and back. Large ones are not copied: Arrow writes from, and reads into, the mapped file."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from semiseg.data.strips import flat

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.large_binary()),
        ("mask", pa.large_binary()),
        ("counts", pa.large_binary()),
    ]
)


def binary_column(arrays: Sequence[np.ndarray | None]) -> pa.Array:
    """The bytes of C-contiguous arrays, null for None; of a single array a view of it, of several a copy."""
    if len(arrays) == 1 and arrays[0] is not None:
        pixels = pa.py_buffer(flat(arrays[0]))
        ends = pa.py_buffer(np.array([0, pixels.size], np.int64))
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, pixels])
    return pa.array([None if array is None else flat(array) for array in arrays], pa.large_binary())


def views(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Uint8 bytes of every row, None where the column is null. A view: an Arrow scalar's as_buffer() would be a copy.

    Read-only, since Arrow calls a mapped buffer mutable and a write to it would end the process.
    """
    found: list[np.ndarray | None] = []
    for chunk in column.chunks:
        _, starts, pixels = chunk.buffers()
        ends = np.frombuffer(starts, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        content = np.frombuffer(pixels or b"", np.uint8)
        content.flags.writeable = False
        null = chunk.is_null().to_pylist()
        found += [None if null[i] else content[ends[i] : ends[i + 1]] for i in range(len(chunk))]
    return found


def number_column(rows: np.ndarray) -> pa.Array:
    """Float32 (N,...) as one entry of fixed size per row, little-endian."""
    rows = np.ascontiguousarray(rows, "<f4").reshape(len(rows), -1)
    return pa.array([row.tobytes() for row in rows], pa.binary(4 * rows.shape[1]))


def numbers(table: pa.Table, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Float32 (N,*shape) of such a column, read-only; None where the table has none of that name."""
    if name not in table.column_names:
        return None
    found = np.frombuffer(b"".join(table[name].to_pylist()), "<f4").reshape(-1, *shape)
    if len(found) != len(table):
        raise ValueError(f"a column {name} without all of its rows")
    return found
