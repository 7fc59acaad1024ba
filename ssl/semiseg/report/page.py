"""One self-contained HTML page: style, plotly.js, data and pictures are inside it, and its content policy forbids any request."""

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from semiseg.report import figures, training
from semiseg.report.answer import answer, flat, gaps, sharing
from semiseg.report.samples import Picture, samples_info
from semiseg.report.scores import Ablation, Part
from semiseg.report.tables import header, interval, line, notes, percent
from semiseg.results import Results

HERE = Path(__file__).parent
# Plotly writes style elements and draws through inline scripts; everything else, above all any address, is refused by the browser.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
COLOUR_OF = {"earns its place": "good", "hurts here": "bad"}


class Plot(NamedTuple):
    """A figure of the page with its heading, what to read from it, and the words that stand there when it has no data."""

    anchor: str
    heading: str
    note: str
    empty: str
    figure: go.Figure | None
    wide: bool = False  # scrolls sideways on a phone instead of shrinking


def render(results: Results, table: Ablation, label: str) -> str:
    """The whole page as text. `label` names the score, such as "test mIoU"."""
    study = results.study
    plots = _plots(results, table, label)
    places = [("answer", "Answer"), ("table", "Table"), *((plot.anchor, plot.heading) for plot in plots), ("samples", "Samples")]
    links = "".join(f'<a href="#{anchor}">{_e(name)}</a>' for anchor, name in [*places, ("provenance", "Provenance")])
    drawn = {plot.anchor: _plot(plot) for plot in plots}
    body = [_banner(results, table), _answer(table, label), _table(results, table, label), *drawn.values()]
    body += [_samples(results), _provenance(results)]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{_e(study["title"])}</title><style>{_asset("page.css")}</style></head><body>
