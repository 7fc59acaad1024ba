"""What `semiseg NAME` may name: commands of the package, and the scripts of `sweeps/` and `analysis/`."""

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "import": "semiseg.tool.import_",
    "store": "semiseg.tool.store",
}
"""Commands by name, and the module of each, whose `main(words)` returns the exit status; the first line of its docstring is shown."""
