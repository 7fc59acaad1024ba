"""The tables "The paper, item by item" in docs/methods: every sweep, preset, row, setting and figure that they name is there."""

import re
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import fmean

import pytest
from declared import SEARCHES, TABLES
from evidence_truth import scores_of

from semiseg.codec import read_row, read_value
from semiseg.config import Data, SettingError, Train
from semiseg.nets import NETS
from semiseg.report.figures import FIGURES
from semiseg.search.arguments import parse_search
from semiseg.search.figures import SEARCH_FIGURES
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Preset, chosen_rows
from semiseg.sweep.evidence import EVIDENCE

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "methods").glob("*.md"))}
TITLE = "## The paper, item by item"
HEAD = ["item", "run", "rows and settings", "ours", "paper"]
PAPERS = ("pets_mean_teacher", "perone2018", "feng2020_dmt", "grubisic2021", "ke2020")


@dataclass(frozen=True)
class Item:
    page: str
    what: str
    run: str
    """A command without its backticks, or "not run" and why."""
    names: tuple[str, ...]
    ours: str

    def __str__(self) -> str:
        return f"{self.page}: {self.what}"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def items(page: str) -> list[Item]:
    """The lines of the page's table; none where it has no such section."""
    section = PAGES[page].partition(f"{TITLE}\n")[2].partition("\n## ")[0]
    lines = section[section.index("\n|") + 1 :].splitlines() if "\n|" in section else []
    table = [cells(line) for line in takewhile(lambda line: line.startswith("|"), lines)]  # the first one of the section
    if not table:
        return []
    assert table[0] == HEAD, f"{page}: {table[0]}"
    assert {len(line) for line in table} == {len(HEAD)}, page
    ticked = re.compile(r"`([^`]+)`")
    return [Item(page, line[0], line[1].strip("`"), tuple(ticked.findall(line[2])), line[3]) for line in table[2:]]


ITEMS = [item for page in PAGES for item in items(page)]


@pytest.mark.parametrize("page", PAPERS)
def test_every_paper_has_its_table(page: str) -> None:
    assert len(items(page)) >= 5


SCORED = [item for item in ITEMS if re.fullmatch(r"\d+\.\d\d(, \d+\.\d\d)*", item.ours)]


@pytest.mark.parametrize("item", SCORED, ids=str)
def test_our_scores_are_the_means_of_the_rows_in_the_kept_study_of_that_command(item: Item) -> None:
    (study,) = (name for name, one in EVIDENCE.items() if one.command == item.run)
    scores = scores_of(ROOT / "docs" / "evidence" / study)
    assert item.ours.split(", ") == [f"{fmean(scores[name].values()):.2f}" for name in item.names if name in scores]


@pytest.mark.parametrize("item", ITEMS, ids=str)
def test_what_an_item_names_is_there(item: Item) -> None:
    if item.run.startswith("not run"):
        assert re.fullmatch(r"not run[:,;] .{10,}", item.run), "says why"
        return
    python, script, *words = shlex.split(item.run)
    assert python == "python"
    assert (ROOT / script).is_file()
    name = Path(script).stem
    if name in TABLES:
        arguments, preset = parse(TABLES[name], words)
        rows = set(TABLES[name].rows_of(preset)) | set(chosen_rows(TABLES[name], preset))
        missing = [one for one in item.names if one not in rows and not possible(one, preset, script, vars(arguments))]
    elif name in SEARCHES:
        arguments, preset, _ = parse_search(SEARCHES[name], words)
        missing = [one for one in item.names if not possible(one, preset, script, vars(arguments))]
    else:
        source = (ROOT / script).read_text(encoding="utf-8")
        flags = [one for one in (*item.names, *words) if one.startswith("--")]
        missing = [
            one for one in flags if one not in source and f"    {one.strip('-').replace('-', '_')}: " not in source
        ]  # tyro's are fields
    assert missing == []


def possible(text: str, preset: Preset, script: str, arguments: dict[str, object]) -> bool:
    """Whether it is a flag, a figure, or a setting with a value that can be."""
    if text.startswith("--"):
        return text.removeprefix("--").split(".")[0].replace("-", "_") in arguments
    if text.startswith("figure:"):
        return text.removeprefix("figure:") in {figure.anchor for figure in (*FIGURES, *SEARCH_FIGURES)}
    name, equals, value = text.partition("=")
    section, _, field = name.partition(".")
    kinds = {"data": [Data], "train": [Train], "net": list(NETS.values())}
    if not equals:
        return False
    if section == "method":
        return any(readable(f"{method} {field}={value}", preset) for method in preset.methods())
    return any(value_fits(kind, field, value) for kind in kinds.get(section, [])) or readable(f"{name}={value}", preset)


def readable(words: str, preset: Preset) -> bool:
    try:
        read_row(words, preset.methods())
    except SettingError:
        return False
    return True


def value_fits(kind: type, field: str, value: str) -> bool:
    try:
        read_value(kind, field, value)
    except (SettingError, KeyError):
        return False
    return True
