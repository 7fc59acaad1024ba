"""Where the pixels of a weakly augmented crop come from: drawn numbers to windows of an image and positions in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from semiseg.batch import Plane
from semiseg.config import Weak
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class Draw(NamedTuple):
    """What happens to one image."""

    scale: float
    position: tuple[float, float]
    """Of the crop among those that fit, down and across, in [0,1)."""
    flip: bool
    vertical_flip: bool
    quarters: int
    """Turns by 90 degrees counter-clockwise, as of np.rot90."""
    angle: float
    """Radians of the rotation, counter-clockwise."""


def draw(count: int, weak: Weak, generator: torch.Generator) -> list[Draw]:
    """A draw for each of `count` images: four numbers each and then, if `weak` turns them, six more.

    The first four do not depend on whether there are more.
    """
    first = torch.rand((count, 4), generator=generator).tolist()
    more = torch.rand((count, 6), generator=generator).tolist() if weak.turns else [[1.0] * 6] * count
    low, high = weak.scale
    found = []
    for (size, down, across, flip), (upside, turned, quarters, angle, either, other) in zip(first, more, strict=True):
        scale = low + size * (high - low) if weak.scale_law == "uniform" else low * (high / low) ** size
        turns = weak.either is None or either < weak.either
        rotates = weak.rotation > 0 and (weak.either is None or (not turns and other < weak.either))
        found.append(
            Draw(
                scale=scale,
                position=(down, across),
                flip=turns and flip < weak.flip,
                vertical_flip=turns and upside < weak.vertical_flip,
                quarters=1 + int(3 * quarters) if turns and turned < weak.rot90 else 0,
                angle=math.radians(weak.rotation) * (2 * angle - 1) if rotates else 0.0,
            )
        )
    return found


class Crop:
    """One crop of one image: the window of the source that it needs, and where its pixels fall in it.

    down, across  the source's axes that run down and across the crop, which a turn by 90 or 270 degrees exchanges
    angle         radians of the rotation, counter-clockwise
    exact         whether every pixel of the crop is one of the source

    Args: source (height, width) of the image; crop (height, width).
    """

    def __init__(self, source: Sequence[int], crop: tuple[int, int], weak: Weak, drawn: Draw) -> None:
        self.turned, self.angle = drawn.quarters % 2 == 1, drawn.angle
        along, beside = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        height, width = crop
        needs = along * height + beside * width, along * width + beside * height
        margins = [max(0.0, (need - side) / 2) for need, side in zip(needs, crop, strict=True)] if self.angle else [0.0, 0.0]
        axes, positions = (0, 1), drawn.position
        if self.turned:
            axes, positions = (1, 0), positions[::-1]
        # np.rot90 reads the second axis backwards after one turn, both after two and the first after three; a flip once more
        backwards = drawn.vertical_flip != (drawn.quarters in (1, 2)), drawn.flip != (drawn.quarters in (2, 3))
        self.down, self.across = (
            Span(source[axis], side, drawn.scale, position, margin, back)
            for axis, side, position, margin, back in zip(axes, crop, positions, margins, backwards, strict=True)
        )
        self.exact = self.angle == 0 and self.down.step == self.across.step == 1

    def window(self, pixels: Plane) -> np.ndarray:
        """The source pixels (h,w,...) that the crop needs, down and across it; a view."""
        down, across = (slice(span.start, span.stop) for span in (self.down, self.across))
        return pixels[across, down].swapaxes(0, 1) if self.turned else pixels[down, across]


class Span:
    """One axis of one crop: the source pixels it needs, start:stop, and where in them its pixels fall, first + step * index.

    With `backwards` indices count from the crop's other end; `margin` are scaled pixels that are needed beyond either end.
    """

    def __init__(self, source: int, crop: int, scale: float, position: float, margin: float, backwards: bool) -> None:
        scaled = max(1, round(source * scale))
        self.step, self.backwards = source / scaled, backwards
        room = scaled - crop
        offset = int(position * (abs(room) + 1)) * (1 if room >= 0 else -1)
        first, last = (offset - margin + 0.5) * self.step, (offset + margin + crop - 0.5) * self.step
        # the two neighbours of bilinear sampling: a pixel's centre lies half a pixel after its index
        self.start, self.stop = max(0, math.floor(first - 0.5)), min(source, math.floor(last - 0.5) + 2)
        self.first, self.length = (offset + 0.5) * self.step - self.start, self.stop - self.start


def coordinates(spans: Sequence[Span], crop: int, canvas: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N,crop) on a canvas of that length, in [-1,1], and whether they are in the source. Past its edge: the edge."""
    first, step, length = np.array([[span.first, span.step, span.length] for span in spans]).T[:, :, None]
    position = first + step * np.arange(crop)
    back = np.array([span.backwards for span in spans])
    position[back] = position[back, ::-1]
    inside = (position >= 0) & (position < length)
    return (2 / canvas * position.clip(0.5, length - 0.5) - 1).astype(np.float32), inside


def rotated(crops: Sequence[Crop], crop: tuple[int, int], canvas: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Of crops with an angle: positions (N,h,w,2) of (x, y) on a canvas of that height and width, and whether they are in the source.

    Past its edge: the edge.
    """
    angle = torch.tensor([one.angle for one in crops])
    cos, sin = (value.to(device, non_blocking=True)[:, None, None] for value in (angle.cos(), angle.sin()))
    i, j = (torch.arange(side, device=device) - (side - 1) / 2 for side in crop)
    i = i[:, None]
    places = cos * j - sin * i, sin * j + cos * i  # across and down from the centre: what a turn the other way takes there
    found, inside = [], torch.ones((len(crops), *crop), dtype=torch.bool, device=device)
    for place, spans, side, length in zip(
        places, ([one.across for one in crops], [one.down for one in crops]), crop[::-1], canvas[::-1], strict=True
    ):
        numbers = [(one.first + one.step * (side - 1) / 2, one.step * (-1) ** one.backwards, one.length) for one in spans]
        centre, step, stop = torch.tensor(numbers).to(device, non_blocking=True)[:, :, None, None].unbind(1)
        position = centre + step * place
        inside &= (position >= 0) & (position < stop)
        found.append(2 / length * torch.minimum(position.clamp(min=0.5), stop - 0.5) - 1)
    return torch.stack(found, 3), inside
