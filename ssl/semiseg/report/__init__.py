"""Reports over a results folder: tables, statistics, figures and one self-contained page. Imports neither torch nor ray."""

from pathlib import Path

from semiseg.report import tables
from semiseg.report.metrics import metrics_info, pretty
from semiseg.report.scores import ablation
from semiseg.results import Results, read, write_bytes

__all__ = ["text_table", "write_report"]


def text_table(results: Results, width: int | None = None) -> str:
    """The table as plain aligned text for a terminal `width` characters wide (None: as wide as it gets), then all metrics if asked
    for."""
    table = ablation(results)
    return tables.text(table, metric_label(results), results.study["score"]["rule"], width, metrics_info(results, table))


def metric_label(results: Results) -> str:
    """How the score is called in a column head: "test mIoU"."""
    score = results.study["score"]
    return f"{score['split']} {pretty(score['metric'])}"


def write_report(folder: Path) -> Path:
    """Write `table.md`, `table.tex`, `table.csv` and `report.html` into a results folder; returns the page's path.

    Raises ValueError naming the file when the folder cannot be read.
    """
    from semiseg.report import page  # plotly and pillow: the terminal's table does not wait for them

    results = read(folder)
    table, label, rule = ablation(results), metric_label(results), results.study["score"]["rule"]
    more = metrics_info(results, table)
    write_bytes(results.folder / "table.md", tables.markdown(table, label, rule, more).encode())
    write_bytes(results.folder / "table.tex", tables.latex(table, label, rule, more).encode())
    write_bytes(results.folder / "table.csv", tables.comma_separated(table, more).encode())
    path = results.folder / "report.html"
    write_bytes(path, page.render(results, table, label, more).encode())
    return path
