"""Files of several images: pages of TIFF and NPY, slices of NIfTI; and what else a file's header says of its images."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image

from semiseg.config import SettingError, require
from semiseg.data.arrays import Raster, Spacing, arranged, followed
from semiseg.data.files import BROKEN, size_in
from semiseg.data.formats import is_picture, opened
from semiseg.data.masks import mask_axes, stacked_shape
from semiseg.data.nifti import PLANES, is_nifti
from semiseg.data.rasters import sources_in
from semiseg.data.tiff import PIXEL_SCALE, pixel_scale

VARIANTS = tuple(plane for plane in PLANES if plane != "axial")
Layouts = Callable[[], frozenset[str]]
"""Axes of the labelled files that do not name them themselves, found when they are asked for."""


def plane_of(variant: Sequence[str], files: Iterable[Path]) -> str:
    """The plane of a volume's slices; SettingError for two, and for one where there are no volumes."""
    if not variant:
        return "axial"
    require(len(variant) == 1, "data.variant", variant, f"one of {', '.join(VARIANTS)}")
    require(any(map(is_nifti, files)), "data.variant", variant, "none in a folder without NIfTI")
    return variant[0]


def slices_of(file: Path, plane: str, layouts: Layouts | None) -> list[tuple[str, int | None]]:
    """Ends of the ids of a file's images and their numbers in it, of a mask or, with `layouts`, of an unlabelled image.

    An end is _z000 in a volume and _p000 of a page; "" and None for a file that is one image.
    """
    if layouts is None:
        shape = stacked_shape(file, plane)
        count, volume = (0, False) if shape is None else (shape[0], is_nifti(file))
    else:
        raster = None if is_picture(file) else opened(file, plane)
        axes = "" if raster is None else followed(raster, layouts())
        count = raster.shape[axes.index("D")] if raster and "D" in axes else 0
        volume = raster is not None and raster.format == "NIfTI"
    return [(f"_{'z' if volume else 'p'}{number:03d}", number) for number in range(count)] if count > 1 or volume else [("", None)]


def layouts_of(pairs: Iterable[tuple[Path, Path]], plane: str) -> frozenset[str]:
    """The letters of the axes of all labelled images whose files leave them open."""
    found = set()
    for image, mask in pairs:
        raster = None if is_picture(image) else opened(image, plane)
        if raster is not None and (not raster.axes or "P" in raster.axes):
            found.add(arranged(raster, stacked_shape(mask, plane) or size_of(mask, plane, None)))
    return frozenset(found)


def size_of(file: Path, plane: str, layouts: Layouts | None) -> tuple[int, int]:
    """Height and width of a mask or, with `layouts`, of an unlabelled image, as seen, from the header."""
    raster = opened(file, plane)
    if raster is None:
        return size_in(file)
    axes = mask_axes(raster) if layouts is None else followed(raster, layouts())
    height, width = raster.shape[axes.index("H")], raster.shape[axes.index("W")]
    return (width, height) if raster.turn > 4 else (height, width)


def spacing_of(file: Path, plane: str) -> Spacing | None:
    """Distances between slices, rows and columns, where a file says them: of NIfTI in mm, of GeoTIFF in units of its map."""
    raster: Raster | None = opened(file, plane)
    if raster is not None or is_picture(file):
        return raster.spacing if raster else None
    try:
        with Image.open(file) as image:
            return pixel_scale(getattr(image, "tag_v2", {}).get(PIXEL_SCALE))
    except BROKEN:  # whoever reads the image says so
        return None


def linked(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of the files that virtual rasters are made of."""
    parts = sorted({part for file in files if file.name.lower().endswith(".vrt") for part in sources_in(file)})
    try:
        return [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in parts]
    except OSError as error:
        raise SettingError(f"{error.filename}: cannot be read ({error.strerror}); allowed: a file that exists") from None
