"""Reports over a results folder: tables, statistics, figures and one self-contained page. Imports neither torch nor ray."""

from dataclasses import replace
from pathlib import Path
from textwrap import fill

from semiseg.report import tables
from semiseg.report.answer import answer
from semiseg.report.data import report_data
from semiseg.report.effects_table import effects_csv, effects_grid, effects_markdown
from semiseg.report.grid import as_text
from semiseg.report.weights import weights_cells, weights_grid, weights_info
from semiseg.results import Results, read, write_bytes
from semiseg.results.records import ReportOptions

__all__ = ["text_table", "write_report"]


def text_table(results: Results, width: int | None = None) -> str:
    """The first lines of the answer where there are anchors, the table as plain aligned text for a terminal `width` characters wide
    (None: as wide as it gets), then all metrics and effects if asked for."""
    data = report_data(results)
    first = [fill(sentence, width or 132) for sentence in answer(data.table, data.label).first]
    table = tables.text(data.table, data.label, data.study.score.rule, width, data.metrics)
    effects = effects_grid(data)
    return "\n".join([*first, *([""] if first else []), table, *([as_text(effects, width), ""] if effects else [])])


def write_report(folder: Path, options: ReportOptions | None = None) -> Path:
    """Write `table.md`, `table.tex`, `table.csv`, `report.html` and, of a study of effects, `effects.csv` into a results folder;
    returns the page's path. `options` stand in place of those of study.json.

    Raises ValueError naming the file when the folder cannot be read, and for rows in the options that the study has not.
    """
    from semiseg.report import page  # plotly and pillow: the terminal's table does not wait for them

    results = read(folder)
    if options is not None:
        results = replace(results, study=replace(results.study, report=options))
    data = report_data(results)
    folder, table, label, rule, more = data.results.folder, data.table, data.label, data.study.score.rule, data.metrics
    ends = weights_info(data.results, table)
    drawn = weights_grid(ends, label)
    effects = effects_markdown(data)
    write_bytes(
        folder / "table.md", "\n".join([tables.markdown(table, label, rule, more, drawn), *([effects] * bool(effects))]).encode()
    )
    write_bytes(folder / "table.tex", tables.latex(table, label, rule, more, drawn).encode())
    write_bytes(folder / "table.csv", tables.comma_separated(table, more, weights_cells(ends)).encode())
    if effects:
        write_bytes(folder / "effects.csv", effects_csv(data).encode())
    path = folder / "report.html"
    write_bytes(path, page.study_page(data).encode())
    return path
