"""The page of a search: the best configuration, what each parameter does, and the course of every trial, finished or not.

Reads a search's results folder: the journal, and what a finished search leaves beside it (best.json, search.json, final/).
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from semiseg.report.answer import flat
from semiseg.report.markup import Plot, document, escaped, facts_list, numeral, pairs_table, plot_section, section, wide_table
from semiseg.report.metrics import pretty
from semiseg.results import write_bytes
from semiseg.search import curves, figures
from semiseg.search.figures import best_of, default_of, full
from semiseg.search.ledger import ENDED, JOURNAL, PAID, STUDY

NONE = "No trial has been trained with the full budget yet."


class Search(NamedTuple):
    """What a search's results folder holds; `best` and `result` are empty until it has finished."""

    folder: Path
    about: dict[str, Any]
    objectives: int
    trials: list[FrozenTrial]
    best: dict[str, Any]
    result: dict[str, Any]
    spent: float
    """Stage-seconds so far."""

    @property
    def label(self) -> str:
        """How the score is called, such as "selection mIoU"."""
        return f"selection {pretty(self.about.get('metric', 'score'))}"


def read(folder: Path) -> Search:
    """Read a search's results folder. Raises ValueError naming the file that is missing or unreadable."""
    path = folder / JOURNAL
    if not path.is_file():  # Optuna would make one
        raise ValueError(f"{path}: cannot be read: no such file; expected the results folder of a search")
    try:
        study = optuna.load_study(study_name=STUDY, storage=JournalStorage(JournalFileBackend(str(path))))
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}; expected the journal of a search") from error
    about, trials = study.user_attrs.get("about", {}), study.get_trials()
    spent = sum(value for name, value in study.user_attrs.items() if name.startswith(PAID))
    return Search(folder, about, len(study.directions), trials, _read(folder / "best.json"), _read(folder / "search.json"), spent)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def write_report(folder: Path) -> Path:
    """Write `report.html` into the results folder of a search, at any time of it; returns the page's path.

    Raises ValueError naming the file when the folder cannot be read.
    """
    search = read(folder)
    path = search.folder / "report.html"
    write_bytes(path, render(search).encode())
    return path


def render(search: Search) -> str:
    """The whole page as text."""
    about = search.about
    made = [("best", "Best", _best(search)), ("result", "Result", _result(search)), *_plots(search)]
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


def _banner(search: Search) -> str:
    """What is missing, if anything."""
    asked = search.about.get("trials", len(search.trials))  # points beyond wait for a larger number of trials
    open_ = [one for one in search.trials[:asked] if one.state not in ENDED]
    lines = []
    if open_ or not search.best:
        lines.append(f"{sum(one.state in ENDED for one in search.trials)} of {search.about.get('trials', '?')} trials have ended.")
    for state, word in ((TrialState.RUNNING, "Running"), (TrialState.FAIL, "Failed")):
        numbers = [str(one.number) for one in search.trials if one.state == state]
        lines += [f"{word}: trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}."] if numbers else []
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    heading = "Search not finished" if open_ or not search.best else "Failed trials"
    return section("partial", heading, f"<ul>{items}</ul>", "banner") if lines else ""


def _best(search: Search) -> str:
    best, default, count = best_of(search.trials), default_of(search.trials), len(full(search.trials))
    if best is None:
        return section("best", "Best configuration", f'<p class="empty">{NONE}</p>')
    score = 100 * best.values[0]
    said = f"Trial {best.number} is the best of {count} trained with the full budget: {search.label} {score:.2f} %"
    if default is None:
        said += "; the default configuration has no score yet."
    elif default.number == best.number:
        said += "; it is the default configuration."
    else:
        said += f", {score - 100 * default.values[0]:+.2f} points against the default (trial {default.number})."
    caveat = "The highest of several scores is too high on average on the images that chose it; what counts is the test score."
    body = []
    for name, space in _spaces(search.trials).items():
        values = (one.params.get(name, "–") if one else "–" for one in (best, default))
        cells = "".join(f'<td class="number">{numeral(_value(value))}</td>' for value in values)
        body.append(f"<tr><td>{escaped(name)}</td>{cells}<td>{numeral(_range(space))}</td></tr>")
    heads = ["<th>parameter</th>", '<th class="number">best</th>', '<th class="number">default</th>', "<th>searched</th>"]
    content = f'<p class="answer">{numeral(said)}</p><p class="note">{escaped(caveat)}</p>{wide_table(heads, body)}'
    if search.best:
        text = escaped(json.dumps(search.best, indent=1, ensure_ascii=False))
        content += "<p>Use it with <code>--config best.json</code>; the file lies beside this page.</p>"
        content += f'<details><summary>best.json</summary><div class="wide"><pre><code>{text}</code></pre></div></details>'
    return section("best", "Best configuration", content)


