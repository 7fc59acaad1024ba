"""What have the studies that decide the papers' claims found? Their tables, written into README and docs from docs/evidence alone.

A page says where a table stands by marks, between which everything is replaced; text around them is written by hand:

    <!-- evidence NAME KIND -->
    <!-- /evidence -->

NAME is a declared study (semiseg.sweep.evidence), or `all`; a KIND is one function of KINDS, from a study that is kept, or of SUMMARIES,
from all. A study that is not kept is said to have been planned. Equal folders give equal pages.
Takes about 5 seconds.

    python analysis/measured.py
    python analysis/measured.py --check
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from semiseg.report import text_table
from semiseg.report.data import ReportData, report_data
from semiseg.report.grid import MISSING, Grid, as_markdown, named
from semiseg.report.measured import beside_rows, claims, course_grid, measured_grid, pseudo_grid
from semiseg.results import read, write_bytes
from semiseg.sweep.evidence import EVIDENCE, KEPT, Evidence

ROOT = Path(__file__).parents[1]
EVERY = "all"
BLOCK = re.compile(
    r"(?P<begin><!-- evidence (?P<name>[a-z]\S*) (?P<kind>\S+) -->\n)(?P<body>.*?)(?P<end><!-- /evidence -->)", re.DOTALL
)
BEGINNING = re.compile(r"<!-- evidence [a-z]")
WIDTH = 132


class Kept(NamedTuple):
    """A declared study, and its numbers where it is kept; `took` is what kept.json holds."""

    name: str
    study: Evidence
    data: ReportData | None
    took: Mapping[str, Any]

    @property
    def hours(self) -> float:
        """CPU hours that it took, as far as they are known."""
        return (self.took.get("cpu_seconds", 0.0) + self.took.get("search_seconds", 0.0)) / 3600

    @property
    def cost(self) -> str:
        """Hours for a column of CPU hours; of a study from another machine the wall time of its stages, with the machine's name."""
        if self.data is None or "wall_seconds" not in self.took:
            return f"{self.hours:.2f}"
        return f"wall {self.took['wall_seconds'] / 3600:.2f}, {self.data.study.provenance.device}"


def all_kept(folder: Path, studies: Mapping[str, Evidence]) -> dict[str, Kept]:
    """Every declared study. ValueError naming a file that cannot be read, and a folder of numbers that no declaration explains."""
    undeclared = sorted(path.parent.name for path in folder.glob(f"*/{KEPT}") if path.parent.name not in studies)
    if undeclared:
        raise ValueError(f"{folder}: got {', '.join(undeclared)}; allowed: the declared studies {', '.join(studies)}")
    found = {}
    for name, study in studies.items():
        there = (folder / name / KEPT).is_file()
        took = json.loads((folder / name / KEPT).read_text(encoding="utf-8")) if there else {}
        found[name] = Kept(name, study, report_data(read(folder / name)) if there else None, took)
    return found


def fenced(text: str) -> str:
    """A block of code."""
    return f"```\n{text.rstrip()}\n```"


def planned(one: Kept) -> str:
    """What is said of a study without numbers."""
    return f"Not run yet: {one.study.hours:g} CPU hours are planned.\n\n{fenced(one.study.command)}"


def whole(one: Kept, data: ReportData) -> str:
    """Claim, command, the rows with their verdicts, what they took, the paper's numbers and how to read all that."""
    study, record = one.study, data.study
    where = record.data
    images = f"{where.name}: {where.labelled} labelled of {where.train} training images, {where.test} test images"
    device = record.provenance.device
    if "wall_seconds" in one.took:
        hours = f"{one.took['wall_seconds'] / 3600:.2f} hours of stages that shared a GPU, {study.hours:g} CPU hours planned"
    else:
        hours = f"{one.hours:.2f} CPU hours of {study.hours:g} planned"
    cost = f"{hours}, {one.took['stages']} stages, {device}"
    revision = f"revision {record.provenance.git or 'unknown'}"
    about = f"{images}; {cost}; {revision}. Paper: {study.printed}."
    parts = [f"**Claim.** {study.claim}", fenced(study.command), as_markdown(measured_grid(data)), about]
    return "\n\n".join([*parts, " ".join(beside_rows(data))])


def printed(_: Kept, data: ReportData) -> str:
    """What the sweep prints at its end."""
    return fenced(text_table(data.results, WIDTH))


