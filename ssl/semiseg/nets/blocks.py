"""A network as named blocks in order, which is what the multi-task branch needs to share its first N - k."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What one block hands to the next: pending skip features, then the current feature map."""


class BlockNet(nn.Module):
    """Standardises an image and runs it through named blocks, each a module from `State` to `State`.

    The last block's state holds the logits alone; they are resized to the image when smaller. Input (N,3,H,W) in [0,1]; output
    (N,C,H,W) logits. `mean` and `std` are those of the training images, per channel in [0,1], kept with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, blocks: Mapping[str, nn.Module], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def first(self, image: Tensor, count: int) -> State:
        """State after the first `count` blocks."""
        state: State = ((image - self.mean) / self.std,)
        for block in list(self.blocks.values())[:count]:
            state = block(state)
        return state

    def rest(self, state: State, count: int, size: torch.Size) -> Tensor:
        """Logits (N,C,*size) from the state after the first `count` blocks."""
        return finish(list(self.blocks.values())[count:], state, size)

    def forward(self, image: Tensor) -> Tensor:
        return self.rest(self.first(image, len(self.blocks)), len(self.blocks), image.shape[-2:])


def finish(blocks: list[nn.Module], state: State, size: torch.Size) -> Tensor:
    """Run the remaining blocks and bring the logits to `size`."""
    for block in blocks:
        state = block(state)
    (logits,) = state
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return logits
