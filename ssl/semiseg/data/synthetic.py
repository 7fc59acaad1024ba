"""Built-in scenes that need no download: four kinds of textured objects on a textured ground, drawn from an index and a seed.

A class is a shape with a texture and a range of hues; ground, light, contrast and noise differ from scene to scene. Bars, squares
and rings cover few pixels.
"""

import colorsys
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from semiseg.config import Data, require
from semiseg.data.dataset import DataSet
from semiseg.data.source import Item, Source
from semiseg.development import SCENES

# Difficulty. Lengths are in pixels of a 64 x 64 scene and grow with the shorter side. Ranges are drawn from uniformly.
OBJECTS = (2, 5)  # objects in a scene, inclusive
SHARES = {"disc": 0.3, "bar": 0.28, "square": 0.22, "ring": 0.2}  # how often an object is of each class
DISTRACTORS = (0, 1)  # plain triangles that belong to the background, inclusive
DIAMETER = (16.0, 34.0)
HUE_SPREAD = 0.06  # standard deviation around the class's hue; 0.5 makes colour say nothing, 0.05 makes it say all
TEXTURE_CONTRAST = (0.2, 0.5)  # between the two colours of an object
PERIOD = (3.5, 6.0)  # of stripes, checks and dots
OBJECT_SATURATION = (0.4, 0.9)
GROUND_SATURATION = (0.0, 0.3)  # objects are more colourful than the ground; overlap makes them harder to find
OBJECT_VALUE = (0.3, 0.95)  # darkest and brightest of an object's colours
GROUND_VALUE = (0.15, 0.95)
GROUND_CONTRAST = (0.1, 0.4)  # of the ground's noise
GRATING_CONTRAST = (0.0, 0.2)  # of the stripes over the ground
ILLUMINATION = 0.35  # largest relative change of brightness from the middle to the border
CONTRAST = (0.6, 1.2)  # of a whole image
BRIGHTNESS = (-0.12, 0.12)  # added to a whole image
NOISE = (0.0, 0.04)  # standard deviation of the pixel noise


@dataclass(frozen=True)
class Kind:
    """What tells a kind of scenes from the others."""

    hue_spread: float = HUE_SPREAD
    objects: tuple[int, int] = OBJECTS


PLAIN = Kind()
KINDS = {"colourful": Kind(hue_spread=0.03), "muted": Kind(hue_spread=0.12), "crowded": Kind(objects=(4, 8))}
"""By the variant that asks for them: colour says more or less of an object's class, or more objects cover each other."""

CLASSES = ("background", "disc", "bar", "square", "ring")
PALETTE = ((0, 0, 0), (230, 80, 60), (70, 140, 230), (240, 190, 50), (90, 190, 110))
HUES = {"disc": 0.0, "bar": 0.25, "square": 0.5, "ring": 0.75, "triangle": 0.4}
COUNTS = {"train": 256, "selection": 48, "test": 128}
SIZE = (64, 64)
LABELLED = 8
SEED = 20240  # of every scene; which ones are labelled is drawn with --data.split-seed
DEVELOPMENT_SEED = 20241  # of the variant's: other scenes of the same kind


def synthetic(data: Data) -> Source:
    """432 scenes of 64 x 64 pixels, the same on every run, of a kind that the variant names; the variant "development" has others, on
    which settings are chosen. SettingError for two kinds."""
    kinds = [name for name in data.variant if name in KINDS]
    require(len(kinds) <= 1, "data.variant", data.variant, f"one of {', '.join(KINDS)}")
    kind = KINDS[kinds[0]] if kinds else PLAIN
    seed = DEVELOPMENT_SEED if SCENES in data.variant else SEED
    names = [split for split, count in COUNTS.items() for _ in range(count)]
    return Source(
        items=tuple(Item(f"{index:04d}", split) for index, split in enumerate(names)),
        classes=CLASSES,
        palette=PALETTE,
        read=lambda item: scene(int(item.id), seed, SIZE, kind),
        stamp=hashlib.sha256(Path(__file__).read_bytes() + f"{seed} {kind}".encode()).hexdigest(),
        default_size=SIZE,
        default_labelled=LABELLED,
        where=lambda item: f"scene {item.id}",
    )


def scene(index: int, seed: int, size: tuple[int, int] = SIZE, of: Kind = PLAIN) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H,W,3) and mask uint8 (H,W), a pure function of its arguments."""
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    image = ground(rng, size)
    mask = np.zeros(size, np.uint8)
    kinds = ["triangle"] * int(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1))
    kinds += rng.choice(list(SHARES), size=rng.integers(of.objects[0], of.objects[1] + 1), p=list(SHARES.values())).tolist()
    for kind in rng.permutation(kinds).tolist():
        distance, colour = drawn_object(rng, size, kind, of.hue_spread)
        cover = np.clip(0.5 - distance, 0, 1)[..., None]  # antialiased: half at the outline
        image = image * (1 - cover) + colour * cover
        mask[distance <= 0] = CLASSES.index(kind) if kind in CLASSES else 0
    return lit(rng, image), mask


def ground(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Noise of three octaves between two colours, and stripes of one direction over it; float (H,W,3)."""
    noise = sum(value_noise(rng, size, cells) / weight for cells, weight in ((3, 1), (6, 2), (13, 4))) * (4 / 7)
    first, second = two_colours(rng, rng.uniform(), rng.uniform(*GROUND_CONTRAST), GROUND_SATURATION, GROUND_VALUE)
    blend = np.clip(2 * noise - 0.5, 0, 1)[..., None]  # an average of octaves stays near the middle: stretch it
    along, _ = turned(size, (0, 0), rng.uniform(0, np.pi))
    waves = np.sin(2 * np.pi * along / (rng.uniform(*PERIOD) * scale(size)) + rng.uniform(0, 2 * np.pi))
    return first + (second - first) * blend + rng.uniform(*GRATING_CONTRAST) / 2 * waves[..., None] * rng.uniform(0, 1, 3)


