"""What the scripts of sweeps/ declare, read from the folder. Not a test module."""

import importlib
from pathlib import Path
from types import ModuleType

from semiseg.search.declaration import Search
from semiseg.sweep.declaration import Ablation

FOLDER = Path(__file__).parents[1] / "sweeps"
SCRIPTS: dict[str, ModuleType] = {path.stem: importlib.import_module(path.stem) for path in sorted(FOLDER.glob("*.py"))}
TABLES: dict[str, Ablation] = {name: script.TABLE for name, script in SCRIPTS.items() if hasattr(script, "TABLE")}
SEARCHES: dict[str, Search] = {name: script.SEARCH for name, script in SCRIPTS.items() if hasattr(script, "SEARCH")}
