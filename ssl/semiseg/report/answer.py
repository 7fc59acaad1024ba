"""What the numbers say in words: the headline, the verdict on each part or row, and what is missing. Words follow the intervals,
never the hopes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from semiseg.report.decisions import pair_name
from semiseg.report.grid import percent
from semiseg.report.headroom import Headroom
from semiseg.report.scores import Compared, PartDelta, ScoredTable, comparisons, part_deltas, unfinished
from semiseg.report.statistics import OF_ROW, Paired, Standing, needed_seeds, verdict
from semiseg.report.tables import closed_text, interval
from semiseg.report.verdicts import after, course, in_sentence, part_clause, row_clause, what_intervals_are
from semiseg.results import Results

ORDER: dict[Standing, tuple[str, str]] = {
    "earns its place": ("earns its place", "earn their place"),
    "hurts here": ("hurts here", "hurt here"),
    "better here": ("is better here", "are better here"),
    "worse here": ("is worse here", "are worse here"),
    "equivalent": ("is equivalent within {margin}", "are equivalent within {margin}"),
    "undecided": ("is undecided", "are undecided"),
    "unclear": ("is unclear (the interval crosses 0)", "are unclear (the intervals cross 0)"),
    "unclear after Holm": (
        "is unclear after Holm's adjustment (its own interval leaves out 0)",
        "are unclear after Holm's adjustment (their own intervals leave out 0)",
    ),
    "one seed only": ("was seen at one seed only, too few to judge", "were seen at one seed only, too few to judge"),
    "no result yet": ("has no result yet", "have no result yet"),
}
SINGLE = 4  # more rows than these are named by what is said of them, not in one sentence each


class Answer(NamedTuple):
    """The first lines of the page: an ablation has parts, a comparison has compared rows. `first` are those of the whole method and of
    what there is to gain, which begin the `sentences`."""

    sentences: tuple[str, ...]
    parts: tuple[PartDelta, ...]
    compared: tuple[Compared, ...]
    caveat: str
    first: tuple[str, ...] = ()


def answer(table: ScoredTable, label: str) -> Answer:
    """What helped: of an ablation one sentence on the whole method and one on its parts, else one on each compared row; and a
    caveat."""
    found = part_deltas(table)
    rows = () if found else comparisons(table)
    if table.comparison:
        if not any(row.delta.n for row in rows):
            return Answer(
                ("No row shares a finished seed with the row it is compared with, so nothing can be compared yet.",), (), rows, ""
            )
        first = (*_room(table), *_zeros(table))
        caveat = _caveat([row.delta for row in rows])
        if table.until is not None:
            caveat = _course(table)
        return Answer((*first, *_outcomes(rows, table)), (), rows, caveat, first)
    full = table.row(table.reference)
    if full.score.n == 0:
        missing = f"No seed of '{table.reference}' has finished with a score, so nothing can be compared yet."
        return Answer((missing,), found, rows, "")
    whole = f"'{table.reference}' reaches {percent(full.score.mean)} % {label} (n = {full.score.n})"
    base = next((row.delta for row in table.rows if row.name == table.baseline), None)
    base, room = None if base is None else base.opposite(), table.headrooms.get(table.reference)
    if room is not None and room.gain.n:
        base = room.gain
        judged = outcome(table.stands(table.reference, room.anchor, base, OF_ROW, room.doubtful), room, table.margin)
        decision = table.decision(table.reference, room.anchor)
        judged += "" if decision is None or judged == "undecided" else f", {after(decision)}"
        whole += f", {_plain(base)} points against its anchor '{room.anchor}': {judged}"
    elif base is not None and base.n:
        whole += f", {interval(base)} points against '{table.baseline}'"
        decision = table.decision(table.reference, table.baseline or "")
        whole += "" if decision is None else f", {after(decision)}"
    caveat = _caveat([part.gain for part in found] or [row.delta for row in rows], base)
    if table.until is not None:
        caveat = _course(table)
    others = tuple(row for row in rows if row.row != table.baseline)
    parts: list[tuple[str, Standing]] = [("+".join(part.removed), part.standing) for part in found]
    said = _grouped(parts, table.margin, table.doubted(table.reference)) if found else _outcomes(others, table)
    if table.until is not None and found:
        said = in_sentence(part_clause(part, table) for part in found)
    first = (whole + ".", *_room(table), *_zeros(table))
    return Answer((*first, *said), found, rows, caveat, first if table.headrooms else ())


def _room(table: ScoredTable) -> tuple[str, ...]:
    """What all labels add to the anchor of the reference, or of the first row that has one, and what each method does of what they add
    to its own."""
    room = table.headroom
    if room is None or not room.gap.n:
        return ()
    seeds = " (one seed)" if room.gap.n == 1 else ""
    added = f"All labels add {_plain(room.gap)} points to '{room.anchor}'{seeds}"
    shares = [one for one in table.headrooms.values() if one.share.n and not one.doubtful]
    if not shares:
        return (added + ".",)
    if len(table.headrooms) == 1:
        return (f"{added}, of which '{room.row}' closes {closed_text(room)}.",)
    if len(shares) > SINGLE:
        return (f"{added}; the column 'of the gap' says how much of it, from its own anchor, each row closes.",)
    said = in_words([f"'{one.row}' closes {closed_text(one)}" for one in shares])
    return (f"{added}. Of that gap, from its own anchor, {said}.",)


def _zeros(table: ScoredTable) -> tuple[str, ...]:
    """Classes that nobody learned."""
    none = table.zeros.classes
    if not none:
        return ()
    one = len(none) == 1
    said = f"The class{'' if one else 'es'} {in_words(list(none))} score{'s' if one else ''} 0 in every row"
    if not table.zeros.scores:
        return (said + ".",)
    names = [table.reference, *([table.headroom.anchor, table.headroom.all_labels] if table.headroom else [])]
    left = "class" if table.zeros.left == 1 else str(table.zeros.left)
    means = [f"'{name}' {percent(table.zeros.scores[name].mean)} %" for name in names if name in table.zeros.scores]
    return (f"{said}; the mean over the other {left}: {', '.join(means)}.",)


def _plain(delta: Paired) -> str:
    return interval(delta).removesuffix(" (one seed)")


def outcome(outcome: Standing, room: Headroom | None, margin: float) -> str:
    """An outcome, with the reason where there may be nothing to gain, and with the margin, in points, of what is equivalent."""
    if outcome == "equivalent":
        return f"equivalent within {margin_words(margin)}"
    return f"{outcome}: {room.reason}" if outcome == "cannot tell here" and room else outcome


def margin_words(margin: float) -> str:
    """ "1 point", "0.5 points"."""
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def _caveat(deltas: Iterable[Paired], base: Paired | None = None) -> str:
    """What the comparison with the fewest seeds allows."""
    fewest = min((delta for delta in (*deltas, base) if delta is not None and delta.n), key=lambda delta: delta.n, default=None)
    if fewest is None:
        return ""
    caveat = verdict(fewest.n)
    if 1 < fewest.n < needed_seeds():
        caveat += f" The intervals rest on normally distributed differences, which {fewest.n} seeds cannot check."
    return caveat


def _course(table: ScoredTable) -> str:
    """What a study that adds seeds until all is decided says below its answer."""
    assert table.until is not None
    gaps = {pair_name(one.all_labels or "", one.anchor) for one in table.headrooms.values()}
    found = [one for name, one in table.decisions.items() if name not in gaps]
    return f"{course(table.until, found)} {what_intervals_are(table.until)}"


def _outcomes(rows: Sequence[Compared], table: ScoredTable) -> tuple[str, ...]:
    """A sentence per row; of many rows what can be said of which."""
    if table.until is not None:
        return in_sentence(row_clause(row, table) for row in rows)
    if len(rows) <= SINGLE:
        return tuple(
            f"'{row.row}' is {_plain(row.delta)} points against '{row.against}': {outcome(row.standing, table.doubted(row.row), table.margin)}."
            if row.delta.n
            else f"'{row.row}' {ORDER[row.standing][0]}."
            for row in rows
        )
    to = f"Against '{table.opponent}': " if table.opponent else "Each against its counterpart: "
    doubts = {room.reason: room for room in map(table.doubted, [row.row for row in rows]) if room is not None}
    room = next(iter(doubts.values())) if len(doubts) == 1 else None
    return tuple(to + sentence for sentence in _grouped([(f"'{row.row}'", row.standing) for row in rows], table.margin, room))


def _grouped(standings: Iterable[tuple[str, Standing]], margin: float, room: Headroom | None = None) -> tuple[str, ...]:
    """'CR and SA earn their place; T2 is unclear.' And of what cannot be told the reason, where all have the same."""
    groups: dict[Standing, list[str]] = defaultdict(list)
    for name, kind in standings:
        groups[kind].append(name)
    said = {
        kind: ORDER[kind][len(names) > 1].format(margin=margin_words(margin)) for kind, names in groups.items() if kind in ORDER
    }
    clauses = [f"{in_words(groups[kind])} {said[kind]}" for kind in ORDER if kind in said]
    if names := groups["cannot tell here"]:
        help_ = "helps" if len(names) == 1 else "help"
        clauses.append(f"cannot tell here whether {in_words(names)} {help_}" + (f": {room.reason}" if room else ""))
    line = "; ".join(clauses)
    return (f"{line[0].upper()}{line[1:]}." if line.startswith("cannot tell") else f"{line}.",) if line else ()


def in_words(names: list[str]) -> str:
    """'CR, SA and T2'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def gaps(results: Results, table: ScoredTable) -> list[str]:
    """What a partial study lacks, one line each: failed stages with their error, then rows and seeds by state. Empty when
    complete."""
    lines = []
    for stage in results.stages.to_pylist():
        if stage["state"] == "failed":
            lines.append(f"{_label(results, stage)} failed: {stage['error'] or 'no message'}")
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


