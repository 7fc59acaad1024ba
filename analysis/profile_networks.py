"""What a training step costs: peak memory and CPU seconds of the papers' networks at the papers' crops, one image, one thread.

    python analysis/profile_networks.py
    python analysis/profile_networks.py --only deeplabv2
    python analysis/profile_networks.py --compare swiftnet deeplabv2 --crop 448 448

Every network runs in a process of its own: forward, cross-entropy, backward and Adam's step on one random image from random
weights, in the arithmetic that training takes on this machine. Memory is the process's peak above that before the network was
built. `--compare` measures networks at one crop, predictions too, in blocks: every block runs each of them once, in turn forwards and
backwards, so that what else the machine does meets all alike; ratios are of the same block. grubisic2021 states that SwiftNet trains
about 5 and predicts about 12 times as fast as DeepLabv2. Without arguments an estimated 3 minutes.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import tyro

from semiseg.config import Net, SettingError, Train, require
from semiseg.device import autocast, resolve
from semiseg.nets import DeepLabV2, MultiTask, SwiftNet, UNet, UNetMRI, WideResNet, build, net_kind
from semiseg.nets.optimiser import optimiser

KE = DeepLabV2(frozen_norm=True, caffe_stride=True, aux_width="half", aux_init="normal", aux_dummy=True)
CASES: dict[str, tuple[Net, int, tuple[int, int], int]] = {  # network, classes, crop, own blocks of the branch
    "unet, 64 x 64 (pets_mean_teacher)": (UNet(width=64), 2, (64, 64), 0),
    "unet_mri, 200 x 200 (perone2018)": (UNetMRI(width=64, dropout=0.5, outputs="one"), 2, (200, 200), 0),
    "swiftnet, 448 x 448 (grubisic2021)": (SwiftNet(), 19, (448, 448), 0),
    "wide_resnet, 32 x 32 (grubisic2021)": (WideResNet(width=32, depth=4), 10, (32, 32), 0),
    "deeplabv2, 256 x 512 (ke2020, stage 1)": (KE, 19, (256, 512), 0),
    "deeplabv2, 256 x 512 (ke2020, stage 2)": (KE, 19, (256, 512), 2),
    "deeplabv2, 256 x 512 (ke2020, stage 3)": (KE, 19, (256, 512), 1),
    "deeplabv2, 321 x 321 (ke2020, VOC, stage 2)": (KE, 21, (321, 321), 2),
}
WARM, STEPS = 1, 5
COMPARED = {  # by the name in what `measure` finds
    "parameters": "parameters, M",
    "seconds": "training step, CPU s",
    "inference": "prediction, CPU s",
    "memory": "training, peak MiB",
    "inference_memory": "prediction, peak MiB",
}

Found = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which networks to measure."""

    only: str = ""
    """Those whose line contains this."""
    compare: tuple[str, ...] = ()
    """Networks by name, two or more, at one crop with 19 classes; ratios are to the first."""
    crop: tuple[int, int] = (448, 448)
    """Height and width of the images that they are compared on."""
    blocks: int = 5
    """Times that each of them is measured."""
    case: str = ""
    """Measure this line, or network with `compare`, here and print it as JSON; how the command calls itself."""


