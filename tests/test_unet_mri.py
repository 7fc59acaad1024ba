"""The U-Net of perone2018 has its layers in its order, and computes what a plain assembly of them does."""

import pytest
import torch
import torch.nn.functional as F
from test_nets import CLASSES, MEAN, STD, count, images
from torch import Tensor, nn

from semiseg.nets import BlockNet, UNetMRI, build


def made(width: int = 4, *, classes: int = CLASSES, dropout: float = 0.0, outputs: str = "classes") -> BlockNet:
    net = UNetMRI(width=width, dropout=dropout, outputs="one" if outputs == "one" else "classes")
    found = build(net, classes, mean=MEAN, std=STD, seed=0)
    assert isinstance(found, BlockNet)
    return found


def test_it_has_the_15_convolutions_of_the_paper() -> None:
    net = made(64, classes=2, outputs="one")
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    pairs = [(3, 64), (64, 128), (128, 256), (256, 256), (512, 256), (384, 128), (192, 64)]
    shapes = [pair for source, channels in pairs for pair in ((source, channels), (channels, channels))] + [(64, 1)]
    assert len(layers) == 15
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == shapes
    assert {layer.kernel_size for layer in layers} == {(3, 3)}
    weights = sum(9 * source * channels + channels for source, channels in shapes)
    assert count(net) == weights + sum(2 * channels for _, channels in shapes[:-1]) == 4_838_401
    assert list(net.blocks) == ["enc1", "enc2", "enc3", "enc4", "dec3", "dec2", "dec1", "head"]


def test_a_block_is_twice_convolution_relu_batchnorm_dropout() -> None:
    """BatchNorm after ReLU: the features of a block have mean 0 over the batch, with dropout apart, which they could not after
    ReLU."""
    net = made(dropout=0.5)
    kinds = [type(module).__name__ for module in net.blocks["dec2"].modules() if not list(module.children())]
    assert kinds == ["Upsample", *["Conv2d", "ReLU", "BatchNorm2d", "Dropout2d"] * 2]
    features = made().first(images(), 1)[-1]
    torch.testing.assert_close(features.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0.0)
    assert (net.first(images(), 1)[-1] == 0).flatten(2).all(2).any()  # whole channels are dropped


def slow(weights: dict[str, Tensor], image: Tensor) -> Tensor:
    """The network in evaluation mode from its weights alone, after any training of BatchNorm's statistics."""

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def block(x: Tensor, name: str) -> Tensor:
        for position in (0, 4):
            x = conv(x, f"blocks.{name}.convs.{position}").relu()
            mean, var, scale, shift = (
                weights[f"blocks.{name}.convs.{position + 2}.{value}"].reshape(-1, 1, 1)
                for value in ("running_mean", "running_var", "weight", "bias")
            )
            x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return x

    def up(x: Tensor, height: int, width: int) -> Tensor:
        """Bilinear, corners aligned, one axis at a time; an odd side repeats its last line."""
        for axis, wanted in ((2, height), (3, width)):
            size = x.shape[axis]
            places = torch.arange(2 * size) * (size - 1) / (2 * size - 1)
            low = places.floor().long().clamp(max=size - 1)
            share = (places - low).reshape([-1 if i == axis else 1 for i in range(4)]).to(x.dtype)
            above = (low + 1).clamp(max=size - 1)
            x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, above) * share
            x = x.index_select(axis, torch.arange(wanted).clamp(max=2 * size - 1))
        return x

    x = block((image - weights["mean"]) / weights["std"], "enc1")
    skips = [x]
    for level in (2, 3, 4):
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        x = x[:, :, :height, :width].unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        x = block(x, f"enc{level}")
        skips.append(x)
    for level in (3, 2, 1):
        skip = skips[level - 1]
        x = block(torch.cat([skip, up(x, *skip.shape[2:])], 1), f"dec{level}")
    return conv(x, "blocks.head.conv")


@pytest.mark.parametrize("size", [(32, 40), (33, 47), (8, 15)])
def test_it_computes_what_its_layers_say_at_any_size(size: tuple[int, int]) -> None:
    net = made().double()
    batch = images(*size).double()
    for _ in range(3):
        net(batch)
    net.eval()
    torch.testing.assert_close(net(batch), slow(net.state_dict(), batch))


def test_its_bottleneck_has_an_eighth_of_the_resolution() -> None:
    assert [x.shape[1:] for x in made().first(images(40, 48), 4)] == [(4, 40, 48), (8, 20, 24), (16, 10, 12), (16, 5, 6)]
