"""Counts of pixels that evaluation keeps of every scored network (`counts.parquet`): read for confusion matrices and calibration."""

from collections import defaultdict
from collections.abc import Mapping

import pyarrow.compute as pc

from semiseg.report.scores import ScoredTable
from semiseg.results import Results

Counts = dict[tuple[str, str], dict[tuple[str, str], float]]
"""By stage and role, then by the two places of a count."""


def pixel_counts(results: Results, table: str) -> Counts:
    """The counts of a table, "confusion" or "calibration", on the scored split with the scored weights."""
    score = results.study.score
    wanted = (pc.field("table") == table) & (pc.field("split") == score.split) & (pc.field("weights") == score.weights)
    found: Counts = defaultdict(dict)
    for line in results.counts.filter(wanted).to_pylist():
        found[line["key"], line["role"]][line["first"], line["second"]] = line["value"]
    return dict(found)


def of_row(counts: Mapping[tuple[str, str], dict[tuple[str, str], float]], table: ScoredTable, row: str, role: str = "") -> list:
    """The counts of a row's finished final stages, one of each seed, of one role or, without one, of the role that is scored."""
    cells = [cell for cell in table.row(row).cells.values() if cell.state == "done"]
    return [counts[cell.key, role or cell.role] for cell in cells if (cell.key, role or cell.role) in counts]
