"""The results folder of a study, gathered from the store: what the report reads."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg import results
from semiseg.stage import Stage, with_teachers
from semiseg.store import Store
from semiseg.sweep.feed import Queue
from semiseg.sweep.plan import Plan

TABLES = ("metrics", "curves", *results.LATER)
"""Tables of a finished stage; some stages have none of `LATER`."""


class States(NamedTuple):
    """How the stages of a plan stand at a moment: keys that are done, and errors by key."""

    done: frozenset[str]
    failed: dict[str, str]
    skipped: dict[str, str]

    @classmethod
    def of(cls, queue: Queue) -> "States":
        """Those of now. Another thread may go on with the queue: copies of sets and dicts of texts are made at one go."""
        return cls(frozenset(queue.done), dict(queue.failed), dict(queue.skipped))


class Collector:
    """Writes the results of a plan as often as asked, and reads what a finished stage left only once.

    Equal states give equal files (but study.json), however often and when they were written.
    """

    def __init__(self, folder: Path, plan: Plan, store: Store) -> None:
        self.folder, self.plan, self.store = folder, plan, store
        self.lines: dict[str, dict[str, Any]] = {}
        """Lines of stages.parquet of finished stages."""
        self.tables: dict[str, list[pa.Table]] = {name: [_coded(results.SCHEMAS[name].empty_table())] for name in TABLES}
        self.pictured: set[str] = set()
        first = next((seed for _, seed in plan.chains), 0)
        self.shown = frozenset(with_teachers(stage for (_, seed), chain in plan.chains.items() if seed == first for stage in chain))
        """Keys of the stages whose sample pictures are kept: those of the first seed."""

    def write(self, states: States, study: results.StudyRecord) -> None:
        """Write study.json, the tables and the sample pictures; stages that are not finished are listed with their state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stages = self.plan.stages.values()
        done = [stage for stage in stages if stage.key in states.done]
        self._read(stage for stage in done if stage.key not in self.lines)
        lines = [self.lines[stage.key] if stage.key in states.done else stage_line(stage, states) for stage in stages]
        results.write_table(self.folder, "stages", lines)
        for name in TABLES:
            self.tables[name] = [pa.concat_tables(self.tables[name]).unify_dictionaries().combine_chunks()]
            results.write_table(self.folder, name, self.tables[name][0].cast(results.SCHEMAS[name]))
        results.write_table(self.folder, "rows", row_lines(self.plan))
        self._copy_samples(stage.key for stage in done if stage.key in self.shown)
        results.write_study(self.folder, study)

    def _read(self, stages: Iterable[Stage]) -> None:
        for stage in stages:
            info, folder = self.store.info(stage.key), self.store.results(stage.key)
            files = {name: folder / f"{name}.parquet" for name in TABLES}
            tables = {name: pq.read_table(file) for name, file in files.items() if name not in results.LATER or file.exists()}
            for name, table in tables.items():
                self.tables[name].append(_coded(table.select(results.SCHEMAS[name].names).cast(results.SCHEMAS[name])))
            figures = {name: info[name] for name in ("seconds", "images_per_second", "chosen_step", "started", "ended")}
            self.lines[stage.key] = blank_line(stage) | {"state": "done", "device": info["provenance"]["device"]} | figures

    def _copy_samples(self, keys: Iterable[str]) -> None:
        """Pictures of the first test images: image and truth once, and every stage's prediction."""
        folder = self.folder / "samples"
        for key in keys:
            target = folder / key
            if key in self.pictured and target.is_dir():
                continue
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted(self.store.results(key).glob("*.png")):
                shutil.copyfile(path, (target if path.name.startswith("prediction") else folder) / path.name)
            self.pictured.add(key)


def blank_line(stage: Stage) -> dict[str, Any]:
    """A line of stages.parquet for a stage that waits."""
    return {
        "key": stage.key,
        "name": stage.name,
        "number": stage.number,
        "seed": stage.seed,
        "state": "waiting",
        "error": "",
        "evaluated": stage.rule.evaluated,
        "teachers": [teacher.key for teacher in stage.teachers],
        "steps": stage.train.steps,
        "precision": stage.train.precision,
    } | dict.fromkeys(("seconds", "images_per_second", "device", "chosen_step", "started", "ended"))


def stage_line(stage: Stage, states: States) -> dict[str, Any]:
    """The line of stages.parquet of a stage that waits, runs, has failed or was skipped."""
    for state, errors in (("failed", states.failed), ("skipped", states.skipped)):
        if stage.key in errors:
            return blank_line(stage) | {"state": state, "error": errors[stage.key]}
    return blank_line(stage)


def row_lines(plan: Plan) -> list[dict[str, Any]]:
    """Lines of rows.parquet: every stage of every chain, in the order of the chain."""
    return [
        {"row": row, "seed": seed, "position": position, "stage": stage.name, "key": stage.key, "final": position == len(chain)}
        for (row, seed), chain in plan.chains.items()
        for position, stage in enumerate(chain, 1)
    ]


def _coded(table: pa.Table) -> pa.Table:
    """The table with every text as a number into a list of distinct ones: a tenth of the memory of ten thousand stages' lines."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(place, field.name, table[field.name].dictionary_encode())
    return table
