"""What is around the blocks of a user's own network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from semiseg.config import SettingError
from semiseg.nets.blocks import Features, Last


class Block(nn.Module):
    """(x,) -> (module(x),), whatever the user's blocks hand to each other."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Features) -> Features:
        return (self.module(features[-1]),)


class OwnLast(Last):
    """The last block, whose logits are checked: SettingError when they are not (N,C,h,w), or (N,C) of a whole image.

    It keeps what the user's module says of itself: whether it is `image_level`, and how many blocks are its `encoder`.
    """

    def __init__(self, module: nn.Module, classes: int, name: str, image_level: bool, encoder: int) -> None:
        super().__init__()
        self.module, self.classes, self.name, self.image_level, self.encoder = module, classes, name, image_level, encoder

    def forward(self, features: Features) -> Features:
        found = self.module(features[-1])
        logits: Any = found["out"] if isinstance(found, Mapping) and "out" in found else found
        if isinstance(logits, Tensor) and self.image_level and logits.ndim == 2:
            logits = logits[:, :, None, None]
        fits = isinstance(logits, Tensor) and logits.ndim == 4 and logits.shape[1] == self.classes
        if not fits or (self.image_level and logits.shape[2:] != (1, 1)):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            allowed = f"(N,{self.classes}) of whole images" if self.image_level else f"(N,{self.classes},height,width)"
            raise SettingError(f"net.name: {self.name} gave {got}; allowed: logits {allowed}")
        return (logits,)