<header><h1>{_e(study["title"])}</h1><p class="question">{_e(study["question"])}</p>{_facts(results)}</header>
<nav><div>{links}</div></nav><main>
{"".join(body)}
</main><footer>Written by semiseg from {_e(results.folder.name)}/. Nothing on this page is loaded from anywhere else.</footer>
<script>{get_plotlyjs()}</script><script>{_asset("page.js")}</script></body></html>
"""


def _e(words: object) -> str:
    return html.escape(str(words))


def _n(words: str) -> str:
    """Escaped, with real minus signs before digits."""
    return re.sub(r"-(?=\d)", "−", _e(words))


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _section(anchor: str, heading: str, content: str, kind: str = "") -> str:
    return f'<section id="{anchor}" class="{kind}"><h2>{_e(heading)}</h2>{content}</section>\n'


def _facts(results: Results) -> str:
    study, data = results.study, results.study["data"]
    size = data.get("size")
    facts = {
        "data": data.get("name"),
        "size": " × ".join(map(str, size)) if isinstance(size, list) else size,
        "labelled": data.get("labelled"),
        "train": data.get("train"),
        "selection": data.get("selection"),
        "test": data.get("test"),
        "seeds": ", ".join(map(str, study["seeds"])),
        "device": study["provenance"].get("device"),
    }
    items = "".join(f"<li>{name} <b>{_e(value)}</b></li>" for name, value in facts.items() if value not in (None, ""))
    return f'<ul class="facts">{items}</ul>'


def _banner(results: Results, table: Ablation) -> str:
    lines = gaps(results, table)
    if not lines:
        return ""
    items = "".join(f"<li>{_e(one)}</li>" for one in lines)
    words = "<p>Numbers below come from what has finished; a row's n says how many seeds that is.</p>"
    return _section("partial", "Partial study", f"{words}<ul>{items}</ul>", "banner")


def _answer(table: Ablation, label: str) -> str:
    said = answer(table, label)
    cards = "".join(_card(part, table) for part in said.parts)
    if cards:
        how = f"What each part adds: '{table.reference}' minus the row without it, in points, paired by seed, with a 95 % interval."
        cards = f'<ul class="parts">{cards}</ul><p class="note">{_e(how)} {_e(said.caveat)}</p>'
    return _section("answer", "Which parts earn their place", f'<p class="answer">{_n(" ".join(said.sentences))}</p>{cards}')


def _card(part: Part, table: Ablation) -> str:
    mean, _, span = interval(part.gain).partition(" ")
    if 1 < part.gain.n < len(table.seeds):
        span += f" (n = {part.gain.n} of {len(table.seeds)})"
    stated = [f"{gain:+.2f}" for gain in part.paper_gain if not math.isnan(gain)]
    paper = f"paper: {' / '.join(stated)}" if stated else ""
    small = "".join(f'<div class="small">{_n(words)}</div>' for words in (span, paper, f"row: {part.row}") if words)
    return (
        f'<li class="part {COLOUR_OF.get(part.standing, "")}"><div class="what">{_e(" + ".join(part.removed))}</div>'
        f'<div class="size">{_n(mean)}</div>{small}<div class="say">{_e(part.standing)}</div></li>'
    )


def _table(results: Results, table: Ablation, label: str) -> str:
    first = len(table.switches) + 1
    head = header(table, label)
    kinds = ["", *["tick"] * len(table.switches), "number", "number", "", *["number"] * len(table.paper_columns)]
    seeds = ",&nbsp;".join(map(str, table.seeds))
    heads = [f'<th class="{kind}">{_e(name)}</th>' for name, kind in zip(head, kinds, strict=True)]
    heads.insert(first + 1, f'<th class="number">each seed ({seeds})</th>')
    for words in ("mean ± sd", "[95 % interval]"):  # heads wrap, but not inside these
        heads = [one.replace(words, words.replace(" ", "&nbsp;")) for one in heads]
    body = []
    for row in table.rows:
        one = line(row, table)
        cells = [one.name, *("✓" if on else "" for on in one.ticks), one.score, one.delta, one.role, *one.paper]
        made = [f'<td class="{kind}">{_n(cell) if kind else _e(cell)}</td>' for cell, kind in zip(cells, kinds, strict=True)]
        values = "&ensp;".join(percent(row.cells[seed].value) for seed in table.seeds)
        made.insert(first + 1, f'<td class="number seeds">{values}</td>')
        body.append(f'<tr class="{"reference" if row.delta is None else ""}">{"".join(made)}</tr>')
    below = "".join(f'<p class="note">{_n(note)}</p>' for note in notes(table, results.study["score"]["rule"]))
    below += '<p class="note">All rows of a seed share their stage-1 run (and later stages where the switches allow), so a paired difference '
    below += "is conditional on that run: it does not contain the spread that another stage 1 would add.</p>"
    paper = results.study.get("paper")
    if paper:
        where = f"Paper: {paper['title']}, {paper['table']} ({paper['url']}); other data, network and budget. In brackets its own delta."
        below += f'<p class="note">{_e(where)}</p>'
    content = f'<div class="wide"><table class="results"><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    return _section("table", "Ablation table", content + below)


def _plots(results: Results, table: Ablation, label: str) -> list[Plot]:
    forest, classes = figures.forest_info(table), figures.classes_info(results, table)
    roles, selection = figures.roles_info(results, table), training.selection_info(results)
    losses, timeline = training.losses_info(results), training.timeline_info(results)

    def drawn(data: object, draw: Callable[[], go.Figure]) -> go.Figure | None:
        return draw() if data else None

    earlier = f" {timeline.earlier} stages of earlier runs of the command are not shown." if timeline.earlier else ""
    busy = f"{len(timeline.bars)} stages on {timeline.slots} slots in {timeline.wall:.0f} s; the slots were busy {timeline.busy:.0%} of it.{earlier}"
    compared = f"Squares: mean with its 95 % interval, green where '{table.reference}' is better, red where it is worse, grey where unclear. "
    compared += "Dots: seeds. Hollow: the paper's own differences." if forest.paper_columns else "Dots: seeds."
    return [
        Plot("deltas", "Deltas", compared, f"No row shares a finished seed with '{table.reference}' yet.",
             drawn(forest.deltas, lambda: figures.forest_figure(forest))),
        Plot("classes", "Classes", f"IoU per class on {results.study['score']['split']} images, mean over seeds. Blank: class absent.",
             "No row has a per-class score yet.", drawn(classes.rows, lambda: figures.classes_figure(classes)), True),
        Plot("roles", "Student and teacher", "Both are scored; the table uses the one named in its column 'scored'.",
             "No final stage is finished yet.", drawn(roles.rows, lambda: figures.roles_figure(roles, label))),
        Plot("training", "Training", "Score on the selection images while training. Thick: mean over seeds; thin: each seed.",
             "No selection score has been recorded yet.",
             drawn(selection.seeds, lambda: training.curves_figure(selection, "selection score, %", True)), True),
        Plot("losses", "Loss terms", "Weighted terms as they enter the sum, mean over seeds.", "No loss has been recorded yet.",
             drawn(losses.seeds, lambda: training.curves_figure(losses, "loss", False)), True),
        Plot("timeline", "Timeline", busy, "No stage has run yet.", drawn(timeline.bars, lambda: training.timeline_figure(timeline)), True),
    ]  # fmt: skip


def _plot(plot: Plot) -> str:
    if plot.figure is None:
        return _section(plot.anchor, plot.heading, f'<p class="empty">{_e(plot.empty)}</p>')
    data = (plot.figure.to_json() or "").replace("</", "<\\/")
    wide = "plot-wide" if plot.wide else ""
    holder = f'<div class="wide"><div class="{wide}" data-plot="data-{plot.anchor}"></div></div>'
    script = f'<script type="application/json" id="data-{plot.anchor}">{data}</script>'
    return _section(plot.anchor, plot.heading, f'<p class="note">{_e(plot.note)}</p>{holder}{script}')


def _samples(results: Results) -> str:
    info = samples_info(results)
    if not info.lines:
        return _section("samples", "Samples", '<p class="empty">No sample images have been written yet.</p>')
    heads = "".join(f'<div class="head">{_e(name)}</div>' for name in info.columns)
    cells = "".join(_picture(picture) for pictures in info.lines for picture in pictures)
    grid = f'<div class="wide"><div class="panel" style="grid-template-columns: repeat({len(info.columns)}, 1fr)">{heads}{cells}</div></div>'
    swatches = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in info.classes]
    legend = "".join(f'<li><i style="background:{colour}"></i>{_e(name)}</li>' for name, colour in swatches)
    where = f"Row '{results.study['reference']}', seed {results.study['seeds'][0]}; below each prediction the share of pixels that match."
    return _section("samples", "Samples", f'<p class="note">{_e(where)}</p>{grid}<ul class="legend">{legend}</ul>')


def _picture(picture: Picture) -> str:
    if not picture.source:
        return f'<figure><div class="missing">not there yet</div><figcaption>{_e(picture.caption)}</figcaption></figure>'
    below = "" if picture.agreement is None else f"{picture.agreement:.1%}"
    return f'<figure><img src="{picture.source}" alt="{_e(picture.caption)}"><figcaption>{below}</figcaption></figure>'


def _provenance(results: Results) -> str:
    study, shared = results.study, sharing(results)
    known: dict[str, object] = {
        "data fingerprint": study["data"].get("fingerprint"),
        "labelled ids": study["data"].get("labelled_hash"),
    }
    known |= {name.replace("_", " "): value for name, value in flat(study["provenance"]).items()}
    known |= {f"plan: {name.replace('_', ' ')}": value for name, value in flat(study["plan"]).items()}
    known["stages"] = f"rows ask for {shared.asked}, {shared.distinct} are distinct; {shared.seconds:.0f} stage-seconds spent"
    if shared.asked_seconds > 0:
        share = 1 - shared.seconds / shared.asked_seconds
        known["stages"] = f"{known['stages']} where each row from scratch takes {shared.asked_seconds:.0f} ({share:.0%} saved)"
    known["wall seconds"] = study.get("wall_seconds")
    settings = f"<details><summary>Every setting</summary>{_pairs(flat(study['settings']))}</details>"
    return _section("provenance", "Provenance", _pairs(known) + settings)


def _pairs(pairs: Mapping[str, object]) -> str:
    lines: Iterable[str] = (
        f"<tr><th>{_e(name)}</th><td><code>{_e(value)}</code></td></tr>" for name, value in pairs.items() if value not in (None, "")
    )
    return f'<table class="provenance"><tbody>{"".join(lines)}</tbody></table>'
