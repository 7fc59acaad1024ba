"""The inventory of the public API, docs/api.txt: names, signatures, fields.

`python tests/test_api_names.py` writes it anew.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from semiseg import api, augment, losses, methods, nets

ROOT = Path(__file__).parents[1]
INVENTORY = ROOT / "docs" / "api.txt"
HEAD = """The public names of semiseg.api, as they stand in the source. A line that changes or goes may break someone's program.
`python tests/test_api_names.py` writes this file anew. Of registries the entries may become more without a word here.

"""
REGISTRIES = {name: one for name in api.__all__ if isinstance(one := getattr(api, name), Mapping)}


def class_lines(kind: type) -> Iterator[str]:
    """Public fields and methods, those of bases in this package first."""
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("semiseg"):
            continue
        (body,) = [node.body for node in ast.parse(textwrap.dedent(inspect.getsource(base))).body if isinstance(node, ast.ClassDef)]
        for node in body:
            if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
                yield ast.unparse(node)
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__or__"):
                yield signature(node)


def signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def names() -> Iterator[str]:
    """A line per public name, and per public field and method of a class below it."""
    for name in api.__all__:
        one = getattr(api, name)
        if name in REGISTRIES:
            continue
        if inspect.isclass(one):
            yield f"class {name}({', '.join(base.__name__ for base in one.__bases__ if base is not object)})".replace("()", "")
            yield from (f"    {line}" for line in class_lines(one))
        else:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
            assert isinstance(node, ast.FunctionDef), f"{name}: a class, a function or a registry"
            yield f"def {signature(node)}"


def entries() -> Iterator[str]:
    """A line per entry of a registry: its name, and of settings the class and the fields."""
    for registry, held in REGISTRIES.items():
        for name, one in held.items():
            said = (
                f" = {one.__name__}({', '.join(field.name for field in fields(one))})"
                if inspect.isclass(one) and is_dataclass(one)
                else ""
            )
            yield f"{registry}[{name!r}]{said}"


def written() -> str:
    return HEAD + "\n".join([*names(), "", *entries(), ""])


def parsed(line: str) -> tuple[str, set[str]]:
    """An entry's line as what must stay equal and the fields, which may become more."""
    head, _, inner = line.partition("(")
    return head, set(inner.rstrip(")").split(", ")) - {""}


def test_the_inventory_is_what_can_be_imported() -> None:
    recorded = INVENTORY.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
    assert [line for line in recorded if line and not line.startswith(tuple(f"{name}[" for name in REGISTRIES))] == list(names()), (
        "a public name has changed: say so in CHANGELOG, then python tests/test_api_names.py"
    )


def test_no_entry_or_field_of_a_registry_has_gone() -> None:
    recorded = INVENTORY.read_text(encoding="utf-8").splitlines()
    now = dict(map(parsed, entries()))
    before = dict(parsed(line) for line in recorded if line.startswith(tuple(f"{name}[" for name in REGISTRIES)))
    assert {line.partition("[")[0] for line in before} == set(REGISTRIES)
    assert {head: inner - now.get(head, set()) for head, inner in before.items() if head not in now or inner - now[head]} == {}


def test_a_field_that_goes_is_found_and_one_that_comes_is_not() -> None:
    head, before = parsed("LOSSES['focal'] = Focal(gamma, weights)")
    assert head == "LOSSES['focal'] = Focal"
    assert before - parsed("LOSSES['focal'] = Focal(gamma)")[1] == {"weights"}
    assert not before - parsed("LOSSES['focal'] = Focal(gamma, more, weights)")[1]


def test_classes_of_registries_are_public_in_their_packages() -> None:
    packages = {"METHODS": methods, "NETS": nets, "PERTURBATIONS": augment, "LOSSES": losses}
    for registry, package in packages.items():
        for one in REGISTRIES[registry].values():
            assert getattr(package, one.__name__) is one


def test_every_public_name_is_documented() -> None:
    assert sorted(api.__all__) == sorted(set(api.__all__))
    assert [name for name in api.__all__ if name not in REGISTRIES and not inspect.getdoc(getattr(api, name))] == []
    assert (ROOT / "ssl" / "semiseg" / "py.typed").exists()


if __name__ == "__main__":
    sys.exit(INVENTORY.write_text(written(), encoding="utf-8") == 0)
