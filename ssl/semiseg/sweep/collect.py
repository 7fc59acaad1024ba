"""The results folder of a study, gathered from the store: what the report reads."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semiseg import results
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.feed import Queue
from semiseg.sweep.plan import Plan


def collect(folder: Path, plan: Plan, queue: Queue, store: Store, study: results.StudyRecord) -> None:
    """Write study.json, the tables and the sample pictures; stages that are not finished are listed with their state."""
    folder.mkdir(parents=True, exist_ok=True)
    done = [stage for stage in plan.stages.values() if stage.key in queue.done]
    results.write_table(folder, "stages", [stage_line(stage, queue, store) for stage in plan.stages.values()])
    for name, schema in ((name, results.SCHEMAS[name]) for name in ("metrics", "curves", "pseudo")):
        files = [store.folder(stage.key) / f"{name}.parquet" for stage in done]
        tables = [pq.read_table(file) for file in files if name != "pseudo" or file.exists()]  # some stages have none
        results.write_table(folder, name, pa.concat_tables([schema.empty_table(), *tables]))
    results.write_table(folder, "rows", row_lines(plan))
    first = min(seed for _, seed in plan.chains)
    copy_samples(folder / "samples", [stage for stage in done if stage.seed == first], store)
    results.write_study(folder, study)


def stage_line(stage: Stage, queue: Queue, store: Store) -> dict[str, Any]:
    """One line of stages.parquet."""
    line: dict[str, Any] = {
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
    if stage.key in queue.done:
        info = store.info(stage.key)
        figures = {name: info[name] for name in ("seconds", "images_per_second", "chosen_step", "started", "ended")}
        return line | {"state": "done", "device": info["provenance"]["device"]} | figures
    if stage.key in queue.failed:
        return line | {"state": "failed", "error": queue.failed[stage.key]}
    if stage.key in queue.skipped:
        return line | {"state": "skipped", "error": queue.skipped[stage.key]}
    return line


def row_lines(plan: Plan) -> list[dict[str, Any]]:
    """Lines of rows.parquet: every stage of every chain, in the order of the chain."""
    return [
        {"row": row, "seed": seed, "position": position, "stage": stage.name, "key": stage.key, "final": position == len(chain)}
        for (row, seed), chain in plan.chains.items()
        for position, stage in enumerate(chain, 1)
    ]


def copy_samples(folder: Path, stages: list[Stage], store: Store) -> None:
    """Pictures of the first test images: image and truth once, and every stage's prediction."""
    for stage in stages:
        source = store.folder(stage.key)
        target = folder / stage.key
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.glob("*.png")):
            shutil.copyfile(path, (target if path.name.startswith("prediction") else folder) / path.name)
