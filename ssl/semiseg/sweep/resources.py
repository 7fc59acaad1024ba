"""Resources of a run, without importing ray: what stages may take, and how many of them fit at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semiseg.config import require
from semiseg.device import gpus
from semiseg.machine import usable_cpus


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Where and with what resources trials run."""

    address: str | None = None
    """Running cluster to join: host:port, ray://host:port, or auto: RAY_ADDRESS, or what this machine joined last by `ray start`. None: a
    private one on this machine."""
    cpus_per_trial: int = 1
    """CPU threads of a stage."""
    gpus_per_trial: float | None = None
    """GPUs of a stage, also fractions to pack several on one; None: 1 where this machine has a GPU, else 0."""
    cuda_graphs: bool = False
    """Record the networks' passes once a stage and replay them: faster steps of small networks on a GPU, some seconds more a stage."""
    trials: int | None = None
    """Stages that run at the same time; None: as many as the CPUs and GPUs allow."""
    dashboard: bool = False
    """Start the Ray dashboard on 127.0.0.1; every stage is then an actor of its own, which costs some seconds a stage."""

    def __post_init__(self) -> None:
        require(self.cpus_per_trial >= 1, "ray.cpus_per_trial", self.cpus_per_trial, "a whole number >= 1")
        require(self.gpus_per_trial is None or self.gpus_per_trial >= 0, "ray.gpus_per_trial", self.gpus_per_trial, "a number >= 0")
        require(not self.cuda_graphs or self.gpus > 0, "ray.cuda_graphs", True, "off without a GPU (ray.gpus_per_trial)")
        require(self.trials is None or self.trials >= 1, "ray.trials", self.trials, "a whole number >= 1")

    @property
    def gpus(self) -> float:
        """GPUs of a stage."""
        return self.gpus_per_trial if self.gpus_per_trial is not None else float(gpus() > 0)

    def expected_slots(self) -> int:
        """Stages that this machine would run at a time."""
        fit = max(usable_cpus() // self.cpus_per_trial, 1)
        if self.gpus > 0:
            fit = min(fit, max(int(gpus() / self.gpus), 1))
        return min(fit, self.trials or fit)


OUTSIDE = 0.7 * 2**30
"""Bytes of a GPU that a process takes beside its tensors: of torch and CUDA, measured on an H200."""
MOST_SHARING = 8
"""Stages that a GPU is suggested for: with networks so small that Python's launches bound them, nine to eleven fill an H200."""
FILLED = 0.9
"""Of its memory, at most."""


def sharing_advice(settings: Ray, tensors: float, memory: float) -> str:
    """A line for whoever trains fewer stages on a GPU than it holds, "" otherwise.

    Args: tensors, bytes of the GPU that a stage of this run was seen to take for them, 0: none was measured; memory, bytes of the GPU.
    """
    need = tensors + OUTSIDE
    fit = min(int(FILLED * memory / need), MOST_SHARING, usable_cpus() // settings.cpus_per_trial)
    if not tensors or settings.gpus <= 0 or settings.trials is not None or fit <= max(1 / settings.gpus, 1) + 1e-9:
        return ""
    share = int(1000 / fit) / 1000
    return (
        f"a stage takes about {need / 2**30:.1f} of the GPU's {memory / 2**30:.0f} GiB; --ray.gpus-per-trial {share:g} trains {fit} at a time, "
        "which is faster where networks are small"
    )


def check_resources(settings: Ray, cpus: float, gpus: float) -> None:
    """Raise SettingError when not even one stage fits on a cluster with these resources; Ray would wait for ever."""
    require(settings.cpus_per_trial <= cpus, "ray.cpus_per_trial", settings.cpus_per_trial, f"at most {cpus:g}, the CPUs there are")
    require(settings.gpus <= gpus, "ray.gpus_per_trial", settings.gpus, f"at most {gpus:g}, the GPUs there are")


def slots_of(settings: Ray, resources: Mapping[str, float]) -> int:
    """Stages that fit at once on a cluster with these resources. Raises SettingError when not even one does."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    check_resources(settings, cpus, gpus)
    fit = int(cpus // settings.cpus_per_trial)
    if settings.gpus > 0:
        fit = min(fit, int(gpus / settings.gpus + 1e-9))
    return min(fit, settings.trials or fit)
