"""Initial weights from a file or from torchvision, and the files that a network's settings mean."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semiseg.config import Net, SettingError
from semiseg.lazy import nn, torch
from semiseg.nets.own import OwnNet, file_of

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models import WeightsEnum

IMAGENET, COCO = "imagenet", "coco"
"""Weights with a name: torchvision's, and those that a preset means but nobody offers for download, in whose place goes a file."""
PREFIXES = re.compile(r"^((module|model|Scale|backbone|encoder)\.)+")


def located(net: Net) -> Net:
    """The settings with absolute paths and the digest of the contents of files and of tensors that have a name. SettingError names
    what is not there."""
    digest, found = hashlib.sha256(), False
    own = file_of(net.name)
    name, weights = net.name, net.weights
    if own is not None:
        digest.update(content(own, "net.name"))
        name, found = f"{own.expanduser().resolve()}:{net.name.rpartition(':')[2]}", True
    if (tensors := net.named_weights()) is not None:
        update_with(digest, tensors)
        found = True
    elif weights not in ("", IMAGENET, COCO):
        digest.update(content(Path(weights), "net.weights"))
        weights, found = str(Path(weights).expanduser().resolve()), True
    return replace(net, name=name, weights=weights, digest=digest.hexdigest() if found else "")


def update_with(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    """Add names, types, shapes and values to a digest."""
    for name, value in tensors.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.contiguous().numpy().tobytes())


def content(file: Path, setting: str) -> bytes:
    """Bytes of a file that a setting names."""
    try:
        return file.expanduser().read_bytes()
    except OSError as error:
        raise SettingError(f"{setting}: {file} cannot be read ({error.strerror}); allowed: a file that exists") from None


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a torch state dict, which is loaded with weights_only."""
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  safetensors and torch have many kinds
        raise SettingError(
            f"net.weights: {file} cannot be read ({brief(error)}); allowed: safetensors or a torch state dict"
        ) from None
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise SettingError(f"net.weights: {file} holds no tensors by name; allowed: safetensors or a torch state dict")
    return dict(found)


def load_weights(blocks: Mapping[str, nn.Module], net: Net) -> None:
    """Give the blocks the weights of `net.weights`: "imagenet", a stage's weights.safetensors, or a file of the network's own
    tensors.

    A network whose encoder is torchvision's ResNet also takes files with torchvision's names or those of the published DeepLabv2
    codes, and one of segmentation_models_pytorch those of its models or of timm's classifier, behind any of PREFIXES; all tensors
    of the encoder must be there, and of the others, such as the classifier, those that fit are taken, and the first convolution is
    adapted to images of other than three channels (`for_channels`). Any other network needs all of its tensors, and the file no
    further ones; one of the user's own has the names of the module that its function returns. Of a stage's file the best weights
    are taken, the teacher's where there is one, of f alone. The mean and standard deviation of a file's images are left out. Raises
    SettingError naming the first tensor that does not fit.
    """
    from semiseg.nets.pieces import original_names
    from semiseg.nets.resnet import torchvision_names

    smp = {name: PREFIXES.sub("", theirs) for name, theirs in original_names(blocks).items()}
    encoder = torchvision_names(blocks) | {name: smp[name] for name in smp if name.partition(".")[0] in net.backbone(blocks)}
    named = net.named_weights()
    if named is not None:
        found = named
    elif net.weights == IMAGENET:
        kind = net.pretrained()
        if kind is None:
            raise SettingError(f"net.weights: got {net.weights!r}; allowed: '' or a file for {net.name}")
        found = imagenet(kind)
    elif net.weights == COCO:
        raise SettingError("net.weights: got 'coco'; allowed: the file of such weights, as they cannot be downloaded")
    else:
        found = of_stage(read_weights(Path(net.weights).expanduser()))
    if encoder:
        found = {PREFIXES.sub("", name): value for name, value in found.items()}
    known = {"mean", "std"}
    for name, own in nn.ModuleDict(blocks).state_dict().items():
        names = [f"blocks.{name}", *other_names(name, encoder, net), *smp_names(smp.get(name))]
        known.update(names)
        held = next((one for one in names if one in found), None)
        value = None if held is None else found[held]
        if value is not None and name in encoder and held != f"blocks.{name}" and own.ndim == 4:
            value = for_channels(value, own.shape[1])
        if value is not None and value.shape == own.shape:
            own.copy_(value)
        elif (name in encoder or not encoder) and not name.endswith("num_batches_tracked"):
            has = f"no {names[-1]}" if value is None else f"{held} of shape {tuple(value.shape)}"
            raise SettingError(f"net.weights: {net.weights} has {has}; allowed: one of shape {tuple(own.shape)} for {net.name}")
    unknown = [name for name in found if name not in known]
    if unknown and not encoder:
        raise SettingError(f"net.weights: {net.weights} has {unknown[0]}; allowed: the tensors of {net.name} alone")


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """The weight (out,3,h,w) of a first convolution on RGB images for images of other channels, as timm adapts it.

    One channel gets the sum over the three, as an RGB image of equal channels would give; several get the weights over and over, times
    3 / channels, so that the sum over all channels stays about the same. Weights of other shapes stay as they are.
    """
    if channels == 3 or weight.ndim != 4 or weight.shape[1] != 3:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(channels) % 3] * (3 / channels)


def imagenet(kind: WeightsEnum) -> Mapping[str, Tensor]:
    """torchvision's weights of ImageNet-1k, downloaded once into torch's cache."""
    try:
        return kind.get_state_dict(check_hash=True, progress=False)
    except (OSError, RuntimeError) as error:  # no connection or space; a wrong hash
        raise SettingError(f"net.weights: {kind} cannot be downloaded ({brief(error)}); allowed: a file of weights") from None


def of_stage(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The best teacher's or else student's tensors of f, where the names are those of a stage's weights; otherwise all as they
    are."""
    for role in ("best.teacher.", "best.student."):
        best = {name.removeprefix(role): value for name, value in found.items() if name.startswith(role)}
        if best:
            f = {name.removeprefix("segmentation."): value for name, value in best.items()}
            return {name: value for name, value in f.items() if not name.startswith("auxiliary.")}
    return found


def other_names(name: str, encoder: Mapping[str, str], net: Net) -> list[str]:
    """What files of other origin call the tensor `name` of the network's blocks."""
    block, _, inner = name.partition(".module.")
    if isinstance(net, OwnNet):
        return [f"{block}.{inner}", *([inner] if block == "network" else [])]  # what own_network calls a module that is one block
    if name in encoder:
        return [encoder[name]]
    head, _, rest = name.partition("aspp.convs.")
    return [f"{layer}.conv2d_list.{rest}" for layer in ("layer5", "classifier")] if not head and rest else []


def smp_names(name: str | None) -> list[str]:
    """What segmentation_models_pytorch calls a tensor, and timm, which writes stages.0 for what is stages_0 as an encoder."""
    return [] if name is None else [name, re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", name)]


def brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
