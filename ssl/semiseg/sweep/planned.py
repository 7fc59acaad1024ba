"""What declared sweeps and searches cost here, as last planned without arguments: noted in the cache for the list of `semiseg`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semiseg.machine import cpu_kind

if TYPE_CHECKING:
    from semiseg.runner import Place
    from semiseg.sweep.plan import Plan

FILE = "planned.json"
PLACES = ("--out", "--store", "--cache")


def note(cache: Path, study: str, said: str) -> None:
    """Remember what a study without arguments costs. What cannot be written is forgotten."""
    from semiseg.results import write_bytes  # the list has no use for what comes with it

    with contextlib.suppress(OSError):
        found = _read(cache) | {study: {"said": said, "cpu": cpu_kind()}}
        write_bytes(cache / FILE, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def noted(cache: Path) -> dict[str, str]:
    """What has been said of studies on this kind of processor, by their names."""
    found, cpu = _read(cache), cpu_kind()
    return {
        study: str(entry["said"])
        for study, entry in found.items()
        if isinstance(entry, dict) and entry.get("cpu") == cpu and "said" in entry
    }


def unchanged(words: Sequence[str]) -> bool:
    """Whether nothing is said but --dry-run and where things lie.

    >>> unchanged(["--dry-run", "--store", "s3://b/c", "--out=x"]), unchanged(["--store", "--seeds", "0"])
    (True, False)
    """
    left = list(words)
    while left:
        name, equals, _ = left.pop(0).partition("=")
        if name.replace("_", "-") in PLACES:
            left = left if equals else left[1:]
        elif name.replace("_", "-") != "--dry-run":
            return False
    return True


def whole_cost(plan: Plan, place: Place, slots: int) -> float | None:
    """Seconds of all stages of the plan, also of those that are done, by remembered costs; None where one is not remembered."""
    from semiseg.sweep.costs import Costs
    from semiseg.sweep.estimate import simulate, stage_seconds

    memory, costs = Costs(place), {}
    for key, stage in plan.stages.items():
        if (cost := memory.of(stage)) is None:
            return None
        costs[key] = stage_seconds(stage, place, cost)
    return simulate(replace(plan, done=frozenset()), costs, slots)


def _read(cache: Path) -> dict[str, Any]:
    try:
        found = json.loads((cache / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
