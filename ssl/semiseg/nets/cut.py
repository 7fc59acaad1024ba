"""A model of segmentation_models_pytorch as named blocks: the stages of its encoder, its decoder, its head."""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semiseg.nets.blocks import finish
from semiseg.nets.pieces import Decoder, EncoderStage, Fit, SegmentationHead, Step, Whole

Model = Any
"""segmentation_models_pytorch's SegmentationModel, with `encoder`, `decoder` and `segmentation_head`."""


@dataclass(frozen=True)
class Cut:
    """Where a model is cut, and which sizes of images it takes."""

    stages: tuple[tuple[str, ...], ...]
    """Names of the encoder's modules in the order in which they run, by stage; empty: the encoder is one block."""
    channels_last: bool
    """The encoder's modules hand on (N,H,W,C)."""
    steps: bool
    """The decoder is a list of steps, each a block; otherwise it is one."""
    unused: tuple[str, ...]
    """Names of the encoder's modules that never run, such as a classifier's last normalisation."""
    multiple: int
    """Height and width must be multiples of it."""
    least: int
    """Smallest height and width in pixels."""


# ---- finding a cut


@torch.no_grad()
def cut_of(model: Model) -> Cut:
    """The finest cut whose blocks give the model's own logits on an image of random pixels, up to rounding.

    Raises what the model raises when it runs on no image of 1, 2, 4 or 8 times its stride.
    """
    model = nothing_overwritten(model.eval())
    stride = int(model.encoder.output_stride)
    least = next((size for size in (stride, 2 * stride, 4 * stride) if runs(model, size)), 8 * stride)
    multiple = stride if runs(model, least + stride) else least
    image = noise(max(2 * multiple, least))
    expected = model(image)
    stages, channels_last, unused = chain(model.encoder, image)
    steps = isinstance(getattr(model.decoder, "blocks", None), nn.ModuleList)
    for found, one, never in itertools.product(
        dict.fromkeys((stages, ())), sorted({steps, False}, reverse=True), dict.fromkeys((unused, ()))
    ):
        cut = Cut(found, channels_last, one, () if found else never, multiple, least)
        if agrees(model, cut, image, expected):
            return cut
    raise RuntimeError("it is more than an encoder, a decoder and a head")


def noise(size: int) -> Tensor:
    return torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0))


def runs(model: Model, size: int) -> bool:
    """Whether the model takes an image of height and width `size`."""
    try:
        return model(noise(size)).shape[-2:] == (size, size)
    except (RuntimeError, ValueError, AssertionError, IndexError):
        return False


def agrees(model: Model, cut: Cut, image: Tensor, expected: Tensor) -> bool:
    """Whether the blocks of a cut give the logits `expected`."""
    try:
        blocks = list(model_blocks(copy.deepcopy(model) if cut.unused else model, cut).values())
        return torch.allclose(finish(blocks, (image,), image.shape[-2:]), expected, rtol=1e-3, atol=1e-4)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return False


def chain(encoder: Any, image: Tensor) -> tuple[tuple[tuple[str, ...], ...], bool, tuple[str, ...]]:
    """Names of the modules that make the encoder's feature maps one after the other, those of each map together; whether these
    modules have channels last; and names of the modules that never run.

    No names where a map is no module's output, or a module takes more than the output of the one before it.
    """
    body, _ = body_of(encoder)
    calls: list[list[Any]] = []
    handles = []
    for name, module in body.named_modules():
        if name:
            handles += watched(name, module, calls)
    found = encoder(image)
    for handle in handles:
        handle.remove()
    running = {part for name, *_ in calls for part in prefixes(name)}
    unused = tuple(name for name, child in body.named_children() if name not in running and list(child.parameters()))
    if not isinstance(found, list):
        return (), False, unused
    maps = [one for one in found[1:] if one.shape[1]]  # the image; smp stands in for maps that transformers lack
    x, at, last, stages, names = image, 0, False, [], []
    while len(stages) < len(maps):
        call = next((one for one in calls[at:] if one[2] is not None and equal(one[1], x)), None)
        if call is None:
            return (), False, unused
        name, _, x, at = call
        names.append(name)
        wanted = maps[len(stages)]
        channels_first = equal(x, wanted)
        if channels_first or (x.ndim == 4 and equal(x.movedim(-1, 1), wanted)):
            last = last or not channels_first
            stages.append(tuple(names))
            names = []
    return tuple(stages), last, unused


def body_of(encoder: Any) -> tuple[nn.Module, str]:
    """The module whose children do the work, and the prefix of its names: smp wraps timm's models."""
    inner = getattr(encoder, "model", None)
    return (inner, "model.") if isinstance(inner, nn.Module) else (encoder, "")


def watched(name: str, module: nn.Module, calls: list[list[Any]]) -> Iterator[Any]:
    """Handles of hooks that add [name, input, output, number of calls begun until it ended], in the order in which calls begin; no
    output where a call has more than one tensor in or out."""
    mine: list[list[Any]] = []

    def begin(_: nn.Module, args: tuple[Any, ...]) -> None:
        mine.append([name, args[0] if args else None, None, 0])
        calls.append(mine[-1])

    def end(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        call = mine.pop()
        call[2:] = [output if len(args) == 1 and isinstance(output, Tensor) else None, len(calls)]

    yield module.register_forward_pre_hook(begin)
    yield module.register_forward_hook(end)


def equal(one: Any, other: Tensor) -> bool:
    return one is other or (isinstance(one, Tensor) and one.shape == other.shape and one.equal(other))


def prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


# ---- cutting


def nothing_overwritten(model: Model) -> Model:
    """The model, in which no layer writes over its input any more: f and its branch read the same features."""
    for layer in model.modules():
        if getattr(layer, "inplace", False) is True:
            layer.inplace = False
    return model


def model_blocks(model: Model, cut: Cut) -> dict[str, nn.Module]:
    """The model's parts as blocks: stage1 ... or encoder; decN ... dec1 or decoder; head. The model is taken apart."""
    model = nothing_overwritten(model)
    encoder, decoder = model.encoder, model.decoder
    body, prefix = body_of(encoder)
    fit = Fit(cut.multiple, cut.least)
    blocks: dict[str, nn.Module] = {}
    for i, names in enumerate(cut.stages):
        units = {f"encoder.{prefix}{name}": body.get_submodule(name) for name in names}
        blocks[f"stage{i + 1}"] = EncoderStage(units, None if i else fit, cut.channels_last)
    if not cut.stages:
        for name in cut.unused:
            setattr(body, name, nn.Identity())
        blocks["encoder"] = Whole(encoder, fit)
    channels = list(encoder.out_channels)
    if cut.steps:
        skips = [*channels[-2:0:-1], None]
        parts = zip(decoder.blocks, skips, strict=True)
        centre = getattr(decoder, "center", None)
        made = [Step(block, skip, None if i else centre, f"decoder.blocks.{i}.") for i, (block, skip) in enumerate(parts)]
        blocks |= {f"dec{len(made) - i}": step for i, step in enumerate(made)}
    else:
        blocks["decoder"] = Decoder(decoder, channels, getattr(encoder, "has_prefix_tokens", None))
    blocks["head"] = SegmentationHead(model.segmentation_head)
    return blocks
