"""What a trial of a search trains: a method and the network it is trained with, and the space of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.trial import BaseTrial

from semiseg.config import Net
from semiseg.methods import Method, name_of
from semiseg.search.space import Params, Space, named_space
from semiseg.stage import by_content, for_key, hash_of

NET = "net."
"""Begins the names of `--space.net.FIELD`."""
HOW = ("log", "tie", "choices")
Words = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Configuration:
    """A method and a network."""

    method: Method
    net: Net

    @property
    def digest(self) -> str:
        """A hash of all settings: equal for equal configurations, whatever spaces they were drawn from."""
        method = {"name": name_of(self.method), **for_key(self.method)}
        return hash_of({"method": method, "net": by_content(self.net)})


def split_net(words: Words) -> tuple[Words, Words]:
    """Words about the method, and those about the network without their prefix."""
    method: dict[str, Sequence[str]] = {}
    net: dict[str, Sequence[str]] = {}
    for name, values in words.items():
        if name in HOW:
            ours, theirs = ([one for one in values if one.startswith(NET) == inside] for inside in (True, False))
            method |= {name: theirs} if theirs or not ours else {}
            net |= {name: [one.removeprefix(NET) for one in ours]} if ours else {}
        elif name.startswith(NET):
            net[name.removeprefix(NET)] = values
        else:
            method[name] = values
    return method, net


def whole_space(words: Words, base: Configuration, known: Mapping[str, Space]) -> Space | None:
    """The space of `--space` words over the method and the network: of what the method's are silent about the `known` space that comes
    with it, if the network has none either. None when there is neither word nor known space."""
    of_method, of_net = split_net(words)
    name = name_of(base.method)
    method = named_space(of_method, base.method) if of_method else None if of_net else known.get(name)
    net = named_space(of_net, base.net, "network", NET) if of_net else None
    if method is None and net is None:
        return None
    further = method.further if method else ()
    return Space(name, partial(_suggest, method, net), partial(_values, method, net), further)


def _suggest(method: Space | None, net: Space | None, trial: BaseTrial, base: Configuration) -> Configuration:
    return Configuration(
        method.suggest(trial, base.method) if method else base.method, net.suggest(trial, base.net) if net else base.net
    )


def _values(method: Space | None, net: Space | None, base: Any) -> Params:
    return {
        **(method.values(base.method) if method else {}),
        **(net.values(base.net) if net else {}),
    }
