"""Mild random changes of a batch: colours, blur and noise (pets_mean_teacher), small affine motions and noise (perone2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semiseg.augment.hsv import to_hsv, to_rgb
from semiseg.augment.perturbation import STAY, Move, Perturbation, Perturbed, View, as_maps, like, nothing
from semiseg.augment.warp import GREY, affine_grid, resample
from semiseg.config import require
from semiseg.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Gentle(Perturbation):
    """Mild random changes of an image: hue, saturation, blur and noise (pets_mean_teacher), a small rotation and noise (perone2018).

    One draw per image. pets_mean_teacher names its four without a range: the defaults are ours. perone2018 is hue 0, saturation 1 to 1,
    blur 0 to 0, rotation 4.5, noise and noise_teacher 0.01 of z-scores, which scgm packs from -4..4 as 0..1: 0.01 / 8.
    """

    hue: float = 0.05
    """Largest turn of H, either way, uniform, as a share of the colour circle (pets_mean_teacher gives none)."""
    saturation: tuple[float, float] = (0.7, 1.3)
    """Range of the factor of S, uniform; S stays in [0, 1] (pets_mean_teacher gives none)."""
    blur: tuple[float, float] = (0.0, 1.0)
    """Range of the Gaussian blur's standard deviation in pixels, uniform (pets_mean_teacher gives none)."""
    noise: float = 0.05
    """Standard deviation of the Gaussian noise of every value of the image in [0, 1] (pets_mean_teacher gives none; perone2018: 0.01 / 8)."""
    noise_teacher: float = 0.0
    """The same of the image that a teacher sees, drawn on its own (pets_mean_teacher: none; perone2018: 0.01 / 8)."""
    rotation: float = 0.0
    """Largest angle in degrees, either way, uniform (pets_mean_teacher: none; perone2018: 4.5)."""
    translate: float = 0.0
    """Largest shift along each axis, either way, uniform, as a share of the side (papers: none; perone2018's later code: 0.03)."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the scale, uniform; 2: content appears twice as large (papers: none; perone2018's later code: 0.98 to 1.02)."""
    background: bool = False
    """Where a motion brings in nothing the image is black, counts, and is of class 0 to a teacher, as where perone2018's code rotates with
    zeros; off: it is grey and does not count."""

    def __post_init__(self) -> None:
        require(0 <= self.hue <= 0.5, "gentle.hue", self.hue, "a share of the colour circle in [0, 0.5]")
        for name in ("noise", "noise_teacher"):
            require(0 <= getattr(self, name) < math.inf, f"gentle.{name}", getattr(self, name), "a number >= 0")
        for name in ("saturation", "blur"):
            low, high = getattr(self, name)
            require(0 <= low <= high < math.inf, f"gentle.{name}", (low, high), "two numbers, 0 <= low <= high")
        require(0 <= self.rotation <= 180, "gentle.rotation", self.rotation, "degrees in [0, 180]")
        require(0 <= self.translate < 1, "gentle.translate", self.translate, "a share in [0, 1)")
        low, high = self.scale
        require(0 < low <= high < math.inf, "gentle.scale", self.scale, "two numbers, 0 < low <= high")

    @property
    def moves(self) -> bool:
        """Whether pixels change place."""
        return self.rotation > 0 or self.translate > 0 or self.scale != (1.0, 1.0)

    @property
    def meets(self) -> bool:
        return not self.moves

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        """Colours and blur, then the motion, then noise."""
        image = colours(view.image, self, generator)
        clean = noisy(view.image, self.noise_teacher, generator)
        image, valid, motion = self._moved(View(image, view.valid), generator)
        return Perturbed(noisy(image, self.noise, generator), valid, STAY if view.whole else motion, clean, motion)

    def pair(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> tuple[Perturbed, Perturbed]:
        """The teacher's image is moved by a draw of its own and has the teacher's noise; its colours are the original ones."""
        image = colours(view.image, self, generator)
        image, valid, motion = self._moved(View(image, view.valid), generator)
        other, seen, moved = self._moved(view, generator)
        other, mine = noisy(other, self.noise_teacher, generator), noisy(image, self.noise, generator)
        moves = (STAY, STAY) if view.whole else (motion, moved)
        return Perturbed(mine, valid, moves[0], view.image, motion), Perturbed(other, seen, moves[1], view.image, moved)

    def _moved(self, view: View, generator: torch.Generator) -> tuple[Tensor, Tensor, Move]:
        """The image and what is valid of it, moved, and how images move."""
        if not self.moves:
            return view.image, view.valid, STAY
        motion = Motion(*draw_motion(view.image, self, generator), self.background)
        return motion.images(view.image), view.valid if view.whole else motion(view.valid), motion


class Motion(Move):
    """An affine motion of N images: grid (N,H,W,2), where each pixel comes from, and inside (N,H,W) bool, whether that lies in the frame.

    Floats are read bilinearly, labels and bools by nearest neighbour. With `background`, out of the frame images are black, bools True,
    probabilities those of class 0, confidences 1.
    """

    def __init__(self, grid: Tensor, inside: Tensor, background: bool) -> None:
        self.grid, self.inside, self.background = grid, inside, background

    def images(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """The images (N,C,H,W) moved; out of the frame grey, or black with `background`."""
        with torch.autocast(own.device.type, enabled=False):
            return resample(own, self.grid, self.inside, fill=0.0 if self.background else GREY)

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        with torch.autocast(own.device.type, enabled=False):
            moved = resample(
                as_maps(own, self.grid), self.grid, self.inside, fill=nothing(own), nearest=not own.is_floating_point()
            )
        if self.background and own.dtype != torch.int64:
            moved[:, :1].masked_fill_(~self.inside[:, None], 1.0)
        return like(moved, own)


def colours(image: Tensor, settings: Gentle, generator: torch.Generator) -> Tensor:
    """Turn H and scale S (HSV) of every RGB image, then blur it, reflecting its border: the order in which pets_mean_teacher names them.

    Args: image (N,C,H,W) in [0,1].
    Returns: image (N,C,H,W) float32 in [0,1], up to rounding.
    """
    uniform = torch.rand((len(image), 3), generator=generator)
    low, high = torch.tensor([(-settings.hue, settings.hue), settings.saturation, settings.blur]).unbind(1)
    turn, factor, sigma = (low + (high - low) * uniform).to(image.device, non_blocking=True)[:, :, None, None].unbind(1)
    image = image.float()
    with torch.autocast(image.device.type, enabled=False):
        if image.shape[1] == 3 and (settings.hue > 0 or settings.saturation != (1.0, 1.0)):
            h, s, v = to_hsv(image)
            image = to_rgb(h + 6 * turn, (s * factor).clamp(max=1), v)
        if settings.blur[1] > 0:
            radius = min(math.ceil(3 * settings.blur[1]), *(side - 1 for side in image.shape[2:]))  # reflection reaches no further
            # the least sigma leaves an image as it is, where 0 would be 0/0
            image = blurred(image, sigma.flatten().clamp(min=1e-3), radius)
    return image


def blurred(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Each image (N,C,H,W) with a Gaussian of its own (N,), cut off at `radius` pixels, which is below H and W; borders are reflected."""
    distance = torch.arange(radius + 1, device=image.device)
    weights = torch.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    middle, *sides = (weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1]))[..., None, None, None].unbind(1)
    pair = torch.empty_like(image)
    for axis, border in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        size, padded = image.shape[axis], F.pad(image, border, mode="reflect")
        image = image * middle
        for far, weight in enumerate(sides, 1):  # added up one distance after the other: a third of the time of a convolution
            torch.add(padded.narrow(axis, radius - far, size), padded.narrow(axis, radius + far, size), out=pair)
            image.addcmul_(pair, weight)
    return image


def noisy(image: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """The image plus N(0, std^2), drawn for every value; not clamped, so it may leave [0,1]. std 0 draws nothing.

    A grey image gets the noise of the first of three channels.
    """
    if std == 0:
        return image
    count, channels, *size = image.shape
    drawn = torch.randn((count, 3 if channels == 1 else channels, *size), generator=generator)[:, :channels]
    return torch.add(image, drawn.to(image.device, non_blocking=True), alpha=std)


def draw_motion(image: Tensor, settings: Gentle, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotation and scale about the centre, then a shift, all uniform in the settings' ranges, one draw for each of (N,C,H,W).

    Returns: grid and inside, as `Motion` wants them.
    """
    count, _, height, width = image.shape
    uniform = torch.rand((count, 4), generator=generator)
    angle, *shift = (2 * uniform[:, [0, 2, 3]] - 1).unbind(1)
    scale = settings.scale[0] + (settings.scale[1] - settings.scale[0]) * uniform[:, 1]
    angle = math.radians(settings.rotation) * angle
    x, y = settings.translate * width * shift[0], settings.translate * height * shift[1]
    a, b = angle.cos() / scale, angle.sin() / scale
    # the source of a target pixel: the shift, then rotation and scale, undone
    matrix = torch.stack([torch.stack([a, -b, b * y - a * x], 1), torch.stack([b, a, -b * x - a * y], 1)], 1)
    return affine_grid(matrix.to(image.device, non_blocking=True), (height, width))
