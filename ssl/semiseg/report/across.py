"""Several results folders side by side: rows of the same name matched, their differences, and their ranks over data sets."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from semiseg.report.crossed import cells_of, in_design
from semiseg.report.grid import MISSING, Grid, as_markdown, as_text, named, percent
from semiseg.report.scores import ScoredTable, score_table
from semiseg.report.statistics import LEVEL, Spread, paired, spread
from semiseg.report.tables import points
from semiseg.results import Results, StudyRecord

BLOCKS = 3
"""Folders, and rows in all of them, from which on ranks are tested."""

CONDITIONAL = (
    "with vary training all runs of a folder have one labelled subset, and neither its sd nor an interval holds what another "
    "subset would change."
)


class Difference(NamedTuple):
    """A row in one folder minus the same row in the first one, a fraction; `low`, `high` are its 95 % interval, NaN without one."""

    mean: float
    low: float
    high: float
    how: str  # "paired, 3 seeds", "unpaired (Welch): ..."


class Line(NamedTuple):
    """One row in one folder; NaN and None where it is not there."""

    row: str
    folder: str
    score: Spread
    difference: Difference | None  # None in the first folder, and where one of both has no score
    rank: float  # among the rows that all folders have; 1 is the best, ties share


class Across(NamedTuple):
    """Rows x folders, the rows that all folders have scores of first."""

    folders: tuple[str, ...]
    label: str  # of the score
    lines: tuple[Line, ...]
    ranks: Mapping[str, float]  # mean over folders, by row that all folders have
    friedman: tuple[float, float] | None  # chi-square and its p; None with fewer than BLOCKS folders or rows
    notes: tuple[str, ...]


def across(found: Sequence[Results]) -> Across:
    """Match rows by name. Raises ValueError naming a folder that another is no match for: the same twice, or another score."""
    first = found[0].study.score
    places = [str(one.folder) for one in found]
    for i, one in enumerate(found):
        score = one.study.score
        if (score.metric, score.split) != (first.metric, first.split):
            raise ValueError(
                f"{one.folder}: score: got {score.split} {score.metric}; allowed: {first.split} {first.metric}, as {places[0]}"
            )
        if one.folder.resolve() in {other.folder.resolve() for other in found[:i]}:
            raise ValueError(f"{one.folder}: got the same folder twice; allowed: each once")
    short = [one.folder.resolve().name for one in found]
    names = tuple(short if len(set(short)) == len(short) else places)
    tables = dict(zip(names, map(score_table, found), strict=True))
    values = {name: _values(table) for name, table in tables.items()}
    studies = {name: one.study for name, one in zip(names, found, strict=True)}
    rows = dict.fromkeys(row for table in values.values() for row in table)
    common = [row for row in rows if all(values[name].get(row) for name in names)]
    ranks = {
        name: dict(zip(common, _ranked([spread(values[name][row].values()).mean for row in common]), strict=True)) for name in names
    }
    lines = []
    for row in (*common, *(row for row in rows if row not in common)):
        for name in names:
            ours, theirs = values[name].get(row, {}), values[names[0]].get(row, {})
            beside = studies[name], studies[names[0]]
            apart = folder_difference(ours, theirs, *beside) if name != names[0] and ours and theirs else None
            lines.append(Line(row, name, spread(ours.values()), apart, ranks[name].get(row, math.nan)))
    means = {row: float(np.mean([ranks[name][row] for name in names])) for row in common}
    tested = _friedman([[spread(values[name][row].values()).mean for name in names] for row in common])
    return Across(names, f"{first.split} {first.metric}", tuple(lines), means, tested, _notes(studies, values, common, tested))


def folder_difference(row: Mapping[int, float], other: Mapping[int, float], study: StudyRecord, first: StudyRecord) -> Difference:
    """`row` of a study minus `other` of the first one (seed -> score).

    Paired by seed where two or more are shared on the same data and seeds draw the same there; of crossed designs by run, with the
    interval of the design. Otherwise the difference of means with the interval of Welch (1947), all seeds independent; of a crossed
    design, whose runs are not independent, without an interval.
    """
    crossed = "crossed" in (study.vary, first.vary)
    shared = in_design(study, paired(row, _renumbered(other, first, study)))
    same_data, same_draws = study.data.fingerprint == first.data.fingerprint, study.vary == first.vary
    if same_data and same_draws and shared.n > 1:
        return Difference(shared.mean, shared.low, shared.high, f"paired, {shared.n} {'seeds or subsets' if crossed else 'seeds'}")
    draws = "" if same_draws else f"seeds draw other things ({study.vary}, {first.vary})"
    few = "one shared seed" if shared.n else "no shared seeds"
    reason = draws or ("other data" if not same_data else "too few shared runs" if crossed else few)
    a, b = spread(row.values()), spread(other.values())
    mean, how = a.mean - b.mean, f"unpaired (Welch): {reason}"
    if crossed:
        return Difference(
            mean, math.nan, math.nan, f"unpaired: {reason}; no interval, as runs of a crossed design are not independent"
        )
    if min(a.n, b.n) < 2:
        return Difference(mean, math.nan, math.nan, f"{how}, too few seeds for an interval")
    own, its = a.sd**2 / a.n, b.sd**2 / b.n
    if not own + its:
        return Difference(mean, mean, mean, how)
    freedom = (own + its) ** 2 / (own**2 / (a.n - 1) + its**2 / (b.n - 1))
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * math.sqrt(own + its)
    return Difference(mean, mean - half, mean + half, how)


def _renumbered(values: Mapping[int, float], first: StudyRecord, study: StudyRecord) -> Mapping[int, float]:
    """Values of a crossed study by the numbers that its runs, pairs of seed and subset, have in another one; others as they are."""
    if not first.vary == study.vary == "crossed":
        return values
    cells = cells_of(first, values)
    return {draw.seed: cells[at] for draw in study.draws if (at := (draw.training, draw.subset)) in cells}


def _values(table: ScoredTable) -> dict[str, dict[int, float]]:
    """Finite scores by row and seed; rows without any are left out."""
    found = {row.name: {seed: cell.value for seed, cell in row.cells.items() if math.isfinite(cell.value)} for row in table.rows}
    return {row: values for row, values in found.items() if values}


def _ranked(scores: Sequence[float]) -> list[float]:
    """1 for the highest; equal ones share the mean of their places."""
    return [sum(other > one for other in scores) + (sum(other == one for other in scores) + 1) / 2 for one in scores]


def _friedman(scores: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Rows x folders -> chi-square and p of Friedman (1937), with rows - 1 degrees of freedom, that all rows are as good as another."""
    if len(scores) < BLOCKS or len(scores[0]) < BLOCKS:
        return None
    from scipy.stats import friedmanchisquare  # half a second that only this takes

    chi, p = friedmanchisquare(*scores)
    return float(chi), float(p)