def _spaces(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter and where it is searched, by name."""
    return dict(sorted({name: space for one in trials for name, space in one.distributions.items()}.items()))


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _range(space: Any) -> str:
    """ "0.1 to 2, log", or the choices."""
    if isinstance(space, CategoricalDistribution):
        return ", ".join(_value(choice) for choice in space.choices)
    return f"{_value(space.low)} to {_value(space.high)}" + (", log" if space.log else "")


def _result(search: Search) -> str:
    """Best against default on test images and what the search cost, from search.json; of an unfinished search the cost so far."""
    result = search.result
    metric = pretty(search.about.get("metric", "score"))
    heads = [
        "<th></th>",
        *(f'<th class="number">{escaped(words)}</th>' for words in (f"{search.label}, %", f"test {metric}, %: mean ± sd")),
    ]
    lines = [(who, result.get(who) or {}, "") for who in ("best", "default")]
    lines.append(("best − default", {"selection": result.get("delta_selection"), "test": result.get("delta_test")}, "+"))
    cells = [(who, _percent(scores.get("selection"), sign), _spread(scores.get("test") or {}, sign)) for who, scores, sign in lines]
    body = [
        f'<tr><td>{who}</td><td class="number">{numeral(one)}</td><td class="number">{numeral(two)}</td></tr>'
        for who, one, two in cells
    ]
    states = Counter(curves.KINDS[one.state][0] for one in search.trials if one.state in curves.KINDS)
    rows = {"trials": ", ".join(f"{count} {name}" for name, count in states.items())}
    seconds = result.get("seconds") or {"spent": search.spent}
    whole = seconds.get("alone")
    shares = {name: f"{value:.0f}" + (f" ({value / whole:.0%})" if whole else "") for name, value in seconds.items()}
    rows |= {f"stage-seconds {name.replace('_', ' ')}": words for name, words in shares.items()}
    note = "'alone': what training every trial in full and without sharing stages would take."
    below = f'{pairs_table(rows)}<p class="note">{escaped(note)}</p>' if whole else pairs_table(rows)
    final = Path("final", "report.html")
    if (search.folder / final).is_file():
        below += f'<p><a href="{final.as_posix()}">Best against default: table, intervals and curves of every seed</a></p>'
    table = wide_table(heads, body) if result else '<p class="empty">Test images are scored when the search has finished.</p>'
    return section("result", "Result", table + below)


def _percent(value: object, sign: str = "") -> str:
    """0.6912 -> "69.12"; "–" for what is no finite number."""
    return f"{100 * value:{sign}.2f}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def _spread(test: Mapping[str, Any], sign: str = "") -> str:
    """ "+1.20 ± 0.40 [+0.30, +2.10] (n = 3)"; parts that are not there are left out."""
    mean, sd, low, high = (_percent(test.get(name), "" if name == "sd" else sign) for name in ("mean", "sd", "low", "high"))
    said = mean + (f" ± {sd}" if sd != "–" else "") + (f" [{low}, {high}]" if low != "–" else "")
    return said + (f" (n = {test['n']})" if "n" in test else "")


def _plots(search: Search) -> list[tuple[str, str, str]]:
    """The sections of all figures: anchor, heading, content."""
    trials, label, count = search.trials, search.label, len(full(search.trials))
    resource, shares, pair = search.about.get("resource", {}), figures.importances(trials), figures.pair(trials)
    few = f"Needs at least {figures.FEWEST} trials of the full budget whose scores and parameters differ; there are {count}."
    unscored = "No selection score has been recorded yet."
    if search.objectives > 1:
        unscored = "With two objectives no trial is pruned, and selection scores are not recorded."
    stages, seed = ", ".join(resource.get("stages", [])), next(iter(search.about.get("seeds", [])), 0)
    made = [
        Plot("history", "History", "Score of each trial trained with the full budget (mean over its seeds), and the best so far.", NONE,
             figures.history(trials, label) if count else None),
        Plot("courses", "Intermediate values",
             f"Selection scores of seed {seed} in the stages that differ between trials ({stages}). Crosses: pruned.", unscored,
             curves.courses_figure(trials, resource, label) if curves.courses(trials) else None, True),
        Plot("importance", "Importance", f"PED-ANOVA: how the best {figures.top(count)} of the {count} trials of the full budget differ "
             "from all of them. Pruned trials do not count. It says which parameters matter within the ranges searched.", few,
             figures.importance(trials, label) if shares else None),
        Plot("parallel", "Parallel coordinates", "A line per trial of the full budget. None: the trial does not have the parameter.",
             NONE, figures.parallel(trials, label) if count else None, True),
        Plot("contour", "Contour", f"The two most important parameters that occur together{f': {pair[0]} and {pair[1]}' if pair else ''}. "
             "Between the trials (dots) it is interpolated.", few, figures.contour(trials, pair, label) if pair else None),
    ]  # fmt: skip
    if search.objectives > 1:
        made.append(Plot("pareto", "Pareto front", "Higher scores are further right, cheaper trials further down.", NONE,
                         figures.pareto(trials, label) if count else None))  # fmt: skip
    sections = [(plot.anchor, plot.heading, plot_section(plot)) for plot in made]
    note = "Trials of the full budget over each parameter; the fuller the colour, the later the trial."
    panels = [_panels("slices", "Slices", note, NONE, figures.slices(trials, label), 260)]
    for anchor, heading, found, what in (
        ("lambda", "Lambda curve", curves.lambda_curves(trials), "weight of a loss term"),
        ("ema", "EMA curve", curves.ema_curves(trials), "decay of the teacher's average"),
    ):
        note = f"Score over each {what}. Other parameters differ between the trials too, so this is no controlled comparison."
        empty = f"The trials of the full budget have no numeric {what}." if count else NONE
        panels.append(_panels(anchor, heading, note, empty, [curves.curve_figure(one, label) for one in found], 420))
    return [*sections[:4], panels[0], sections[4], *panels[1:], *sections[5:]]


def _panels(anchor: str, heading: str, note: str, empty: str, made: Sequence[go.Figure], width: int) -> tuple[str, str, str]:
    """A section of figures side by side, each at least `width` pixels wide where the screen is."""
    content = f'<p class="empty">{escaped(empty)}</p>'
    if made:
        holders = "".join(f'<div data-plot="data-{anchor}-{i}" style="min-width: 0"></div>' for i in range(len(made)))
        texts = [(one.to_json() or "").replace("</", "<\\/") for one in made]
        scripts = "".join(f'<script type="application/json" id="data-{anchor}-{i}">{text}</script>' for i, text in enumerate(texts))
        columns = f"display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, {width}px), 1fr)); gap: 12px"
        content = f'<p class="note">{escaped(note)}</p><div style="{columns}">{holders}</div>{scripts}'
    return anchor, heading, section(anchor, heading, content)


def _provenance(about: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in about.items() if name not in ("title", "question", "settings")}
    known = {name.replace("_", " "): value for name, value in flat(shown).items()}
    settings = f"<details><summary>Every setting</summary>{pairs_table(flat(about.get('settings', {})))}</details>"
    return section("provenance", "Provenance", pairs_table(known) + settings)
