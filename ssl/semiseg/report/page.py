"""One self-contained HTML page: style, plotly.js, data and pictures are inside it, and its content policy forbids any request."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from semiseg.report.answer import Sharing, answer, gaps, outcome, sharing
from semiseg.report.cells import Cell
from semiseg.report.data import ReportData
from semiseg.report.decisions import Decision
from semiseg.report.differing import differing_section
from semiseg.report.effects_page import effects_section
from semiseg.report.effects_table import effects_how
from semiseg.report.figures import FIGURES
from semiseg.report.fixed_page import fixed_section
from semiseg.report.headroom import Headroom
from semiseg.report.markup import (
    Section,
    cells_table,
    document,
    dotted,
    empty,
    escaped,
    facts_list,
    figure_sections,
    grid_heads,
    grid_line,
    grid_table,
    pairs_table,
    render,
    section,
)
from semiseg.report.metrics import Metrics, metrics_grid
from semiseg.report.samples import panel, samples_info
from semiseg.report.scores import ScoredTable
from semiseg.report.sources import sources_sections
from semiseg.report.statistics import Paired, Standing
from semiseg.report.tables import FAILED, cell_text, interval, notes, table_grid
from semiseg.report.verdicts import after
from semiseg.report.weights import weights_grid, weights_info
from semiseg.results import Results
from semiseg.results.decode import encode

COLOUR_OF = {"earns its place": "good", "hurts here": "bad", "better here": "good", "worse here": "bad"}

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
    made += differing_section(data)
    made += [("samples", "Samples", _samples(results)), ("provenance", "Provenance", _provenance(results))]
    return document(study.title, study.question, _facts(data), _banner(data), made, results.folder.name)


def _facts(data: ReportData) -> str:
    study, about = data.study, data.study.data
    facts = {"data": about.name, "size": about.size, "labelled": about.labelled, "train": about.train}
    facts |= {"selection": about.selection, "test": about.test, "seeds": ", ".join(map(str, study.seeds))}
    return facts_list(facts | {"device": study.provenance.device})


def _banner(data: ReportData) -> str:
    split = data.study.score.split
    said = (
        section("development", "Development", render("banner", words=DEVELOPMENT, lines=()), "banner")
        if split == "selection"
        else ""
    )
    lines = gaps(data.results, data.table)
    if not lines:
        return said
    words = "Numbers below come from what has finished; a row's n says how many seeds that is."
    return said + section("partial", "Partial study", render("banner", words=words, lines=lines), "banner")


class Card(NamedTuple):
    """A difference as the answer shows it; `small` are the lines below the number."""

    what: str
    mean: str
    small: tuple[str, ...]
    said: str
    colour: str


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
    lines = [" ".join(said.first), " ".join(said.sentences[len(said.first) :])]
    content = render("answer", lines=[one for one in lines if one], cards=cards, note=f"{how} {said.caveat}")
    return section("answer", heading, content)


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
) -> Card:
    mean, _, span = interval(delta).partition(" ")
    if 1 < len(delta.deltas) < seeds:
        span += f" (n = {len(delta.deltas)} of {seeds})"
    stated = [f"{one:+.2f}" for one in paper if not math.isnan(one)]
    small = (span, f"paper: {' / '.join(stated)}" if stated else "", where)
    say = outcome(said, room, table.margin)
    if decision is not None and delta.n:
        say = after(decision) if said == "undecided" else f"{say}, {after(decision)}"
    return Card(what, mean, tuple(filter(None, small)), say, COLOUR_OF.get(said, ""))


def _table(data: ReportData) -> str:
    table, made = data.table, table_grid(data.table, data.label)
    heads = grid_heads(made)
    after = made.kinds.index("number") + 1
    heads.insert(after, (f"each seed ({', '.join(map(str, table.seeds))})", "number"))
    heads = [(_unbroken(words), kind) for words, kind in heads]
    body = []
    for row, line in zip(table.rows, made.lines, strict=True):
        cells = grid_line(made, line)
        cells.insert(after, (Markup("\u2002").join(_cell(row.cells[seed]) for seed in table.seeds), "number seeds"))
        body.append(("anchor" if row.added else "reference" if row.delta is None else "", cells))
    said, shared = notes(table, data.study.score.rule), _shared(sharing(data.results))
    paper = data.study.paper
    if paper is not None:
        url = f" ({paper.url})" if paper.url else ""
        where = f"Paper: {paper.title}, {paper.table}{url}; other data, network and budget. In brackets its own delta"
        where += (
            ", and behind ± its standard deviation (sd) or standard error (se) of n runs." if any(paper.spreads.values()) else "."
        )
        shared.append(where)
    heading = "Ablation table" if table.switches and not table.comparison else "Table"
    return section("table", heading, cells_table(heads, body) + render("notes", numerals=said, words=shared))


def _cell(cell: Cell) -> str | Markup:
    """A seed's score; of what failed the word, with its error when touched."""
    words = cell_text(cell)
    why = escaped(cell.error or "no message")
    return Markup(f'<span class="failed" title="{why}">{words}</span>') if words == FAILED else words


def _unbroken(head: str) -> str:
    """A head, which wraps, but not inside these."""
    for words in ("mean ± sd", "[95 % interval]"):
        head = head.replace(words, words.replace(" ", "\u00a0"))
    return head


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
    body, rows = [], iter(more.lines)
    stated = [of_paper for one in more.lines for of_paper in (False, *[True] * any(one.paper))]
    for line, printed in zip(made.lines, stated, strict=True):
        said = () if printed else next(rows).standings
        marks = ["", *(COLOUR_OF.get(one, "") for one in said)] if said else [""] * len(line)
        body.append(("paper" if printed else "", grid_line(made, line, marks)))
    how = "Green: better than the row it is compared with, red: worse, where the 95 % interval of the paired difference excludes 0."
    content = render("notes", numerals=(), words=[f"{made.title}. {how}"]) + cells_table(grid_heads(made), body)
    return [("metrics", "All metrics", section("metrics", "All metrics", content))]


def _ends(data: ReportData) -> list[Section]:
    """The section of best and last weights, if any row has both."""
    made = weights_grid(weights_info(data.results, data.table), data.label)
    if made is None:
        return []
    what = f"{made.title}. The table reports the {data.study.score.weights} weights; selection images chose the best."
    content = render("notes", numerals=(), words=[what]) + grid_table(made)
    return [("weights", "Weights", section("weights", "Best and last weights", content))]


def _samples(results: Results) -> str:
    info = samples_info(results)
    if not info.lines:
        return section("samples", "Samples", empty("No sample images have been written yet."))
    rows = ", ".join(f"'{row}'" for row in info.rows)
    where = f"Row{'s' * (len(info.rows) > 1)} {rows}, seed {results.study.seeds[0]}; below each prediction the share of pixels that match."
    if info.seen:
        where += " Student's view: the image as training shows it, weakly augmented and perturbed, one draw."
    return section("samples", "Samples", panel(where, info))


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
    return section("provenance", "Provenance", pairs_table(known, dotted(study.settings)))