def _notes(
    studies: Mapping[str, StudyRecord], values: Mapping, common: Sequence[str], tested: tuple[float, float] | None
) -> tuple[str, ...]:
    names = list(studies)
    said = [f"Differences are of the row in a folder and the same row in {names[0]}, points with a 95 % interval, unadjusted."]
    said += [f"The same data: {', '.join(one)}; their ranks are not independent." for one in _alike(studies, _data) if len(one) > 1]
    draws = _alike(studies, _draws)
    if len(draws) > 1:
        varied = "; ".join(f"{', '.join(one)}: {_draws(studies[one[0]])}" for one in draws)
        said += [f"Seeds draw different things ({varied}): {CONDITIONAL}"]
    lacking = {name: [row for row in values[name] if row not in common] for name in names}
    said += [
        f"Without a rank, as not all folders have a score of them, {name}: {', '.join(rows)}."
        for name, rows in lacking.items()
        if rows
    ]
    if tested is None:
        return (*said, f"Ranks are tested from {BLOCKS} folders with {BLOCKS} rows in common on.")
    chi, p = tested
    how = "the chi-square law that p is from is rough with few folders"
    return (*said, f"Friedman test of {len(common)} rows over {len(names)} folders: chi-square {chi:.3g}, p = {p:.2g}; {how}.")


def _alike(studies: Mapping[str, StudyRecord], of: Callable[[StudyRecord], str]) -> list[list[str]]:
    """Folders by what is equal in them."""
    groups: dict[str, list[str]] = {}
    for name, study in studies.items():
        groups.setdefault(of(study), []).append(name)
    return list(groups.values())


def _data(study: StudyRecord) -> str:
    return study.data.fingerprint


def _draws(study: StudyRecord) -> str:
    return study.vary


def across_grids(made: Across) -> tuple[Grid, ...]:
    """Scores, differences to the first folder, ranks."""
    cells = {(line.row, line.folder): line for line in made.lines}
    rows = tuple(dict.fromkeys(line.row for line in made.lines))
    scores = tuple((row, *(_score(cells[row, name].score) for name in made.folders)) for row in rows)
    apart = [(line.row, line.folder, line.difference) for line in made.lines if line.difference is not None]
    differences = tuple((row, folder, _span(one), one.how) for row, folder, one in apart)
    order = sorted(made.ranks, key=lambda row: made.ranks[row])
    ranks = tuple((row, f"{made.ranks[row]:.2f}", *(f"{cells[row, name].rank:g}" for name in made.folders)) for row in order)
    row = named("row", ["row"])
    grids = [Grid(row + named("number", made.folders), scores, f"{made.label}, %: mean ± sd (n)")]
    heads = named("text", ["folder"]) + named("number", ["difference [95 % interval]"]) + named("text", ["how"])
    grids += [Grid(row + heads, differences, f"Differences to {made.folders[0]}")] if differences else []
    grids += [Grid(row + named("number", ["mean rank", *made.folders]), ranks, "Ranks, 1 is best")] if ranks else []
    return tuple(grids)


def across_text(made: Across) -> str:
    """For a terminal."""
    return "\n\n".join([*map(as_text, across_grids(made)), "\n".join(made.notes)]) + "\n"


def across_markdown(made: Across) -> str:
    """Pipe tables and notes."""
    return "\n\n".join([*map(as_markdown, across_grids(made)), "\n".join(made.notes)]) + "\n"


def across_csv(made: Across) -> str:
    """One line per row and folder, percent."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "folder", "n", "mean", "sd", "difference", "low", "high", "how", "rank", "mean rank"])
    for line in made.lines:
        one = line.difference
        apart = [points(one.mean), points(one.low), points(one.high), one.how] if one else [MISSING] * 4
        ranks = [MISSING if math.isnan(rank) else f"{rank:g}" for rank in (line.rank, made.ranks.get(line.row, math.nan))]
        writer.writerow([line.row, line.folder, line.score.n, percent(line.score.mean), percent(line.score.sd), *apart, *ranks])
    return stream.getvalue()


def _score(score: Spread) -> str:
    sd = "" if math.isnan(score.sd) else f" ± {percent(score.sd)}"
    return f"{percent(score.mean)}{sd} (n = {score.n})" if score.n else MISSING


def _span(one: Difference) -> str:
    return points(one.mean) + ("" if math.isnan(one.low) else f" [{points(one.low)}, {points(one.high)}]")
