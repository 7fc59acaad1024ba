"""Images to arrays: what one file says, and what only all images of a data set together tell."""

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from semiseg.config import SettingError
from semiseg.data.arrays import Raster, arranged, as_channels, as_planes, followed, kept
from semiseg.data.files import UPRIGHT, array_of, deep_png, image_in, is_deep, turn_of, turned_upright
from semiseg.data.formats import opened
from semiseg.data.masks import mask_and_turn, mask_pages
from semiseg.data.nifti import need_alike
from semiseg.data.tiff import NODATA, nodata_value


class Decoded(NamedTuple):
    """An image as stored, (H,W,C), EXIF's turn, the kind of file, and bool (H,W) where no channel has data (None: nowhere)."""

    pixels: np.ndarray
    turn: int
    kind: str
    void: np.ndarray | None


class Photos:
    """Reads the images of one data set, and notes what one image alone cannot tell.

    A turn that an image's EXIF data ask for is applied, as viewers and annotation tools do, unless only the stored pixels have the
    mask's size. Where the size says nothing (upside down, mirrored, or square), that holds too; but SettingError is raised by
    `finish` when another mask of the data set was drawn on stored pixels.
    """

    def __init__(self, animated: bool = False, channels: int | None = None, plane: str = "axial") -> None:
        self.animated = animated
        """Whether of a moving GIF the first frame is taken."""
        self.channels = channels
        """Data.channels."""
        self.plane = plane
        """Of a volume's slices."""
        self.kinds: Counter[str] = Counter()
        """Number of images read of each kind of file, such as "8-bit colour PNG"."""
        self.stored: Path | None = None
        self.unsure: tuple[Path, int] | None = None
        self._slices = lru_cache(maxsize=1)(self._image_slices)  # slices are read file by file
        self._masks = lru_cache(maxsize=1)(self._mask_slices)

    def alone(self, file: Path, layouts: frozenset[str] = frozenset()) -> np.ndarray:
        """An image (H,W,C) without a mask, upright; `layouts` are the axes of labelled files, which it follows where it is open."""
        raster = opened(file, self.plane, self.channels)
        found = self._noted(file, raster, "" if raster is None else followed(raster, layouts))
        return turned_upright(found.pixels, found.turn)

    def pair(self, file: Path, mask: Path, colour: bool | None) -> tuple[np.ndarray, np.ndarray]:
        """An image (H,W,C) and its mask as `read_mask` reads it; what differs in size is left to the pack to refuse."""
        return self.pair_and_void(file, mask, colour)[:2]

    def pair_and_void(self, file: Path, mask: Path, colour: bool | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """`pair`, and bool (H,W) where no channel of the image has data, None for nowhere."""
        raw, mask_turn = mask_and_turn(mask, colour)
        raster = opened(file, self.plane, self.channels)
        size = raw.shape[:2] if raster is None or raster.turn <= 4 else raw.shape[1::-1]
        pixels, turn, _, void = self._noted(file, raster, "" if raster is None else arranged(raster, size))
        if mask_turn not in (UPRIGHT, turn):
            raise SettingError(f"{mask}: got a turn in its EXIF data ({mask_turn}); allowed: a mask stored upright")
        if turn == UPRIGHT:
            return pixels, raw, void
        upright = turned_upright(pixels, turn)
        if mask_turn == turn and raw.shape == pixels.shape[:2]:
            return upright, turned_upright(raw, turn), None
        if raw.shape == pixels.shape[:2] != upright.shape[:2]:
            self.stored = file
            return pixels, raw, None
        if raw.shape != upright.shape[:2]:
            height, width = raw.shape[:2]
            raise SettingError(
                f"{mask}: got a mask of {height}x{width} pixels; allowed: the size of its image, "
                f"{upright.shape[0]}x{upright.shape[1]} (turned as its EXIF data say)"
            )
        if upright.shape == pixels.shape:
            self.unsure = (file, turn)
        return upright, raw, None

    def slice_alone(self, file: Path, number: int, layouts: frozenset[str]) -> np.ndarray:
        """One slice (H,W,C) of a file without masks."""
        return self._slice(file, None, number, layouts)[0]

    def slice_and_void(self, file: Path, mask: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """One slice of a file and of its mask, as `pair_and_void` gives images."""
        pages = self._masks(mask)
        pixels, void = self._slice(file, mask, number, frozenset())
        return pixels, pages[number], void

    def _slice(self, file: Path, mask: Path | None, number: int, layouts: frozenset[str]) -> tuple[np.ndarray, np.ndarray | None]:
        planes, raster = self._slices(file, mask, layouts)
        pixels, void = kept(planes[number], raster.nodata, file)
        pixels = as_channels(pixels, self.channels, file)
        self.kinds[f"{depth_of_type(pixels)} {channels_of(pixels)} {raster.format} slice"] += 1
        if raster.turn == UPRIGHT:
            return pixels, void
        return turned_upright(pixels, raster.turn), None if void is None else turned_upright(void, raster.turn)

    def _image_slices(self, file: Path, mask: Path | None, layouts: frozenset[str]) -> tuple[np.ndarray, Raster]:
        raster = opened(file, self.plane, self.channels)
        if raster is None:
            raise SettingError(f"{file}: got one image; allowed: as many pages as its mask {mask} has")
        if mask is None:
            axes = followed(raster, layouts)
        else:
            need_alike(file, mask)
            like = self._masks(mask).shape
            axes = arranged(raster, like if raster.turn <= 4 else (like[0], like[2], like[1]))
        return without_alpha(as_planes(raster.values(), axes), raster, self.channels), raster

    def _mask_slices(self, mask: Path) -> np.ndarray:
        raster = opened(mask, self.plane)
        assert raster is not None  # it has said how many slices it has
        pages = mask_pages(raster)
        return pages if raster.turn == UPRIGHT else np.stack([turned_upright(page, raster.turn) for page in pages])

    def finish(self) -> dict[str, int]:
        """Number of images of each kind, once all are read; SettingError for what they can only be meant as together."""
        if self.stored and self.unsure:
            file, turn = self.unsure
            raise SettingError(
                f"{file}: got a turn in its EXIF data ({turn}) that its mask may or may not follow, as the mask of {self.stored} "
                "does not; allowed: images stored upright, without EXIF orientation"
            )
        return dict(self.kinds)

    def _noted(self, file: Path, raster: Raster | None, axes: str) -> Decoded:
        found = _decoded(file, self.animated) if raster is None else of_raster(raster, axes, self.channels)
        self.kinds[found.kind] += 1
        return found._replace(pixels=as_channels(found.pixels, self.channels, file))


def read_image(file: Path) -> np.ndarray:
    """(H,W,C) of a picture as stored: 8-bit grey is repeated, alpha dropped, 16 bits and floating point stay."""
    return as_channels(_decoded(file, animated=False).pixels, None, file)


def _decoded(file: Path, animated: bool) -> Decoded:
    """A file that Pillow reads, 8-bit images as RGB."""
    with image_in(file, animated) as image:
        deep, name, mode = is_deep(image), image.format or "image", image.mode
        tags = getattr(image, "tag_v2", {})
        nodata = nodata_value(tags.get(NODATA)) if mode not in ("1", "P", "PA") else None
        if deep and name != "PNG":
            raise SettingError(f"{file}: got 16 bits a channel in a {name} file; allowed: PNG or TIFF, or 8 bits")
        if deep:
            turn, values = turn_of(image), deep_png(file)
        else:
            image.load()
            turn = turn_of(image)
            values = array_of(image) if mode in ("F", "I") or mode.startswith("I;") else array_of(image, "RGB")
    values = values[..., None] if values.ndim == 2 else values
    if mode == "I" and name in ("PNG", "PPM"):  # 16 bits as well, which Pillow widens
        values = values.astype(np.uint16)
    pixels, void = kept(values, nodata, file)
    grey = mode in ("1", "L", "LA") or pixels.shape[2] == 1
    alpha = " without alpha" if name == "TIFF" and mode.endswith("A") else ""
    return Decoded(pixels, turn, f"{depth_of_type(pixels)} {'grey' if grey else 'colour'} {name}{alpha}", void)


def of_raster(raster: Raster, axes: str, channels: int | None) -> Decoded:
    """The one image of an array's file, upright."""
    planes = without_alpha(as_planes(raster.values(), axes), raster, channels)
    if len(planes) > 1:
        raise SettingError(f"{raster.file}: got {len(planes)} slices; allowed: one, as its mask has")
    pixels, void = kept(planes[0], raster.nodata, raster.file)
    if raster.turn != UPRIGHT:
        pixels, void = turned_upright(pixels, raster.turn), None if void is None else turned_upright(void, raster.turn)
    alpha = " without alpha" if raster.alpha and channels != pixels.shape[2] else ""
    return Decoded(pixels, UPRIGHT, f"{depth_of_type(pixels)} {channels_of(pixels)} {raster.format}{alpha}", void)


def without_alpha(planes: np.ndarray, raster: Raster, channels: int | None) -> np.ndarray:
    """Planes (D,H,W,C) without the channels that say how opaque a pixel is, unless just so many channels are asked for."""
    count = planes.shape[3]
    return planes if channels == count else planes[..., : count - raster.alpha]


def depth_of_type(pixels: np.ndarray) -> str:
    """How people call a type."""
    return f"{8 * pixels.itemsize}-bit{' float' if pixels.dtype.kind == 'f' else ''}"


def channels_of(pixels: np.ndarray) -> str:
    """How people call a number of channels."""
    return {1: "grey", 3: "colour"}.get(pixels.shape[2], f"{pixels.shape[2]}-channel")


def resized(image: np.ndarray, mask: np.ndarray | None, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (antialiased bilinear) and mask (nearest) at height and width `size`; the arrays themselves where they fit already.

    Of other than 8-bit colour images each channel is resized alone: of uint8 as a channel of a colour image is, of uint16 and
    floating point in float32, rounded back to the type.
    """
    height, width = size
    if image.shape[:2] == size:
        return image, mask
    if image.dtype == np.uint8 and image.shape[2] == 3:
        image = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    else:
        planes = np.empty((height, width, image.shape[2]), image.dtype.newbyteorder("="))
        for channel in range(image.shape[2]):
            plane = np.ascontiguousarray(image[..., channel], np.uint8 if image.dtype == np.uint8 else np.float32)
            found = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            planes[..., channel] = np.rint(found).clip(0, 65535) if image.dtype.name == "uint16" else found
        image = planes
    if mask is not None:
        mask = np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return image, mask
