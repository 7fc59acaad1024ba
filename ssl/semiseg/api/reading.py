"""The results of a study as Arrow tables for a notebook: `.to_pandas()` makes a frame of each."""

import math

import pyarrow as pa

from semiseg.report.cells import score_cells
from semiseg.report.data import report_data
from semiseg.results import Results

SCORES_SCHEMA = pa.schema(
    [
        ("row", pa.string()),
        ("seed", pa.int64()),
        ("training", pa.int64()),
        ("subset", pa.int64()),
        ("score", pa.float64()),
        ("state", pa.string()),
        ("error", pa.string()),
        ("role", pa.string()),
        ("key", pa.string()),
        ("added", pa.bool_()),
    ]
)


def study_scores(results: Results) -> pa.Table:
    """The score of every row at every seed, a line each, in the table's order.

    `score` is a fraction, or a distance, of `results.study.score` (metric, split, weights), null where there is none. `state` is
    that of the row's final stage: done, failed, skipped, waiting, or not needed where seeds are added until all is decided.
    `training` and `subset` are the seeds of weights and order, and of the labelled subset (null where it does not vary). `role` is
    the network that is scored, `key` its stage, `added` true of anchors that the table does not declare.
    """
    study, draws = results.study, {draw.seed: draw for draw in results.study.draws}
    lines = [
        {
            "row": row,
            "seed": seed,
            "training": draws[seed].training if seed in draws else seed,
            "subset": draws[seed].subset if seed in draws else None,
            "score": cell.value if math.isfinite(cell.value) else None,
            "state": cell.state,
            "error": cell.error,
            "role": cell.role,
            "key": cell.key,
            "added": row in study.added,
        }
        for (row, seed), cell in score_cells(results).items()
    ]
    return pa.Table.from_pylist(lines, schema=SCORES_SCHEMA)


def study_numbers(results: Results) -> pa.Table:
    """Every number of the study's page, a line each, as `numbers.parquet` has them (docs/results.md): means with sd, n and
    interval, differences, statistics, effects, classes."""
    from semiseg.report.numbers import numbers_table  # and with it plotly

    return numbers_table(report_data(results))
