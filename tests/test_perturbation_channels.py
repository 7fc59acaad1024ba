"""Perturbations of images of one, two, three and five channels, alike for every entry of PERTURBATIONS and every chain of two."""

from dataclasses import replace

import pytest
import torch
from perturbation_tools import COUNT, EVERY, SIZE, call, guess, some_probs, whole
from test_augment_weak import seeded
from torch import Tensor

from semiseg.augment import PERTURBATIONS, Chain, Gentle, Perturbation, Perturbed, RandAugment, View
from semiseg.augment.operations import PHOTOMETRIC

CHANNELS = pytest.mark.parametrize("channels", [1, 2, 3, 5])
ALL_OPS = RandAugment(ops=8, probability=1.0, levels=(0, 10))


def made(name: str) -> Perturbation:
    """With everything that it may do switched on."""
    steps = tuple(
        {"randaugment": ALL_OPS, "gentle": Gentle(rotation=20.0, noise_teacher=0.1)}.get(part, PERTURBATIONS[part]())
        for part in name.split("+")
    )
    return steps[0] if len(steps) == 1 else Chain(steps=steps)


def silent(perturbation: Perturbation) -> Perturbation:
    """Without noise, of which every channel has its own."""
    if isinstance(perturbation, Chain):
        return replace(perturbation, steps=tuple(map(silent, perturbation.steps)))
    return replace(perturbation, noise=0.0, noise_teacher=0.0) if isinstance(perturbation, Gentle) else perturbation


def view_of(image: Tensor) -> View:
    return View(image, torch.ones(len(image), *image.shape[2:], dtype=torch.bool))


def some_images(channels: int, seed: int = 0) -> Tensor:
    """Smooth pictures in [0,1], other ones in every channel."""
    coarse = torch.rand((COUNT, channels, 6, 8), generator=seeded(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 1)


def run(name: str, image: Tensor, partner: Tensor, seed: int = 0, *, noise: bool = True) -> Perturbed:
    perturbation = made(name) if noise else silent(made(name))
    return call(perturbation, view_of(image), view_of(partner), seed)


@EVERY
@CHANNELS
def test_channels_change_nothing_of_shapes_types_and_places(name: str, channels: int) -> None:
    own, rgb = (run(name, some_images(count), some_images(count, 1), noise=False) for count in (channels, 3))
    assert own.image.shape == own.clean.shape == (COUNT, channels, *SIZE)
    assert own.image.dtype == torch.float32
    assert own.image.isfinite().all()
    assert own.valid.equal(rgb.valid)
    probs, theirs = some_probs(), some_probs(1)
    assert own.move(probs, theirs).equal(rgb.move(probs, theirs))
    loud = run(name, some_images(channels), some_images(channels, 1))
    assert not loud.image.equal(some_images(channels))


def assert_same(one: Tensor, other: Tensor) -> None:
    """Posterizing, solarizing and equalizing have steps, over which the rounding of few pixels falls."""
    assert ((one - other).abs() > 1e-4).float().mean() < 0.01


@EVERY
def test_one_channel_is_what_three_equal_ones_give(name: str) -> None:
    """In chains without noise, after which the three are not equal."""
    noise = "+" not in name
    for seed in range(3):
        grey, other = some_images(1), some_images(1, 1)
        one = run(name, grey, other, seed, noise=noise)
        three = run(name, grey.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1), seed, noise=noise)
        assert_same(one.image[:, 0], three.image[:, 0])
        torch.testing.assert_close(one.clean[:, 0], three.clean[:, 0])
        assert one.valid.equal(three.valid)


@EVERY
@pytest.mark.parametrize("channels", [2, 5])
def test_each_of_other_channels_is_changed_as_if_it_were_alone(name: str, channels: int) -> None:
    image, other = some_images(channels), some_images(channels, 1)
    for seed in range(3):
        together = run(name, image, other, seed, noise=False)
        for channel in range(channels):
            alone = run(name, image[:, channel : channel + 1], other[:, channel : channel + 1], seed, noise=False)
            assert_same(together.image[:, channel : channel + 1], alone.image)


@EVERY
@CHANNELS
def test_whole_images_keep_their_channels(name: str, channels: int) -> None:
    view, partner = (whole(view_of(some_images(channels, seed))) for seed in (0, 1))
    found = call(made(name), view, partner)
    assert found.image.shape == view.image.shape
    assert found.valid.equal(view.valid)
    assert guess(view).shape[2:] == (1, 1)


@pytest.mark.parametrize("name", PHOTOMETRIC)
@CHANNELS
def test_every_operation_of_randaugment_takes_any_channels(name: str, channels: int) -> None:
    image, level = some_images(channels), torch.tensor([0, 3, 7, 10])
    found = PHOTOMETRIC[name](image, level)
    assert found.shape == image.shape
    assert 0 <= found.min() <= found.max() <= 1
    if channels == 1:
        three = PHOTOMETRIC[name](image.expand(-1, 3, -1, -1), level)
        torch.testing.assert_close(found, three[:, :1])
    elif name == "Color" and channels != 3:
        assert found.equal(image)


def test_an_image_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^image: \(N,C,H,W\) expected, got \(2, 40, 56\)$"):
        _ = View(torch.zeros(2, *SIZE), torch.ones(2, *SIZE, dtype=torch.bool)).whole
