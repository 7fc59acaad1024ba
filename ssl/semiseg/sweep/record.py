"""What a study writes into study.json: its table, its settings, its data and its plan as one record."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime

from semiseg.config import Net, Train
from semiseg.data import Pack, Splits
from semiseg.development import is_development
from semiseg.inputs import input_record
from semiseg.lazy import torch
from semiseg.methods import METHODS, Method, name_of
from semiseg.provenance import device_name, versions
from semiseg.results.draws import DrawRecord, Vary
from semiseg.results.effects import EffectsRecord
from semiseg.results.records import CurveRecord, DataRecord, PaperRecord, ProvenanceRecord, ReportOptions, ScoreRecord, StudyRecord
from semiseg.runner import Place
from semiseg.stage import by_content, plain
from semiseg.sweep.anchors import Anchored
from semiseg.sweep.declaration import Ablation, Curve, Paper
from semiseg.sweep.plan import Plan

FIRST_ROLE = "student"
"""The network of rows that have one; rows that report another one are told of in the rule."""


def study_record(
    table: Ablation,
    plan: Plan,
    place: Place,
    pack: Pack,
    splits: Splits,
    *,
    name: str,
    rows: Mapping[str, str],
    anchored: Anchored,
    headroom: float,
    margin: float,
    method: Method,
    net: Net,
    train: Train,
    asked: Sequence[str],
    seeds: Sequence[int],
    curve_paper: Mapping[str, Mapping[float, float]] | None,
    command: str,
    device: str = "",
    wall_seconds: float | None,
    slots: int,
    report: ReportOptions,
    effects: EffectsRecord | None = None,
    vary: Vary = "training",
    draws: tuple[DrawRecord, ...] = (),
    drawn: str = "",
) -> StudyRecord:
    """The record of one run of a table.

    Args: rows are the declared ones of this run, as words; method is what rows mean that name none; asked are
    the metrics that the training settings of all rows name; curve_paper is what the paper states for
    this preset's network, in place of the table's own; wall_seconds, slots and device ("": this machine's) are of the last run that
    trained something; drawn is what a seed draws, in words.
    """
    finals = [chain[-1] for (row, _), chain in plan.chains.items() if row in rows]
    development = any(is_development(stage.seed) for stage in finals)
    settings = {"data": replace(place.data, root=None), "net": by_content(net), "train": train, "method": method}
    return StudyRecord(
        name=name,
        title=table.title,
        question=table.question,
        paper=paper_record(table.paper),
        rows={**rows, **anchored.words},
        method=name_of(method),
        methods=tuple(METHODS),
        against=anchored.against,
        anchors=anchored.anchors,
        added=tuple(anchored.words),
        headroom=headroom,
        margin=margin,
        metrics=tuple(dict.fromkeys([*table.metrics, *asked, *(name for stage in finals for name in stage.train.metrics)])),
        curve=curve_record(table.curve, rows, curve_paper),
        reference=table.reference if table.reference in rows else next(iter(rows)),
        baseline=table.baseline if table.baseline in rows else None,
        seeds=tuple(seeds),
        vary=vary,
        draws=draws,
        classes=tuple(pack.classes),
        palette=tuple((red, green, blue) for red, green, blue in pack.palette),
        data=_data(place.data.name, sorted({stage.split.labelled for stage in finals}), pack, splits),
        settings=plain(settings),
        score=ScoreRecord(
            metric=train.score,
            split="selection" if development else "test",
            weights=train.weights,
            rule=_rule(train.weights, {one.rule.evaluated for one in finals}, development, drawn),
        ),
        plan=plan.counts(),
        provenance=_provenance(place, command, device),
        wall_seconds=wall_seconds,
        slots=slots,
        report=report,
        effects=effects,
        inputs=input_record(pack),
    )


def paper_record(paper: Paper | None) -> PaperRecord | None:
    """The declared numbers as a study holds them."""
    if paper is None:
        return None
    return PaperRecord(**{one.name: getattr(paper, one.name) for one in fields(paper)})


def _data(name: str, labelled: Sequence[int], pack: Pack, splits: Splits) -> DataRecord:
    """`labelled` are the numbers of labelled images of the rows, each once."""
    return DataRecord(
        name=name,
        labelled=labelled[0] if len(labelled) == 1 else ", ".join(map(str, labelled)),
        labelled_hash=splits.labelled_hash,
        train=len(splits.training),
        selection=len(splits.selection),
        test=len(splits.test),
        size=f"{pack.heights.max()} x {pack.widths.max()}",
        fingerprint=pack.fingerprint,
        length=pack.unit,
    )


def _rule(weights: str, evaluated: set[str], development: bool, drawn: str) -> str:
    chosen = "best on the selection images" if weights == "best" else "of the last step"
    said = [f"test images are scored once, with the weights {chosen}"]
    if development:
        said = [f"development: scores are of the selection images, with the weights {chosen}; no test image is scored"]
    said += [f"rows with a {role} report the {role}" for role in sorted(evaluated - {FIRST_ROLE})]
    return "; ".join([*said, *([drawn] if drawn else [])])


def _provenance(place: Place, command: str, device: str) -> ProvenanceRecord:
    written = datetime.now(UTC).isoformat(timespec="seconds")
    known = versions() | {"python": ".".join(map(str, sys.version_info[:3]))}
    return ProvenanceRecord(
        command=command, git=place.git, versions=known, device=device or device_name(torch.device(place.device)), written=written
    )


def curve_record(
    curve: Curve | None, rows: Mapping[str, str], own: Mapping[str, Mapping[float, float]] | None
) -> CurveRecord | None:
    """The table's curve with the rows of this run, and the paper's numbers (`own` in place of the curve's) where these have points.

    None when no row of this run is a point of it.
    """
    if curve is None:
        return None
    series = {name: {x: row for x, row in line.items() if row in rows} for name, line in curve.series.items()}
    if not any(series.values()):
        return None
    stated = (curve.paper or {}) if own is None else own
    paper = {name: {x: value for x, value in line.items() if x in series.get(name, {})} for name, line in stated.items()}
    spreads = {
        name: {x: spread for x, spread in line.items() if spread is not None and x in paper.get(name, {})}
        for name, line in curve.spreads.items()
        if own is None
    }
    return CurveRecord(
        x=curve.x,
        log=curve.log,
        series={name: line for name, line in series.items() if line},
        levels=tuple(row for row in curve.levels if row in rows),
        paper={name: line for name, line in paper.items() if line},
        spreads={name: line for name, line in spreads.items() if line},
    )
