"""Settings of one run of an ablation, and how a command line changes those of a preset."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import tyro

from semiseg.config import Data, Net, SettingError, Train, require
from semiseg.methods import Method
from semiseg.nets import UNet, net_named
from semiseg.sweep.ablation import Ablation, Preset, Quick
from semiseg.sweep.ray_settings import Ray
from semiseg.sweep.saved import read_config, with_config

M = TypeVar("M", bound=Method)


@dataclass(frozen=True, kw_only=True)
class Common(Generic[M]):
    """What every run needs. Values not given on the command line are those of the preset."""

    data: Data = field(default_factory=Data)
    net: Net = field(default_factory=UNet)
    train: Train = field(default_factory=Train)
    method: M
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; every row is trained once with each."""
    preset: str = "demo"
    """Set of defaults."""
    config: Path | None = None
    """A best.json that a search wrote: its data set, network, training and method take the place of the preset's."""
    quick: bool = False
    """Very few steps and one or two seeds, to see everything work within a minute."""
    dry_run: bool = False
    """Print all settings, the plan and its cost, then stop; without --data.root by the published numbers of images."""
    out: Path | None = None
    """Results folder; None: results/STUDY."""
    store: str = "results/store"
    """Finished stages, shared by all studies: a folder or a URI of pyarrow.fs such as s3://bucket/store."""
    cache: Path = Path("results/cache")
    """Decoded images."""
    checkpoint_seconds: float = 30.0
    """A running stage saves a checkpoint this often."""
    ray: Ray = field(default_factory=Ray)


@dataclass(frozen=True, kw_only=True)
class Arguments(Common[M], Generic[M]):
    """What a run of an ablation needs."""

    rows: tuple[str, ...] = ()
    """Rows to train: names of the table's rows, or NAME="WORD WORD ..." for new ones; none: all, or those of the preset.

    A word is a switch, a method's name or a setting such as data.labelled=0.05, train.steps=400 or a field of the method.
    """


def chosen_preset(presets: Mapping[str, Preset], small: Quick, words: Sequence[str]) -> tuple[Preset, dict[str, Any]]:
    """The preset that the words ask for, and the arguments it sets. Raises SettingError for one that is not there.

    The network is the one that they name, so that only settings which it has can be given.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="demo")
    first.add_argument("--net.name", dest="net")
    first.add_argument("--config", type=Path)
    first.add_argument("--quick", action="store_true")
    early, _ = first.parse_known_args(words)
    require(early.preset in presets, "preset", early.preset, ", ".join(presets))
    preset = presets[early.preset]
    if early.config is not None:
        preset = with_config(preset, read_config(early.config), early.config)
    if early.quick:
        preset = small.apply(preset)
    return preset, {
        "data": preset.data,
        "net": preset.net if early.net is None else net_named(early.net, preset.net),
        "train": preset.train,
        "method": preset.method,
        "seeds": preset.seeds,
        "preset": early.preset,
        "config": early.config,
        "quick": early.quick,
    }


def check(arguments: Common[Any]) -> None:
    """Raise SettingError for steps and seeds that make no run."""
    require(arguments.train.steps >= 1, "train.steps", arguments.train.steps, "a whole number >= 1")
    if len(set(arguments.seeds)) != len(arguments.seeds) or not arguments.seeds:
        raise SettingError(f"seeds: got {arguments.seeds}; allowed: distinct whole numbers, at least one")


def parse(table: Ablation, words: Sequence[str]) -> Arguments:
    """Arguments with the defaults of the chosen preset. Raises SettingError for values that cannot be, SystemExit(2) for words."""
    preset, known = chosen_preset(table.presets, table.quick, words)
    default = Arguments(**known, rows=preset.rows)
    arguments = tyro.cli(
        Arguments[type(preset.method)],
        default=default,
        args=list(words),
        description=table.question,
        config=(tyro.conf.AvoidSubcommands,),
    )
    if any(getattr(arguments.method, name) != getattr(preset.method, name) for name in preset.method.SWITCHES):
        raise SettingError("method: the switches belong to the rows of the table; allowed: --rows NAME='S1 S2 ...'")
    check(arguments)
    return arguments
