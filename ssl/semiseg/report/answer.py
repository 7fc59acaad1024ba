"""What the numbers say in words: the headline, the verdict on each part, and what is missing. Words follow the intervals, never the hopes."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from semiseg.report.scores import Ablation, Part, parts, unfinished
from semiseg.report.statistics import needed_seeds, verdict
from semiseg.report.tables import interval, percent
from semiseg.results import Results

ORDER = {
    "earns its place": ("earns its place", "earn their place"),
    "hurts here": ("hurts here", "hurt here"),
    "unclear": ("is unclear (the interval crosses 0)", "are unclear (the intervals cross 0)"),
    "one seed only": ("was seen at one seed only, too few to judge", "were seen at one seed only, too few to judge"),
    "no result yet": ("has no result yet", "have no result yet"),
}


class Answer(NamedTuple):
    """The first lines of the page."""

    sentences: tuple[str, ...]
    parts: tuple[Part, ...]
    caveat: str


def answer(table: Ablation, label: str) -> Answer:
    """One sentence on the whole method, one on its parts, one on what n allows."""
    full, found = table.row(table.reference), parts(table)
    if full.score.n == 0:
        missing = f"No seed of '{table.reference}' has finished with a score, so nothing can be compared yet."
        return Answer((missing,), found, "")
    whole = f"'{table.reference}' reaches {percent(full.score.mean)} % {label} (n = {full.score.n})"
    base = next((row.delta for row in table.rows if row.name == table.baseline), None)
    if base is not None and base.n:
        whole += f", {interval(base.opposite())} points against '{table.baseline}'"
    counts = [part.gain for part in found if part.gain.n] + ([base] if base is not None and base.n else [])
    fewest = min(counts, key=lambda gain: gain.n, default=None)
    caveat = "" if fewest is None else verdict(fewest.n)
    if fewest is not None and 1 < fewest.n < needed_seeds():
        caveat += f" The intervals rest on normally distributed differences, which {fewest.n} seeds cannot check."
    return Answer((whole + ".", *_standings(found)), found, caveat)


def _standings(found: tuple[Part, ...]) -> list[str]:
    """'CR and SA earn their place; T2 is unclear.'"""
    groups: dict[str, list[str]] = defaultdict(list)
    for part in found:
        groups[part.standing].append("+".join(part.removed))
    clauses = [f"{_listed(groups[kind])} {ORDER[kind][len(groups[kind]) > 1]}" for kind in ORDER if groups[kind]]
    return ["; ".join(clauses) + "."] if clauses else []


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def gaps(results: Results, table: Ablation) -> list[str]:
    """What a partial study lacks, one line each: failed stages with their error, then rows and seeds by state. Empty when complete."""
    lines = []
    for stage in results.stages.to_pylist():
        if stage["state"] == "failed":
            lines.append(f"Stage {stage['name']} of seed {stage['seed']} failed: {stage['error'] or 'no message'}")
    states: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row, seed, cell in unfinished(table):
        states[cell.state][row].append(str(seed))
        if cell.state == "failed" and cell.error.endswith("without a finite score"):
            lines.append(f"Row '{row}', seed {seed}: {cell.error}")
    for state, rows in states.items():
        named = "; ".join(f"{row} (seed {', '.join(seeds)})" for row, seeds in rows.items())
        lines.append(
            f"{ {'waiting': 'Not finished', 'skipped': 'Skipped, a teacher failed'}.get(state, state.capitalize()) }: {named}"
        )
    return lines


class Sharing(NamedTuple):
    """How much work the rows share: chains ask for `asked` stages, `distinct` were planned; seconds cover finished stages."""

    asked: int
    distinct: int
    asked_seconds: float
    seconds: float


def sharing(results: Results) -> Sharing:
    """Stage-seconds that training each row from scratch would have cost, and what was spent."""
    seconds = {stage["key"]: stage["seconds"] or 0.0 for stage in results.stages.to_pylist() if stage["state"] == "done"}
    keys = results.rows.column("key").to_pylist()
    return Sharing(
        len(keys), len(set(keys)), sum(seconds.get(key, 0.0) for key in keys), sum(seconds.get(key, 0.0) for key in set(keys))
    )


def flat(settings: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names: {"train": {"steps": 400}} -> {"train.steps": "400"}."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found
