"""A search as one value, and the settings of one run of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

import tyro

from semiseg.config import SettingError, require
from semiseg.methods import name_of
from semiseg.search.ledger import Sampler
from semiseg.search.space import Space, named_space, split_words
from semiseg.search.spaces import SPACES
from semiseg.sweep.ablation import Preset, Quick
from semiseg.sweep.arguments import Common, M, check, chosen_preset


@dataclass(frozen=True, kw_only=True)
class Search:
    """What `sweeps/search_*.py` declare; the space is that of the presets' method in SPACES, or what `--space.FIELD` says."""

    name: str
    title: str
    question: str
    presets: dict[str, Preset]
    """By name; "demo" is the default. Their method is the default configuration, the first point and what the best is compared
    with."""
    trials: int = 24
    quick: Quick = field(default_factory=lambda: Quick(seeds=1))
    quick_trials: int = 4


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


def parse(search: Search, words: Sequence[str]) -> tuple[SearchArguments[Any], Space]:
    """Arguments with the defaults of the chosen preset, and the space. SettingError for values that cannot be, SystemExit(2) for
    words."""
    axes, rest = split_words(words)
    preset, known = chosen_preset(search.presets, search.quick, rest)
    trials = search.quick_trials if known["quick"] else search.trials
    arguments = tyro.cli(
        SearchArguments[type(preset.method)],
        default=SearchArguments(**known, trials=trials),
        args=rest,
        description=f"{search.question} Any field of the method is searched with --space.FIELD LOW HIGH or --space.FIELD A B C; "
        "--space.log FIELD, --space.choices FIELD and --space.tie A B say how.",
        config=(tyro.conf.AvoidSubcommands,),
    )
    check(arguments)
    require(arguments.trials >= 1, "trials", arguments.trials, "a whole number >= 1")
    require(arguments.eta >= 2, "eta", arguments.eta, "a whole number >= 2")
    if not arguments.search_seeds or len(set(arguments.search_seeds)) != len(arguments.search_seeds):
        raise SettingError(f"search_seeds: got {arguments.search_seeds}; allowed: distinct whole numbers, at least one")
    name = name_of(arguments.method)
    require(bool(axes) or name in SPACES, "space", "nothing", f"--space.FIELD words, as {name} comes with no space")
    return arguments, named_space(axes, arguments.method) if axes else SPACES[name]
