"""Optimisers without what PyTorch does for its compiler."""

from __future__ import annotations

from functools import cache
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

GUARDED = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
"""Methods that the compiler is kept out of."""


@cache
def eager(kind: type[Any]) -> type[Any]:
    """The same optimiser, for networks that are not compiled: same kernels, same state, same name.

    PyTorch 2.15 imports its compiler when an optimiser is made (1.1 CPU seconds, 100 MiB), to keep it out of the methods in GUARDED and
    of `step`, whose own code is in `__wrapped__`. Of a version that wraps them in another way this is the optimiser as it is.
    """
    step = unwrap(kind.step)

    def without_gradient(self: Optimizer, closure: Any = None) -> Any:
        with torch.no_grad():
            return step(self, closure)

    return type(kind.__name__, (kind,), {name: unwrap(getattr(kind, name)) for name in GUARDED} | {"step": without_gradient})
