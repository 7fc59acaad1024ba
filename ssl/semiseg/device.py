"""What a device computes with: the precision of the networks, resolved before a stage gets its key."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from semiseg.config import Train, require
from semiseg.lazy import torch
from semiseg.measures import METRICS

GPUS = ("nvidia[0-9]*", "nvhost-gpu", "kfd", "dxg")
"""Below /dev, what drivers of GPUs have that torch knows, on Linux."""


def gpus() -> int:
    """GPUs that torch can use. Where Linux has none of GPUS torch is not asked, as importing it takes seconds."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in GPUS):
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 autocast when `precision` is "bf16", otherwise a context that does nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def resolve(train: Train, size: tuple[int, int] | None, device: torch.device | str) -> Train:
    """`train` with every "auto" written out: the crop (whole images of one size) and the precision on this device.

    What changes no number of a stage gets a fixed value: metrics that are computed anyway, the order of the others, an overlap of no
    windows.

    Raises SettingError when images of several sizes have no crop to be batched with.
    """
    if train.crop is None:
        require(size is not None, "train.crop", None, "height and width, as the images are of several sizes")
        train = replace(train, crop=size)
    if train.precision == "auto":
        train = replace(train, precision="bf16" if bf16_is_faster(device) else "fp32")
    metrics = tuple(name for name, metric in METRICS.items() if metric.asked and name in train.metrics)
    overlap = Train().window_overlap if train.sliding_window is None else train.window_overlap
    return replace(train, metrics=metrics, window_overlap=overlap)


def bf16_is_faster(device: torch.device | str) -> bool:
    """Whether "auto" means bf16: on GPUs that multiply it in hardware, from Ampere on.

    Never on a CPU: the same study would get other numbers on another machine, and what bf16 costs in accuracy is not bounded below a point
    (docs/measured.md); it is there for the asking.
    """
    if not str(device).startswith("cuda"):
        return False
    require(gpus() > 0, "train.precision", "auto", "bf16 or fp32, as this machine has no GPU that could tell")
    return torch.cuda.get_device_capability(device) >= (8, 0)  # of a cluster's driver, which may have no GPU itself
