"""What --dry-run prints before the plan, and a place without data to plan in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from semiseg.config import Data, Net, Train
from semiseg.data import Pack, Splits, split
from semiseg.data.known import StandIn, published
from semiseg.methods import Method
from semiseg.nets.weights import COCO, IMAGENET
from semiseg.runner import Place
from semiseg.stage import plain


@dataclass(frozen=True, kw_only=True)
class KnownPlace(Place):
    """A place whose data set is not there: published numbers of images, stand-in pixels."""

    def opened(self, asked: Data) -> tuple[Pack, Splits]:
        return _opened(asked)


@lru_cache(maxsize=32)
def _opened(data: Data) -> tuple[Pack, Splits]:
    data = replace(data, stratify="none")  # of names and masks that are not here; numbers are the same
    pack = _stand_in(replace(data, labelled=None, unlabelled="all"))
    return pack, split(pack, data)


@lru_cache(maxsize=1)
def _stand_in(data: Data) -> StandIn:
    return StandIn(data)


def absent(data: Data) -> bool:
    """Whether no folder is given for a data set whose numbers are known."""
    return data.root is None and published(data) is not None


def notice(data: Data, splits: Splits, device: str) -> str:
    """One line that says with what numbers a study without data is planned."""
    numbers = f"{len(splits.training)} to train, {len(splits.selection)} to select, {len(splits.test)} to test"
    where = "this machine's CPU" if device == "cpu" else "this machine's GPU"
    return (
        f"{data.name} is not here (no --data.root): published numbers of images ({numbers}); cost on {where} with stand-in images"
    )


def offline(net: Net) -> Net:
    """The network with random weights where it would fetch others, or where their file is not given."""
    return replace(net, weights="") if net.weights in (IMAGENET, COCO) else net


Sections = dict[str, dict[str, Any]]
"""Plain values by section and dotted name."""


def sections(
    data: Data, net: Net, train: Train, used: Mapping[str, Method], rows: Mapping[str, str], seeds: Sequence[int]
) -> Sections:
    """All settings of a study; of the methods those that rows use, without the switches, which are the rows'."""
    return {
        **{name: by_dotted_name(plain(settings)) for name, settings in (("data", data), ("net", net), ("train", train))},
        **{
            name: {key: value for key, value in by_dotted_name(plain(one)).items() if key not in one.SWITCHES}
            for name, one in used.items()
        },
        "rows": dict(rows),
        "seeds": {"seeds": list(seeds)},
    }


def by_dotted_name(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= by_dotted_name(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def printed(found: Sections) -> str:
    """The settings as lines `name = value` below a line [section]; values as in JSON."""
    lines = []
    for section, values in found.items():
        names = {name: json.dumps(name) if section == "rows" else name for name in values}
        lines += [f"[{section}]", *(f"{names[name]} = {json.dumps(value)}" for name, value in values.items()), ""]
    return "\n".join(lines)
