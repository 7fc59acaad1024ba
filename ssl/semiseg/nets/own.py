"""A network from a file of the user's own: `--net.name my_file.py:build`."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from semiseg.config import SettingError
from semiseg.nets.blocks import Last, State


def file_of(name: str) -> Path | None:
    """The file in a name FILE.py:FUNCTION; None for a name without one."""
    file, colon, _ = name.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else None


def own_network(name: str, classes: int) -> dict[str, nn.Module]:
    """Blocks of the network that `FUNCTION(classes)` in FILE.py makes, a torch.nn.Module from images to logits.

    It gets standardised images (N,3,H,W) and returns logits (N,C,h,w) or, like torchvision's networks, a dictionary with them under
    "out"; smaller maps are resized to the image. The children of an nn.Sequential are the blocks, so that an auxiliary branch can
    have the last ones of its own; any other module is one block. With an attribute `image_level` that is true it returns a class
    for the whole image, (N,C). Raises SettingError when the file has no such function or the function no such result.
    """
    module = function(name)(classes)
    if not isinstance(module, nn.Module):
        raise SettingError(f"net.name: {name} returned {type(module).__name__}; allowed: a function that returns a torch.nn.Module")
    parts = dict(module.named_children()) if type(module) is nn.Sequential else {"network": module}
    if not parts:
        raise SettingError(f"net.name: {name} returned an empty nn.Sequential; allowed: at least one block")
    *first, last = parts
    image_level = bool(getattr(module, "image_level", False))
    return {**{part: Block(parts[part]) for part in first}, last: OwnLast(parts[last], classes, name, image_level)}


def function(name: str) -> Callable[[int], Any]:
    """The function that FILE.py:FUNCTION names; the file is run anew each time."""
    file, text = file_of(name), name.rpartition(":")[2]
    spec = importlib.util.spec_from_file_location(file.stem, file) if file else None
    if file is None or spec is None or spec.loader is None:
        raise SettingError(f"net.name: got {name!r}; allowed: FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001  whatever the user's file does at import
        raise SettingError(f"net.name: {file} cannot be run ({type(error).__name__}: {error}); allowed: a Python file") from None
    found = getattr(module, text, None)
    if not callable(found):
        raise SettingError(f"net.name: {file} has no function {text!r}; allowed: FILE.py:FUNCTION")
    return found


class Block(nn.Module):
    """(x,) -> (module(x),), whatever the user's blocks hand to each other."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, state: State) -> State:
        return (self.module(state[-1]),)


class OwnLast(Last):
    """The last block, whose logits are checked: SettingError when they are not (N,C,h,w), or (N,C) of a whole image."""

    def __init__(self, module: nn.Module, classes: int, name: str, image_level: bool) -> None:
        super().__init__()
        self.module, self.classes, self.name, self.image_level = module, classes, name, image_level

    def forward(self, state: State) -> State:
        found = self.module(state[-1])
        logits = found["out"] if isinstance(found, Mapping) and "out" in found else found
        if isinstance(logits, Tensor) and self.image_level and logits.ndim == 2:
            logits = logits[:, :, None, None]
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != self.classes:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(found).__name__
            raise SettingError(f"net.name: {self.name} gave {got}; allowed: logits (N,{self.classes},height,width)")
        return (logits,)
