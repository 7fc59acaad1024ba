"""Settings of one run of an ablation, and how a command line changes those of a preset."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from semiseg.change import part_of, with_values
from semiseg.codec import read_value
from semiseg.config import Data, Net, SettingError, Train, require
from semiseg.data import DATASETS
from semiseg.data.folder import FOLDER, LABELLED
from semiseg.development import RESERVED, SCENES, development_data, is_development, reserved
from semiseg.measures import check_names
from semiseg.methods import Method, name_of
from semiseg.nets import UNet, net_named
from semiseg.outside import local_path
from semiseg.results.draws import Vary
from semiseg.results.records import ReportOptions
from semiseg.sweep.anchors import AnchorKind, check_kinds
from semiseg.sweep.budget import seconds_of
from semiseg.sweep.declaration import Ablation, Preset, Quick
from semiseg.sweep.draws import check_draws, resolved_vary
from semiseg.sweep.effects import Effects
from semiseg.sweep.resources import Ray
from semiseg.sweep.saved import Saved, read_config
from semiseg.sweep.words import read_words

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
    vary: Vary | None = None
    """What a seed draws: training (initial weights and data order), labelled (the labelled subset), both; or crossed: each of --seeds
    with each of --subsets. None: both, but training for the built-in scenes and where data.labelled_seed names a subset."""
    subsets: tuple[int, ...] = ()
    """Seeds of labelled subsets, with --vary crossed; none: the numbers in --seeds."""
    preset: str = "demo"
    """Set of defaults."""
    config: Path | None = None
    """A best.json that a search wrote: its data set, network, training and method take the place of the preset's."""
    anchors: tuple[AnchorKind, ...] = ("fair",)
    """Labels-only rows that are added: fair has as many labelled images a step as the row and as many steps as its chain, equal_images
    labelled ones in the place of its unlabelled ones too; the first one also with all labels. none: no such rows."""
    headroom: float = 2.0
    """Points that all labels must add to an anchor: with fewer, a difference that is not seen says nothing of a method."""
    margin: float = 1.0
    """Points: a difference whose interval lies within plus and minus this is called equivalent."""
    until: Literal["decided"] | None = None
    """decided: add seeds where they decide most, until every comparison is decided within the margin, or what is allowed is spent."""
    max_seeds: int = 20
    """With --until: seeds of a row at most."""
    budget: str | None = None
    """With --until: wall time of training at most, in all runs together: 90s, 30m, 2h."""
    quick: bool = False
    """Very few steps and one or two seeds, to see everything work within a minute."""
    development: bool = False
    """Choose settings: no test image is scored, selection scores are shown; seeds, labelled subsets and the built-in scenes come from
    a reserved range that is never reported."""
    dry_run: bool = False
    """Print all settings, the plan and its cost, then stop; without --data.root by the published numbers of images."""
    out: Path | None = None
    """Results folder; None: results/STUDY."""
    store: str = "results/store"
    """Finished stages, shared by all studies: a folder or a URI of pyarrow.fs such as s3://bucket/store."""
    cache: Path = Path("results/cache")
    """Decoded images."""
    wait_seconds: float = 60.0
    """For how long an answer from outside is awaited: a cluster, its free resources, a remote store."""
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
    effects: Effects = field(default_factory=Effects)
    report: ReportOptions = field(default_factory=ReportOptions)


LARGEST = 2**31 - 1
"""Of steps and seeds: the results have columns of 32 bits."""
EARLY: Mapping[str, Mapping[str, Any]] = {
    "--preset": {"default": "demo"},
    "--config": {"type": Path},
    "--quick": {"action": "store_true"},
}
"""Flags that are read before the others, whose defaults depend on them; as argparse takes them."""
KIND_FLAGS: Mapping[str, str] = {
    "--method.perturbation": "method.perturbation",
    "--method.objective": "method.objective",
}
"""Flags that name one of a family's kinds (`codec.FAMILIES`), on which it depends what further flags there are, and the field of the
preset that it goes to, such as "--method.perturbation": "method.perturbation"."""


