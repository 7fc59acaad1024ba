"""One self-contained HTML page: style, plotly.js, data and pictures are inside it, and its content policy forbids any request."""

import math
from collections.abc import Iterable

from semiseg.report.answer import Sharing, answer, gaps, outcome, sharing
from semiseg.report.data import ReportData
from semiseg.report.decisions import Decision
from semiseg.report.effects_page import effects_section
from semiseg.report.effects_table import effects_how
from semiseg.report.figures import FIGURES
from semiseg.report.fixed_page import fixed_section
from semiseg.report.grid import Grid
from semiseg.report.headroom import Headroom
from semiseg.report.markup import (
    Section,
    document,
    dotted,
    escaped,
    facts_list,
    figure_sections,
    numeral,
    pairs_table,
    section,
    wide_table,
)
from semiseg.report.metrics import Metrics, metrics_grid
from semiseg.report.samples import Picture, samples_info
from semiseg.report.scores import Cell, ScoredTable
from semiseg.report.sources import sources_sections
from semiseg.report.statistics import Paired, Standing
from semiseg.report.tables import FAILED, cell_text, interval, notes, table_grid
from semiseg.report.verdicts import after
from semiseg.report.weights import weights_grid, weights_info
from semiseg.results import Results
from semiseg.results.decode import encode

# Plotly writes style elements and draws through inline scripts; everything else, above all any address, is refused by the browser.
COLOUR_OF = {"earns its place": "good", "hurts here": "bad", "better here": "good", "worse here": "bad"}
CELL_CLASSES = {"tick": "tick", "number": "number", "paper": "number"}  # what a column holds -> class of its cells

DEVELOPMENT = (
    "Scores are of selection images, with seeds and labelled subsets that are reserved for choosing settings. No test image was scored: "
    "choose here, then report without --development."
)


def study_page(data: ReportData) -> str:
    """The whole page as text."""
    results, study = data.results, data.study
    made = [("answer", "Answer", _answer(data.table, data.label)), ("table", "Table", _table(data))]
    made += effects_section(data)
    made += figure_sections([one for one in FIGURES if one.first], data)
    made += fixed_section(data.table)
    made += _metrics(data.metrics)
    made += _ends(data)
    made += sources_sections(data)
    made += figure_sections([one for one in FIGURES if not one.first], data)
    made += [("samples", "Samples", _samples(results)), ("provenance", "Provenance", _provenance(results))]
    return document(study.title, study.question, _facts(data), _banner(data), made, results.folder.name)


def _facts(data: ReportData) -> str:
    study, about = data.study, data.study.data
    facts = {"data": about.name, "size": about.size, "labelled": about.labelled, "train": about.train}
    facts |= {"selection": about.selection, "test": about.test, "seeds": ", ".join(map(str, study.seeds))}
    return facts_list(facts | {"device": study.provenance.device})


def _banner(data: ReportData) -> str:
    said = section("development", "Development", f"<p>{DEVELOPMENT}</p>", "banner") if data.study.score.split == "selection" else ""
    lines = gaps(data.results, data.table)
    if not lines:
        return said
    items = "".join(f"<li>{escaped(one)}</li>" for one in lines)
    words = "<p>Numbers below come from what has finished; a row's n says how many seeds that is.</p>"
    return said + section("partial", "Partial study", f"{words}<ul>{items}</ul>", "banner")


def _answer(table: ScoredTable, label: str) -> str:
    said = answer(table, label)
    if said.parts:
        heading = "Which parts earn their place"
        adds = effects_how(table.effects) or f"What each part adds: '{table.reference}' minus the row without it"
        how = f"{adds}, in points, paired by seed, with a 95 % interval."
        cards = [
            _card(
                " + ".join(one.removed),
                one.gain,
                one.standing,
                None,
                one.paper_gain,
                one.where or f"row: {one.row}",
                table,
                table.due(one.row, table.reference),
                table.decision_of(one),
            )
            for one in said.parts
        ]
    else:
        heading = "What helped"
        how = "Each row minus the row it is compared with, in points, paired by seed, with a 95 % interval."
        cards = [
            _card(
                one.row,
                one.delta,
                one.standing,
                table.doubted(one.row),
                one.paper_delta,
                f"against: {one.against}",
                table,
                table.due(one.row, one.against),
                table.decision(one.row, one.against),
            )
            for one in said.compared
        ]
    below = f'<ul class="parts">{"".join(cards)}</ul><p class="note">{escaped(how)} {escaped(said.caveat)}</p>' if cards else ""
    lines = [" ".join(said.first), " ".join(said.sentences[len(said.first) :])]
    return section("answer", heading, "".join(f'<p class="answer">{numeral(one)}</p>' for one in lines if one) + below)


