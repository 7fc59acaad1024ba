"""Grey matter of the spinal cord in T2*-weighted MRI, in the files of the SCGM challenge (Prados et al. 2017), as in perone2018.

    root/siteS-scNN-image.nii.gz        a volume; its axial slices are the images
    root/siteS-scNN-mask-rR.nii.gz      rater R's mask on the same voxels: 1 grey matter, 2 white matter; without any: unlabelled

A slice is turned so that the front of the body is up, resampled in plane to 0.25 mm (bilinear; masks nearest), cropped or padded
around its centre to 200 x 200 pixels and standardised by its own mean and deviation (perone2018 and its authors' code): an image is
float32 of one channel, z-scores from -4 to 4 as 0..1, those beyond clipped. Data.size resizes after that. A pixel is grey matter
when more than half of the raters say so.

Persons are never on two sides of a split: subjects are drawn, or whole sites when fewer than 8 subjects have masks, since in so
small a collection subjects of one site may be one person's scans; a scan's slices are labelled together. Unlabelled scans of a
site or subject that selects or tests are left out. Slices without grey matter are left out of training and selection, not of test
(the authors' code).
"""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from semiseg.config import Data, SettingError
from semiseg.data.arrays import unreadable
from semiseg.data.dataset import DataSet, Published
from semiseg.data.nifti import BROKEN, along, in_plane, open_volume, orientation_of
from semiseg.data.source import Item, Source, folder_of, share_of, shuffled, stamp_of

NAME = re.compile(r"((site\d+)-sc\d+)-image\.nii\.gz")
GREY_MATTER = 1
LABELS = {0, GREY_MATTER, 2}
SPACING = 0.25  # mm in plane
CROP = 200  # pixels
LARGEST_Z = 4.0
FEWEST_SUBJECTS = 8  # with masks; below, whole sites are drawn
SELECTION_SHARE, TEST_SHARE = 8 / 28, 12 / 28  # of those with masks; perone2018: 8 to train, 8 for validation, 12 for test


class Scan(NamedTuple):
    """One volume of a subject and the masks of its raters, if any."""

    subject: str
    site: str
    image: Path
    masks: tuple[Path, ...]


def scgm(data: Data) -> Source:
    """Slices as images; the labelled ones are by default all that are for training. SettingError without nibabel."""
    root = folder_of(data.root, "scgm")
    splits = split_scans(scans_in(root), data.split_seed)
    places = {
        Item(f"{scan.subject}-z{z:03d}", split): (scan, z) for scan, split in splits.items() for z in range(slices_in(scan.image))
    }

    @lru_cache(maxsize=1)  # slices are read volume by volume
    def volumes(scan: Scan) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float]]:
        return read_scan(scan)

    @cache
    def between(scan: Scan) -> float:
        volume = volume_in(scan.image)
        return float(along(volume.header.get_zooms(), orientation_of(volume))[0])

    def read(item: Item) -> tuple[np.ndarray, np.ndarray | None] | None:
        scan, z = places[item]
        images, masks, spacing = volumes(scan)
        mask = None if masks is None else prepared_mask(masks[z], spacing)
        if mask is not None and not mask.any() and item.split != "test":
            return None
        return prepared_image(images[z], spacing), mask

    return Source(
        items=tuple(places),
        classes=("background", "grey matter"),
        palette=((0, 0, 0), (230, 80, 60)),
        read=read,
        stamp=stamp_of(root, [file for scan in splits for file in (scan.image, *scan.masks)], [*places]),
        default_size=(CROP, CROP),
        default_labelled="all",
        where=lambda item: f"{places[item][0].image}, slice {places[item][1]}",
        attributes={"site": lambda item: places[item][0].site},
        group=lambda item: places[item][0].subject,
        volume=lambda item: places[item][0].subject,
        spacing=lambda item: (between(places[item][0]), SPACING, SPACING),
        default_normalise=("dataset", "dataset"),  # values are in 0..1
    )


def scans_in(root: Path) -> list[Scan]:
    """All volumes in a folder by subject."""
    matches = [NAME.fullmatch(file.name) for file in sorted(root.iterdir())]
    scans = [
        Scan(match[1], match[2], root / match[0], tuple(sorted(root.glob(f"{match[1]}-mask-r*.nii.gz"))))
        for match in matches
        if match
    ]
    if not any(scan.masks for scan in scans):
        raise SettingError(
            f"data.root: got {str(root)!r} without a volume and its mask; "
            "allowed: a folder with site1-sc01-image.nii.gz, site1-sc01-mask-r1.nii.gz, ..."
        )
    return scans


