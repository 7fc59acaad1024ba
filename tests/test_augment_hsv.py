"""Hue, saturation and value against kornia's, also where a step before has left the range of images."""

import math

import pytest
import torch
from kornia.color import hsv_to_rgb, rgb_to_hsv

from semiseg.augment.hsv import to_hsv, to_rgb


def images() -> torch.Tensor:
    image = torch.rand((3, 3, 6, 7), generator=torch.Generator().manual_seed(0))
    image[0, :, 0] = 0.4  # grey
    image[1, :, 0] = 0.0
    image[2, :2, 0] = 0.9  # two highest channels
    image[2, 1:, 1] = 0.9
    return image


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_planes_are_kornias(layout: torch.memory_format) -> None:
    hue, saturation, value = to_hsv(images().contiguous(memory_format=layout))
    expected = rgb_to_hsv(images())
    apart = (hue - expected[:, 0] * 3 / math.pi + 3) % 6 - 3
    torch.testing.assert_close(apart, torch.zeros_like(apart), atol=1e-5, rtol=0)
    torch.testing.assert_close(saturation, expected[:, 1])
    torch.testing.assert_close(value, expected[:, 2])


@pytest.mark.parametrize("change", [(0.0, 1.0, 0.0), (2.5, 1.0, 0.0), (-7.0, 0.3, 0.0), (0.6, 2.0, 0.4), (13.0, 1.5, -0.6)])
def test_images_are_kornias_whatever_the_planes(change: tuple[float, float, float]) -> None:
    turn, factor, shift = change
    hue, saturation, value = to_hsv(images())
    found = to_rgb(hue + turn, saturation * factor, value + shift)
    planes = [(hue + turn) * math.pi / 3, saturation * factor, value + shift]
    torch.testing.assert_close(found, hsv_to_rgb(torch.stack(planes, 1)), atol=1e-5, rtol=0)
    if change == (0.0, 1.0, 0.0):
        torch.testing.assert_close(found, images())


def test_images_beyond_their_range_come_back() -> None:
    image = images() * 3 - 1
    torch.testing.assert_close(to_rgb(*to_hsv(image)), image, atol=1e-5, rtol=1e-5)