def course(_: Kept, data: ReportData) -> str:
    """The score on selection images along each kind of stage."""
    return _grid(course_grid(data), f"{data.label.replace('test', 'selection')}, %, along the stage, mean ± sd over seeds.")


def pseudo(_: Kept, data: ReportData) -> str:
    """How good pseudo-masks and own targets were."""
    return _grid(pseudo_grid(data), "Pseudo-masks and own targets beside true masks of unlabelled images, %, mean over seeds.")


def _grid(grid: Grid | None, title: str) -> str:
    return "Not recorded." if grid is None else f"{title}\n\n{as_markdown(grid)}"


def verdicts(studies: Mapping[str, Kept]) -> str:
    """A line for each row that decides a claim: against labels alone, with the share of the gap, n, cost and the paper's numbers."""
    heads = ("delta [95 % interval]", "of the gap", "n", "CPU hours")
    columns = named("row", ["study", "row", "against"]) + named("number", heads) + named("text", ["verdict", "paper"])
    lines = []
    for one in studies.values():
        if one.data is None:
            lines.append((f"`{one.name}`", *[MISSING] * 6, "not run yet", one.study.printed))
            continue
        for row, anchor, delta, verdict, share, n in claims(one.data, one.study.rows):
            lines.append((f"`{one.name}`", row, anchor, delta, share, n, one.cost, verdict, one.study.printed))
    return as_markdown(Grid(columns, tuple(lines)))


def costs(studies: Mapping[str, Kept]) -> str:
    """What each study was planned to take, and what it took."""
    columns = named("row", ["study", "claim"]) + named("number", ["CPU hours planned", "taken", "stages"])
    lines = [(f"`{one.name}`", one.study.claim, f"{one.study.hours:g}", *_taken(one)) for one in studies.values()]
    total = ("all", "", f"{sum(one.study.hours for one in studies.values()):g}")
    return as_markdown(Grid(columns, (*lines, (*total, f"{sum(one.hours for one in studies.values()):.2f}", ""))))


def _taken(one: Kept) -> tuple[str, str]:
    return (one.cost, str(one.took["stages"])) if one.took else (MISSING, MISSING)


KINDS: Mapping[str, Callable[[Kept, ReportData], str]] = {"rows": whole, "printed": printed, "course": course, "pseudo": pseudo}
SUMMARIES: Mapping[str, Callable[[Mapping[str, Kept]], str]] = {"verdicts": verdicts, "costs": costs}


def made(name: str, kind: str, studies: Mapping[str, Kept]) -> str:
    """What stands between two marks. ValueError for a study or a kind that there is not."""
    known: Mapping[str, Any] = SUMMARIES if name == EVERY else KINDS
    if kind not in known or name not in (EVERY, *studies):
        names = f"{EVERY} {'|'.join(SUMMARIES)}, or one of {', '.join(studies)} with {'|'.join(KINDS)}"
        raise ValueError(f"marks: got {name} {kind}; allowed: {names}")
    if name == EVERY:
        return SUMMARIES[kind](studies)
    one = studies[name]
    return planned(one) if one.data is None else KINDS[kind](one, one.data)


def written(text: str, studies: Mapping[str, Kept]) -> str:
    """A page with everything between its marks made anew. ValueError for marks that lack an end."""
    found = BLOCK.findall(text)
    if len(found) != len(BEGINNING.findall(text)) or any(BEGINNING.search(body) for _, _, _, body, _ in found):
        raise ValueError("marks: got one without its end; allowed: <!-- evidence NAME KIND --> and <!-- /evidence -->")
    return BLOCK.sub(lambda one: f"{one['begin']}\n{made(one['name'], one['kind'], studies)}\n\n{one['end']}", text)


def pages(root: Path) -> list[Path]:
    """README and docs that have marks."""
    files = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [file for file in files if file.is_file() and BEGINNING.search(file.read_text(encoding="utf-8"))]


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, or with --check nothing to write; 1 with --check a page would change; 2 what cannot be read."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/evidence into README and docs.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which pages would change")
    check, changed = parser.parse_args(arguments).check, []
    try:
        studies = all_kept(ROOT / "docs" / "evidence", EVIDENCE)
        for page in pages(ROOT):
            before = page.read_text(encoding="utf-8")
            try:
                after = written(before, studies)
            except ValueError as error:
                raise ValueError(f"{page}: {error}") from None
            if after != before:
                changed.append(page)
                if not check:
                    write_bytes(page, after.encode())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for page in changed:
        print(f"{page}: {'would change' if check else 'written'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
