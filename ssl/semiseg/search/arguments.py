"""Settings of one run of a search, and how a command line changes those of a preset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, get_args

from semiseg.config import require
from semiseg.methods import name_of
from semiseg.search.choice import PICKS, Objective
from semiseg.search.configuration import Configuration, whole_space
from semiseg.search.declaration import Search
from semiseg.search.ledger import Sampler
from semiseg.search.space import Space, split_words
from semiseg.search.spaces import SPACES
from semiseg.sweep.arguments import Common, M, defaults, flagged, resolve_preset
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
    search_seeds: tuple[int, ...] | None = None
    """Training seeds that judge a configuration, from a reserved range that is never reported. Seeds after the first only for those then
    among the best of eta; their mean is what counts. None: 0 1 2, of a quick search 0; a search that has begun goes on with its own."""
    search_subsets: tuple[int, ...] = ()
    """Seeds of labelled subsets, from the reserved range too: the second search seed trains on the second subset, and so on, in a circle;
    none: all on the labelled images of the data."""
    pruner: Literal["asha", "none"] = "asha"
    """Stop configurations that are behind (asynchronous successive halving on the first seed's selection score), or train all in full."""
    eta: int = 3
    """Of those that came to a rung the best 1/eta go on; rungs are eta times as far apart each."""
    objectives: tuple[Objective, ...] = ("score",)
    """The selection score, and what shall be small beside it: the seconds that the stages of a seed take, the parameters of the evaluated
    network. With several nothing is stopped early, and the page shows their Pareto front."""
    warm_start: tuple[Path, ...] = ()
    """Results folders of earlier searches, whose finished trials the sampler learns from, where they are of the same method, data,
    network and training settings and lie in the space; the best of them is tried again here."""
    pick: str = "simplest"
    """Which configuration is compared with the default and written to best.json: simplest (within one standard error of the best mean),
    best (the best mean), or a trial's number, such as one of the Pareto front."""


def parse_search(search: Search, words: Sequence[str]) -> tuple[SearchArguments[Any], Preset, Space]:
    """The arguments, the preset as all of preset, configuration, --quick and flags have made it, and the space of Configurations.

    SettingError for values that cannot be, SystemExit(2) for words.
    """
    axes, left = split_words(words)
    left = [part for word in left for part in (word.split("+") if word == "score+seconds" else (word,))]  # what two were called
    preset, early, rest = resolve_preset(search.presets, search.quick, left)
    trials = search.quick_trials if early["quick"] else search.trials
    described = (
        f"{search.question} Any field of the method is searched with --space.FIELD LOW HIGH or --space.FIELD A B C, of the "
        "network with --space.net.FIELD; --space.log FIELD, --space.choices FIELD and --space.tie A B say how."
    )
    default = SearchArguments(**defaults(preset, early), trials=trials)
    a = arguments = read_words(SearchArguments[type(preset.method)], default, rest, described)
    require(a.trials >= 1, "trials", a.trials, "a whole number >= 1")
    require(a.eta >= 2, "eta", a.eta, "a whole number >= 2")
    known = get_args(Objective)
    require(
        len(set(a.objectives)) == len(a.objectives) and "score" in a.objectives,
        "objectives",
        a.objectives,
        "score, and seconds, parameters",
    )
    require(a.pick in PICKS or a.pick.isdecimal(), "pick", a.pick, f"{', '.join(PICKS)}, or a trial's number")
    require(
        not a.warm_start or a.sampler == "tpe",
        "warm_start",
        " ".join(map(str, a.warm_start)),
        "with --sampler tpe, which learns from it",
    )
    arguments = replace(a, objectives=tuple(name for name in known if name in a.objectives))
    preset = flagged(preset, arguments)
    space = whole_space(axes, Configuration(preset.method, preset.net), SPACES)
    require(space is not None, "space", "nothing", f"--space.FIELD words, as {name_of(a.method)} comes with no space")
    assert space is not None
    return arguments, preset, space