NET = "--net.name"
"""Names the network whose settings the other flags of it are; those that the preset's has too keep its values."""


def resolve_preset(presets: Mapping[str, Preset], small: Quick, words: Sequence[str]) -> tuple[Preset, dict[str, Any], list[str]]:
    """The preset, then --config, then --quick, then KIND_FLAGS: what the flags that are left change the values of. With it the arguments
    that say so, and the words that are left.

    Raises SettingError for a preset or a kind that is not there and for a configuration that the preset has no use for.
    """
    early = _read(EARLY, words)[0]
    require(early["preset"] in presets, "preset", early["preset"], ", ".join(presets))
    preset = presets[early["preset"]]
    if early["config"] is not None:
        preset = with_config(preset, read_config(early["config"]), early["config"])
    if early["quick"]:
        preset = small.apply(preset)
    named, rest = _read({flag: {} for flag in KIND_FLAGS}, words)
    for flag, name in KIND_FLAGS.items():
        if (text := named[flag.removeprefix("--")]) is not None:
            part, field_name = part_of(preset, name)
            require(field_name in type(part).__dataclass_fields__, flag, text, f"no such field in {type(part).__name__}")
            preset = with_values(preset, {name: read_value(type(part), field_name, text)})
    if (net := _read({NET: {}}, words)[0][NET.removeprefix("--")]) is not None:
        preset = replace(preset, net=net_named(net, preset.net))
    if _lists_labelled(words, preset.data) and not _names(words, "--data.labelled"):
        preset = replace(preset, data=replace(preset.data, labelled=None))  # as many as are listed
    return preset, early, rest


def _lists_labelled(words: Sequence[str], data: Data) -> bool:
    """Whether a list names the labelled images: that of --data.labelled-list, or the one in the folder that the words or `data` name."""
    said = _read({"--data.name": {}, "--data.root": {"type": Path}}, words)[0]
    name, root = said["data.name"] or data.name, said["data.root"] or data.root
    in_folder = name == FOLDER.name and root is not None and (local_path(root, "data.root") / LABELLED).is_file()
    return in_folder or _names(words, "--data.labelled-list")


def _names(words: Sequence[str], flag: str) -> bool:
    return any(word.partition("=")[0].replace("_", "-") == flag for word in words)


