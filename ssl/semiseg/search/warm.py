"""Trials of earlier searches, for the sampler of another one to learn from."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from semiseg.config import SettingError
from semiseg.search.choice import Objective, full, leaders
from semiseg.search.configuration import Configuration
from semiseg.search.folder import read_search
from semiseg.search.identity import differing, identity_in
from semiseg.search.ledger import JOURNAL, WARM
from semiseg.search.space import Params, Space, held_at

SAME = ("method", "data", "net", "train")
"""Parts of an identity that an earlier search must have in common; of a method its name, where trials say what they trained."""


class Earlier(NamedTuple):
    """Trials as the sampler gets them, and how many others there are, by why they are ignored."""

    trials: tuple[FrozenTrial, ...]
    ignored: Mapping[str, int]

    def said(self, folder: Path) -> str:
        """One line for people."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.ignored.items())
        return f"warm start: {len(self.trials)} trials of {folder}" + (f"; ignored: {why}" if why else "")

    @property
    def best(self) -> Params:
        """The configuration of the highest score; empty where there is none."""
        ranked = leaders(self.trials)
        return ranked[0].trial.params if ranked else {}


def earlier(
    folder: Path,
    space: Space,
    base: Configuration,
    *,
    identity: Mapping[str, Any],
    meant: Mapping[str, Mapping[str, Any]],
    objectives: Sequence[Objective] = ("score",),
    parameters: Callable[[Configuration], int],
) -> Earlier:
    """What the search in a folder tells one with this space, base and `identity` (`meant` as in `differing`).

    Its finished trials count, with the value of every objective, if they are of the same method, data, network and training settings
    and the space makes the same configuration of their parameters. Raises SettingError, one line, for a folder that is none of a search.
    """
    try:
        search = read_search(folder)
    except ValueError as error:
        raise SettingError(f"warm_start: {error}") from None
    theirs = identity_in(folder / JOURNAL)
    other = [name for name in differing(identity, theirs, meant) if name in SAME]
    other_method = identity["method"]["name"] != theirs.get("method", {}).get("name")
    alike = theirs.get("space") == identity["space"] and "method" not in other  # what trials of old journals do not say themselves
    found: list[FrozenTrial] = []
    ignored: Counter[str] = Counter()
    for trial in search.trials:
        digest = trial.user_attrs.get("digest")
        unlike = [name for name in other if other_method or name not in ("method", "net") or digest is None]
        if trial.state != TrialState.COMPLETE or trial not in full([trial]):
            ignored[_ENDINGS.get(trial.state, "without a finite score")] += 1
        elif unlike:
            ignored[f"of other {', '.join(unlike)}"] += 1
        elif (held := held_at(space, base, space.values(base) | trial.params)) is None:
            ignored["outside the space"] += 1
        elif digest != held[0].digest if digest else not alike:
            ignored["of settings that the space does not make"] += 1
        else:
            values = _values(trial, search.objective_names, objectives, lambda made=held[0]: parameters(made))
            if values is None:
                ignored["without seconds"] += 1
            else:
                found.append(_finished(space, base, held[1], values, trial, f"{folder.name} trial {trial.number}"))
    return Earlier(tuple(found), dict(ignored))


_ENDINGS = {
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "not finished",
    TrialState.WAITING: "not begun",
}


def _values(
    trial: FrozenTrial, named: Sequence[str], objectives: Sequence[Objective], parameters: Callable[[], int]
) -> list[float] | None:
    """One per objective; None where the trial does not say its seconds."""
    known = {"score": trial.values[0], **dict(zip(named[1:], trial.values[1:], strict=False))}
    attributes = trial.user_attrs
    if "seconds" not in known:
        one_seed = len(attributes.get("scores", {})) == 1
        known["seconds"] = attributes.get("seconds", attributes.get("alone") if one_seed else None)
    if "parameters" in objectives:
        known.setdefault("parameters", parameters())
    values = [known[name] for name in objectives]
    return None if None in values else [float(value) for value in values]


def _finished(
    space: Space, base: Configuration, point: Params, values: list[float], trial: FrozenTrial, origin: str
) -> FrozenTrial:
    fixed = FixedTrial(point)
    space.suggest(fixed, base)
    attributes = {name: trial.user_attrs[name] for name in ("scores", "digest") if name in trial.user_attrs}
    return create_trial(
        values=values,
        params=dict(fixed.params),
        distributions=dict(fixed.distributions),
        user_attrs=attributes | {WARM: origin},
    )
