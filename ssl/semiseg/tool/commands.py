"""What `semiseg NAME` may name: commands of the package, and the scripts of `sweeps/` and `analysis/`."""

from collections.abc import Mapping
from pathlib import Path

import semiseg
from semiseg.refusals import SettingError

COMMANDS: Mapping[str, str] = {
    "export": "semiseg.tool.export",
    "import": "semiseg.tool.import_",
    "predict": "semiseg.tool.predict",
    "store": "semiseg.tool.store",
}
"""Commands by name, and the module of each, whose `main(words)` returns the exit status; the first line of its docstring is shown."""
FOLDERS = ("sweeps", "analysis")
"""Folders of scripts, in the order of the list."""


def scripts() -> dict[str, Path]:
    """Scripts by name: of a wheel those in it, of a checkout those at its root. SettingError where there are none."""
    package = Path(semiseg.__file__).parent
    root = package / "scripts" if (package / "scripts").is_dir() else package.parents[1]
    found = {file.stem: file for folder in FOLDERS for file in sorted((root / folder).glob("*.py"))}
    if not found:
        raise SettingError(f"scripts: got none in {root}; allowed: an installed wheel, or a whole checkout")
    return found
