"""NIfTI volumes as planes of the body, whatever way their voxels are stored; with nibabel, of the extra `mri`."""

import gzip
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from semiseg.config import SettingError
from semiseg.data.arrays import Raster, library, roomy, unreadable
from semiseg.outside import temporary_place

RIGHT, FRONT, UP = range(3)  # axes in nibabel's order, which is that of the patient
PLANES = {"axial": (UP, FRONT, RIGHT), "sagittal": (RIGHT, UP, FRONT), "coronal": (FRONT, UP, RIGHT)}
"""Which axis slices, rows and columns run along; slices and columns towards it, rows away from it (front or top of the body up)."""
BROKEN = (OSError, EOFError, ValueError, zlib.error)


def is_nifti(file: Path) -> bool:
    """Whether a file is a NIfTI one by its name."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


def nibabel(got: str = "NIfTI files") -> Any:
    """The library that reads NIfTI files; SettingError when it is not installed."""
    return library("nibabel", "mri", got)


def open_volume(file: Path, got: str) -> Any:
    """The volume in a file, its voxels not yet read; SettingError, one line, when it is not one, or without nibabel for what was `got`."""
    nib = nibabel(got)
    try:
        return nib.load(file)
    except (*BROKEN, nib.filebasedimages.ImageFileError) as error:
        raise unreadable(file, error, "a NIfTI file") from None


def orientation_of(volume: Any) -> np.ndarray:
    """nibabel's (3,2): which way of the body each axis of the array runs, and whether towards it or away."""
    return nibabel().io_orientation(volume.affine)


def in_plane(values: np.ndarray, orientation: np.ndarray, plane: str = "axial") -> np.ndarray:
    """A view (slice, row, column), channels last if there are any, of an array as it is stored."""
    upright = nibabel().apply_orientation(values, orientation)
    return upright.transpose(*PLANES[plane], *range(3, values.ndim))[:, ::-1]


def along(counts: tuple, orientation: np.ndarray, plane: str = "axial") -> tuple:
    """What is known of each stored axis (number of voxels, distance) in the order slices, rows, columns."""
    towards = orientation[:, 0].tolist()
    return tuple(counts[towards.index(axis)] for axis in PLANES[plane])


def open_nifti(file: Path, plane: str) -> Raster:
    """A volume as slices; a fourth axis is channels. Slices are D, also where there is one."""
    volume = open_volume(file, f"{file}: got a NIfTI file")
    shape = tuple(volume.shape)
    if len(shape) == 5 and shape[3] == 1:  # vectors (NIfTI-1, dim[5])
        shape = (*shape[:3], shape[4])
    if len(shape) not in (3, 4):
        raise SettingError(
            f"{file}: got an array of shape {volume.shape}; allowed: a volume of three axes, or channels as a fourth"
        )
    orientation = orientation_of(volume)
    if not np.isfinite(orientation).all():
        raise SettingError(f"{file}: got an affine matrix that turns no axis to the body's; allowed: one that does")
    distances = volume.header.get_zooms()[:3]
    between, down, across = (float(one) for one in along(distances, orientation, plane))
    return Raster(
        file=file,
        format="NIfTI",
        shape=(*along(shape, orientation, plane), *shape[3:]),
        axes="DHWC"[: len(shape)],
        values=lambda: in_plane(voxels_as_stored(file, volume).reshape(shape, order="A"), orientation, plane),
        dtype=volume.dataobj.dtype,
        spacing=(between, down, across),
    )


def write_labels(path: Path, like: Path, labels: np.ndarray, plane: str) -> None:
    """Write a mask (slice, row, column) of the volume in the file `like`: voxels that run as that one's, with its affine matrix and
    units. `path` ends with .nii or .nii.gz."""
    nib, volume = nibabel(), open_volume(like, f"{like}: got a NIfTI file")
    stored = np.zeros(volume.shape[:3], labels.dtype, order="F")
    in_plane(stored, orientation_of(volume), plane)[:] = labels
    header = nib.Nifti1Header.from_header(volume.header, check=False)
    header.set_data_dtype(labels.dtype)
    header["cal_min"] = header["cal_max"] = 0  # of how the image is shown
    nib.Nifti1Image(stored, volume.affine, header).to_filename(path)


def voxels_as_stored(file: Path, volume: Any) -> np.ndarray:
    """The array as stored, mapped: of a compressed file from a temporary one without a name. Scaled values are float32."""
    proxy = volume.dataobj
    try:
        if file.name.lower().endswith(".gz"):
            with tempfile.TemporaryFile(dir=temporary_place()) as aside, gzip.open(file) as packed:
                shutil.copyfileobj(packed, aside, 1 << 20)
                aside.flush()
                raw = np.memmap(aside, proxy.dtype, "r", proxy.offset, proxy.shape, order="F")
        else:
            raw = np.memmap(file, proxy.dtype, "r", proxy.offset, proxy.shape, order="F")
    except BROKEN as error:
        raise unreadable(file, error, "a NIfTI file") from None
    if (proxy.slope, proxy.inter) == (1, 0):
        return raw
    scaled = roomy(raw.shape[::-1], np.dtype(np.float32)).T
    for i in range(raw.shape[-1]):
        scaled[..., i] = raw[..., i] * float(proxy.slope) + float(proxy.inter)
    return scaled


def need_alike(image: Path, mask: Path) -> None:
    """Raise SettingError where a mask's voxels run another way than its image's: a shape alone would not show it."""
    ways = []
    for file in (image, mask):
        if not is_nifti(file):
            return
        volume = open_volume(file, f"{file}: got a NIfTI file")
        ways.append("".join(nibabel().aff2axcodes(volume.affine)))
    if ways[0] != ways[1]:
        raise SettingError(f"{mask}: got voxels that run {ways[1]}; allowed: as those of its image, {ways[0]}")