def _label(results: Results, stage: Mapping) -> str:
    """row/seed/stage of the first row that needs the stage, as the monitor calls it (`Plan.label`)."""
    users = {line["row"] for line in results.rows.to_pylist() if line["key"] == stage["key"]}
    row = next((f"{row}/" for row in results.study.rows if row in users), "")
    return f"{row}seed {stage['seed']}/{stage['name']}"


class Sharing(NamedTuple):
    """How much work the rows share: chains ask for `asked` stages, `distinct` were planned; seconds cover finished stages."""

    asked: int
    distinct: int
    asked_seconds: float
    seconds: float
    first: bool  # all rows of a seed begin with the same stage
    some: bool  # some rows of a seed have a stage in common


def sharing(results: Results) -> Sharing:
    """Stage-seconds that training each row from scratch would have cost, what was spent, and which rows have stages in common."""
    seconds = {stage["key"]: stage["seconds"] or 0.0 for stage in results.stages.to_pylist() if stage["state"] == "done"}
    lines = results.rows.to_pylist()
    keys = [line["key"] for line in lines]
    chains: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in sorted(lines, key=lambda line: line["position"]):
        if line["row"] not in results.study.added:
            chains[line["seed"]][line["row"]].append(line["key"])
    several = [list(rows.values()) for rows in chains.values() if len(rows) > 1]
    return Sharing(
        asked=len(keys),
        distinct=len(set(keys)),
        asked_seconds=sum(seconds.get(key, 0.0) for key in keys),
        seconds=sum(seconds.get(key, 0.0) for key in set(keys)),
        first=bool(several) and all(len({chain[0] for chain in rows}) == 1 for rows in several),
        some=any(len({key for chain in rows for key in chain}) < sum(len(set(chain)) for chain in rows) for rows in several),
    )
