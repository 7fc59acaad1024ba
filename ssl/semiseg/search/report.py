"""The page of a search: the best configuration, what each parameter does, and the course of every trial, finished or not.

Reads what `semiseg.search.folder` says and links to final/, where a finished search compares best and default.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from semiseg.report.grid import Column, Grid
from semiseg.report.markup import (
    document,
    dotted,
    empty,
    facts_list,
    figure_sections,
    grid_table,
    numeral,
    pairs_table,
    render,
    section,
)
from semiseg.report.metrics import pretty
from semiseg.results import write_bytes
from semiseg.search.choice import choose, full, shown
from semiseg.search.curves import ENDINGS
from semiseg.search.figures import SEARCH_FIGURES
from semiseg.search.folder import NO_TRIAL, SearchResults, default_of, read_search
from semiseg.search.front import front_section
from semiseg.search.leaders import leaders_section
from semiseg.search.ledger import ENDED

HERE = "semiseg.search"


def write_search_report(folder: Path) -> Path:
    """Write `report.html` into the results folder of a search, at any time of it; returns the page's path.

    Raises ValueError naming the file when the folder cannot be read.
    """
    search = read_search(folder)
    path = search.folder / "report.html"
    write_bytes(path, search_page(search).encode())
    return path


def search_page(search: SearchResults) -> str:
    """The whole page as text."""
    about = search.about
    made = [("best", "Best", _best(search)), ("result", "Result", _result(search)), leaders_section(search)]
    made += [table for table in (front_section(search),) if table is not None]
    made += figure_sections(SEARCH_FIGURES, search)
    made.append(("provenance", "Provenance", _provenance(about)))
    title = about.get("title", search.folder.name)
    return document(title, about.get("question", ""), _facts(about), _banner(search), made, search.folder.name)


def _facts(about: Mapping[str, Any]) -> str:
    data = about.get("data", {})
    size = data.get("size")
    facts = {"method": about.get("method"), "data": data.get("name")}
    facts |= {"size": " × ".join(map(str, size)) if isinstance(size, list) else size}
    facts |= {name: data.get(name) for name in ("labelled", "train", "selection", "test")}
    facts |= {"sampler": about.get("sampler"), "pruner": about.get("pruner"), "seeds": ", ".join(map(str, about.get("seeds", [])))}
    return facts_list(facts)


def _banner(search: SearchResults) -> str:
    """What is missing, if anything."""
    asked = search.about.get("trials", len(search.trials))  # points beyond wait for a larger number of trials
    open_ = [one for one in search.trials[:asked] if one.state not in ENDED]
    lines = []
    if open_ or not search.best:
        lines.append(f"{sum(one.state in ENDED for one in search.trials)} of {search.about.get('trials', '?')} trials have ended.")
    for state, word in ((TrialState.RUNNING, "Running"), (TrialState.FAIL, "Failed")):
        numbers = [str(one.number) for one in search.trials if one.state == state]
        lines += [f"{word}: trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}."] if numbers else []
    heading = "Search not finished" if open_ or not search.best else "Failed trials"
    return section("partial", heading, render("banner", words="", lines=lines), "banner") if lines else ""


def _best(search: SearchResults) -> str:
    best, default, count = search.chosen, default_of(search.trials), len(full(search.trials))
    if best is None:
        return section("best", "Best configuration", empty(NO_TRIAL))
    score = 100 * best.values[0]
    top = choose(search.trials, "best")
    assert top is not None
    which = (
        "the best" if top.number == best.number else f"picked (trial {top.number} has the best mean, {100 * top.values[0]:.2f} %)"
    )
    said = f"Trial {best.number} is {which} of {count} trained with the full budget: {search.label} {score:.2f} %"
    if default is None:
        said += "; the default configuration has no score yet."
    elif default.number == best.number:
        said += "; it is the default configuration."
    else:
        said += f", {score - 100 * default.values[0]:+.2f} points against the default (trial {default.number})."
    caveat = "The highest of several scores is too high on average on the images that chose it; what counts is the test score."
    lines = []
    for name, space in _spaces(search.trials).items():
        values = (one.params.get(name, "–") if one else "–" for one in (best, default))
        lines.append((name, *map(shown, values), Markup(numeral(_range(space)))))
    columns: tuple[Column, ...] = (("parameter", "row"), ("best", "number"), ("default", "number"), ("searched", "text"))
    text = json.dumps(search.best, indent=1, ensure_ascii=False) if search.best else ""
    table = Markup(grid_table(Grid(columns, tuple(lines))))
    return section("best", "Best configuration", render("best", HERE, said=said, caveat=caveat, table=table, best=text))


def _spaces(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter and where it is searched, by name."""
    return dict(sorted({name: space for one in trials for name, space in one.distributions.items()}.items()))


