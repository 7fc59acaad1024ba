"""CUDA graphs: the passes of a stage's networks are recorded once and replayed, so that a GPU does not wait for Python's launches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import nn

BACKEND = "cudagraphs"
"""Of torch.compile: the kernels that run without it, in the same order, recorded as a graph for every shape and mode of a network."""
VARIANTS = 64
"""Graphs that a stage may have: shapes of batches times modes, with and without gradient, with and without BatchNorm's statistics."""


class Graphs:
    """Replays the forward and backward passes of networks in training; everything else stays as it is.

    No kernel is changed or fused; gradients may be summed in another order, so weights differ by rounding. Recording takes seconds a
    network, so it is for long stages.
    Networks that score, or are looked at, run as they are (`off`), as their batches have shapes of their own.

    Args: networks, of which each forward pass, and a `MultiTask`'s `both`, is recorded at its first call; backend, torch.compile's.
    """

    def __init__(self, networks: Iterable[nn.Module], backend: str = BACKEND) -> None:
        from semiseg.nets.multitask import MultiTask

        torch.compiler.reset()  # what an earlier stage of this process has recorded
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
        for network in networks:
            network.compile(backend=backend, dynamic=False)
            if isinstance(network, MultiTask):
                network.both = torch.compile(network.both, backend=backend, dynamic=False)

    def begin_step(self) -> None:
        """What the last step's passes gave may be overwritten from here on."""
        torch.compiler.cudagraph_mark_step_begin()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, networks run without graphs."""
        with torch.compiler.set_stance("force_eager"):
            yield
