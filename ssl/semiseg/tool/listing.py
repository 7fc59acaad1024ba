"""What `semiseg` alone prints: every name by kind, with the question that it answers and what that costs. Imports nothing that it lists."""

import ast
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from semiseg.tool.commands import COMMANDS, scripts

KINDS: Mapping[str, str] = {
    "searches": "sweeps/search_*",
    "sweeps": "sweeps/*",
    "reports": "analysis/*_report analysis/compare_*",
    "checks": "analysis/check_* analysis/look_*",
    "profiles and benchmarks": "analysis/profile_* analysis/bench_*",
    "more": "analysis/*",
    "commands": "*",
}
"""What names are listed under: patterns of folder and name, the first that fits."""
ORDER = ("sweeps", "searches", "reports", "checks", "commands", "profiles and benchmarks", "more")
SENTENCE = re.compile(r".*?[?.](?=\s|$)", re.DOTALL)
COST = re.compile(
    r"(?:\b(?:about|an\s+estimated)|(?<=\bTakes))\s+"
    r"(?:[\d.,]+|an?|two|three|five|ten|a few|a\s+quarter\s+of\s+an|half\s+an?)\s+(?:CPU\s+)?(?:second|minute|hour)s?"
    r"(?:\s+on\s+\d+\s+CPU\s+cores?)?",
    re.IGNORECASE,
)
"""How a docstring declares what its default run takes; the first such words count."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name as it is listed."""

    name: str
    kind: str
    question: str
    """The first sentence of its docstring."""
    cost: str
    """What the docstring says of it; "" for one that says nothing."""
    study: str
    """What is declared in it, by the name of its results; "" for what declares no sweep or search."""


def entries() -> list[Entry]:
    """All names, sorted by kind and name."""
    files = scripts() | {name: module_file(module) for name, module in COMMANDS.items()}
    return sorted((entry_of(name, file) for name, file in files.items()), key=lambda one: (ORDER.index(one.kind), one.name))


def module_file(module: str) -> Path:
    """Where the source of a module lies."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def entry_of(name: str, file: Path) -> Entry:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    said = ast.get_docstring(tree) or ""
    question, cost = SENTENCE.match(said), COST.search(said)
    where = f"{file.parent.name}/{name}"
    return Entry(
        name=name,
        kind=next(kind for kind, patterns in KINDS.items() if any(fnmatchcase(where, one) for one in patterns.split())),
        question=" ".join(question[0].split()) if question else "",
        cost=" ".join((cost[0][0].lower() + cost[0][1:]).split()) if cost else "",
        study=declared(tree),
    )


def declared(tree: ast.Module) -> str:
    """The name in `TABLE = Ablation(name=...)` or `SEARCH = Search(name=...)`; "" where there is neither."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.targets[0]) in ("TABLE", "SEARCH")
        ):
            for word in node.value.keywords:
                if word.arg == "name" and isinstance(word.value, ast.Constant):
                    return str(word.value.value)
    return ""


def list_text(found: Sequence[Entry], here: Mapping[str, str], width: int | None = None) -> str:
    """The list, `width` columns wide (None: as the terminal); `here` says by study what it costs on this machine."""
    width = width or shutil.get_terminal_size((132, 24)).columns
    column = max(len(entry.name) for entry in found) + 4
    lines = []
    for kind in ORDER:
        members = [entry for entry in found if entry.kind == kind]
        lines += [f"\n{kind}"] if members else []
        for entry in members:
            cost = here.get(entry.study) or entry.cost
            text = entry.question + (f" [{cost}]" if cost else "")
            lines += textwrap.wrap(
                text,
                max(width, column + 30),
                initial_indent=f"  {entry.name}".ljust(column),
                subsequent_indent=" " * column,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
