"""Rasters of GDAL's formats that neither Pillow nor tifffile reads whole (.vrt, .img, deep .jp2); with rasterio, of the extra `geo`."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import SettingError
from semiseg.data.arrays import Raster, blocks, library, roomy, unreadable

CACHE_MB = 64  # of GDAL's decoded tiles, which otherwise take a twentieth of the machine's memory


def open_gdal(file: Path) -> Raster:
    """All bands of a raster, as (C,H,W)."""
    with raster_in(file) as content:
        types = set(content.dtypes)
        if len(types) > 1:
            raise SettingError(f"{file}: got bands of types {', '.join(sorted(types))}; allowed: one type")
        alpha = [interpretation.name == "alpha" for interpretation in content.colorinterp]
        across, down = content.res
        placed = not content.transform.is_identity
        return Raster(
            file=file,
            format=content.driver,
            shape=(content.count, content.height, content.width),
            axes="CHW",
            values=lambda: decoded_raster(file),
            dtype=np.dtype(content.dtypes[0]),
            spacing=(1.0, float(down), float(across)) if placed else None,
            nodata=None if content.nodata is None else float(content.nodata),
            alpha=int(alpha[-1]) if content.count > 1 else 0,
        )


@contextmanager
def raster_in(file: Path) -> Iterator[Any]:
    """rasterio's open file; SettingError, one line, for what it cannot read."""
    rasterio = library("rasterio", "geo", f"{file}: got a raster of GDAL's formats")
    try:
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_CACHEMAX=CACHE_MB),
        ):
            warnings.simplefilter("ignore")  # that it lies nowhere on Earth
            with rasterio.open(file) as content:
                yield content
    except (rasterio.errors.RasterioError, OSError, ValueError) as error:
        raise unreadable(file, error, "a raster that GDAL opens") from None


def decoded_raster(file: Path) -> np.ndarray:
    """The array (C,H,W), read some rows at a time."""
    with raster_in(file) as content:
        shape = (content.count, content.height, content.width)
        out = roomy(shape, np.dtype(content.dtypes[0]))
        for rows in blocks((shape[1], shape[2], shape[0])):
            stop = min(rows.stop, shape[1])
            out[:, rows.start : stop] = content.read(window=((rows.start, stop), (0, shape[2])))
        return out


def sources_in(file: Path) -> list[Path]:
    """The files that a virtual raster is made of."""
    with raster_in(file) as content:
        return [Path(name) for name in content.files if Path(name) != file]