def measure(net: Net, classes: int, crop: tuple[int, int], own: int, predicts: bool) -> Found:
    """Parameters in millions, peak memory in MiB, CPU seconds of a step (median) and their range, in this process.

    With `predicts` the same of predictions, which come first, as a process's peak never falls.
    """
    torch.set_num_threads(1)
    device = torch.device("cpu")
    train = resolve(Train(crop=crop), None, device)
    before = peak()
    network = build(net, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0, own=own)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, *crop, generator=generator)
    size = (1, 1) if network.image_level else crop
    truth = torch.randint(classes, (len(image), *size), generator=generator)

    def predict() -> None:
        with torch.inference_mode(), autocast(device, train.precision):
            network(image)

    predicted: Found = {}
    if predicts:
        network.eval()
        predicted = {"inference": statistics.median(timed(predict)), "inference_memory": peak() - before}
    adam = optimiser(network.train(), train)

    def step() -> None:
        with autocast(device, train.precision):
            outputs = network.both(image) if isinstance(network, MultiTask) else (network(image),)
            loss = torch.stack([F.cross_entropy(one.float(), truth) for one in outputs]).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    seconds = timed(step)
    return {
        "parameters": sum(one.numel() for one in network.parameters()) / 1e6,
        "memory": peak() - before,
        "seconds": statistics.median(seconds),
        "spread": max(seconds) - min(seconds),
    } | predicted


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], None]) -> list[float]:
    """CPU seconds of STEPS calls after WARM ones."""
    seconds = []
    for _ in range(WARM + STEPS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return seconds[WARM:]


def apart(*words: str) -> Found:
    """What a process of its own measures."""
    ran = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def compare(names: Sequence[str], crop: tuple[int, int], blocks: int) -> dict[str, list[Found]]:
    """What each network costs, block by block."""
    found: dict[str, list[Found]] = {name: [] for name in names}
    for block in range(blocks):
        for name in names if block % 2 == 0 else reversed(names):
            words = ("--compare", *names, "--crop", *map(str, crop), "--case", name)
            found[name].append(apart(*words))
    return found


def table(found: dict[str, list[Found]]) -> list[str]:
    """Markdown: mean ± sd over blocks of every network, then of the ratios to the first one, each within a block; "-" for a ratio to
    nothing, as of memory that a small network took from what the process had already."""

    def line(name: str, blocks: Sequence[Found]) -> str:
        cells = []
        for key in COMPARED:
            values = [block[key] for block in blocks if key in block]
            if len(values) < len(blocks):
                cells.append("-")
                continue
            digits = 0 if statistics.mean(values) >= 100 else 2
            sd = "" if key == "parameters" else f" ± {statistics.stdev(values):.{digits}f}"
            cells.append(f"{statistics.mean(values):.{digits}f}{sd}")
        return f"| {name} | {' | '.join(cells)} |"

    first, *others = found
    lines = [f"| network | {' | '.join(COMPARED.values())} |", "| --- " * (len(COMPARED) + 1) + "|"]
    lines += [line(name, blocks) for name, blocks in found.items()]
    for name in others:
        pairs = zip(found[name], found[first], strict=True)
        lines.append(
            line(f"{name} / {first}", [{key: one[key] / base[key] for key in COMPARED if base[key]} for one, base in pairs])
        )
    return lines


def check(arguments: Arguments) -> None:
    """Raise SettingError for what cannot be compared."""
    for name in arguments.compare:
        net_kind(name)
    distinct = len(set(arguments.compare)) == len(arguments.compare) >= 2
    require(distinct, "compare", arguments.compare, "two or more different networks")
    require(min(arguments.crop) >= 32, "crop", arguments.crop, "height and width of at least 32 pixels")
    require(arguments.blocks >= 2, "blocks", arguments.blocks, "a whole number >= 2, as there is a spread to show")


def main(arguments: Arguments) -> int:
    """Print a Markdown table; returns the exit status."""
    if arguments.compare:
        try:
            check(arguments)
        except SettingError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    if arguments.case:
        name = arguments.case
        case = (net_kind(name)(name=name), 19, arguments.crop, 0) if arguments.compare else CASES[name]
        print(json.dumps(measure(*case, predicts=bool(arguments.compare))))
        return 0
    if arguments.compare:
        print("\n".join(table(compare(arguments.compare, arguments.crop, arguments.blocks))))
        return 0
    print("| network and crop | parameters, M | peak memory, MiB | CPU s per step: median of 5 (max - min) |")
    print("| --- | --- | --- | --- |")
    for name in CASES:
        if arguments.only in name:
            found = apart("--case", name)
            print(
                f"| {name} | {found['parameters']:.2f} | {found['memory']:.0f} | {found['seconds']:.2f} ({found['spread']:.2f}) |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