def _range(space: Any) -> str:
    """ "0.1 to 2, log", or the choices."""
    if isinstance(space, CategoricalDistribution):
        return ", ".join(shown(choice) for choice in space.choices)
    return f"{shown(space.low)} to {shown(space.high)}" + (", log" if space.log else "")


def _result(search: SearchResults) -> str:
    """Best against default on test images and what the search cost, from search.json; of an unfinished search the cost so far."""
    result = search.result
    metric = pretty(search.about.get("metric", "score"))
    label = f"{result.get('split', 'test')} {metric}, %: mean ± sd"
    columns: tuple[Column, ...] = (("", "row"), (f"{search.label}, %", "number"), (label, "number"))
    lines = [(who, result.get(who) or {}, "") for who in ("best", "default")]
    lines.append(("best − default", {"selection": result.get("delta_selection"), "test": result.get("delta_test")}, "+"))
    lines += [(who, {"test": test}, "") for who, test in result.get("anchors", {}).items()]
    cells = tuple(
        (who, _percent(scores.get("selection"), sign), _spread(scores.get("test") or {}, sign)) for who, scores, sign in lines
    )
    states = Counter(ENDINGS[one.state][0] for one in search.trials if one.state in ENDINGS)
    rows = {"trials": ", ".join(f"{count} {name}" for name, count in states.items())}
    seconds = result.get("seconds") or {"spent": search.spent}
    whole = seconds.get("alone")
    shares = {name: f"{value:.0f}" + (f" ({value / whole:.0%})" if whole else "") for name, value in seconds.items()}
    rows |= {f"stage-seconds {name.replace('_', ' ')}": words for name, words in shares.items()}
    note = "'alone': what training every trial in full and without sharing stages would take." if whole else ""
    final = Path("final", "report.html")
    content = render(
        "result",
        HERE,
        table=Markup(grid_table(Grid(columns, cells))) if result else "",
        said=" ".join(result.get("verdict", ())),
        pairs=Markup(pairs_table(rows)),
        note=note,
        final=final.as_posix() if (search.folder / final).is_file() else "",
    )
    return section("result", "Result", content)


def _percent(value: object, sign: str = "") -> str:
    """0.6912 -> "69.12"; "–" for what is no finite number."""
    return f"{100 * value:{sign}.2f}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def _spread(test: Mapping[str, Any], sign: str = "") -> str:
    """ "+1.20 ± 0.40 [+0.30, +2.10] (n = 3)"; parts that are not there are left out."""
    mean, sd, low, high = (_percent(test.get(name), "" if name == "sd" else sign) for name in ("mean", "sd", "low", "high"))
    said = mean + (f" ± {sd}" if sd != "–" else "") + (f" [{low}, {high}]" if low != "–" else "")
    return said + (f" (n = {test['n']})" if "n" in test else "")


def _provenance(about: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in about.items() if name not in ("title", "question", "settings")}
    known = {name.replace("_", " "): value for name, value in dotted(shown).items()}
    return section("provenance", "Provenance", pairs_table(known, dotted(about.get("settings", {}))))
