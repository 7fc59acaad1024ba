"""The kinds of blocks into which a model of segmentation_models_pytorch is cut (`semiseg.nets.cut`).

`origins` of a block says by what prefix of that model's names each prefix of its own tensors' names goes.
"""

import inspect
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semiseg.nets.blocks import Features, Last


def original_names(blocks: Mapping[str, nn.Module]) -> dict[str, str]:
    """Name of every tensor of the blocks -> its name in segmentation_models_pytorch's model."""
    found = {}
    for name, block in blocks.items():
        if isinstance(block, EncoderStage | Whole | Step | Decoder | SegmentationHead):
            for inner in block.state_dict():
                part = next(part for part in block.origins if inner.startswith(part))
                found[f"{name}.{inner}"] = block.origins[part] + inner.removeprefix(part)
    return found


class Fit(nn.Module):
    """(N,C,H,W) -> (N,C,H',W'): the last row and column are repeated until both sides are large enough multiples."""

    def __init__(self, multiple: int, least: int) -> None:
        super().__init__()
        self.multiple, self.least = multiple, least

    def forward(self, image: Tensor) -> Tensor:
        # not -(-side // multiple): ONNX divides whole numbers towards zero
        rounded = [(side + self.multiple - 1) // self.multiple * self.multiple for side in image.shape[-2:]]
        height, width = (max(up, self.least) - side for up, side in zip(rounded, image.shape[-2:], strict=True))
        return F.pad(image, (0, width, 0, height), mode="replicate") if height or width else image


class EncoderStage(nn.Module):
    """(..., x) -> (..., x, units(x)), or (units(x),) of the first one, which takes the image and makes it `fit`."""

    def __init__(self, units: Mapping[str, nn.Module], fit: Fit | None, channels_last: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(units.values())
        self.origins = {f"units.{i}.": f"{name}." for i, name in enumerate(units)}
        self.fit, self.channels_last = fit, channels_last

    def forward(self, features: Features) -> Features:
        x = features[-1]
        if self.fit is not None:
            x = self.fit(x)
        elif self.channels_last:
            x = x.movedim(1, -1)
        for unit in self.units:
            x = unit(x)
        if self.channels_last:
            x = x.movedim(-1, 1).contiguous()
        return (x,) if self.fit is not None else (*features, x)


class Whole(nn.Module):
    """(image,) -> all feature maps; a vision transformer's first prefix token stands behind a map's own channels at every pixel."""

    def __init__(self, encoder: nn.Module, fit: Fit) -> None:
        super().__init__()
        self.encoder, self.fit = encoder, fit
        self.origins = {"encoder.": "encoder."}

    def forward(self, features: Features) -> Features:
        found = self.encoder(self.fit(features[-1]))
        if isinstance(found, list):
            return tuple(one for one in found[1:] if one.shape[1])
        maps, tokens = found
        return tuple(x if token is None else with_token(x, token[:, 0]) for x, token in zip(maps, tokens, strict=True))


def with_token(x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([x, token[:, :, None, None].expand_as(x)], 1)


class Step(nn.Module):
    """(..., skip, x) -> (..., block(x, skip)) at twice the resolution; without a skip where `channels` is None, with an empty one
    where it is 0."""

    def __init__(self, block: nn.Module, channels: int | None, centre: nn.Module | None, origin: str) -> None:
        super().__init__()
        self.block, self.channels, self.centre = block, channels, centre
        self.origins = {"block.": origin, "centre.": "decoder.center."}
        self.sized = len(inspect.signature(block.forward).parameters) == 4  # x, height, width, skip: not x, skip

    def forward(self, features: Features) -> Features:
        pending, x = features[:-1], features[-1]
        size = [2 * side for side in x.shape[-2:]]
        if self.channels:
            pending, skip = pending[:-1], pending[-1]
        else:
            skip = None if self.channels is None else x.new_zeros((len(x), 0, *size))
        if self.centre is not None:
            x = self.centre(x)
        return (*pending, self.block(x, *size, skip) if self.sized else self.block(x, skip))


class Decoder(nn.Module):
    """(maps...) -> (decoder(maps),). `channels` are those of all maps that it expects from the image on, of which those of 0
    channels are not among the features, and the image is not either; of a vision transformer there is no image, and `tokens` says
    whether a prefix token stands behind each map."""

    def __init__(self, decoder: nn.Module, channels: Sequence[int], tokens: bool | None) -> None:
        super().__init__()
        self.decoder, self.channels, self.tokens = decoder, channels, tokens
        self.origins = {"decoder.": "decoder."}

    def forward(self, features: Features) -> Features:
        if self.tokens is not None:
            parts = [x.chunk(2, 1) if self.tokens else (x, None) for x in features]
            tokens = [None if token is None else token[..., 0, 0].unsqueeze(1) for _, token in parts]
            return (self.decoder([x for x, _ in parts], tokens),)
        given = iter(features)
        maps = [next(given) if count else None for count in self.channels[1:]]
        level, first = next((i + 1, x) for i, x in enumerate(maps) if x is not None)
        height, width = (side << level for side in first.shape[-2:])
        image = first.new_zeros(()).expand(len(first), self.channels[0], height, width)  # only its size is read
        empty = [first.new_zeros((len(first), 0, height >> i, width >> i)) for i in range(1, len(maps) + 1)]
        return (self.decoder([image, *(y if x is None else x for x, y in zip(maps, empty, strict=True))]),)


class SegmentationHead(Last):
    """(x,) -> (logits,), of which the rows and columns that `Fit` added are cut off."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.origins = {"head.": "segmentation_head."}

    def forward(self, features: Features) -> Features:
        return (self.head(features[-1]),)

    def fitted(self, logits: Tensor, size: torch.Size) -> Tensor:
        return logits[..., : size[0], : size[1]]