def _read(flags: Mapping[str, Mapping[str, Any]], words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Values by flag without its dashes, and the words without these flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag, options in flags.items():
        parser.add_argument(flag, dest=flag.removeprefix("--"), **options)
    found, rest = parser.parse_known_args(words)
    return vars(found), rest


def with_config(preset: Preset, saved: Saved, file: Path) -> Preset:
    """The preset with a saved configuration as its own, where it knows the method. SettingError where it does not."""
    name = name_of(saved.method)
    if name not in preset.methods():
        raise SettingError(f"config: {file} is of the method {name}; allowed: {', '.join(preset.methods())}")
    changed = replace(preset, data=saved.data, net=saved.net, train=saved.train)
    if name_of(preset.method) == name:
        return replace(changed, method=saved.method)
    others = [one for one in preset.others if name_of(one) != name]
    return replace(changed, others=(*others, saved.method))


def defaults(preset: Preset, early: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `Common` that a resolved preset and its flags say."""
    return {name: getattr(preset, name) for name in ("data", "net", "train", "method", "seeds", "vary", "subsets")} | dict(early)


def flagged(preset: Preset, arguments: Common[Any]) -> Preset:
    """The preset with what the command line's flags have made of its values. Raises SettingError for what makes no run."""
    a = arguments
    require(1 <= a.train.steps <= LARGEST, "train.steps", a.train.steps, f"a whole number from 1 to {LARGEST}")
    require(0 < a.wait_seconds < math.inf, "wait_seconds", a.wait_seconds, "a number > 0")
    require(0 <= a.checkpoint_seconds < math.inf, "checkpoint_seconds", a.checkpoint_seconds, "a number >= 0")
    require(bool(a.store.strip()), "store", a.store, "a folder or a URI of pyarrow.fs")
    check_names(a.train)
    require(0 <= a.headroom < math.inf, "headroom", a.headroom, "points >= 0")
    require(0 < a.margin < math.inf, "margin", a.margin, "points > 0")
    check_kinds(a.anchors)
    if a.budget is not None:
        require(a.until is not None, "budget", a.budget, "with --until decided")
        seconds_of(a.budget)
    seeds, data = checked_seeds("seeds", a.seeds, a.development), a.data
    vary = resolved_vary(a.vary, data)
    subsets = a.subsets or (a.seeds if vary == "crossed" else ())
    subsets = subsets and checked_seeds("subsets", subsets, a.development)
    check_draws(vary, seeds, subsets)
    require(a.until is None or vary != "crossed", "until", a.until, "a --vary other than crossed, whose runs are a fixed grid")
    if a.development:
        data = development_data(data, DATASETS[data.name].variants if data.name in DATASETS else ())
    else:
        chosen = data.labelled_seed is None or not is_development(data.labelled_seed)
        require(chosen, "data.labelled_seed", data.labelled_seed, f"below {RESERVED.start}, or --development")
        require(SCENES not in data.variant, "data.variant", data.variant, "without development, or --development")
    return replace(preset, data=data, net=a.net, train=a.train, method=a.method, seeds=seeds, vary=vary, subsets=subsets)


def checked_seeds(name: str, seeds: tuple[int, ...], development: bool) -> tuple[int, ...]:
    """The seeds, or those of development that stand for them. Raises SettingError for seeds that the results could not hold, and for
    reserved ones of a run that is no development."""
    possible = bool(seeds) and len(set(seeds)) == len(seeds) and all(-LARGEST <= seed <= LARGEST for seed in seeds)
    require(possible, name, seeds, f"distinct whole numbers, at least one, from -{LARGEST} to {LARGEST}")
    if development:
        ordinary = all(0 <= seed < len(RESERVED) or is_development(seed) for seed in seeds)
        require(ordinary, name, seeds, f"whole numbers from 0 to {len(RESERVED) - 1} with --development")
        found = tuple(map(reserved, seeds))
        require(len(set(found)) == len(found), name, seeds, "distinct ones, also after those that stand for them")
        return found
    require(
        not any(map(is_development, seeds)), name, seeds, f"none from {RESERVED.start} to {RESERVED.stop - 1}, or --development"
    )
    return seeds


def parse(table: Ablation, words: Sequence[str]) -> tuple[Arguments[Any], Preset]:
    """The arguments, and the preset as all of preset, configuration, --quick and flags have made it.

    Raises SettingError for values that cannot be, SystemExit(2) for words.
    """
    preset, early, rest = resolve_preset(table.presets, table.quick, words)
    default = Arguments(**defaults(preset, early), rows=preset.rows)
    arguments = read_words(Arguments[type(preset.method)], default, rest, table.question)
    return checked(preset, arguments)


def checked(preset: Preset, arguments: Arguments[M]) -> tuple[Arguments[M], Preset]:
    """The arguments, and the preset with what they say. SettingError for values that cannot be."""
    keep_switches(arguments.method, preset.method)
    if arguments.effects.kinds and arguments.rows != preset.rows:
        raise SettingError(f"rows: got {' '.join(arguments.rows)}; allowed: none with --effects, which chooses them")
    return arguments, replace(flagged(preset, arguments), rows=arguments.rows)


def keep_switches(method: Method, before: Method) -> None:
    """Raise SettingError where a method has other switches than before."""
    if any(getattr(method, name) != getattr(before, name) for name in before.SWITCHES):
        raise SettingError("method: the switches belong to the rows of the table; allowed: --rows NAME='S1 S2 ...'")
