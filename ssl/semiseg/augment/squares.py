"""Grey squares over an image: the Cutout of DeVries and Taylor 2017 (arXiv:1708.04552)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semiseg.augment.warp import GREY
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def grey_squares(image: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cover squares of `side` pixels with grey, clipped at the frame.

    Only the image changes: ke2020 asks the student for the labels under the squares, where French et al. drop those pixels.

    Args: image (N,C,H,W); centres (N,S,2) of (y, x), as shares of the frame in [0,1); side in pixels, 0 changes nothing.
    Returns: a new image (N,C,H,W), or `image` itself when there is nothing to cover.
    """
    if side == 0 or centres.shape[1] == 0:
        return image
    height, width = image.shape[-2:]
    corner = (centres * torch.tensor([height, width])).long() - side // 2
    top, left = corner.to(image.device, non_blocking=True).unsqueeze(3).unbind(2)  # (N,S,1) each
    row, column = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
    rows, columns = (row >= top) & (row < top + side), (column >= left) & (column < left + side)
    hole = (rows[..., None] & columns[:, :, None]).any(1)
    return image.masked_fill(hole[:, None], GREY)
