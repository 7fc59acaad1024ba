"""What a training step costs: peak memory and CPU seconds of the papers' networks at the papers' crops, one image, one thread.

    python analysis/profile_networks.py
    python analysis/profile_networks.py --only deeplabv2

Every network runs in a process of its own: forward, cross-entropy, backward and Adam's step on one random image from random
weights, in the arithmetic that training takes on this machine. Memory is the process's peak above that before the network was
built.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import tyro

from semiseg.config import Net, Train
from semiseg.device import autocast, resolve
from semiseg.nets import DeepLabV2, MultiTask, SwiftNet, UNet, UNetMRI, WideResNet, build
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


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Which networks to measure."""

    only: str = ""
    """Those whose line contains this."""
    case: str = ""
    """Measure this line here and print it as JSON; how the command calls itself."""


def measure(name: str) -> dict[str, float]:
    """Parameters in millions, peak memory in MiB, CPU seconds of a step (median) of one case in this process."""
    net, classes, crop, own = CASES[name]
    torch.set_num_threads(1)
    device = torch.device("cpu")
    train = resolve(Train(crop=crop), None, device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = build(net, classes, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0, own=own)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    adam = optimiser(network, train)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, *crop, generator=generator)
    size = (1, 1) if network.image_level else crop
    truth = torch.randint(classes, (len(image), *size), generator=generator)
    seconds = []
    for _ in range(WARM + STEPS):
        began = time.process_time()
        with autocast(device, train.precision):
            outputs = network.both(image) if isinstance(network, MultiTask) else (network(image),)
            loss = torch.stack([F.cross_entropy(one.float(), truth) for one in outputs]).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "parameters": sum(one.numel() for one in network.parameters()) / 1e6,
        "memory": (peak - before) / 1024,
        "seconds": statistics.median(seconds[WARM:]),
        "spread": max(seconds[WARM:]) - min(seconds[WARM:]),
    }


def main(arguments: Arguments) -> int:
    """Print a Markdown table; returns the exit status."""
    if arguments.case:
        print(json.dumps(measure(arguments.case)))
        return 0
    print("| network and crop | parameters, M | peak memory, MiB | CPU s per step: median of 5 (max - min) |")
    print("| --- | --- | --- | --- |")
    for name in CASES:
        if arguments.only in name:
            ran = subprocess.run([sys.executable, __file__, "--case", name], capture_output=True, text=True, check=True)
            found = json.loads(ran.stdout)
            print(
                f"| {name} | {found['parameters']:.2f} | {found['memory']:.0f} | {found['seconds']:.2f} ({found['spread']:.2f}) |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
