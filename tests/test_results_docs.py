"""docs/results.md says what the files hold: its tables are those of the dataclasses and schemas.

`python tests/test_results_docs.py` writes them anew.
"""

import ast
import dataclasses
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from test_report_studies import make_study, study_of

from semiseg.report.numbers import NUMBERS_SCHEMA, Number
from semiseg.results import SCHEMAS, read_study
from semiseg.results import records as module
from semiseg.results.records import STUDY_FORMAT, StudyRecord
from semiseg.results.tables import IDENTITY, LATER

DOCS = Path(__file__).parents[1] / "docs" / "results.md"


def records(kind: type = StudyRecord) -> Iterator[type]:
    """A dataclass and all that its fields hold, each once."""
    found: dict[type, None] = {}

    def visit(one: Any) -> None:
        if dataclasses.is_dataclass(one) and isinstance(one, type) and one not in found:
            found[one] = None
            for hint in get_type_hints(one).values():
                visit(hint)
        for inner in get_args(one):
            visit(inner)

    visit(kind)
    yield from found


def said(kind: type) -> dict[str, str]:
    """What stands below each field."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    words, name = {}, ""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            words[name], name = " ".join(str(node.value.value).split()), ""
        else:
            name = ""
    return words


def cell(words: object) -> str:
    return str(words).replace("|", "\\|")


def typed(kind: type, name: str) -> str:
    """The annotation as it stands in the source."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    return next(
        ast.unparse(node.annotation)
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name
    )


def default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{json.dumps(field.default)}`"
    if field.default_factory is not dataclasses.MISSING:
        return "empty" if not dataclasses.is_dataclass(field.default_factory) else "its defaults"
    return ""


def study_tables() -> str:
    parts = []
    for kind in records():
        words = said(kind)
        lines = [
            f"| `{one.name}` | `{cell(typed(kind, one.name))}` | {default(one)} | {cell(words.get(one.name, ''))} |"
            for one in dataclasses.fields(kind)
        ]
        about = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        parts.append(
            "\n".join(
                [f"### {kind.__name__}", "", about, "", "| field | type | default | what |", "| --- | --- | --- | --- |", *lines]
            )
        )
    return f"`format` is {STUDY_FORMAT}.\n\n" + "\n\n".join(parts)


def parquet_tables() -> str:
    lines = ["| file | columns, in brackets what identifies a line |", "| --- | --- |"]
    for name, schema in SCHEMAS.items():
        columns = ", ".join(f"{field.name} {field.type}" for field in schema)
        later = "; may be missing" if name in LATER else ""
        lines.append(f"| `{name}.parquet`{later} | {columns} ({', '.join(IDENTITY[name])}) |")
    return "\n".join(lines)


def number_table() -> str:
    words = said(Number)
    lines = [f"| `{field.name}` | {field.type} | {cell(words.get(field.name, ''))} |" for field in NUMBERS_SCHEMA]
    return "\n".join(["| column | type | what |", "| --- | --- | --- |", *lines])


TABLES: dict[str, Callable[[], str]] = {"numbers": number_table, "study": study_tables, "tables": parquet_tables}


def written(text: str) -> str:
    """The page with the tables of now."""
    for name, make in TABLES.items():
        head, rest = text.split(f"<!-- {name} -->\n", 1)
        text = f"{head}<!-- {name} -->\n{make()}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    return text


def test_the_page_has_every_field_and_column() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text == written(text), "python tests/test_results_docs.py writes it anew"
    for kind in records():
        assert f"### {kind.__name__}\n" in text
    assert {one.__name__ for one in records()} == {
        name for name, one in vars(module).items() if dataclasses.is_dataclass(one) and isinstance(one, type)
    }


def test_a_study_without_any_optional_field_is_read(tmp_path: Path) -> None:
    """As an older version wrote it."""
    make_study(tmp_path, samples=False)
    optional = {one.name for one in dataclasses.fields(StudyRecord) if default(one)}
    least = {name: value for name, value in study_of().items() if name not in optional}
    (tmp_path / "study.json").write_text(json.dumps(least), encoding="utf-8")
    study = read_study(tmp_path)
    assert study.report.figures == "none"
    (tmp_path / "study.json").write_text(json.dumps(least | {"format": STUDY_FORMAT + 1}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"format: got {STUDY_FORMAT + 1}; allowed: {STUDY_FORMAT}"):
        read_study(tmp_path)


if __name__ == "__main__":
    sys.exit(DOCS.write_text(written(DOCS.read_text(encoding="utf-8")), encoding="utf-8") == 0)
