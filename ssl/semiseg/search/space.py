"""Search spaces: what varies in a method, between which values; a function of a trial, or read from the words of a command line."""

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import BaseTrial, FixedTrial

from semiseg.codec import read_text
from semiseg.config import SettingError, require
from semiseg.methods import name_of
from semiseg.search.axes import Axis, axis_of, changed, changes_of, check_values, read_word, searchable, value_in
from semiseg.stage import Stage

Suggest = Callable[[BaseTrial, Any], Any]
Params = dict[str, Any]
"""A configuration: values by parameter."""
FLAG = "--space."
DRAWS = 32


@dataclass(frozen=True)
class Space:
    """Configurations of a method (or of a network, or of both), all made by changing one base."""

    name: str
    suggest: Suggest
    """The base with what `trial.suggest_*` says; with FixedTrial(point) a worker builds the same again.

    SettingError where the drawn values do not go together; in the spaces of SPACES they always do."""
    values: Callable[[Any], Params]
    """The value that every parameter has in a base, of those too that are not asked for."""
    further: tuple[Params, ...] = ()
    """More first points, other published values: what they change of the base's configuration."""

    def point(self, base: Any) -> Params:
        """The configuration that gives the base back; empty when the base lies outside the space."""
        held = held_at(self, base, self.values(base))
        return held[1] if held is not None and held[0] == base else {}


def first_points(space: Space, base: Any) -> list[Params]:
    """The base's configuration, then the published ones that lie in the space; distinct, and empty when the base lies outside."""
    point, found = space.point(base), []
    for changes in ({}, *space.further) if point else ():
        held = held_at(space, base, point | changes)
        if held is not None and held[1] not in found:
            found.append(held[1])
    return found


def held_at(space: Space, base: Any, point: Params) -> tuple[Any, Params] | None:
    """The base as a point makes it, and of the point the values that were asked for; None when one is missing or out of range."""
    trial = FixedTrial(point)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # FixedTrial only warns of a number out of range
            return space.suggest(trial, base), dict(trial.params)
    except (ValueError, UserWarning, SettingError):
        return None


# ---- spaces from a command line


