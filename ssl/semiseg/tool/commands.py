"""What `semiseg NAME` may name."""

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "export": "semiseg.tool.export",
    "predict": "semiseg.tool.predict",
}
"""Commands by name, and the module of each, whose `main(words)` returns the exit status; the first line of its docstring is shown."""
