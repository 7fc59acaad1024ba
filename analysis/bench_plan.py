"""What does a sweep of thousands of stages cost where nothing is trained? CPU seconds of planning, feed, results and report.

Runs the three-stage table with so many seeds in this process, without Ray. One stage is trained; what it left is published under the
keys of all others. 1,000 stages take an estimated 20 CPU seconds. The numbers of docs/measured.md come from

    python analysis/bench_plan.py 1000 10000
"""

import argparse
import contextlib
import io
import resource
import runpy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from bench_sweep import FRONT_DOOR, command, small_images
from semiseg.results import SCHEMAS
from semiseg.runner import run_stage
from semiseg.stage import Stage
from semiseg.store import Store
from semiseg.sweep.arguments import parse
from semiseg.sweep.bench import Bench
from semiseg.sweep.feed import Feed
from semiseg.sweep.study import Study


class Publisher(Bench):
    """Publishes what the first stage left under the keys of all others; counts the CPU seconds of doing so."""

    publishing = feeding = ended = 0.0

    @contextmanager
    def cluster(self) -> Iterator[int]:
        """None: stages are published one by one."""
        yield 1

    def cost(self, measure: Callable[[int], str]) -> str:
        """Nothing: no step is timed."""
        return "nothing is trained"

    def feed(self, feed: Feed, slots: int) -> int:
        """Publish all stages in the order in which they can start."""
        store, began = self.place.open_store(), time.process_time()
        model: Stage | None = None
        while (stage := feed.take()) is not None:
            before = time.process_time()
            if model is None:
                model = stage
                run_stage(model, self.place)
            else:
                publish_like(store, model, stage)
            self.publishing += time.process_time() - before
            feed.finish(stage.key)
        self.ended = time.process_time()
        self.feeding = self.ended - began - self.publishing
        return 0


def publish_like(store: Store, model: Stage, stage: Stage) -> None:
    """Publish the tables of a finished stage for another one."""
    left, info = store.folder(model.key), store.info(model.key)

    def write(folder: Path) -> None:
        for name, schema in SCHEMAS.items():
            if (left / f"{name}.parquet").is_file():
                table = pq.read_table(left / f"{name}.parquet")
                table = table.set_column(0, schema.field("key"), [[stage.key] * table.num_rows])
                pq.write_table(table, folder / f"{name}.parquet")

    store.publish(stage.key, write, {name: value for name, value in info.items() if name != "files"})


def bench(stages: int) -> dict[str, float]:
    """CPU seconds of everything, twice: a study with nothing in its store, and the same command again."""
    table = runpy.run_path(str(FRONT_DOOR))["TABLE"]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="semiseg-bench-") as folder:
        small_images(Path(folder) / "data")
        words = command(Path(folder), stages)
        for again in (False, True):
            arguments, preset = parse(table, words)
            publisher = Publisher(preset, arguments, table.name)
            study = Study(table, preset, arguments, words, publisher)
            began = time.process_time()
            plan = study.plan(publisher)
            planning = time.process_time() - began
            with contextlib.redirect_stdout(io.StringIO()):
                study.run()
            rest = time.process_time() - (publisher.ended or began)
            if again:
                found |= {"again": rest - planning}
            else:
                found |= {"stages": len(plan.stages), "planning": planning, "feed": publisher.feeding}
                found |= {"publishing": publisher.publishing, "results and report": rest}
    return found | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Print one line a number of stages, CPU seconds in all and a stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("stages", type=int, nargs="*", default=[1000], help="numbers of stages, each a run of its own")
    for stages in parser.parse_args().stages:
        found = bench(stages)
        count, memory = found.pop("stages"), found.pop("MiB")
        said = ", ".join(f"{name} {seconds:.1f} ({1000 * seconds / count:.1f} ms a stage)" for name, seconds in found.items())
        print(f"{count:.0f} stages, CPU seconds: {said}; at most {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