def drawn_object(
    rng: np.random.Generator, size: tuple[int, int], kind: str, hue_spread: float = HUE_SPREAD
) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the outline in pixels, negative inside (H,W), and colours (H,W,3) of one object."""
    radius = rng.uniform(*DIAMETER) / 2 * scale(size)
    centre = rng.uniform(0.12, 0.88, 2) * size
    along, across = turned(size, (centre[0], centre[1]), rng.uniform(0, 2 * np.pi))
    period = rng.uniform(*PERIOD) * scale(size)
    far = np.hypot(along, across)
    if kind == "disc":
        distance = far - radius
        blend = np.clip(far / radius, 0, 1)  # from the middle to the rim
    elif kind == "bar":
        distance = box(along, across, 1.15 * radius, rng.uniform(0.25, 0.4) * radius)
        blend = 0.5 + 0.5 * np.sin(2 * np.pi * along / period)  # rungs: there is no room for stripes along a thin bar
    elif kind == "square":
        distance = box(along, across, 0.8 * radius, 0.8 * radius)
        blend = ((np.floor(along / (0.75 * period)) + np.floor(across / (0.75 * period))) % 2).astype(float)
    elif kind == "ring":
        width = rng.uniform(0.18, 0.28) * radius
        distance = np.abs(far - (radius - width)) - width
        blend = (rng.uniform(size=size) > 0.5).astype(float)
    else:
        thirds = [np.cos(turn) * along + np.sin(turn) * across for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
        distance = np.maximum.reduce(thirds) - radius / 2
        blend = np.full(size, rng.uniform())
    first, second = two_colours(
        rng, rng.normal(HUES[kind], hue_spread), rng.uniform(*TEXTURE_CONTRAST), OBJECT_SATURATION, OBJECT_VALUE
    )
    return distance, first + (second - first) * blend[..., None]


def lit(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light from one side, contrast and brightness of the camera, noise; uint8."""
    size = (image.shape[0], image.shape[1])
    along, _ = turned(size, (size[0] / 2, size[1] / 2), rng.uniform(0, 2 * np.pi))
    image = image * (1 + rng.uniform(0, ILLUMINATION) * along / (max(size) / 2))[..., None]
    image = (image - 0.5) * rng.uniform(*CONTRAST) + 0.5 + rng.uniform(*BRIGHTNESS)
    image = image + rng.normal(0, rng.uniform(*NOISE), image.shape)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def two_colours(
    rng: np.random.Generator, hue: float, contrast: float, saturation: tuple[float, float], value: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Two colours (3,) of about the same hue whose brightness differs by `contrast`, either of them the brighter one."""
    low = rng.uniform(value[0], value[1] - contrast)
    values = rng.permutation([low, low + contrast])
    hues = (hue + rng.normal(0, 0.02, 2)) % 1.0
    first, second = (np.array(colorsys.hsv_to_rgb(h, rng.uniform(*saturation), v)) for h, v in zip(hues, values, strict=True))
    return first, second


def turned(size: tuple[int, int], centre: tuple[float, float], angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (H,W) along and across a direction, in pixels from `centre` (row, column)."""
    row = np.arange(size[0])[:, None] + 0.5 - centre[0]
    column = np.arange(size[1])[None, :] + 0.5 - centre[1]
    return np.cos(angle) * column + np.sin(angle) * row, np.cos(angle) * row - np.sin(angle) * column


def box(along: np.ndarray, across: np.ndarray, half_length: float, half_width: float) -> np.ndarray:
    """Distance to a rectangle's outline; past a corner the larger of the two, which leaves corners sharp."""
    return np.maximum(np.abs(along) - half_length, np.abs(across) - half_width)


def value_noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    """Random values at the corners of cells x cells squares, interpolated bilinearly; (H,W) in [0,1]."""
    return between(size[0], cells) @ rng.uniform(size=(cells + 1, cells + 1)) @ between(size[1], cells).T


@cache
def between(pixels: int, cells: int) -> np.ndarray:
    """Matrix (pixels, cells + 1) that interpolates linearly from cell borders to pixel centres."""
    at = (np.arange(pixels) + 0.5) / pixels * cells
    return np.clip(1 - np.abs(at[:, None] - np.arange(cells + 1)), 0, None)


def scale(size: tuple[int, int]) -> float:
    return min(size) / SIZE[0]


SYNTHETIC = DataSet(name="synthetic", source=synthetic, variants=(SCENES, *KINDS))
