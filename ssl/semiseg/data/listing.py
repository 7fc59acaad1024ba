"""Names in a folder: its files by their path without extension, and the lists that mean them."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from posixpath import splitext

from semiseg.config import SettingError
from semiseg.data.source import read_lines

NOT_IMAGES = {"Thumbs.db", "desktop.ini"}  # what file managers leave behind; hidden files are skipped as well
BESIDE = (".aux.xml", ".ovr", ".tfw", ".tifw", ".jgw", ".pgw", ".wld", ".prj", ".json")
"""Endings of what GDAL and converters of MRI put beside an image."""
FOLDERS = ("images", "jpegimages")
"""Folders of images in published lists; what comes before them is another machine's."""


def named_files(folder: Path) -> dict[str, Path]:
    """Files under a folder by their path without extension; {} for a folder that is not there."""
    found: dict[str, Path] = {}
    met: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in (Path(place, name) for name in names if is_image(name)):
            name = without_extension(file.relative_to(folder).as_posix())
            if (other := met.setdefault(composed(name), file)) != file:
                both = " and ".join(sorted((other.name, file.name)))
                raise SettingError(f"{file.parent}: got {both}; allowed: one file for each name, whatever its extension")
            found[name] = file
    return found


def is_image(name: str) -> bool:
    """Whether a file of this name may be an image."""
    return not name.startswith(".") and name not in NOT_IMAGES and not name.lower().endswith(BESIDE)


def without_extension(path: str) -> str:
    """A path without its extension, of which `.nii.gz` is one."""
    stem = path[:-3] if path.lower().endswith(".nii.gz") else path
    return splitext(stem)[0]


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS stores and hands on é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Each name under its composed form."""
    return {composed(name): name for name in names}


def meant(text: str, spelled: Mapping[str, str]) -> str | None:
    """The name that a line means, of those under their composed forms; None for none.

    A path with or without extension, perhaps with Windows' slashes or from the root; or, as in published lists of PASCAL VOC, that
    path and the one of a mask with the same name.
    """
    text = composed(text)
    plain = text.replace("\\", "/").removeprefix("./")
    for path in (text, plain, plain.removeprefix("images/"), below_images(plain)):
        for one in (path, splitext(path)[0], without_extension(path)):
            if one in spelled:
                return spelled[one]
    first, *others = text.split()
    stems = {without_extension(word.rpartition("/")[2]) for word in (first, *others)}
    return meant(first, spelled) if len(others) == 1 and len(stems) == 1 else None


def below_images(path: str) -> str:
    """What comes after the last folder of images in a path."""
    parts = path.split("/")
    at = max((i for i, part in enumerate(parts[:-1]) if part.lower() in FOLDERS), default=-1)
    return "/".join(parts[at + 1 :]) if at >= 0 else path


def read_lists(root: Path, images: dict[str, Path]) -> dict[str, str] | None:
    """Split of each image by name, from the lists in `root`; None when there are none."""
    there = [name for name in ("train", "selection", "val", "test") if (root / f"{name}.txt").is_file()]
    if "selection" in there and "val" in there:
        raise SettingError(f"{root}: got selection.txt and val.txt; allowed: one of the two")
    if not there:
        return None
    splits: dict[str, str] = {}
    for name in there:
        split = name if name != "val" else "selection" if "test" in there else "test"
        for stem in listed_in(root / f"{name}.txt", spellings(images), root / "images", splits):
            splits[stem] = split
    if "train" not in there:
        splits |= {name: "train" for name in images if name not in splits}
    return splits


def listed_in(file: Path, spelled: Mapping[str, str], where: Path, seen: Mapping[str, str]) -> Iterable[str]:
    """The name on each line of a list. SettingError for an unknown name, and one of those `seen` by then."""
    for number, text in read_lines(file, lambda text: meant(text, spelled) is not None):
        stem = meant(text, spelled)
        if stem is None:
            raise SettingError(f"{file}, line {number}: got {text!r}; allowed: the name of a file in {where}")
        if stem in seen:
            raise SettingError(f"{file}, line {number}: got {text!r}, which is listed before; allowed: each name once, in one list")
        yield stem