def split_scans(scans: list[Scan], seed: int) -> dict[Scan, str]:
    """Split of each scan that is used: test, selection and training in the shares of perone2018, each at least one group."""
    labelled = [scan for scan in scans if scan.masks]
    by_site = len(labelled) < FEWEST_SUBJECTS
    groups = shuffled(sorted({scan.site if by_site else scan.subject for scan in labelled}), seed)
    if len(groups) < 3:
        raise SettingError(
            f"{labelled[0].image.parent}: got {len(labelled)} subjects with masks of {len(groups)} sites; "
            f"allowed: 3 sites or more, or {FEWEST_SUBJECTS} with masks, so that test, selection and training share no person"
        )
    test = share_of(TEST_SHARE, len(groups))
    selection = test + share_of(SELECTION_SHARE, len(groups))
    of = {group: "test" if i < test else "selection" if i < selection else "train" for i, group in enumerate(groups)}
    splits = {}
    for scan in scans:
        split = of.get(scan.site if by_site else scan.subject, "train")
        if scan.masks or split == "train":
            splits[scan] = split if scan.masks else "unlabelled"
    return splits


def volume_in(file: Path) -> Any:
    """The volume in a file, its voxels not yet read; SettingError, one line, for other than three axes."""
    volume = open_volume(file, "data.name: got 'scgm'")
    if len(volume.shape) != 3:
        raise SettingError(f"{file}: got an array of shape {volume.shape}; allowed: a volume of three axes")
    return volume


def voxels(file: Path, volume: Any, orientation: np.ndarray) -> np.ndarray:
    """Float32 (slice, row, column): slices upwards, rows from the front of the body to its back."""
    try:
        values = np.asarray(volume.dataobj, np.float32)
    except BROKEN as error:
        raise unreadable(file, error, "a NIfTI file") from None
    if not np.isfinite(values).all():
        raise SettingError(f"{file}: got voxels that are no finite numbers; allowed: finite ones")
    return in_plane(values, orientation)


def slices_in(file: Path) -> int:
    """Number of axial slices, from the header."""
    volume = volume_in(file)
    return along(volume.shape, orientation_of(volume))[0]


def read_scan(scan: Scan) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float]]:
    """Float32 (slice, row, column) intensities, bool masks of the same shape or None, and mm between rows and between columns.

    Masks take the image's orientation: they are drawn on its voxels, whatever their own header says.
    """
    volume = volume_in(scan.image)
    orientation = orientation_of(volume)
    _, *in_slice = along(volume.header.get_zooms(), orientation)
    spacing = (float(in_slice[0]), float(in_slice[1]))
    votes = 0
    for file in scan.masks:
        mask = volume_in(file)
        if mask.shape != volume.shape:
            raise SettingError(f"{file}: got {mask.shape} voxels; allowed: the shape of its image, {volume.shape}")
        values = voxels(file, mask, orientation)
        if odd := sorted(set(np.unique(values).tolist()) - LABELS):
            raise SettingError(f"{file}: got mask value {odd[0]:g}; allowed: 0, 1 (grey matter), 2 (white matter)")
        votes = votes + (values == GREY_MATTER)
    majority = np.asarray(2 * votes > len(scan.masks)) if scan.masks else None
    return voxels(scan.image, volume, orientation), majority, spacing


def prepared_image(plane: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Float32 (200,200,1) in [0,1] of one float32 slice. Padding is 0, air, and counts neither for the mean nor for the deviation."""
    inside = cropped(resampled(plane, spacing, Image.Resampling.BILINEAR))
    z = (padded(inside) - inside.mean()) / (inside.std() or 1)
    return (z / (2 * LARGEST_Z) + 0.5).clip(0, 1).astype(np.float32)[..., None]


def prepared_mask(plane: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Uint8 (200,200) of one bool slice."""
    return padded(cropped(resampled(plane.astype(np.uint8), spacing, Image.Resampling.NEAREST)))


def resampled(plane: np.ndarray, spacing: tuple[float, float], how: Image.Resampling) -> np.ndarray:
    """A slice with pixels of 0.25 mm, which cover the same field."""
    height, width = (max(1, round(count * mm / SPACING)) for count, mm in zip(plane.shape, spacing, strict=True))
    return np.array(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), how))


def cropped(plane: np.ndarray) -> np.ndarray:
    """The middle of a slice, at most 200 x 200."""
    top, left = (max(0, count - CROP) // 2 for count in plane.shape)
    return plane[top : top + CROP, left : left + CROP]


def padded(plane: np.ndarray) -> np.ndarray:
    """A slice of at most 200 x 200 with zeros around it, 200 x 200."""
    missing = [CROP - count for count in plane.shape]
    return np.pad(plane, [(count // 2, count - count // 2) for count in missing])


SCGM = DataSet(
    name="scgm",
    source=scgm,
    # Prados et al. 2017, slices with grey matter and unlabelled ones as perone2018 counts them (section 3.1)
    published=Published(
        train=86,
        selection=90,
        test=137,
        unlabelled=613,
        classes=2,
        size=(CROP, CROP),
        default=(CROP, CROP),
        labelled="all",
        channels=1,
    ),
    site="http://niftyweb.cs.ucl.ac.uk/challenge",
)
