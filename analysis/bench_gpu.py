"""What does a training step cost on a GPU, and how many stages share one well?

Steps: the bare loop of bench_steps.py (the same networks, shapes and passes, fused Adam, moving average) is captured whole and replayed,
so that Python is no part of it; beside it the trainer's steps, as they are and with `--ray.cuda-graphs`. All take turns in one process;
milliseconds are wall time between synchronisations of the device, ratios are medians over the blocks. A column counts where a step
waited for the device (torch.cuda.set_sync_debug_mode), places named below the table. Sharing: so many processes train the same stage on
one GPU, and their images a second are added up. Memory is what the device says is taken. Takes about five minutes.

    python analysis/bench_gpu.py
    python analysis/bench_gpu.py --methods mean_teacher --share 1 4 16 --precision bf16
"""

import multiprocessing
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from bench_steps import NETWORKS, WARM_STEPS, Bare, line, of_median, stages_of
from semiseg.config import Data, SettingError, Train
from semiseg.graphs import BACKEND
from semiseg.methods import METHODS
from semiseg.pseudo import blank
from semiseg.runner import Place
from semiseg.stage import Stage
from semiseg.train import Trainer

START_SECONDS = 120
"""Within which processes must have begun; one that failed has none that wait for it."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure, and for how long."""

    networks: tuple[str, ...] = tuple(NETWORKS)
    """Names of NETWORKS in bench_steps.py."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Names of METHODS; measured is the last stage of each."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the networks."""
    blocks: int = 20
    """Blocks of each loop, which take turns."""
    steps: int = 10
    """Steps of a block."""
    size: int | None = None
    """Side of the crops; None: the network's own."""
    images: int = 4
    """Labelled images in a mini-batch, and unlabelled ones."""
    graphs: bool = True
    """Measure the trainer's steps with CUDA graphs too."""
    share: tuple[int, ...] = ()
    """Processes that train at the same time; none: only steps are measured."""
    seconds: float = 8.0
    """For which they train."""
    device: str = "cuda"
    """cpu: without capture and without counting, to try the script."""
    cache: Path = Path("results/cache")
    """Decoded images."""


def trainer(arguments: Arguments, network: str, method: str, graphs: str = "") -> Trainer:
    """The trainer of a method's last stage, in its middle, where every term counts."""
    net, own = NETWORKS[network]
    side = arguments.size or own
    place = Place(data=Data(size=(side, side), labelled=8), cache=arguments.cache.resolve(), store="")
    train = Train(
        steps=1_000_000,
        batch_labelled=arguments.images,
        batch_unlabelled=arguments.images,
        crop=(side, side),
        precision=arguments.precision,
    )
    pack, splits = place.open()
    stage: Stage = stages_of(METHODS[method](), place, net, train)[-1]
    found = Trainer(stage, pack, splits, torch.device(arguments.device), blank(stage.rule, pack, splits.training), graphs)
    for one in found.state.trained.values():
        one.train()
    found.progress.step = found.train.steps // 2
    return found


class Captured(Bare):
    """The bare loop, captured as one CUDA graph; on a CPU it runs as it is."""

    def __init__(self, of: Trainer) -> None:
        super().__init__(of)
        self.device, self.precision = of.device, of.train.precision
        self.masks = [mask.to(of.device) for mask in self.masks]
        graphed = of.device.type == "cuda"
        parameters = [one for net in self.trained.values() for one in net.parameters() if one.requires_grad]
        self.adam = torch.optim.Adam(parameters, lr=1e-3, fused=True, capturable=graphed)
        self.replay: Callable[[], None] = self.step
        if not graphed:
            return
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_STEPS):
                self.step()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        self.adam.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.step()
        self.replay = graph.replay

    def run(self, one: Any) -> Any:
        plain = not hasattr(self, "precision") or self.precision == "fp32"
        context = nullcontext() if plain else torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)
        with context:  # what autocast keeps of a weight would be outside of the graph
            found = super().run(one)
        return tuple(logits.float() for logits in found)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(loop: Callable[[], None], times: int, device: torch.device) -> float:
    """Wall seconds of so many steps, until the device has done them."""
    wait(device)
    started = time.perf_counter()
    for _ in range(times):
        loop()
    wait(device)
    return time.perf_counter() - started


def waits(of: Trainer) -> Counter[str]:
    """Places at which one step waits for the device, with how often; none is known on a CPU."""
    if of.device.type != "cuda":
        return Counter()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            of.train_step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{Path(one.filename).name}:{one.lineno}" for one in found if "called a synchronizing" in str(one.message))


