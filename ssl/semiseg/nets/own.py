"""A network from a file of the user's own: `--net.name my_file.py:build`."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from semiseg.config import Net, SettingError, require
from semiseg.lazy import nn


def file_of(name: str) -> Path | None:
    """The file in a name FILE.py:FUNCTION; None for a name without one."""
    file, colon, _ = name.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else None


@dataclass(frozen=True, kw_only=True)
class OwnNet(Net):
    """A network from a file, with no settings but those that all networks have."""

    def check_name(self) -> None:
        require(file_of(self.name) is not None, "net.name", self.name, "FILE.py:FUNCTION")

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        return own_network(self.name, classes, channels)

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        from semiseg.nets.own_layers import OwnLast

        *_, last = blocks.values()
        assert isinstance(last, OwnLast)
        return last.encoder


def own_network(name: str, classes: int, channels: int = 3) -> dict[str, nn.Module]:
    """Blocks of the network that FUNCTION in FILE.py makes, a torch.nn.Module from images to logits.

    The function gets the number of classes and, if it has a parameter `channels`, the number of the images' channels. The module gets
    standardised images (N,channels,H,W) and returns logits (N,C,h,w) or, like torchvision's networks, a dictionary with them under
    "out"; smaller maps are resized to the image. The children of an nn.Sequential are the blocks, so that an auxiliary branch can
    have the last ones of its own; any other module is one block. With an attribute `image_level` that is true it returns a class
    for the whole image, (N,C); an attribute `encoder_blocks` says how many blocks are its encoder, otherwise all but the last. The
    file may import what is installed, but none of its neighbours: keys depend on its content alone. Raises SettingError when the
    file has no such function or the function no such result.
    """
    from semiseg.nets.own_layers import Block, OwnLast

    try:
        make = function(name)
        module = make(classes, channels=channels) if takes_channels(make) else make(classes)
    except SettingError:
        raise
    except Exception as error:
        allowed = "a function of the number of classes that returns a torch.nn.Module"
        raise SettingError(f"net.name: {name} failed for {classes} classes ({reason(error, name)}); allowed: {allowed}") from error
    if not isinstance(module, nn.Module):
        raise SettingError(f"net.name: {name} returned {type(module).__name__}; allowed: a function that returns a torch.nn.Module")
    plain = type(module) is nn.Sequential
    # not named_children, which leaves out a layer that is there twice
    parts: dict[str, Any] = dict(module._modules) if plain else {"network": module}
    if not parts:
        raise SettingError(f"net.name: {name} returned an empty nn.Sequential; allowed: at least one block")
    if plain:
        for layer in module.modules():  # f and its branch read the same features: no block may overwrite them
            if getattr(layer, "inplace", False) is True:
                setattr(layer, "inplace", False)  # noqa: B010  pyright knows no such attribute of a Module
    *first, last = parts
    encoder = getattr(module, "encoder_blocks", len(first))
    if not isinstance(encoder, int) or not 0 <= encoder <= len(first):
        raise SettingError(f"net.name: {name} has {encoder!r} as encoder_blocks; allowed: a whole number in 0..{len(first)}")
    image_level = bool(getattr(module, "image_level", False))
    return {**{part: Block(parts[part]) for part in first}, last: OwnLast(parts[last], classes, name, image_level, encoder)}


def takes_channels(make: Callable[..., Any]) -> bool:
    """Whether a function that makes a network has a parameter `channels`."""
    try:
        return "channels" in inspect.signature(make).parameters
    except ValueError:  # of a callable without a signature
        return False


def function(name: str) -> Callable[..., Any]:
    """The function that FILE.py:FUNCTION names; the file is run anew each time, from its text and not from compiled leftovers."""
    file, text = file_of(name), name.rpartition(":")[2]
    if file is None:
        raise SettingError(f"net.name: got {name!r}; allowed: FILE.py:FUNCTION")
    module = ModuleType(f"own network {file}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses look for the names in their annotations
    try:
        exec(compile(file.read_bytes(), file, "exec"), vars(module))  # noqa: S102  it is the user's own
    except Exception as error:
        raise SettingError(f"net.name: {file} cannot be run ({reason(error, name)}); allowed: a Python file") from error
    found = getattr(module, text, None)
    if not callable(found):
        raise SettingError(f"net.name: {file} has no function {text!r}; allowed: FILE.py:FUNCTION")
    return found


def reason(error: Exception, name: str) -> str:
    """What an error says, in one line, with the last line of FILE.py that led to it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file_of(name))]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"line {lines[-1]}: {text}" if lines else text
