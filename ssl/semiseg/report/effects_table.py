"""The effects of a study as a table, in words, in Markdown and as CSV; without anything that draws."""

import csv
import io
import math
from collections.abc import Sequence

from semiseg.report.data import ReportData
from semiseg.report.effects import Effect, EffectKind, redundancies, redundancy_words, where_words, whole_gain
from semiseg.report.grid import MISSING, Grid, as_markdown, named
from semiseg.report.statistics import Paired
from semiseg.report.tables import interval, points
from semiseg.results.effects import EffectsRecord

CALLED: dict[EffectKind, str] = {
    "Shapley": "Shapley value",
    "out": "left out",
    "in": "left in",
    "main": "main effect",
    "interaction": "interaction",
}
MEANS: dict[EffectKind, str] = {
    "Shapley": "what the part adds when it comes, averaged over all orders in which every step can be trained",
    "out": "all parts minus all without the part and what needs it",
    "in": "the part with what it needs, minus what it needs alone",
    "main": "with the part minus without it, averaged over the others",
    "interaction": "half of how far one part changes what the other is worth",
}


def kinds_of_effects(effects: Sequence[Effect]) -> list[EffectKind]:
    """Kinds that are among them."""
    return [kind for kind in CALLED if any(one.kind == kind for one in effects)]


def effects_how(effects: Sequence[Effect]) -> str:
    """What the decided effects are of; "" where there are none."""
    kinds = kinds_of_effects([one for one in effects if one.decided])
    said = "; ".join(f"{CALLED[kind]}: {MEANS[kind]}" for kind in kinds)
    return f"{said[0].upper()}{said[1:]}" if said else ""


def effects_grid(data: ReportData) -> Grid | None:
    """All effects, one a line; None where the study asks for none."""
    if not data.table.effects:
        return None
    columns = named("row", ["effect", "part"]) + named("text", ["of"]) + named("number", ["points [95 % interval]", "n"])
    columns += named("text", ["what the interval says"])
    lines = [
        (CALLED[one.kind], " x ".join(one.parts), _of(one), interval(one.values), str(one.values.n), interval_words(one.values))
        for one in data.table.effects
    ]
    return Grid(columns, tuple(lines), "Effects, seed by seed, in points")


def _of(one: Effect) -> str:
    more = f", {'with' if one.kind == 'in' else 'and with it'} {', '.join(one.with_it)}" if one.with_it else ""
    return where_words(one) + more


def interval_words(values: Paired) -> str:
    """On which side of 0 an interval lies."""
    if values.n < 2:
        return MISSING if values.n == 0 else "one seed only"
    if math.isnan(values.low):
        return "no bounds yet"
    return "above 0" if values.low > 0 else "below 0" if values.high < 0 else "contains 0"


def effects_words(data: ReportData) -> list[str]:
    """Sentences on the effects: shares of the gain, and what could not be trained."""
    record, effects = data.study.effects, data.table.effects
    if record is None:
        return []
    values = {row.name: {seed: cell.value for seed, cell in row.cells.items()} for row in data.table.rows}
    whole, said = whole_gain(record, values), []
    shares = [one for one in effects if one.kind == "Shapley" and one.values.n]
    if shares and whole.n:
        parts = "; ".join(f"{one.parts[0]}: {interval(one.values)}" for one in shares)
        said.append(
            f"Of the gain of {interval(whole)} points of all parts over none: {parts}. At every seed they sum to that gain."
        )
    return [*said, *_sets(record, effects)]


def _sets(record: EffectsRecord, effects: Sequence[Effect]) -> list[str]:
    """Which sets there are, and what that makes of factorial effects."""
    possible = 2 ** len(record.players)
    why = f": {record.infeasible}" if record.infeasible else ""
    rest = f" (the others make no training of their own{why})" if record.feasible < possible else ""
    said = [f"{record.feasible} of {possible} sets of parts can be trained{rest}; {len(record.sets)} are rows here."]
    pairs = math.comb(len(record.players), 2)
    if any(one.kind == "main" for one in effects) and record.feasible < possible:
        left = pairs - sum(one.kind == "interaction" for one in effects)
        said.append(
            "Main effects and interactions are least squares on those sets"
            + (f"; {left} of {pairs} interactions cannot be told from main effects and are left out." if left else ".")
        )
    return said


def effects_markdown(data: ReportData) -> str:
    """The table and what it says in words; "" where the study asks for no effects."""
    grid = effects_grid(data)
    if grid is None:
        return ""
    apart = [f"{redundancy_words(one)}." for one in redundancies(data.table.effects)]
    return "\n\n".join([as_markdown(grid), *effects_words(data), *apart]) + "\n"


def effects_csv(data: ReportData) -> str:
    """One line per effect for other programs, differences in points, every seed's among them."""
    seeds = data.table.seeds
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["effect", "part", "other part", "with it", "n", "mean", "sd", "low", "high", "p sign flip", "decided"]
    writer.writerow([*head, *(f"seed {seed}" for seed in seeds)])
    for one in data.table.effects:
        v = one.values
        part, other = (*one.parts, "")[:2]
        numbers = [v.n, points(v.mean), MISSING if math.isnan(v.sd) else f"{100 * v.sd:.2f}", points(v.low), points(v.high)]
        p = MISSING if math.isnan(v.p) else f"{v.p:.4g}"
        each = [points(v.deltas.get(seed, math.nan)) for seed in seeds]
        writer.writerow([CALLED[one.kind], part, other, " ".join(one.with_it), *numbers, p, int(one.decided), *each])
    return stream.getvalue()
