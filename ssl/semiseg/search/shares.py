"""How much each parameter of a search matters, kept beside its journal: it follows from the trials, and takes seconds."""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semiseg.results import write_bytes

SHARES = "importance.json"
"""In the results folder of a search."""


class Importance(NamedTuple):
    """The share of a parameter, and the ends of its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13)."""

    share: float
    low: float
    high: float


def read_shares(file: Path, name: str, of: str) -> dict[str, list[float]] | None:
    """The numbers by parameter, in the order in which they were kept, that the file has under the name of trials with this hash; None
    where it has none, or is damaged."""
    found: Any = _entries(file).get(name)
    try:
        shares = {parameter: [*map(float, found["shares"][parameter])] for parameter in found["names"]}
        sound = found["of"] == of and all(math.isfinite(value) for one in shares.values() for value in one)
    except (ValueError, LookupError, TypeError):
        return None
    return shares if sound else None


def keep_shares(shares: Mapping[str, Sequence[float]], file: Path, name: str, of: str) -> None:
    """Write them where that can be: a folder that may only be read has its page too."""
    entries = _entries(file) | {name: {"of": of, "names": [*shares], "shares": dict(shares)}}
    with contextlib.suppress(OSError):
        write_bytes(file, json.dumps(entries, indent=1).encode())


def _entries(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
