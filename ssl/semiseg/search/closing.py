"""What a search says at the end: what it cost, and the closing table."""

from math import isnan
from statistics import fmean
from typing import Any

from optuna.trial import TrialState

from semiseg.search.ledger import Ledger


def spent(ledger: Ledger) -> dict[str, float]:
    """Stage-seconds that the search has cost, and what training each ended trial in full and alone would have.

    What a full trial takes is measured on the finished ones; trials that failed count in what was spent alone.
    """
    ended = ledger.all(TrialState.COMPLETE, TrialState.PRUNED)
    finished = [trial.user_attrs["alone"] for trial in ended if "alone" in trial.user_attrs]
    mean = fmean(finished) if finished else 0.0
    cost = sum(ledger.paid().values())
    early = sum(max(mean - trial.user_attrs["used"], 0.0) for trial in ended if "alone" not in trial.user_attrs)
    used = sum(trial.user_attrs["used"] for trial in ended)
    return {"spent": cost, "alone": used + early, "saved_by_sharing": used - cost, "saved_by_pruning": early}


def closing(summary: dict[str, Any], metric: str) -> str:
    """The last lines of a search."""

    def percent(value: float | None, sign: str = "") -> str:
        return "-" if value is None or isnan(value) else f"{value:{sign}.2%}".replace("%", " %")

    def line(name: str, selection: float | None, test: dict[str, Any] | None, sign: str = "") -> str:
        spread = f"{percent(test['mean'], sign)} ± {percent(test['sd'])} (n = {test['n']})" if test else "-"
        return f"{name:<12}{percent(selection, sign):>18}   {spread}"

    counts, seconds = summary["counts"], summary["seconds"]
    share = {name: seconds[name] / seconds["alone"] if seconds["alone"] else 0.0 for name in seconds}
    cost = (
        f"stage-seconds: {seconds['spent']:.0f} spent, {share['spent']:.0%} of the {seconds['alone']:.0f} that every trial in full and "
        f"alone would take (saved by sharing {share['saved_by_sharing']:.0%}, by stopping early {share['saved_by_pruning']:.0%})"
    )
    return "\n".join(
        [
            f"{'':<12}{'selection ' + metric:>18}   {summary['split']} {metric}, mean ± sd",
            line("best", summary["best"]["selection"], summary["best"]["test"]),
            line("default", summary["default"]["selection"], summary["default"]["test"]),
            line("delta", summary["delta_selection"], summary["delta_test"], "+"),
            f"trials: {counts['finished']} finished, {counts['pruned']} stopped early, {counts['failed']} failed",
            cost,
        ]
    )


def finite(value: Any) -> Any:
    """The same with None for what is not a number, which JSON does not know."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and isnan(value) else value
