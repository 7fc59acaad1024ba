"""The results folder, written while a study goes on: every stage is read once, and the files are those of one writing at the end."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from rich.console import Console
from test_results_study import RECORD
from test_three_stage import ROWS

from semiseg import results
from semiseg.results import SCHEMAS
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.collect import Collector, States
from semiseg.sweep.feed import PlanFeed, Queue
from semiseg.sweep.plan import Plan, make_plan

TABLES = ("stages.parquet", "metrics.parquet", "curves.parquet", "rows.parquet")


def planned(seeds: int = 2) -> Plan:
    seeds_of_it = tuple(range(seeds))
    return make_plan(
        tiny.resolved(ROWS), seeds_of_it, split=lambda line: tiny.SPLIT, net=tiny.NET, train=tiny.TRAIN, has=lambda key: False
    )


def publish(store: Store, stage: Stage) -> None:
    """What a trained stage would leave, by a formula."""
    number = int(stage.key[:6], 16)

    def write(folder: Path) -> None:
        place = {"key": stage.key, "role": "student", "weights": "best", "split": "test", "step": 8, "metric": "miou"}
        lines = [place | {"class": name, "value": (number + one) % 100 / 100} for one, name in enumerate(("", *tiny.CLASSES))]
        pq.write_table(pa.Table.from_pylist(lines, schema=SCHEMAS["metrics"]), folder / "metrics.parquet")
        points = [{"key": stage.key, "step": step, "name": "loss/total", "value": step / 7} for step in (8, 4)]
        pq.write_table(pa.Table.from_pylist(points, schema=SCHEMAS["curves"]), folder / "curves.parquet")
        for name in ("image_0.png", "truth_0.png", "prediction_0.png"):
            (folder / name).write_text(f"{name} of {stage.seed}")

    figures = {"seconds": 1.5, "images_per_second": 3.0, "chosen_step": 8, "started": 10.0, "ended": 11.5}
    store.publish(stage.key, write, figures | {"provenance": {"device": "a machine"}})


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a results folder but study.json, by name."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "study.json"}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a finished stage's tables were read and its stage.json asked for, by key and name."""
    found: Counter[str] = Counter()
    read, info = pq.read_table, Store.info

    def read_table(path: Any, *args: Any, **options: Any) -> pa.Table:
        if isinstance(path, Path):
            found[f"{path.parent.name}/{path.name}"] += 1
        return read(path, *args, **options)

    def asked(self: Store, key: str) -> dict[str, Any]:
        found[f"{key}/stage.json"] += 1
        return info(self, key)

    monkeypatch.setattr("semiseg.sweep.collect.pq.read_table", read_table)
    monkeypatch.setattr(Store, "info", asked)
    return found


def test_a_stage_is_read_once_however_often_results_are_written(tmp_path: Path, reads: Counter[str]) -> None:
    plan, store = planned(1), Store(str(tmp_path / "store"), tmp_path / "mirror")
    queue = Queue(plan.to_train, plan.done)
    collector = Collector(tmp_path / "out", plan, store)
    rows: list[str] = []

    def row_finished(row: str, seed: int) -> None:
        before = reads.total()
        collector.write(States.of(queue), RECORD)
        rows.append(row)
        assert reads.total() - before <= 3 * (len(queue.done) - len(rows) + 3), "what was read before is read again"

    feed = PlanFeed(plan, queue, row_finished, Console(file=io.StringIO()))
    while (stage := feed.take()) is not None:
        publish(store, stage)
        feed.finish(stage.key)
    assert len(rows) == len(plan.chains)
    assert set(reads.values()) == {1}
    assert reads.total() == 3 * len(plan.stages)


def test_files_are_those_of_one_writing_at_the_end(tmp_path: Path) -> None:
    plan, store = planned(), Store(str(tmp_path / "store"), tmp_path / "mirror")
    queue = Queue(plan.to_train, plan.done)
    often = Collector(tmp_path / "often", plan, store)
    while (stage := queue.take()) is not None:
        publish(store, stage)
        queue.finish(stage.key)
        often.write(States.of(queue), RECORD)
    Collector(tmp_path / "once", plan, store).write(States.of(queue), RECORD)
    assert files(tmp_path / "often") == files(tmp_path / "once")
    assert set(TABLES) <= set(files(tmp_path / "once"))
    assert "samples/image_0.png" in files(tmp_path / "once")


def test_the_tables_hold_what_the_stages_left(tmp_path: Path) -> None:
    """Against a slow loop over the store."""
    plan, store = planned(), Store(str(tmp_path / "store"), tmp_path / "mirror")
    queue = Queue(plan.to_train, plan.done)
    for _ in range(7):
        stage = queue.take()
        assert stage is not None
        publish(store, stage)
        queue.finish(stage.key)
    failed = queue.take()
    assert failed is not None
    queue.fail(failed.key, "boom")
    collector = Collector(tmp_path / "out", plan, store)
    collector.write(States.of(queue), RECORD)
    read = results.read(tmp_path / "out")
    for name in ("metrics", "curves"):
        expected = [line for key in queue.done for line in pq.read_table(store.folder(key) / f"{name}.parquet").to_pylist()]
        found = getattr(read, name).to_pylist()
        assert sorted(map(str, found)) == sorted(map(str, expected))
    states = Counter(read.stages["state"].to_pylist())
    assert states == {"done": 7, "failed": 1, "skipped": len(queue.skipped), "waiting": len(plan.stages) - 8 - len(queue.skipped)}
    line = next(line for line in read.stages.to_pylist() if line["key"] == failed.key)
    assert (line["error"], line["seconds"], line["teachers"]) == ("boom", None, [teacher.key for teacher in failed.teachers])
    pictures = {path.parent.name for path in (tmp_path / "out" / "samples").glob("*/prediction_0.png")}
    assert pictures == {key for key in queue.done if plan.stages[key].seed == 0}


def test_a_samples_folder_that_has_gone_is_made_again(tmp_path: Path) -> None:
    plan, store = planned(1), Store(str(tmp_path / "store"), tmp_path / "mirror")
    queue = Queue(plan.to_train, plan.done)
    stage = queue.take()
    assert stage is not None
    publish(store, stage)
    queue.finish(stage.key)
    collector = Collector(tmp_path / "out", plan, store)
    for _ in range(2):
        collector.write(States.of(queue), RECORD)
        (tmp_path / "out" / "samples" / stage.key / "prediction_0.png").unlink()
        (tmp_path / "out" / "samples" / stage.key).rmdir()
    collector.write(States.of(queue), RECORD)
    assert (tmp_path / "out" / "samples" / stage.key / "prediction_0.png").is_file()