def split_words(argv: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """What follows each `--space.NAME` by name, and the rest of a command line; dashes in names become underscores.

    >>> split_words(["--seeds", "0", "--space.stages-total", "3", "4", "--space.log=lambda1", "--quick"])
    ({'stages_total': ['3', '4'], 'log': ['lambda1']}, ['--seeds', '0', '--quick'])
    """
    words: dict[str, list[str]] = {}
    rest: list[str] = []
    taking = rest
    for word in argv:
        if word.startswith(FLAG):
            name, equals, value = word.removeprefix(FLAG).partition("=")
            name = name.replace("-", "_")
            if name in words:
                raise SettingError(f"space.{name}: got it twice; allowed: once, with all its words")
            taking = words[name] = [value] if equals else []
            continue
        if word.startswith("-") and isinstance(read_text(float | str, word), str):
            taking = rest
        taking.append(word)
    for name in {"log", "tie", "choices"} & set(words):
        words[name] = [word.replace("-", "_") for word in words[name]]
    return words, rest


def named_space(words: Mapping[str, Sequence[str]], base: Any, called: str = "", prefix: str = "") -> Space:
    """The space of `--space.FIELD` words: two numbers are a range, ends included; anything else are choices.

    FIELD is a number, a choice or a part of the method or, as in `perturbation.ops`, a number or a choice of its parts; where the
    method has several numbers one after the other, such as `ema.decay`, the parameter replaces them all. `log` and `choices` name fields whose numbers are on a log scale,
    or no range; `tie` names fields with one parameter, that of the only one among them that has words.

    Raises SettingError for an unknown field, words that are no value of it, an empty range, a log scale from 0, or a value that the
    method refuses whatever the other fields are. Values that only do not go together are refused when they are drawn.
    """
    named = {name: list(values) for name, values in words.items() if name not in ("log", "tie", "choices")}
    log, tie, choices = (list(words.get(name, ())) for name in ("log", "tie", "choices"))
    hints, called = searchable(base), called or name_of(base)
    known = ", ".join(f"{prefix}{name}" for name in hints)
    for name in (*named, *tie):
        if name not in hints:
            raise SettingError(f"space.{prefix}{name}: no number or choice of {called}; there are {known}")
    if not named:
        raise SettingError(f"space: got no field; allowed: --space.FIELD LOW HIGH with FIELD one of {known}")
    for name in {"log", "choices"} & set(words):
        require(0 < len(words[name]) and set(words[name]) <= set(named), f"space.{name}", " ".join(words[name]), ", ".join(named))
    owners = [name for name in tie if name in named]
    alike = len(owners) == 1 and len(set(tie)) == len(tie) >= 2 and all(hints[name] == hints[tie[0]] for name in tie)
    require(
        "tie" not in words or alike, "space.tie", " ".join(tie), "different fields of one kind, exactly one of them with values"
    )
    axes = tuple(
        axis_of(
            (name, *(other for other in tie if name in owners and other != name)),
            [read_word(name, hints[name], word) for word in texts],
            choices=name in choices,
            log=name in log,
        )
        for name, texts in named.items()
    )
    check_values(axes, base)
    axes = tuple(replace(axis, name=f"{prefix}{axis.name}") for axis in axes)
    return Space(called, partial(_suggest, axes), partial(_values, axes))


def _suggest(axes: tuple[Axis, ...], trial: BaseTrial, base: Any) -> Any:
    return changed(base, changes_of(axes, [axis.suggest(trial) for axis in axes]))


def _values(axes: tuple[Axis, ...], base: Any) -> Params:
    return {axis.name: value_in(base, axis.fields[0]) for axis in axes}


# ---- what a space holds


class Walk(FixedTrial):
    """A trial that takes the options whose numbers `path` says, one after the other, and then first ones."""

    def __init__(self, path: Sequence[int]) -> None:
        super().__init__({})
        self.path, self.counts, self.point, self.endless = path, list[int](), Params(), list[str]()

    def _take(self, name: str, options: Sequence[Any]) -> Any:
        if name not in self.point:
            at = len(self.counts)
            self.counts.append(len(options))
            self.point[name] = options[self.path[at] if at < len(self.path) else 0]
        return self.point[name]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._take(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self._take(name, range(low, high + 1, step))

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        self.endless.append(name)
        return low


def grid_points(space: Space, base: Any) -> list[Params]:
    """All configurations, depth first, of a space of choices and whole numbers; those that the method refuses are left out.

    Raises SettingError for a range of floats, and when the method refuses every configuration.
    """
    found: list[Params] = []
    refused: SettingError | None = None
    path: list[int] = []
    while True:
        walk = Walk(path)
        try:
            space.suggest(walk, base)
            found.append(walk.point)
        except SettingError as error:
            refused = error
        require(not walk.endless, "grid", f"a range of {' '.join(walk.endless)}", "choices or whole numbers")
        path += [0] * (len(walk.counts) - len(path))
        while path and path[-1] + 1 == walk.counts[len(path) - 1]:
            path.pop()
        if not path:
            break
        path[-1] += 1
    if refused is not None and not found:
        raise refused
    return found


def shared_stages(space: Space, base: Any, chain_of: Callable[[Any], tuple[Stage, ...]], seed: int) -> int:
    """How many leading stages of a chain are the same at the first points and at 32 random ones, drawn with `seed`.

    Random points that make no chain do not count; SettingError when none makes one.
    """
    chains: list[list[str]] = []
    refused: SettingError | None = None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        fixed: list[BaseTrial] = [FixedTrial(point) for point in first_points(space, base)]
        for trial in (*fixed, *(study.ask() for _ in range(DRAWS))):
            try:
                chains.append([stage.key for stage in chain_of(space.suggest(trial, base))])
            except SettingError as error:
                refused = error
    finally:
        optuna.logging.set_verbosity(verbosity)
    if refused is not None and not chains:
        raise refused
    shared = 0
    for keys in zip(*chains, strict=False):
        if len(set(keys)) > 1:
            break
        shared += 1
    return shared


def extent(space: Space, base: Any) -> dict[str, Any]:
    """Distributions by parameter, as random draws meet them: what two searches must have in common to be one."""
    found: dict[str, Any] = {}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(DRAWS):
            trial = study.ask()
            with contextlib.suppress(SettingError):
                space.suggest(trial, base)
            found |= {name: json.loads(distribution_to_json(one)) for name, one in trial.distributions.items()}
    finally:
        optuna.logging.set_verbosity(verbosity)
    return found
