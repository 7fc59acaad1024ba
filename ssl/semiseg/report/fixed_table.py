"""The statistics at a fixed number of seeds as a table: one line per comparison that is judged."""

import math
from typing import NamedTuple

from semiseg.report.answer import margin_words, outcome
from semiseg.report.fixed import Fixed, Share, probability_better
from semiseg.report.grid import MISSING, Grid, named
from semiseg.report.power import MOST_SEEDS, POWER
from semiseg.report.scores import ScoredTable, comparisons, part_deltas
from semiseg.report.statistics import OF_ROW
from semiseg.report.tables import interval, points

CELLS = (
    "judged against",
    "p t",
    "p t Holm",
    "p equivalent",
    "p equivalent Holm",
    "probability better",
    "probability better next seed",
)
CELLS += (
    "seeds better",
    "seeds better low",
    "seeds better high",
    "smallest detectable",
    "seeds to detect",
    "seeds to equate",
    "verdict",
)


class FixedLine(NamedTuple):
    """A row beside the row `against`, and what may be said of it, or in an ablation of the part that it lacks."""

    row: str
    against: str
    fixed: Fixed
    verdict: str


def fixed_lines(table: ScoredTable) -> tuple[FixedLine, ...]:
    """In table order; none where seeds are added until all is decided."""
    said = {one.row: outcome(one.standing, table.doubted(one.row), table.margin) for one in comparisons(table)}
    for part in part_deltas(table):
        said[part.quantity or part.row] = (
            f"{'+'.join(part.removed)}: {outcome(part.standing, table.doubted(part.row), table.margin)}"
        )
    found = []
    for (row, against), one in table.fixed.items():
        room = table.doubted(row)
        whole = outcome(table.stands(row, against, one.delta, OF_ROW, room is not None), room, table.margin)
        found.append(FixedLine(row, against, one, said.get(row, whole)))
    places = {row.name: i for i, row in enumerate(table.rows)}
    return tuple(sorted(found, key=lambda line: places.get(line.row, -1)))


def fixed_grid(table: ScoredTable) -> Grid | None:
    """The table as text; None without lines."""
    lines = fixed_lines(table)
    if not lines:
        return None
    several = len({line.against for line in lines}) > 1
    heads = ["n", "delta [95 % interval]", "sign-flip p", "t p", "t p, Holm", f"within {margin_words(table.margin)}: p, Holm"]
    heads += ["row better on average", "at a new seed", "seeds better [95 % interval]", "smallest detectable"]
    heads += ["seeds to detect", "seeds to equate"]
    columns = (
        named("row", ["row"]) + named("text", ["against"][: int(several)]) + named("number", heads) + named("text", ["verdict"])
    )
    cells = []
    for line in lines:
        one = line.fixed
        ps = map(_p, (one.delta.p, one.p, one.holm, one.equate_holm))
        shown = (
            _percent(probability_better(one.delta)),
            _percent(probability_better(one.delta, next_seed=True)),
            _share(one.ahead),
            points(one.detectable).removeprefix("+"),
        )
        seeds = (_seeds(one.to_detect), _seeds(one.to_equate))
        against = [line.against][: int(several)]
        cells.append((line.row, *against, str(one.delta.n), interval(one.delta), *ps, *shown, *seeds, line.verdict))
    title = "Statistics" + ("" if several or table.effects else f", each row minus '{lines[0].against}'")
    return Grid(columns, tuple(cells), title)


def fixed_notes(table: ScoredTable) -> list[str]:
    """How to read the table, and what it takes for granted."""
    count, margin = len(table.fixed), margin_words(table.margin)
    level = f"0.05 / {count}" if count > 1 else "0.05"
    judged_by = f"Verdicts are judged within the table: p of the paired t test, adjusted by Holm's method for {count} "
    judged_by += (
        f"comparison{'s' * (count > 1)}, so that in at most 5 % of tables a row that is worth nothing is called better or worse."
    )
    equal = f"Equivalent within {margin}: two one-sided t tests, adjusted alike. Differences are taken as normal, but for the sign-flip p "
    equal += "and the share of seeds (exact, Clopper and Pearson). Adding seeds because of what is seen here voids all of it."
    better = (
        "Better: posterior probability, reference prior, of the mean difference and of the difference at one more seed. Smallest "
    )
    better += (
        f"detectable: the true difference, points, that n seeds show with probability {POWER:g} at level {level}. Seeds to detect, "
    )
    better += "to equate: for the same power if mean and spread are as seen, which few seeds know badly."
    return [judged_by, equal, better]


def fixed_cells(table: ScoredTable) -> Grid | None:
    """The same for other programs, one number a cell, percent where it is a difference or a share; None without lines."""
    cells = []
    for line in fixed_lines(table):
        one = line.fixed
        ps = [MISSING if math.isnan(p) else f"{p:.4g}" for p in (one.p, one.holm, one.equate_p, one.equate_holm)]
        better = [
            MISSING if math.isnan(p) else f"{p:.4f}"
            for p in (probability_better(one.delta), probability_better(one.delta, next_seed=True))
        ]
        ahead = [MISSING if math.isnan(share) else f"{share:.4f}" for share in one.ahead[2:]]
        more = (points(one.detectable).removeprefix("+"), _seeds(one.to_detect), _seeds(one.to_equate))
        cells.append((line.row, line.against, *ps, *better, str(one.ahead.k), *ahead, *more, line.verdict))
    return Grid(named("row", ["row"]) + named("number", CELLS), tuple(cells)) if cells else None


def _p(p: float) -> str:
    return MISSING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _percent(share: float) -> str:
    return (
        MISSING if math.isnan(share) else f"{100 * share:.0f} %" if 0.005 < share < 0.995 else "> 99 %" if share > 0.5 else "< 1 %"
    )


def _share(share: Share) -> str:
    if not share.n:
        return MISSING
    return f"{share.k} of {share.n}" + ("" if math.isnan(share.low) else f" [{100 * share.low:.0f}, {100 * share.high:.0f}] %")


def _seeds(seeds: float) -> str:
    return MISSING if math.isnan(seeds) else f"> {MOST_SEEDS}" if math.isinf(seeds) else f"{seeds:.0f}"
