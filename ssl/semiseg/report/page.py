"""One self-contained HTML page: style, plotly.js, data and pictures are inside it, and its content policy forbids any request."""

import math
from collections.abc import Callable, Iterable

import plotly.graph_objects as go

from semiseg.report import curve, figures, training
from semiseg.report.answer import Sharing, answer, flat, gaps, sharing
from semiseg.report.grid import percent
from semiseg.report.markup import Plot, document, escaped, facts_list, numeral, pairs_table, plot_section, section, wide_table
from semiseg.report.metrics import PAPER_LINE, Metrics, metrics_grid
from semiseg.report.samples import Picture, samples_info
from semiseg.report.scores import Ablation, parts
from semiseg.report.statistics import Paired, Standing
from semiseg.report.tables import grid, interval, notes
from semiseg.results import Results

# Plotly writes style elements and draws through inline scripts; everything else, above all any address, is refused by the browser.
COLOUR_OF = {"earns its place": "good", "hurts here": "bad", "better here": "good", "worse here": "bad"}
KINDS = {"tick": "tick", "number": "number", "paper": "number"}  # what a column holds -> class of its cells


def render(results: Results, table: Ablation, label: str, more: Metrics) -> str:
    """The whole page as text. `label` names the score, such as "test mIoU"; `more` are all metrics, if asked for."""
    study = results.study
    made = [("answer", "Answer", _answer(table, label)), ("table", "Table", _table(results, table, label))]
    plots = [(plot.anchor, plot.heading, plot_section(plot)) for plot in _plots(results, table, label)]
    after = 1 if study.get("curve") else 0  # the curve comes first
    made += [*plots[:after], *_metrics(more), *plots[after:], ("samples", "Samples", _samples(results))]
    made.append(("provenance", "Provenance", _provenance(results)))
    return document(study["title"], study["question"], _facts(results), _banner(results, table), made, results.folder.name)


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
    return facts_list(facts)


def _banner(results: Results, table: Ablation) -> str:
    lines = gaps(results, table)
    if not lines:
        return ""
    items = "".join(f"<li>{escaped(one)}</li>" for one in lines)
    words = "<p>Numbers below come from what has finished; a row's n says how many seeds that is.</p>"
    return section("partial", "Partial study", f"{words}<ul>{items}</ul>", "banner")


def _answer(table: Ablation, label: str) -> str:
    said = answer(table, label)
    seeds = len(table.seeds)
    if said.parts:
        heading = "Which parts earn their place"
        how = f"What each part adds: '{table.reference}' minus the row without it, in points, paired by seed, with a 95 % interval."
        cards = [
            _card(" + ".join(part.removed), part.gain, part.standing, part.paper_gain, f"row: {part.row}", seeds)
            for part in said.parts
        ]
    else:
        heading = "What helped"
        how = "Each row minus the row it is compared with, in points, paired by seed, with a 95 % interval."
        cards = [
            _card(row.row, row.delta, row.standing, row.paper_delta, f"against: {row.against}", seeds) for row in said.compared
        ]
    below = f'<ul class="parts">{"".join(cards)}</ul><p class="note">{escaped(how)} {escaped(said.caveat)}</p>' if cards else ""
    return section("answer", heading, f'<p class="answer">{numeral(" ".join(said.sentences))}</p>{below}')


def _card(what: str, delta: Paired, said: Standing, paper: Iterable[float], where: str, seeds: int) -> str:
    mean, _, span = interval(delta).partition(" ")
    if 1 < delta.n < seeds:
        span += f" (n = {delta.n} of {seeds})"
    stated = [f"{one:+.2f}" for one in paper if not math.isnan(one)]
    lines = (span, f"paper: {' / '.join(stated)}" if stated else "", where)
    small = "".join(f'<div class="small">{numeral(words)}</div>' for words in lines if words)
    return (
        f'<li class="part {COLOUR_OF.get(said, "")}"><div class="what">{numeral(what)}</div>'
        f'<div class="size">{numeral(mean)}</div>{small}<div class="say">{escaped(said)}</div></li>'
    )


def _table(results: Results, table: Ablation, label: str) -> str:
    made = grid(table, label)
    kinds = [KINDS.get(kind, "") for kind in made.kinds]
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
        values = "&ensp;".join(percent(row.cells[seed].value) for seed in table.seeds)
        cells.insert(after, f'<td class="number seeds">{values}</td>')
        body.append(f'<tr class="{"reference" if row.delta is None else ""}">{"".join(cells)}</tr>')
    said = [*map(numeral, notes(table, results.study["score"]["rule"])), *map(escaped, _shared(sharing(results)))]
    below = "".join(f'<p class="note">{note}</p>' for note in said)
    paper = results.study.get("paper")
    if paper:
        url = f" ({paper['url']})" if paper["url"] else ""
        where = f"Paper: {paper['title']}, {paper['table']}{url}; other data, network and budget. In brackets its own delta."
        below += f'<p class="note">{escaped(where)}</p>'
    heading = "Ablation table" if table.switches and not table.comparison else "Table"
    return section("table", heading, wide_table(heads, body) + below)


