"""`python -m semiseg`, and the console script `semiseg`."""

import difflib
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import semiseg
from semiseg.refusals import SettingError
from semiseg.tool.commands import COMMANDS, scripts

UNUSABLE = 2


def main(words: Sequence[str] | None = None) -> int:
    """Exit status of what the words name, 2 for a name that is not there (one line says which are like it)."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ["--help"]
    try:
        if name in ("-h", "--help"):
            print("\n".join([*COMMANDS, *scripts()]))
            return 0
        if name == "--version":
            print(f"semiseg {semiseg.__version__}")
            return 0
        sys.argv = [f"semiseg {name}", *rest]
        if name in COMMANDS:
            return importlib.import_module(COMMANDS[name]).main(rest)
        found = scripts()
        if name not in found:
            near = difflib.get_close_matches(name, [*COMMANDS, *found], n=3, cutoff=0.5)
            raise SettingError(f"command: got {name!r}; allowed: {', '.join(near) or 'what `semiseg` lists'}")
        return run_script(found[name])
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE


def run_script(file: Path) -> int:
    """Run a script as Python runs it, but for sys.argv, which stays; its exit status."""
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


if __name__ == "__main__":
    sys.exit(main())
