"""torch and what comes with it, for modules that hold settings: loaded when something of it is first used.

So `--help`, a refused argument and a study that is finished cost a fraction of what importing torch takes. In such a module annotations
are not evaluated (`from __future__ import annotations`), and nothing of torch is used while it is imported: classes of layers have
modules of their own, which are imported where they are used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["F", "enhance", "nn", "torch"]


class Later(ModuleType):
    """Stands for a module until something of it is used; from then on the module itself is in its place, wherever this package has it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what inspect, doctest and pickle ask of all modules
            raise AttributeError(name)
        module = importlib.import_module(self.__name__)
        modules = list(sys.modules.items())  # a copy, made at once: other threads import at the same time
        for holder in [held for place, held in modules if place.partition(".")[0] == "semiseg"]:
            for key in [key for key, value in list(vars(holder).items()) if value is self]:
                setattr(holder, key, module)
        return getattr(module, name)


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from kornia import enhance
    from torch import nn
else:
    torch, nn, F = Later("torch"), Later("torch.nn"), Later("torch.nn.functional")
    enhance = Later("kornia.enhance")