def measure(arguments: Arguments, network: str, method: str) -> tuple[list[str], Counter[str]]:
    """Cells of a line of the table, and where a step waits."""
    plain = trainer(arguments, network, method)
    bare = Captured(plain)
    loops: list[Callable[[], None]] = [bare.replay, plain.train_step]
    if arguments.graphs:
        backend = BACKEND if plain.device.type == "cuda" else "aot_eager"
        loops.append(trainer(arguments, network, method, backend).train_step)
    for loop in loops:
        seconds_of(loop, 2 * WARM_STEPS, plain.device)
    where = waits(plain)
    blocks: list[list[float]] = []
    for block in range(arguments.blocks):
        order = [(block + i) % len(loops) for i in range(len(loops))]
        found = dict(zip(order, (seconds_of(loops[i], arguments.steps, plain.device) for i in order), strict=True))
        blocks.append([1000 * found[i] / arguments.steps for i in range(len(loops))])
    middle = [statistics.median(one) for one in zip(*blocks, strict=True)]
    cells = [f"{middle[0]:.2f}"]
    for i in range(1, len(loops)):
        ratios = [block[i] / block[0] for block in blocks]
        cells += [f"{middle[i]:.2f}", "{:.2f} [{:.2f}, {:.2f}]".format(statistics.median(ratios), *of_median(ratios))]
    rate = plain.images_per_step / min(middle[1:]) * 1000
    return [*cells, f"{rate:.0f}", str(where.total())], where


def shares(arguments: Arguments, network: str, method: str, count: int, graphs: str) -> tuple[float, float]:
    """Images a second of `count` processes together, and GiB that the device has given away meanwhile (0 on a CPU)."""
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(count + 1), context.SimpleQueue()
    ask = (arguments, network, method, graphs, ready, found)
    processes = [context.Process(target=work, args=ask, daemon=True) for _ in range(count)]
    for one in processes:
        one.start()
    ready.wait(START_SECONDS)
    time.sleep(arguments.seconds / 2)
    taken = 0.0
    if arguments.device == "cuda":
        free, all_there = torch.cuda.mem_get_info()
        taken = (all_there - free) / 2**30
    rates = [found.get() for _ in processes]
    for one in processes:
        one.join()
    return sum(rates), taken


def work(arguments: Arguments, network: str, method: str, graphs: str, ready: Any, found: Any) -> None:
    """One process: train until the time is over, and say how many images a second that were."""
    torch.set_num_threads(1)
    of = trainer(arguments, network, method, graphs)
    seconds_of(of.train_step, 2 * WARM_STEPS, of.device)
    ready.wait(START_SECONDS)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < arguments.seconds:
        seconds_of(of.train_step, 5, of.device)
        steps += 5
    found.put(steps * of.images_per_step / (time.perf_counter() - started))


def main(arguments: Arguments) -> int:
    """Print Markdown tables; returns the exit status."""
    torch.set_num_threads(1)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("bench_gpu: this machine has no GPU that torch can use; --device cpu tries the script", file=sys.stderr)
        return 2
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    print(f"{gpu}, torch {torch.__version__}, {arguments.precision}", end="\n\n")
    graphs = [""] + ([BACKEND if arguments.device == "cuda" else "aot_eager"] if arguments.graphs else [])
    ours = [cell for name in ("trainer", "with graphs")[: len(graphs)] for cell in (name, "ratio [95 %]")]
    head = ("network", "method", "ms a step: captured", *ours, "images per s", "waits")
    print(line(head), line(["---"] * len(head)), sep="\n", flush=True)
    places: Counter[str] = Counter()
    for network in arguments.networks:
        for method in arguments.methods:
            try:
                cells, where = measure(arguments, network, method)
            except (RuntimeError, SettingError) as error:
                print(f"{network}, {method}: not measured: {error}", file=sys.stderr)
                continue
            places += where
            print(line((network, method, *cells)), flush=True)
    if places:
        print("\nwaits: " + ", ".join(f"{place} ({count})" for place, count in places.most_common()))
    if arguments.share:
        head = ("network", "method", "processes", "graphs", "images per s", "GiB taken")
        print("", line(head), line(["---"] * len(head)), sep="\n", flush=True)
        for network in arguments.networks:
            for method in arguments.methods:
                for count in arguments.share:
                    for one in graphs:
                        rate, taken = shares(arguments, network, method, count, one)
                        cells = (network, method, str(count), "yes" if one else "no", f"{rate:.0f}", f"{taken:.1f}")
                        print(line(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
