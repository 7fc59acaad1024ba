"""How long does a step of every kind of stage in sweeps/ take? Makes the table by which a first plan knows its cost without a step.

Plans every preset of every sweep and search, with and without --quick, and times a few steps of each kind of stage in it on one thread,
also of those that are remembered; presets whose data are not here and have no published numbers are left out. Where the processor has
other work run it again: of a kind that is in the table the smaller cost stays, at this machine's pace. `--against` only compares, for
each kind, what the table says with what is measured. Takes a few minutes; belongs after every change of a preset, a method or a network.
The numbers of docs/measured.md come from

    python analysis/reference_costs.py --against
"""

import contextlib
import io
import json
import math
import runpy
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import tyro

from semiseg.machine import cpu_kind
from semiseg.search.command import main as search
from semiseg.search.declaration import Search
from semiseg.sweep.command import main as ablate
from semiseg.sweep.costs import FILE, usable
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.elsewhere import TABLE, cost_elsewhere, pace, table

SWEEPS = Path(__file__).parents[1] / "sweeps"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which sweeps, and whether the table is made or looked at."""

    sweeps: tuple[str, ...] = ()
    """Names of scripts in sweeps/; none: all."""
    presets: tuple[str, ...] = ()
    """Names of presets; none: all."""
    against: bool = False
    """Compare with the table instead of writing it."""


def plans(arguments: Arguments) -> Iterator[tuple[Ablation | Search, list[str]]]:
    """Every table or search with the words of a dry run."""
    for script in sorted(SWEEPS.glob("*.py")):
        if arguments.sweeps and script.stem not in arguments.sweeps:
            continue
        found = runpy.run_path(str(script))
        door: Ablation | Search = found["TABLE"] if "TABLE" in found else found["SEARCH"]
        for preset in door.presets:
            if not arguments.presets or preset in arguments.presets:
                yield from ((door, ["--preset", preset, *quick, "--dry-run"]) for quick in ([], ["--quick"]))


def measured(arguments: Arguments, cache: Path) -> dict[str, tuple[float, float]]:
    """(Seconds of a step, seconds of an image) by kind, all timed here and now."""
    with patch("semiseg.sweep.costs.cost_elsewhere", lambda kind: None):
        for door, words in plans(arguments):
            words = [
                *words,
                "--cache",
                str(cache),
                "--store",
                str(cache / "store"),
                "--ray.cpus-per-trial",
                "1",
                "--ray.gpus-per-trial",
                "0",
            ]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                status = search(door, words) if isinstance(door, Search) else ablate(door, words)
            print(f"{door.name} {' '.join(words[:3])}: {said.getvalue().strip() or 'timed'}", file=sys.stderr, flush=True)
            if status and "root" not in said.getvalue():
                raise SystemExit(f"{door.name} cannot be planned: {said.getvalue()}")
    entries = json.loads((cache / FILE).read_text(encoding="utf-8")).values()
    costs = {entry["of"]: usable(entry) for entry in entries}
    return {kind: (cost.step, cost.image) for kind, cost in costs.items() if cost is not None}


def compared(found: dict[str, tuple[float, float]]) -> str:
    """What the table, scaled to this machine's pace, says of a step, as a ratio to what was measured."""
    known = [(cost_elsewhere(kind), step) for kind, (step, _) in found.items()]
    ratios = sorted(said[0] / step for said, step in known if said is not None)
    if not ratios:
        return f"none of {len(known)} kinds is in the table"
    within = sum(1 / 1.25 <= one <= 1.25 for one in ratios)
    return (
        f"{len(ratios)} of {len(known)} kinds; table / measured: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to "
        f"{ratios[-1]:.2f}; {within} within a quarter"
    )


def rounded(number: float) -> float:
    """To three significant digits."""
    return number if number == 0 else round(number, 2 - math.floor(math.log10(number)))


def main(arguments: Arguments) -> None:
    """Write the table, or say how far it is from this machine."""
    print(f"{cpu_kind()}, pace {1000 * pace():.2f} ms", file=sys.stderr)
    with tempfile.TemporaryDirectory() as cache:
        found = measured(arguments, Path(cache))
    if arguments.against:
        print(compared(found))
        return
    table.cache_clear()  # another one may have added to it
    before = table()
    scale = pace() / before["pace"] if before["kinds"] else 1.0
    kinds = {kind: (scale * step, scale * image) for kind, (step, image) in before["kinds"].items()}
    for kind, new in found.items():  # other work makes a step take longer, never shorter
        old = kinds.get(kind, (math.inf, math.inf))
        kinds[kind] = min(old[0], new[0]), min(old[1], new[1])
    lines = ",\n".join(f'  "{kind}": {json.dumps([*map(rounded, kinds[kind])])}' for kind in sorted(kinds))
    about = f'"machine": {json.dumps(cpu_kind())},\n "pace": {rounded(pace())}'
    TABLE.write_text(f'{{\n {about},\n "kinds": {{\n{lines}\n }}\n}}\n', encoding="utf-8")
    print(f"{len(kinds)} kinds in {TABLE}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
