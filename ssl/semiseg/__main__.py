"""`python -m semiseg`, and the console script `semiseg`."""

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import semiseg
from semiseg.outside import DOORS
from semiseg.refusals import SettingError, require
from semiseg.tool.commands import COMMANDS, scripts

UNUSABLE = 2
USAGE = f"""\
semiseg {semiseg.__version__}: sweeps and searches for semi-supervised semantic segmentation

    semiseg NAME [ARGUMENTS]     runs what is listed below, in any folder; results come to ./results
    semiseg NAME --help          its arguments
    semiseg --cache DIR          this list with what plans with that --cache have cost; alone: ./results/cache
    semiseg --version
    semiseg --completion SHELL   for bash or zsh: eval "$(semiseg --completion bash)"

Sweeps and searches take --quick (everything once, within a minute) and --dry-run (all settings, the plan and its cost). Costs are those
of a run without arguments, as declared, or as last planned on this machine where "here" is said."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status of what the words name; 2 for a name that is not there (one line says which are like it)."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ["--help"]
    try:
        if name not in OPTIONS:
            return run_named(name, rest)
        show, wanted = OPTIONS[name]
        require(len(rest) == len(wanted), name, " ".join(rest), " ".join(wanted) or "nothing behind it")
        show(*rest)
        return 0
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE


def run_named(name: str, words: list[str]) -> int:
    """Run a command or a script, which finds what was typed in sys.argv."""
    door = DOORS[Path(sys.argv[0]).name == "__main__.py"]
    sys.argv = [f"{door} {name}", *words]
    if name in COMMANDS:
        return importlib.import_module(COMMANDS[name]).main(words)
    found = scripts()
    if name not in found:
        near = difflib.get_close_matches(name, [*COMMANDS, *found], n=3, cutoff=0.5)
        raise SettingError(f"command: got {name!r}; allowed: {', '.join(near) or 'what `semiseg` lists'}")
    return run_script(found[name])


def run_script(file: Path) -> int:
    """Run a script as Python does; its exit status."""
    sys.path.insert(0, str(file.parent))  # scripts import their neighbours
    loader = SourceFileLoader("__main__", str(file))
    spec = spec_from_file_location("__main__", file, loader=loader)
    assert spec is not None
    sys.modules["__main__"] = module_from_spec(spec)
    try:
        loader.exec_module(sys.modules["__main__"])
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0


def show_list(cache: str = "results/cache") -> None:
    from semiseg.sweep.planned import noted
    from semiseg.tool.listing import entries, list_text

    here = {study: f"here {said}" for study, said in noted(Path(cache)).items()}
    print(USAGE, list_text(entries(), here), sep="\n")


def show_version() -> None:
    print(f"semiseg {semiseg.__version__}")


def show_names() -> None:
    print(*COMMANDS, *scripts(), sep="\n")


def show_flags(name: str) -> None:
    from semiseg.tool.completion import flags

    print(flags(lambda words: run_named(name, words)))


def show_completion(shell: str) -> None:
    from semiseg.tool.completion import script_for

    print(script_for(shell), end="")


OPTIONS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "-h": (show_list, ()),
    "--help": (show_list, ()),
    "--cache": (show_list, ("DIR",)),
    "--version": (show_version, ()),
    "--names": (show_names, ()),
    "--flags": (show_flags, ("NAME",)),
    "--completion": (show_completion, ("SHELL",)),
}
"""What is shown, and the words behind the option."""


if __name__ == "__main__":
    sys.exit(main())