def _shared(shared: Sharing) -> list[str]:
    """What a paired difference does not contain, because rows share stages."""
    if shared.first:
        what = "All rows of a seed share their stage-1 run (and later stages where they agree), so a paired difference is conditional on "
        return [what + "that run: it does not contain the spread that another stage 1 would add."]
    if shared.some:
        what = "Some rows of a seed share stages, so a paired difference between those is conditional on the shared runs: "
        return [what + "it does not contain the spread that other runs of them would add."]
    return []


def _metrics(more: Metrics) -> list[tuple[str, str, str]]:
    """The section of all metrics, if there is one."""
    made = metrics_grid(more)
    if made is None:
        return []
    kinds = [KINDS.get(kind, "") for kind in made.kinds]
    heads = [f'<th class="{kind}">{escaped(name)}</th>' for name, kind in zip(made.head, kinds, strict=True)]
    body = []
    for line in made.lines:
        cells = [
            f'<td class="{kind}">{numeral(cell) if kind else escaped(cell)}</td>' for cell, kind in zip(line, kinds, strict=True)
        ]
        body.append(f'<tr class="{"" if line[0] != PAPER_LINE else "paper"}">{"".join(cells)}</tr>')
    return [
        (
            "metrics",
            "All metrics",
            section("metrics", "All metrics", f'<p class="note">{escaped(made.title)}.</p>{wide_table(heads, body)}'),
        )
    ]


def _plots(results: Results, table: Ablation, label: str) -> list[Plot]:
    forest, classes = figures.forest_info(table), figures.classes_info(results, table)
    roles, selection = figures.roles_info(results, table), training.selection_info(results)
    losses, timeline = training.losses_info(results), training.timeline_info(results)

    def drawn(data: object, draw: Callable[[], go.Figure]) -> go.Figure | None:
        return draw() if data else None

    earlier = f" {timeline.earlier} stages of earlier runs of the command are not shown." if timeline.earlier else ""
    busy = f"{len(timeline.bars)} stages on {timeline.slots} slots in {timeline.wall:.0f} s; the slots were busy {timeline.busy:.0%} of it.{earlier}"
    better = f"'{table.reference}'" if parts(table) else "the row"
    compared = f"Squares: mean with its 95 % interval, green where {better} is better, red where it is worse, grey where unclear. "
    other = f"'{table.reference}'" if not table.comparison else "the row it is compared with"
    compared += "Dots: seeds. Hollow: the paper's own differences." if forest.paper_columns else "Dots: seeds."
    return [
        *_curve(results, table, label),
        Plot("deltas", "Deltas", compared, f"No row shares a finished seed with {other} yet.",
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


def _curve(results: Results, table: Ablation, label: str) -> list[Plot]:
    """The figure of the score over a setting, if the study asks for one."""
    if not results.study.get("curve"):
        return []
    info = curve.curve_info(results.study, table)
    note = "Lines: means with ± 1 sd. Dots: seeds." + (" Dashed: rows without a place on the axis." if info.levels else "")
    note += " Hollow: the paper's numbers." if any(one.paper for one in info.series) else ""
    made = curve.curve_figure(info, label) if info.series else None
    return [Plot("curve", "Curve", note, "No row of the curve has a score yet.", made)]


def _samples(results: Results) -> str:
    info = samples_info(results)
    if not info.lines:
        return section("samples", "Samples", '<p class="empty">No sample images have been written yet.</p>')
    heads = "".join(f'<div class="head">{escaped(name)}</div>' for name in info.columns)
    cells = "".join(_picture(picture) for pictures in info.lines for picture in pictures)
    grid = f'<div class="wide"><div class="panel" style="grid-template-columns: repeat({len(info.columns)}, 1fr)">{heads}{cells}</div></div>'
    swatches = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in info.classes]
    legend = "".join(f'<li><i style="background:{colour}"></i>{escaped(name)}</li>' for name, colour in swatches)
    where = f"Row '{results.study['reference']}', seed {results.study['seeds'][0]}; below each prediction the share of pixels that match."
    return section("samples", "Samples", f'<p class="note">{escaped(where)}</p>{grid}<ul class="legend">{legend}</ul>')


def _picture(picture: Picture) -> str:
    if not picture.source:
        return f'<figure><div class="missing">not there yet</div><figcaption>{escaped(picture.caption)}</figcaption></figure>'
    below = "" if picture.agreement is None else f"{picture.agreement:.1%}"
    return f'<figure><img src="{picture.source}" alt="{escaped(picture.caption)}"><figcaption>{below}</figcaption></figure>'


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
    settings = f"<details><summary>Every setting</summary>{pairs_table(flat(study['settings']))}</details>"
    return section("provenance", "Provenance", pairs_table(known) + settings)