def _card(
    what: str,
    delta: Paired,
    said: Standing,
    room: Headroom | None,
    paper: Iterable[float],
    where: str,
    table: ScoredTable,
    seeds: int,
    decision: Decision | None,
) -> str:
    mean, _, span = interval(delta).partition(" ")
    if 1 < len(delta.deltas) < seeds:
        span += f" (n = {len(delta.deltas)} of {seeds})"
    stated = [f"{one:+.2f}" for one in paper if not math.isnan(one)]
    say = outcome(said, room, table.margin)
    if decision is not None:
        say = after(decision) if said == "undecided" else f"{say}, {after(decision)}"
    lines = (span, f"paper: {' / '.join(stated)}" if stated else "", where)
    small = "".join(f'<div class="small">{numeral(words)}</div>' for words in lines if words)
    return (
        f'<li class="part {COLOUR_OF.get(said, "")}"><div class="what">{numeral(what)}</div>'
        f'<div class="size">{numeral(mean)}</div>{small}<div class="say">{escaped(say)}</div></li>'
    )


def _table(data: ReportData) -> str:
    table, made = data.table, table_grid(data.table, data.label)
    kinds = _classes(made)
    after = kinds.index("number") + 1
    heads = [f'<th class="{kind}">{escaped(name)}</th>' for name, kind in zip(made.head, kinds, strict=True)]
    heads.insert(after, f'<th class="number">each seed ({",&nbsp;".join(map(str, table.seeds))})</th>')
    for words in ("mean ± sd", "[95 % interval]"):  # heads wrap, but not inside these
        heads = [one.replace(words, words.replace(" ", "&nbsp;")) for one in heads]
    body = []
    for row, line in zip(table.rows, made.lines, strict=True):
        cells = [
            f'<td class="{kind}">{numeral(cell) if kind else escaped(cell)}</td>' for cell, kind in zip(line, kinds, strict=True)
        ]
        values = "&ensp;".join(_cell(row.cells[seed]) for seed in table.seeds)
        cells.insert(after, f'<td class="number seeds">{values}</td>')
        kind = "anchor" if row.added else "reference" if row.delta is None else ""
        body.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    said = [*map(numeral, notes(table, data.study.score.rule)), *map(escaped, _shared(sharing(data.results)))]
    below = "".join(f'<p class="note">{note}</p>' for note in said)
    paper = data.study.paper
    if paper is not None:
        url = f" ({paper.url})" if paper.url else ""
        where = f"Paper: {paper.title}, {paper.table}{url}; other data, network and budget. In brackets its own delta"
        where += (
            ", and behind ± its standard deviation (sd) or standard error (se) of n runs." if any(paper.spreads.values()) else "."
        )
        below += f'<p class="note">{escaped(where)}</p>'
    heading = "Ablation table" if table.switches and not table.comparison else "Table"
    return section("table", heading, wide_table(heads, body) + below)


def _cell(cell: Cell) -> str:
    """A seed's score; of what failed the word, with its error when touched."""
    words = cell_text(cell)
    return f'<span class="failed" title="{escaped(cell.error or "no message")}">{words}</span>' if words == FAILED else words


def _classes(made: Grid) -> list[str]:
    """The class of each column's cells."""
    return [CELL_CLASSES.get(kind, "") for kind in made.kinds]


def _shared(shared: Sharing) -> list[str]:
    """What a paired difference does not contain, because rows share stages."""
    if shared.first:
        what = "All rows of a seed share their stage-1 run (and later stages where they agree), so a paired difference is conditional on "
        return [what + "that run: it does not contain the spread that another stage 1 would add."]
    if shared.some:
        what = "Some rows of a seed share stages, so a paired difference between those is conditional on the shared runs: "
        return [what + "it does not contain the spread that other runs of them would add."]
    return []


