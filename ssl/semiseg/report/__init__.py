"""Reports over a results folder: tables, statistics, figures and one self-contained page. Imports neither torch nor ray."""

import sys
from dataclasses import replace
from pathlib import Path
from textwrap import fill

from semiseg.report import tables
from semiseg.report.answer import answer
from semiseg.report.data import report_data
from semiseg.report.effects_table import effects_csv, effects_grid, effects_markdown
from semiseg.report.fixed_table import fixed_cells, fixed_grid
from semiseg.report.grid import as_text
from semiseg.report.weights import weights_cells, weights_grid, weights_info
from semiseg.results import Results, read, write_bytes
from semiseg.results.records import ReportOptions

__all__ = ["text_table", "write_report"]


def text_table(results: Results, width: int | None = None) -> str:
    """The first lines of the answer where there are anchors, the table as plain aligned text for a terminal `width` characters wide
    (None: as wide as it gets), then all metrics and effects if asked for."""
    data = report_data(results)
    said = answer(data.table, data.label)
    lines = said.first if data.table.until is None else (*said.sentences, said.caveat)
    first = [fill(sentence, width or 132) for sentence in lines]
    table = tables.text(data.table, data.label, data.study.score.rule, width, data.metrics)
    effects = effects_grid(data)
    return "\n".join([*first, *([""] if first else []), table, *([as_text(effects, width), ""] if effects else [])])


def write_report(folder: Path, options: ReportOptions | None = None, *, figures: bool = True) -> Path:
    """Write `table.md`, `table.tex`, `table.csv`, `numbers.json`, `numbers.parquet`, `report.html`, of a study of effects `effects.csv`
    and, if asked for, the figures into a results folder; returns the page's path. `options` stand in place of those of study.json.

    Without `figures` those are left out, as while a study goes on: each takes a browser about a second.

    Raises ValueError naming the file when the folder cannot be read, and for rows in the options that the study has not.
    """
    # plotly, pillow and pyarrow's files: the terminal's table does not wait for them
    from semiseg.report import files, numbers, page

    results = read(folder)
    if options is not None:
        results = replace(results, study=replace(results.study, report=options))
    data = report_data(results)
    folder, table, label, rule, more = data.results.folder, data.table, data.label, data.study.score.rule, data.metrics
    ends = weights_info(data.results, table)
    drawn = (fixed_grid(table), weights_grid(ends, label))
    cells = (fixed_cells(table), weights_cells(ends))
    effects = effects_markdown(data)
    markdown = [tables.markdown(table, label, rule, more, drawn), *([effects] * bool(effects))]
    write_bytes(folder / "table.md", "\n".join(markdown).encode())
    write_bytes(folder / "table.tex", tables.latex(table, label, rule, more, drawn).encode())
    write_bytes(folder / "table.csv", tables.comma_separated(table, more, cells).encode())
    if effects:
        write_bytes(folder / "effects.csv", effects_csv(data).encode())
    numbers.write_numbers(folder, data)
    path = folder / "report.html"
    write_bytes(path, page.study_page(data).encode())
    kind = data.study.report.figures
    if figures and kind != "none" and (failure := files.write_figures(folder, data, kind)):
        print(failure, file=sys.stderr)
    return path
