"""The network that a finished stage reports, with the settings that its predictions follow, out of `stage.json` and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from semiseg.annotations import hints_of
from semiseg.codec import from_json
from semiseg.config import AS_BEFORE, Net, SettingError, Train
from semiseg.lazy import torch
from semiseg.nets import OwnNet, build, located, net_kind
from semiseg.nets.own import file_of
from semiseg.nets.weights import brief

if TYPE_CHECKING:
    from torch import Tensor

    from semiseg.nets.blocks import BlockNet

T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A network f in evaluation mode, (N,C_in,H,W) in [0,1] to logits, and what decides how it is used."""

    network: BlockNet
    net: Net
    """Its settings as the stage had them; `weights` is what it began from."""
    train: Train
    """Those of the stage, but for the weak augmentation."""
    classes: tuple[str, ...]
    role: str
    """Whose weights these are, such as "teacher"."""


def load_model(info: Mapping[str, Any], weights: Path, own: str | None = None) -> Model:
    """The network that a stage reports.

    Args: info is its stage.json; weights its weights.safetensors; own says FILE.py:FUNCTION of a network of one's own, of whose
        place a stage knows nothing. SettingError where that is missing or another one, and for weights that do not fit.
    """
    from safetensors.torch import load_file

    settings = info["settings"]
    net, train = of_keys(net_class(settings["net"]), settings["net"]), of_keys(Train, settings["train"])
    classes = tuple(settings["split"]["classes"])
    found = of_role(load_file(weights), f"{train.weights}.{info['evaluated']}.")
    channels = found["mean"].numel()
    place = placed(net, own)
    network = build(place, len(classes), mean=(0.0,) * channels, std=(1.0,) * channels, seed=0)
    assert not hasattr(network, "auxiliary")  # f alone is built
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        raise SettingError(
            f"net: the weights do not fit {place.name} ({brief(error)}); allowed: the network of the study"
        ) from None
    return Model(network.eval(), net, train, classes, info["evaluated"])  # type: ignore[arg-type]  # no branch was asked for


def of_role(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of f, without those of an auxiliary branch."""
    found = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    f = {name.removeprefix("segmentation."): value for name, value in found.items()}
    return {name: value for name, value in f.items() if not name.startswith("auxiliary.")}


def net_class(settings: Mapping[str, Any]) -> type[Net]:
    """The class of a network's settings."""
    return net_kind(settings["name"])


def of_keys(kind: type[T], settings: Mapping[str, Any]) -> T:
    """Settings out of what a key is made of (`stage.for_key`): a field that it leaves out has the value that says so."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # settings are dataclasses
        if field.name in settings:
            values[field.name] = from_json(hints_of(kind)[field.name], settings[field.name])
        elif AS_BEFORE in field.metadata:
            values[field.name] = field.metadata[AS_BEFORE]
        else:
            assert field.default is not MISSING, field.name  # Train.weak, whose fields lie among the others
    return kind(**values)


def placed(net: Net, own: str | None) -> Net:
    """The network to be built: without the weights that it began from, and one of the user's own where its file is."""
    if not isinstance(net, OwnNet):
        if own is not None:
            raise SettingError(f"net: got {own!r}; allowed: none, as the network is {net.name}")
        return replace(net, weights="", digest="")
    if own is None or file_of(own) is None:
        raise SettingError(f"net: got {own!r}; allowed: FILE.py:FUNCTION, the place of {net.name} of the study")
    found = located(replace(net, name=own, weights="", digest=""))
    if not net.weights and found.digest != net.digest:
        raise SettingError(f"net: got {own!r}, whose file has changed since; allowed: the {net.name} of the study")
    return found


def to(device: str) -> torch.device:
    """The device of that name: auto is a GPU where torch knows one. SettingError for one that is not there."""
    from semiseg.device import gpus

    name = ("cuda" if gpus() else "cpu") if device == "auto" else device
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device: got {device!r} ({brief(error)}); allowed: auto, cpu, cuda") from None
    return found
