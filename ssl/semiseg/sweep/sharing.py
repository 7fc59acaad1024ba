"""What a run of --effects says before anything trains: which sets, and what it saves that they share stages."""

from collections.abc import Mapping

from semiseg.results.effects import EffectsRecord
from semiseg.sweep.bench import duration
from semiseg.sweep.plan import Plan


def sets_said(record: EffectsRecord, plan: Plan) -> str:
    """What is asked of which parts, which sets are trained, and the stages that sharing saves: lines before the plan."""
    two = [f"{name} ({low} to {high})" for name, (low, high) in record.levels.items()]
    parts = ", ".join([*(name for name in record.players if name not in record.levels), *two])
    on = f", on top of {' '.join(record.base)}" if record.base else ""
    why = f" ({record.infeasible})" if record.infeasible else ""
    chains = [chain for (row, _), chain in plan.chains.items() if row in record.sets]
    naive, distinct = sum(map(len, chains)), len({stage.key for chain in chains for stage in chain})
    sets, seeds = len(record.sets), len({seed for _, seed in plan.chains})
    return (
        f"effects: {' '.join(record.asked)} of {parts}{on}\n"
        f"{record.feasible} of {2 ** len(record.players)} sets can be trained{why}; these {sets} are: {', '.join(record.sets)}\n"
        f"{sets} sets x {seeds} seed{'s' * (seeds > 1)}: {naive} stages from scratch, {distinct} distinct, sharing saves "
        f"{naive - distinct} ({1 - distinct / naive:.0%})"
    )


def time_saved(record: EffectsRecord, plan: Plan, costs: Mapping[str, float]) -> str:
    """What sharing saves of the stages that are to be trained; `costs` are seconds by their keys."""
    keys = [stage.key for (row, _), chain in plan.chains.items() if row in record.sets for stage in chain if stage.key in costs]
    naive, shared = sum(costs[key] for key in keys), sum(costs[key] for key in set(keys))
    return f"sharing saves {duration(max(naive - shared, 0.0))} of {duration(naive)} of training"
