"""Images to arrays: what one file says, and what only all images of a data set together tell."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg.config import SettingError
from semiseg.data.files import UPRIGHT, image_in, is_deep, turn_of, turned_upright
from semiseg.data.masks import mask_and_turn
from semiseg.data.strips import strips

WHOLE_RANGE = {"16-bit": 2**15, "float": 1 / 16}
"""Largest values below which 16-bit data leave their highest bit unused (12-bit data), floating point all but 16 of 256 levels."""

AT_ONCE = 256 << 20
"""Bytes of an 8-bit colour image from which on it is resized channel by channel, which gives the same and takes less memory."""


class Photos:
    """Reads the images of one data set, and notes what one image alone cannot tell.

    A turn that an image's EXIF data ask for is applied, as viewers and annotation tools do, unless only the stored pixels have the
    mask's size. Where the size says nothing (upside down, mirrored, or square), that holds too; but SettingError is raised by
    `finish` when another mask of the data set was drawn on stored pixels.
    """

    def __init__(self, animated: bool = False) -> None:
        self.animated = animated
        """Whether of a moving GIF the first frame is taken."""
        self.kinds: Counter[str] = Counter()
        """Number of images read of each kind of file, such as "8-bit PNG"."""
        self.largest: dict[str, tuple[float, Path]] = {}
        self.stored: Path | None = None
        self.unsure: tuple[Path, int] | None = None

    def alone(self, file: Path) -> np.ndarray:
        """Uint8 (H,W,3) of an image without a mask, upright."""
        pixels, turn = self._noted(file)
        return turned_upright(pixels, turn)

    def pair(self, file: Path, mask: Path, colour: bool | None) -> tuple[np.ndarray, np.ndarray]:
        """An image as uint8 (H,W,3) and its mask as `read_mask` reads it; what differs in size is left to the pack to refuse."""
        raw, mask_turn = mask_and_turn(mask, colour)
        pixels, turn = self._noted(file)
        if mask_turn not in (UPRIGHT, turn):
            raise SettingError(f"{mask}: got a turn in its EXIF data ({mask_turn}); allowed: a mask stored upright")
        if turn == UPRIGHT:
            return pixels, raw
        upright = turned_upright(pixels, turn)
        if mask_turn == turn and raw.shape == pixels.shape[:2]:
            return upright, turned_upright(raw, turn)
        if raw.shape == pixels.shape[:2] != upright.shape[:2]:
            self.stored = file
            return pixels, raw
        if raw.shape != upright.shape[:2]:
            height, width = raw.shape[:2]
            raise SettingError(
                f"{mask}: got a mask of {height}x{width} pixels; allowed: the size of its image, "
                f"{upright.shape[0]}x{upright.shape[1]} (turned as its EXIF data say)"
            )
        if upright.shape == pixels.shape:
            self.unsure = (file, turn)
        return upright, raw

    def finish(self) -> dict[str, int]:
        """Number of images of each kind, once all are read; SettingError for what they can only be meant as together."""
        for depth, (value, file) in self.largest.items():
            if value < WHOLE_RANGE[depth]:
                whole = "0..65535" if depth == "16-bit" else "0..1"
                raise SettingError(
                    f"{file}: got {depth} images with values up to {value:g} in all the data set, which leave most of {whole} unused; "
                    f"allowed: images saved in 8 bits (here value * 255 / {value or 1:g}) or scaled to {whole}"
                )
        if self.stored and self.unsure:
            file, turn = self.unsure
            raise SettingError(
                f"{file}: got a turn in its EXIF data ({turn}) that its mask may or may not follow, as the mask of {self.stored} "
                "does not; allowed: images stored upright, without EXIF orientation"
            )
        return dict(self.kinds)

    def _noted(self, file: Path) -> tuple[np.ndarray, int]:
        pixels, turn, kind, depth, value = _decoded(file, self.animated)
        self.kinds[kind] += 1
        if depth and value >= self.largest.get(depth, (-1.0, file))[0]:
            self.largest[depth] = (value, file)
        return pixels, turn


def read_image(file: Path) -> np.ndarray:
    """Uint8 (H,W,3) as stored. Grey is repeated, alpha dropped, 16-bit scaled by 255/65535 and floating point in [0,1] by 255."""
    return _decoded(file, animated=False)[0]


def _decoded(file: Path, animated: bool) -> tuple[np.ndarray, int, str, str, float]:
    """Stored pixels, EXIF's turn, kind of file, and "16-bit" or "float" with the largest value, for 8-bit images "" and 0."""
    with image_in(file, animated) as image:
        deep, name = is_deep(image), image.format or "image"
        image.load()
        turn = turn_of(image)
        if image.mode != "F" and not image.mode.startswith("I"):
            pixels = np.array(image.convert("RGB"))
            kind = f"{'16' if deep else '8'}-bit {'grey' if image.mode in ('1', 'L', 'LA') else 'colour'} {name}"
            return pixels, turn, kind, "16-bit" if deep else "", float(int(pixels.max()) * 257) if deep else 0.0
        grey = np.asarray(image)
    top, depth = (1, "float") if grey.dtype.kind == "f" else (65535, "16-bit")
    if not (grey.min() >= 0 and grey.max() <= top):  # written so that NaN fails too
        raise SettingError(f"{file}: got values {grey.min()}..{grey.max()}; allowed: 0..{top} in a {grey.dtype} image")
    pixels = np.repeat(np.rint(grey.astype(np.float64) * (255 / top)).astype(np.uint8)[..., None], 3, axis=2)
    return pixels, turn, f"{depth} grey {name}", depth, float(grey.max())


def resized(image: np.ndarray, mask: np.ndarray | None, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (antialiased bilinear) and mask (nearest) at height and width `size`; the arrays themselves where they fit already.

    Of other than 8-bit colour images each channel is resized alone: of uint8 as a channel of a colour image is, of uint16 and
    floating point in float32, rounded back to the type.
    """
    if image.shape[:2] == size:
        return image, mask
    if image.dtype == np.uint8 and image.shape[2] == 3 and image.nbytes < AT_ONCE:
        smooth = bilinear(image, size)
    else:
        smooth = np.empty((*size, image.shape[2]), image.dtype.newbyteorder("="))
        for channel in range(image.shape[2]):
            plane = image[..., channel]
            found = bilinear(plane, size) if image.dtype == np.uint8 else bilinear_in_strips(plane, size)
            smooth[..., channel] = np.rint(found).clip(0, 65535) if image.dtype.name == "uint16" else found
    if mask is not None:
        mask = np.array(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
    return smooth, mask


def bilinear(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Uint8 (H,W) or (H,W,3), or float32 (H,W), as Pillow resizes it, antialiased."""
    height, width = size
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BILINEAR))


def bilinear_in_strips(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same in float32 of (H,W) of another type: first along rows, a few of them at a time, then along columns.

    Not of 8 bits: there Pillow rounds in between, in an order of its own.
    """
    across = [bilinear(strip.astype(np.float32), (len(strip), size[1])) for strip in strips(plane)]
    return bilinear(np.concatenate(across), size)
