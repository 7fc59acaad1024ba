"""RGB images as hue, saturation and value, and back: planes of their own, without the steps between that a library's images take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


TINY = 1e-8
"""Beside the value that saturation is divided by, which black has 0 of."""


def to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of the colour circle, in [-1, 5] with 0 red, 2 green and 4 blue, saturation and value of images (N,3,H,W): (N,H,W) each.

    Grey has hue 0.
    """
    red, green, blue = image.contiguous().unbind(1)
    value, low = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    spread = value - low
    width = spread.clamp(min=torch.finfo(spread.dtype).tiny)
    hue = torch.where(
        red == value,
        (green - blue) / width,
        torch.where(green == value, (blue - red) / width + 2, (red - green) / width + 4),
    )
    return hue, spread / (value + TINY), value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The images (N,3,H,W) of such planes; hue may be any number, and saturation and value out of [0,1] are taken by the same formula.

    A channel is v - v s max(0, min(k, 4 - k, 1)) with k = (n + hue) mod 6, and n = 5, 3, 1 for red, green, blue.
    """
    k = hue[:, None] + torch.arange(5.0, 0.0, -2.0, device=hue.device)[:, None, None]
    k = k.sub_((k / 6).floor_(), alpha=6)
    part = torch.minimum(k, 4 - k).clamp_(0, 1)
    return torch.addcmul(value[:, None], part, (value * saturation)[:, None], value=-1)
