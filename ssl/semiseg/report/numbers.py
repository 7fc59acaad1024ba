"""Every number of a study's page as one tidy table, a line each: `numbers.parquet` and `numbers.json`.

Curves are not repeated here: their points stand in curves.parquet, times of stages in stages.parquet. Numbers are as the results hold them:
shares are fractions in [0, 1] and differences of them fractions, distances are in the data's unit; only what a paper states is as printed.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg.measures import described
from semiseg.report.answer import sharing
from semiseg.report.calibration import calibration_info
from semiseg.report.classes import classes_info
from semiseg.report.confusion import confusion_info
from semiseg.report.data import ReportData
from semiseg.report.effects import where_words
from semiseg.report.fixed import probability_better
from semiseg.report.pseudo import pseudo_info
from semiseg.report.roles import roles_info
from semiseg.report.scores import part_deltas
from semiseg.report.statistics import Paired, Ratio, Spread, half_interval
from semiseg.report.variances import variance_lines
from semiseg.report.weights import weights_info
from semiseg.results import write_bytes

NUMBERS_FORMAT = 1
"""Version of the two files."""


class Number(NamedTuple):
    """One number. Fields that do not apply are "" or None; numbers that are not known are NaN, in the files null."""

    where: str
    """Part of the page, such as "table" or "roles"."""
    row: str
    metric: str
    value: float
    against: str = ""
    """Row or anchor that it is a difference to, or a ratio of."""
    of: str = ""
    """What else it is of: a class, role, part or column of the paper."""
    seed: int | None = None
    """None: the mean over seeds."""
    low: float = math.nan
    """With `high` the 95 % interval."""
    high: float = math.nan
    sd: float = math.nan
    n: int | None = None
    """Seeds."""
    p: float = math.nan
    """Exact sign flip, two-sided."""
    unit: str = "fraction"


Source = Callable[[ReportData], Iterator[Number]]


def page_numbers(data: ReportData) -> list[Number]:
    """All of them, in the order of SOURCES."""
    return [one for source in SOURCES for one in source(data)]


def _mean(where: str, row: str, metric: str, value: Spread, **more) -> Number:
    half = half_interval(value)
    return Number(where, row, metric, value.mean, low=value.mean - half, high=value.mean + half, sd=value.sd, n=value.n, **more)


def delta_numbers(where: str, row: str, metric: str, delta: Paired, against: str, of: str = "", **more) -> Iterator[Number]:
    """The mean of a paired difference, then that of each seed."""
    yield Number(where, row, metric, delta.mean, against, of, None, delta.low, delta.high, delta.sd, delta.n, delta.p, **more)
    for seed, value in delta.deltas.items():
        yield Number(where, row, metric, value, against, of, seed, **more)


def ratio_number(where: str, row: str, metric: str, ratio: Ratio, against: str) -> Number:
    """A ratio with its interval."""
    return Number(where, row, metric, ratio.value, against, low=ratio.low, high=ratio.high, n=ratio.n, unit="ratio")


def _table(data: ReportData) -> Iterator[Number]:
    metric = data.study.score.metric
    for row in data.table.rows:
        yield _mean("table", row.name, metric, row.score)
        for seed, cell in row.cells.items():
            yield Number("table", row.name, metric, cell.value, seed=seed)
        if row.delta is not None and row.against is not None:
            yield from delta_numbers("deltas", row.name, metric, row.delta, row.against)


def _parts(data: ReportData) -> Iterator[Number]:
    """What each part adds: the reference minus the row without it."""
    for part in part_deltas(data.table):
        yield from delta_numbers(
            "parts", data.table.reference, data.study.score.metric, part.gain, part.row, "+".join(part.removed)
        )


def _statistics(data: ReportData) -> Iterator[Number]:
    """Tests at a fixed number of seeds."""
    for (row, against), one in data.table.fixed.items():
        n = one.delta.n
        ps = {"p t": one.p, "p t, Holm": one.holm, "p equivalent": one.equate_p, "p equivalent, Holm": one.equate_holm}
        better = {
            "better on average": probability_better(one.delta),
            "better at a new seed": probability_better(one.delta, next_seed=True),
        }
        for name, value in (ps | better).items():
            yield Number("statistics", row, name, value, against, n=n, unit="probability")
        yield Number("statistics", row, "smallest detectable", one.detectable, against, n=n)
        for name, value in (("seeds to detect", one.to_detect), ("seeds to equate", one.to_equate)):
            yield Number("statistics", row, name, value, against, n=n, unit="seeds")
        ahead = one.ahead
        share = ahead.k / ahead.n if ahead.n else math.nan
        yield Number(
            "statistics", row, "seeds better", share, against, low=ahead.low, high=ahead.high, n=ahead.n, unit="fraction of seeds"
        )


def _effects(data: ReportData) -> Iterator[Number]:
    for one in data.table.effects:
        yield from delta_numbers("effects", " x ".join(one.parts), data.study.score.metric, one.values, where_words(one), one.kind)


def _decisions(data: ReportData) -> Iterator[Number]:
    """What was decided while seeds were added, with anytime-valid intervals."""
    for name, one in data.table.decisions.items():
        yield from delta_numbers("decisions", name, data.study.score.metric, one.paired, "", one.verdict)
        yield Number("decisions", name, "decided after", math.nan if one.after is None else one.after, of=one.verdict, unit="seeds")


def _headroom(data: ReportData) -> Iterator[Number]:
    metric = data.study.score.metric
    for room in data.table.headrooms.values():
        yield from delta_numbers("headroom", room.row, metric, room.gain, room.anchor)
        if room.all_labels:
            yield from delta_numbers("headroom", room.all_labels, metric, room.gap, room.anchor)
            yield ratio_number("headroom", room.row, "share of the gap", room.share, room.all_labels)
    for row, value in data.table.zeros.scores.items():
        yield _mean("headroom", row, metric, value, of=f"without {', '.join(data.table.zeros.classes)}")


def _paper(data: ReportData) -> Iterator[Number]:
    paper, table = data.study.paper, data.table
    meant = (paper.metrics if paper else None) or (data.study.score.metric,) * len(table.paper_columns)
    for row in table.rows:
        columns = zip(table.paper_columns, meant, row.paper, row.paper_delta, row.paper_spread, strict=True)
        for column, metric, value, delta, behind in columns:
            if not math.isnan(value):
                n = behind.n if behind else None
                spread = behind.value * (math.sqrt(behind.n) if behind.kind == "se" else 1) if behind else math.nan
                yield Number("paper", row.name, metric or "", value, of=column, sd=spread, n=n, unit="as printed")
            if row.against and not math.isnan(delta):
                yield Number("paper", row.name, metric or "", delta, row.against, column, unit="as printed")


def _metrics(data: ReportData) -> Iterator[Number]:
    for line in data.metrics.lines:
        for name, value in zip(data.metrics.names, line.values, strict=True):
            unit = "fraction" if described(name).unit == "share" else data.metrics.length
            yield _mean("metrics", line.row, name, value, unit=unit)


def _weights(data: ReportData) -> Iterator[Number]:
    metric = data.study.score.metric
    for line in weights_info(data.results, data.table):
        yield _mean("weights", line.row, metric, line.best, of="best weights")
        yield _mean("weights", line.row, metric, line.last, of="last weights")
        yield from delta_numbers("weights", line.row, metric, line.delta, line.row, "best minus last weights")
        for name, value, unit in (("best step", line.step, "steps"), ("best epoch", line.epoch, "epochs")):
            yield Number("weights", line.row, name, value, n=line.best.n, unit=unit)
        yield Number("weights", line.row, "best weights at", line.share, n=line.best.n, unit="fraction of the stage")


def _classes(data: ReportData) -> Iterator[Number]:
    info = classes_info(data.results, data.table)
    for row, values, counts in zip(info.rows, info.values, info.counts, strict=True):
        for name, value, n in zip(info.classes, values, counts, strict=True):
            yield Number("classes", row, "iou", value / 100, of=name, n=n)


def _roles(data: ReportData) -> Iterator[Number]:
    for role, rows in roles_info(data.results, data.table).values.items():
        for row, values in rows.items():
            for seed, value in values.items():
                yield Number("roles", row, data.study.score.metric, value / 100, of=role, seed=seed)


def _variances(data: ReportData) -> Iterator[Number]:
    for line in variance_lines(data.results, data.table):
        yield ratio_number("variances", line.row, f"variance of {line.metric}", line.ratio, line.against)


def _pseudo(data: ReportData) -> Iterator[Number]:
    for line in pseudo_info(data.results).lines:
        for (name, metric), value in line.values.items():
            yield Number("pseudo", line.name, metric, value / 100, of=name, n=line.seeds)


def _confusion(data: ReportData) -> Iterator[Number]:
    for matrix in confusion_info(data.results, data.table):
        for truth, shares in zip(matrix.classes, matrix.shares, strict=True):
            for predicted, value in zip(matrix.classes, shares, strict=True):
                yield Number("confusion", matrix.row, "share of true class", value, of=f"{truth} as {predicted}", n=matrix.n)


def _calibration(data: ReportData) -> Iterator[Number]:
    for line in calibration_info(data.results, data.table):
        yield Number("calibration", line.row, "ece", line.error, of=line.role, n=line.n)
        for i, (share, confidence, right) in enumerate(zip(line.shares, line.confidence, line.right, strict=True), 1):
            for metric, value in (("pixels", share), ("confidence", confidence), ("right", right)):
                yield Number("calibration", line.row, metric, value, of=f"{line.role}, bin {i}", n=line.n)


def _work(data: ReportData) -> Iterator[Number]:
    shared = sharing(data.results)
    counts = {"stages asked": shared.asked, "stages distinct": shared.distinct}
    for name, value in counts.items():
        yield Number("provenance", "", name, value, unit="stages")
    for name, value in (("stage seconds", shared.seconds), ("stage seconds without sharing", shared.asked_seconds)):
        yield Number("provenance", "", name, value, unit="seconds")


SOURCES: tuple[Source, ...] = (
    _table,
    _parts,
    _statistics,
    _effects,
    _decisions,
    _headroom,
    _paper,
    _metrics,
    _weights,
    _classes,
    _roles,
    _variances,
    _pseudo,
    _confusion,
    _calibration,
    _work,
)
"""Where numbers come from; a new section of the page is one function and one line here."""

NUMBERS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("where", "row", "against", "of")),
        ("seed", pa.int64()),
        ("metric", pa.string()),
        *((name, pa.float64()) for name in ("value", "low", "high", "sd")),
        ("n", pa.int64()),
        ("p", pa.float64()),
        ("unit", pa.string()),
    ]
)


def numbers_table(data: ReportData) -> pa.Table:
    """All of them as a table of NUMBERS_SCHEMA; what is not known is null."""
    return pa.Table.from_pylist(_lines(data), schema=NUMBERS_SCHEMA)


def _lines(data: ReportData) -> list[dict[str, Any]]:
    lines = []
    for one in page_numbers(data):
        found = one._asdict()
        lines.append({name: None if _unknown(found[name]) else found[name] for name in NUMBERS_SCHEMA.names})
    return lines


def write_numbers(folder: Path, data: ReportData) -> None:
    """Write `numbers.parquet` and `numbers.json`, an object of `format`, `study` and `numbers`, a list of objects with the columns'
    names. Equal results give equal bytes."""
    lines, sink = _lines(data), pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(lines, schema=NUMBERS_SCHEMA), sink, version="2.6", compression="zstd")
    write_bytes(folder / "numbers.parquet", sink.getvalue().to_pybytes())
    head = json.dumps({"format": NUMBERS_FORMAT, "study": data.study.name}, ensure_ascii=False)
    body = ",\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    write_bytes(folder / "numbers.json", f'{head[:-1]}, "numbers": [\n{body}\n]}}\n'.encode())


def _unknown(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
