"""A table run from a program or a notebook, with settings as values where a command line has flags."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_origin

from semiseg.annotations import fits, hint_of, kinds_of
from semiseg.change import Change, Row
from semiseg.codec import check_change, method_of, spelled
from semiseg.config import Data, Net, Train, require
from semiseg.methods import Method, name_of
from semiseg.results import Results, read
from semiseg.results.draws import Vary
from semiseg.results.records import ReportOptions
from semiseg.sweep.anchors import AnchorKind
from semiseg.sweep.arguments import Arguments, checked, defaults, keep_switches, resolve_preset
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.effects import Effects, planned_effects
from semiseg.sweep.resources import Ray
from semiseg.sweep.stop import Stopped, stopping

if TYPE_CHECKING:
    from semiseg.sweep.study import Study

Setting = Change[Any] | Data | Net | Train | Method
"""A change of the preset's settings, `change(Train, steps=40)`, or other ones in their place, `UNet(width=8)`."""


class Options(TypedDict, total=False):
    """What else a run may be asked for: the flags of the command line, of the same names and defaults (docs/sweeps.md)."""

    rows: Sequence[str]
    seeds: Sequence[int]
    vary: Vary | None
    subsets: Sequence[int]
    preset: str
    config: str | Path | None
    anchors: Sequence[AnchorKind]
    headroom: float
    margin: float
    until: Literal["decided"] | None
    max_seeds: int
    budget: str | None
    quick: bool
    development: bool
    out: str | Path | None
    store: str | Path
    cache: str | Path
    wait_seconds: float
    checkpoint_seconds: float
    ray: Ray
    effects: Effects
    report: ReportOptions


class RunError(RuntimeError):
    """A study that has ended with failed stages, or could not write its results; one line."""


def run_study(table: Ablation, *settings: Setting, **options: Unpack[Options]) -> Results:
    """Train what the store lacks of a table, write results and page, and return the results; prints as the command does.

    Settings are resolved as on the command line: the preset, `config`, `quick`, then these settings in their order and the options.
    Results lie in `out` (default: results/NAME). The same call again goes on, or trains nothing.

    Raises SettingError (one line) for what cannot be used, before anything is trained, and RunError for stages that failed: what
    there is can be read all the same. Ctrl-C or a notebook's "interrupt" saves checkpoints and raises KeyboardInterrupt, SIGTERM
    SystemExit. Has to be called in the main thread, where signals arrive.
    """
    in_main = threading.current_thread() is threading.main_thread()
    require(in_main, "run_study", f"the thread {threading.current_thread().name}", "the main thread, where signals arrive")
    study = _study(table, settings, options)
    try:
        with stopping():
            status = study.run()
    except Stopped as stopped:
        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt(f"stopped by {stopped}; the same call goes on from here") from None
        raise SystemExit(128 + stopped.number) from None
    if not status:
        return read(study.out)
    if study.unwritten:
        raise RunError(study.unwritten)
    stages = read(study.out).stages.to_pylist()
    failed = [f"{one['name']}, seed {one['seed']}: {one['error']}" for one in stages if one["state"] == "failed"]
    said = f"{len(failed)} stages failed ({failed[0]})" if failed else "the results could not be written"
    raise RunError(f"{study.name}: {said}; what there is: read({str(study.out)!r})")


def plan_study(table: Ablation, *settings: Setting, **options: Unpack[Options]) -> None:
    """Print what `run_study` would do: every resolved setting, the plan and its cost. Trains nothing. SettingError as there."""
    _study(table, settings, options, dry_run=True).run()


def _study(table: Ablation, settings: Sequence[Setting], options: Mapping[str, Any], dry_run: bool = False) -> "Study":
    from semiseg.sweep.study import Study  # what is refused does not wait for it

    values = {name: _value(name, value) for name, value in options.items()}
    words = [word for flag in ("preset", "config") if values.get(flag) is not None for word in (f"--{flag}", str(values[flag]))]
    base, early, _ = resolve_preset(table.presets, table.quick, [*words, *["--quick"] * values.get("quick", False)])
    changed = base
    for one in settings:
        changed = _with(changed, one)
    given = {**defaults(changed, early), "rows": base.rows, "dry_run": dry_run, **values}
    arguments, preset = checked(replace(base, others=changed.others), Arguments(**given))
    effects = planned_effects(table, preset, arguments.effects)
    said = f"run_study({', '.join([table.name, *map(_code, settings), *(f'{name}={value!r}' for name, value in options.items())])})"
    return Study(table, preset, arguments, shown=arguments.report, effects=effects, command=said)


def _value(name: str, value: Any) -> Any:
    """An option as `Arguments` holds it: text of a path as a path, a list as a tuple. SettingError for what it is not."""
    require(name in Options.__annotations__, "options", name, ", ".join(Options.__annotations__))
    hint = hint_of(Arguments, name)
    if name == "store" and isinstance(value, Path):
        value = os.fspath(value)
    elif Path in kinds_of(hint) and isinstance(value, str):
        value = Path(value)
    elif get_origin(hint) is tuple and not isinstance(value, str):
        with suppress(TypeError):
            value = tuple(value)
    require(_fits(value, hint), name, value, spelled(hint))
    return value


def _fits(value: Any, hint: Any) -> bool:
    return isinstance(value, bool) if hint is bool else fits(value, hint)


def _with(preset: Preset, given: Any) -> Preset:
    """The preset with a change of its settings, or other ones in their place. SettingError for what it has no use for."""
    kind = given.kind if isinstance(given, Change) else type(given)
    if issubclass(kind, Method):
        return _with_method(preset, given)
    name = next((name for name, base in (("data", Data), ("train", Train), ("net", Net)) if issubclass(kind, base)), "")
    require(name != "", "settings", given, "changes or values of Data, Train, a network or a method")
    if not isinstance(given, Change):
        return replace(preset, **{name: given})
    before = getattr(preset, name)
    allowed = f"one of {type(before).__name__}, which the preset has, or {kind.__name__}(...) in its place"
    require(isinstance(before, kind), "settings", f"a change of {kind.__name__}", allowed)
    check_change(given, before)
    return replace(preset, **{name: given.of(before)})


def _with_method(preset: Preset, given: Method | Change[Any]) -> Preset:
    methods = preset.methods()
    if isinstance(given, Change):
        before = method_of(Row(given), methods)
        check_change(given, before)
        made = given.of(before)
    else:
        made = given
        require(name_of(made) in methods, "settings", name_of(made), ", ".join(methods))
        before = methods[name_of(made)]
    keep_switches(made, before)
    if before is preset.method:
        return replace(preset, method=made)
    return replace(preset, others=(*(one for one in preset.others if one is not before), made))


def _code(given: Setting) -> str:
    """A setting as it is written in a program."""
    if not isinstance(given, Change):
        own = {field.name: getattr(given, field.name) for field in fields(given)}
        usual = {
            field.name: field.default if field.default_factory is MISSING else field.default_factory() for field in fields(given)
        }
        said = [f"{name}={value!r}" for name, value in own.items() if value != usual[name]]
        return f"{type(given).__name__}({', '.join(said)})"
    if any("." in name for name in given.values):
        return f"Change({given.kind.__name__}, {dict(given.values)!r})"
    return f"change({', '.join([given.kind.__name__, *(f'{name}={value!r}' for name, value in given.values.items())])})"
