"""What a network needs to see a whole image, and that it is refused where that does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semiseg.lazy import nn, torch
from semiseg.machine import need_memory

if TYPE_CHECKING:
    from torch import Tensor

FLOAT = 4
"""Bytes of a float32 number."""


@contextmanager
def widest_layer(network: nn.Module) -> Iterator[list[int]]:
    """Of what is run in this context: numbers that a layer reads and writes, for every layer that is called."""
    found: list[int] = []

    def count(_: nn.Module, given: tuple[object, ...], made: object) -> None:
        found.append(sum(one.numel() for one in (*given, made) if isinstance(one, torch.Tensor)))

    handles = [layer.register_forward_hook(count) for layer in network.modules() if not list(layer.children())]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def need_room(network: nn.Module, classes: int, small: Tensor, largest: tuple[int, int]) -> None:
    """Raise SettingError when an image of that height and width cannot be seen whole, by what the network takes for a small one.

    Args: small, an image (1,C,h,w), which is run in evaluation mode. Counted are the image, its widest layer and what becomes of the
    logits; what a network keeps beside these for later layers is not.
    """
    with widest_layer(network) as numbers, torch.inference_mode():
        network.eval()(small)
    pixels = small.shape[2] * small.shape[3]
    each = max(numbers, default=0) / pixels + 2 * small.shape[1] + 3 * classes
    what = f"scoring an image of {largest[0]}x{largest[1]} pixels as a whole and not in windows, such as of (512, 512),"
    need_memory("train.sliding_window", None, int(each * largest[0] * largest[1]) * FLOAT, what)
