"""Where results come from: device, versions of libraries, revision of the code."""

from __future__ import annotations

import contextlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from semiseg.lazy import torch
from semiseg.machine import cpu_kind

LIBRARIES = ("semiseg", "torch", "torchvision", "kornia", "numpy", "pyarrow", "ray")


def provenance(device: torch.device, git: str) -> dict[str, Any]:
    """Where a stage was trained: device, versions of the libraries, git revision, host's CPU count."""
    threads = torch.get_num_threads()
    about = {"device": device_name(device), "machine": machine(device.type, threads)}
    return about | {"git": git, "versions": versions(), "threads": threads}


def machine(device: str, threads: int) -> str:
    """What decides how long a step takes, but the model of a GPU: stages are alike fast where this is the same. Needs no torch."""
    return f"{cpu_kind()}, {device}, threads {threads}, torch {version('torch')}"


def device_name(device: torch.device) -> str:
    """What the maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "CPU"))


def versions() -> dict[str, str]:
    """Versions of this package and the libraries that are installed; a stage can be trained where ray is not."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_revision() -> str:
    """Commit of the project this package runs from, with "+" when files differ from it; "" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # an installed copy may lie in somebody else's checkout
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
