"""What is put around a network for use: flips of what it is shown, probabilities as they leave it."""

from collections.abc import Sequence

from torch import Tensor, nn


class Flipped(nn.Module):
    """Logits whose softmax is the mean of the network's probabilities of an image and of its flips.

    `axes` says which: (-1,) is left to right, (-2,) top to bottom, () the image itself.
    """

    def __init__(self, network: nn.Module, axes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.network, self.axes = network, tuple(axes)

    def forward(self, image: Tensor) -> Tensor:
        found = [self.network(image.flip(one)).float().softmax(1).flip(one) for one in self.axes]
        total = found[0]
        for probs in found[1:]:
            total = total + probs
        return (total / len(found)).log()


class Probabilities(nn.Module):
    """Images (N,C_in,H,W) in [0,1] to probabilities (N,C,H,W), or (N,C,1,1) of a network of whole images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).float().softmax(1)
