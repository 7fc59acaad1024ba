"""Settings of one run of a search, and how a command line changes those of a preset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal

from semiseg.config import require
from semiseg.methods import name_of
from semiseg.search.declaration import Search
from semiseg.search.ledger import Sampler
from semiseg.search.space import Space, named_space, split_words
from semiseg.search.spaces import SPACES
from semiseg.sweep.arguments import Common, M, checked_seeds, defaults, flagged, resolve_preset
from semiseg.sweep.declaration import Preset
from semiseg.sweep.words import read_words


@dataclass(frozen=True, kw_only=True)
class SearchArguments(Common[M], Generic[M]):
    """What a run of a search needs. `seeds` are those with which the best and the default configuration are compared at the end."""

    trials: int = 24
    """Configurations to try in all; a larger number extends a search that has ended."""
    sampler: Sampler = "tpe"
    """Who proposes: Optuna's multivariate TPE, random search, all points of a grid, or NSGA-II."""
    sampler_seed: int = 0
    """Of the proposals."""
    search_seeds: tuple[int, ...] = (0,)
    """Training seeds of a configuration. Seeds after the first only for those then among the best of eta; their mean is what
    counts."""
    pruner: Literal["asha", "none"] = "asha"
    """Stop configurations that are behind (asynchronous successive halving on the selection score), or train all in full."""
    eta: int = 3
    """Of those that came to a rung the best 1/eta go on; rungs are eta times as far apart each."""
    objectives: Literal["score", "score+seconds"] = "score"
    """The selection score, or a Pareto front of it and of the seconds that the stages take; with two nothing is stopped early."""


def parse_search(search: Search, words: Sequence[str]) -> tuple[SearchArguments[Any], Preset, Space]:
    """The arguments, the preset as all of preset, configuration, --quick and flags have made it, and the space.

    SettingError for values that cannot be, SystemExit(2) for words.
    """
    axes, left = split_words(words)
    preset, early, rest = resolve_preset(search.presets, search.quick, left)
    trials = search.quick_trials if early["quick"] else search.trials
    described = (
        f"{search.question} Any field of the method is searched with --space.FIELD LOW HIGH or --space.FIELD A B C; "
        "--space.log FIELD, --space.choices FIELD and --space.tie A B say how."
    )
    default = SearchArguments(**defaults(preset, early), trials=trials)
    arguments = read_words(SearchArguments[type(preset.method)], default, rest, described)
    require(arguments.trials >= 1, "trials", arguments.trials, "a whole number >= 1")
    require(arguments.eta >= 2, "eta", arguments.eta, "a whole number >= 2")
    searched = checked_seeds("search_seeds", arguments.search_seeds, arguments.development)
    arguments = replace(arguments, search_seeds=searched)
    preset, name = flagged(preset, arguments), name_of(arguments.method)
    require(bool(axes) or name in SPACES, "space", "nothing", f"--space.FIELD words, as {name} comes with no space")
    return arguments, preset, named_space(axes, preset.method) if axes else SPACES[name]
