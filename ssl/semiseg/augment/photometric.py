"""Random colours in HSV, then reordered channels: the photometric half of PhTPS (grubisic2021)."""

import math

import torch
from kornia.color import hsv_to_rgb, rgb_to_hsv
from torch import Tensor

from semiseg.config import PhTPS


def photometric(image: Tensor, uniform: Tensor, order: Tensor, settings: PhTPS) -> Tensor:
    """Shift V, scale S, turn H, scale V, in this order, then reorder the channels.

    Nothing is clamped, as in the authors' code (vidlu v0.1.0, perturbation.py:57-84): the result may leave [0,1], S may exceed 1
    and V be negative in between, and HSV to RGB goes on with the same formula there.

    Args: image (N,3,H,W) in [0,1]; uniform (N,4) in [0,1), one draw per change and image; order (3,) int64, the source channel of
        each channel, for the whole batch.
    Returns: a new image (N,3,H,W) float32.
    """
    low, high = torch.tensor(
        [
            (-settings.value_shift, settings.value_shift),
            settings.saturation,
            (-settings.hue, settings.hue),
            settings.value_scale,
        ]
    ).unbind(1)
    draws = (low + (high - low) * uniform).to(image.device, non_blocking=True)
    shift, saturation, turn, scale = draws[:, :, None, None].unbind(1)  # (N,1,1) each
    with torch.autocast(image.device.type, enabled=False):
        h, s, v = rgb_to_hsv(image.float()).unbind(1)  # hue in radians
        changed = hsv_to_rgb(torch.stack([h + 2 * math.pi * turn, s * saturation, (v + shift) * scale], 1))
    if not settings.permute:
        return changed
    return changed.index_select(1, order.to(image.device, non_blocking=True))