def _metrics(more: Metrics) -> list[Section]:
    """The section of all metrics, if there is one."""
    made = metrics_grid(more)
    if made is None:
        return []
    kinds = _classes(made)
    heads = [f'<th class="{kind}">{escaped(name)}</th>' for name, kind in zip(made.head, kinds, strict=True)]
    body, rows = [], iter(more.lines)
    stated = [of_paper for one in more.lines for of_paper in (False, *[True] * any(one.paper))]
    for line, printed in zip(made.lines, stated, strict=True):
        said = () if printed else next(rows).standings
        marks = ["", *(COLOUR_OF.get(one, "") for one in said)] if said else [""] * len(line)
        cells = [
            f'<td class="{f"{kind} {mark}".strip()}">{numeral(cell) if kind else escaped(cell)}</td>'
            for cell, kind, mark in zip(line, kinds, marks, strict=True)
        ]
        body.append(f'<tr class="{"paper" if printed else ""}">{"".join(cells)}</tr>')
    how = "Green: better than the row it is compared with, red: worse, where the 95 % interval of the paired difference excludes 0."
    content = f'<p class="note">{escaped(made.title)}. {how}</p>{wide_table(heads, body)}'
    return [("metrics", "All metrics", section("metrics", "All metrics", content))]


def _ends(data: ReportData) -> list[Section]:
    """The section of best and last weights, if any row has both."""
    made = weights_grid(weights_info(data.results, data.table), data.label)
    if made is None:
        return []
    kinds = _classes(made)
    heads = [f'<th class="{kind}">{escaped(name)}</th>' for name, kind in zip(made.head, kinds, strict=True)]
    body = []
    for line in made.lines:
        cells = [f'<td class="{kind}">{numeral(cell)}</td>' for cell, kind in zip(line, kinds, strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    heading, what = (
        "Best and last weights",
        f"The table reports the {data.study.score.weights} weights; selection images chose the best.",
    )
    content = f'<p class="note">{escaped(made.title)}. {escaped(what)}</p>{wide_table(heads, body)}'
    return [("weights", "Weights", section("weights", heading, content))]


def _samples(results: Results) -> str:
    info = samples_info(results)
    if not info.lines:
        return section("samples", "Samples", '<p class="empty">No sample images have been written yet.</p>')
    heads = "".join(f'<div class="head">{escaped(name)}</div>' for name in info.columns)
    cells = "".join(_picture(picture) for pictures in info.lines for picture in pictures)
    count = len(info.columns)
    style = f"grid-template-columns: repeat({count}, minmax(0, 1fr)); min-width: {max(620, 90 * count)}px"
    grid = f'<div class="wide"><div class="panel" style="{style}">{heads}{cells}</div></div>'
    swatches = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in info.classes]
    legend = "".join(f'<li><i style="background:{colour}"></i>{escaped(name)}</li>' for name, colour in swatches)
    rows = ", ".join(f"'{row}'" for row in info.rows)
    where = f"Row{'s' * (len(info.rows) > 1)} {rows}, seed {results.study.seeds[0]}; below each prediction the share of pixels that match."
    if info.seen:
        where += " Student's view: the image as training shows it, weakly augmented and perturbed, one draw."
    return section("samples", "Samples", f'<p class="note">{escaped(where)}</p>{grid}<ul class="legend">{legend}</ul>')


def _picture(picture: Picture) -> str:
    if not picture.source:
        return f'<figure><div class="missing">not there yet</div><figcaption>{escaped(picture.caption)}</figcaption></figure>'
    below = "" if picture.agreement is None else f"{picture.agreement:.1%}"
    return f'<figure><img src="{picture.source}" alt="{escaped(picture.caption)}"><figcaption>{below}</figcaption></figure>'


def _provenance(results: Results) -> str:
    study, shared = results.study, sharing(results)
    ids = ", ".join(draw.labelled_hash for draw in study.draws) or study.data.labelled_hash
    known: dict[str, object] = {"data fingerprint": study.data.fingerprint, "labelled ids": ids}
    known |= {name.replace("_", " "): value for name, value in dotted(encode(study.provenance)).items()}
    known |= {f"plan: {name.replace('_', ' ')}": value for name, value in study.plan.items()}
    known["stages"] = f"rows ask for {shared.asked}, {shared.distinct} are distinct; {shared.seconds:.0f} stage-seconds spent"
    if shared.asked_seconds > 0:
        share = 1 - shared.seconds / shared.asked_seconds
        known["stages"] = f"{known['stages']} where each row from scratch takes {shared.asked_seconds:.0f} ({share:.0%} saved)"
    known["wall seconds"] = study.wall_seconds
    settings = f"<details><summary>Every setting</summary>{pairs_table(dotted(study.settings))}</details>"
    return section("provenance", "Provenance", pairs_table(known) + settings)
