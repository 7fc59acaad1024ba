"""Initial weights from a file or from torchvision, and the files that a network's settings mean."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from semiseg.config import Net, SettingError
from semiseg.nets.own import file_of

IMAGENET = "imagenet"


def located(net: Net) -> Net:
    """The settings with absolute paths and the digest of the files' contents. SettingError names a file that is not there."""
    digest = hashlib.sha256()
    own = file_of(net.name)
    name, weights = net.name, net.weights
    if own is not None:
        digest.update(content(own, "net.name"))
        name = f"{own.expanduser().resolve()}:{net.name.rpartition(':')[2]}"
    if weights not in ("", IMAGENET):
        digest.update(content(Path(weights), "net.weights"))
        weights = str(Path(weights).expanduser().resolve())
    files = (name, weights) != (net.name, net.weights) or own is not None or weights not in ("", IMAGENET)
    return replace(net, name=name, weights=weights, digest=digest.hexdigest() if files else "")


def content(file: Path, setting: str) -> bytes:
    """Bytes of a file that a setting names."""
    try:
        return file.expanduser().read_bytes()
    except OSError as error:
        raise SettingError(f"{setting}: {file} cannot be read ({error.strerror}); allowed: a file that exists") from None


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a torch state dict, which is loaded with weights_only."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  safetensors and torch have many kinds
        reason = " ".join(str(error).split())[:200]
        raise SettingError(f"net.weights: {file} cannot be read ({reason}); allowed: safetensors or a torch state dict") from None
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise SettingError(f"net.weights: {file} holds no tensors by name; allowed: safetensors or a torch state dict")
    return dict(found)


def load_weights(blocks: Mapping[str, nn.Module], net: Net) -> None:
    """Give the blocks the weights that the settings name."""
    raise SettingError(f"net.weights: got {net.weights!r}; allowed: '' for {net.name}")
