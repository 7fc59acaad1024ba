"""Decisions of a study that adds seeds until all is decided, in plain words."""

import math
from collections.abc import Iterable, Sequence

from semiseg.report.decisions import Decision
from semiseg.report.headroom import Headroom
from semiseg.report.scores import Compared, PartDelta, ScoredTable
from semiseg.report.statistics import Paired
from semiseg.results.until import UntilRecord


def part_clause(part: PartDelta, table: ScoredTable) -> str:
    """ "dropping CR costs 4.1 points [3.2, 5.0], decided after 7 seeds"; of an effect "CR adds 4.1 points ..."."""
    decision, name = table.decision_of(part), "+".join(part.removed)
    if decision is None:
        return ""
    if decision.verdict in ("helps", "hurts"):
        helps = decision.verdict == "helps"
        if part.quantity:
            return f"{name} {'adds' if helps else 'takes away'} {_amount(decision)}, {after(decision)}"
        does = "costs" if helps else "gains"
        return f"dropping {name} {does} {_amount(decision)}, {after(decision)}"
    if decision.verdict == "equivalent":
        if part.quantity:
            return f"{name} adds less than {_margin(table)} {_signed_ends(decision.paired)}, {after(decision)}"
        return f"{name} is equivalent within {_margin(table)} {_signed_ends(decision.paired)}, {after(decision)}"
    if decision.verdict == "cannot tell":
        return f"cannot tell here whether {name} helps{_reason(table.doubted(part.row))}"
    return f"{name} {_open(decision)}"


def row_clause(one: Compared, table: ScoredTable) -> str:
    """ "'cutmix' is better than 'labels only' by 4.1 points [3.2, 5.0], decided after 7 seeds"."""
    decision = table.decision(one.row, one.against)
    if decision is None:
        return ""
    if decision.verdict in ("helps", "hurts"):
        is_ = "better" if decision.verdict == "helps" else "worse"
        return f"'{one.row}' is {is_} than '{one.against}' by {_amount(decision)}, {after(decision)}"
    if decision.verdict == "equivalent":
        ends = _signed_ends(decision.paired)
        return f"'{one.row}' and '{one.against}' are equivalent within {_margin(table)} {ends}, {after(decision)}"
    if decision.verdict == "cannot tell":
        return f"cannot tell here whether '{one.row}' differs from '{one.against}'{_reason(table.doubted(one.row))}"
    return f"'{one.row}' against '{one.against}' {_open(decision)}"


def after(decision: Decision) -> str:
    """ "decided after 7 seeds", or how many further ones it will probably take."""
    if decision.after is not None:
        return f"decided after {decision.after} seeds"
    if decision.more is None:
        return "undecided"
    return f"undecided, about {decision.more} more seed{'s' * (decision.more > 1)}"


def in_sentence(clauses: Iterable[str]) -> tuple[str, ...]:
    """The clauses as one sentence, if there is one."""
    said = "; ".join(clause for clause in clauses if clause)
    return (f"{said[0].upper()}{said[1:]}.",) if said else ()


def course(until: UntilRecord, decisions: Sequence[Decision]) -> str:
    """How far the study came, and why it ended."""
    settled = [one for one in decisions if one.after is not None]
    left = len(decisions) - len(settled)
    count = f"{len(settled)} of {len(decisions)} differences are decided"
    if len(decisions) == 1:
        count = f"The difference is {after(decisions[0])}"
    elif not left:
        few, many = min(one.after or 0 for one in settled), max(one.after or 0 for one in settled)
        count = f"All {len(decisions)} differences are decided, after {few}{f' to {many}' if many > few else ''} seeds"
    why = {
        "decided": "",
        "max_seeds": f"; no row may have more than {until.max_seeds} seeds",
        "budget": f"; the budget of {_minutes(until.budget_seconds or 0.0)} is spent",
        "stopped": "; it was stopped",
        "running": "; seeds are still being added",
    }
    return f"{count}{why[until.reason]}."


def what_intervals_are(until: UntilRecord) -> str:
    """What holds of the intervals, and what it rests on."""
    many = until.comparisons > 1
    held = f"all {until.comparisons} hold together, after any number of seeds," if many else "they hold after any number of seeds"
    level = f"{until.level:g}/{until.comparisons} each" if many else f"{until.level:g}"
    return (
        f"Intervals are anytime-valid (t-mixture confidence sequences of paired differences): {held} "
        f"with a chance of {1 - until.level:.0%} (level {level}), if differences are "
        "normally distributed, which few seeds cannot check; looking after every seed does no harm."
    ).replace("%", " %")


def _amount(decision: Decision) -> str:
    """Size of a difference without its sign: "4.1 points [3.2, 5.0]"."""
    delta = decision.paired if decision.paired.mean >= 0 else decision.paired.opposite()
    return f"{100 * delta.mean:.1f} points [{_number(delta.low)}, {_number(delta.high)}]"


def _signed_ends(delta: Paired) -> str:
    return f"[{_number(delta.low)}, {_number(delta.high)}]"


def _number(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:.1f}"


def _margin(table: ScoredTable) -> str:
    return f"{table.margin:g} point{'s' * (table.margin != 1)}"


def _reason(room: Headroom | None) -> str:
    return f": {room.reason}" if room is not None else ""


def _open(decision: Decision) -> str:
    delta = decision.paired
    if not delta.n:
        return "has no result yet"
    ends = "" if math.isnan(delta.low) else f" {_signed_ends(delta)}"
    seeds = f"{delta.n} seed{'s' * (delta.n > 1)}"
    return f"is {after(decision)} ({round(100 * delta.mean, 1) + 0.0:+.1f} points{ends} after {seeds})"


def _minutes(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 600 and seconds % 60 else f"{seconds / 60:.4g} min"
