"""The segmentation network f with an auxiliary branch g that shares its first N - k blocks (ke2020, section 3.2, figure 1)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from semiseg.nets.blocks import BlockNet, Features, finish


class MultiTask(nn.Module):
    """f and g in one pass: g has `own` last blocks of its own, with its own initial weights, and shares all before them with f.

    `forward` is f alone, which is all that is tested and that teaches; `both` gives f's and g's logits, each (N,C,H,W) or, of an
    image-level network, (N,C,1,1), and runs the shared blocks once. g's own blocks are given by `own_blocks`, built like f's last
    ones; ke2020 takes k = 2 in stage 2 and k = 1 in stage 3. Raises ValueError unless 1 <= k < N and the names match f's last k
    blocks.
    """

    def __init__(self, segmentation: BlockNet, own_blocks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        names, own = list(segmentation.blocks), list(own_blocks)
        if not 1 <= len(own) < len(names) or names[-len(own) :] != own:
            raise ValueError(f"own blocks: expected the last 1..{len(names) - 1} of {names}, got {own}")
        self.segmentation = segmentation
        self.auxiliary = nn.ModuleDict(own_blocks)

    @property
    def shared(self) -> int:
        """Number of leading blocks that f and g share, N - k."""
        return len(self.segmentation.blocks) - len(self.auxiliary)

    @property
    def image_level(self) -> bool:
        """Whether f says one class for a whole image, and g with it."""
        return self.segmentation.image_level

    def forward(self, image: Tensor) -> Tensor:
        return self.segmentation(image)

    def encode(self, image: Tensor) -> Features:
        """As of f (`BlockNet.encode`)."""
        return self.segmentation.encode(image)

    def decode(self, features: Features, size: torch.Size) -> Tensor:
        """f's logits (`BlockNet.decode`)."""
        return self.segmentation.decode(features, size)

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.segmentation.first(image, self.shared)
        size: torch.Size = image.shape[-2:]
        return self.segmentation.rest(features, self.shared, size), finish(list(self.auxiliary.values()), features, size)
