"""A published split: a text file that names the labelled images of any data set."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from semiseg.config import SettingError
from semiseg.data.listing import composed, meant, spellings, without_extension
from semiseg.data.source import Source, read_lines

ENDINGS = ("_leftImg8bit",)
"""What lists add to the names of images: those of Cityscapes."""


def listed_ids(file: Path, source: Source) -> frozenset[str]:
    """Ids of the training images that a file names, an id a line.

    A line may also be a path of the image, with the path of its mask after it (lists of PASCAL VOC, CamVid and UniMatch), the last
    part of an id where only one image is called so, or a volume or group (SSL4MIS's cases, a patient): all of its training images.
    SettingError, one line, for a name that is no training image's, with the nearest id, and for one that is named twice.
    """
    known = names_of(source)
    spelled = spellings(known)
    training = {item.id for item in source.items if item.split == "train"}
    found: set[str] = set()
    for number, text in read_lines(file, lambda text: meaning(text, spelled) is not None):
        name = meaning(text, spelled)
        ids = known[name] & training if name is not None else set()
        if not ids:
            near = get_close_matches(last_part(text), training, 1, 0)
            said = "such as" if name is not None else "the nearest is"
            raise SettingError(f"{file}, line {number}: got {text!r}; allowed: a training image with a mask, {said} {near[0]!r}")
        if twice := sorted(ids & found):
            raise SettingError(
                f"{file}, line {number}: got {text!r}, of which {twice[0]!r} is listed before; allowed: each id once"
            )
        found |= ids
    if not found:
        raise SettingError(f"{file}: got no name; allowed: labelled training images, an id a line")
    return frozenset(found)


def names_of(source: Source) -> dict[str, set[str]]:
    """Ids by what a list may call them: themselves, else volumes, else groups, else last parts of ids that only one image has."""
    known: dict[str, set[str]] = {item.id: {item.id} for item in source.items}
    for of in (source.volume, source.group):
        found = collected((of(item), item.id) for item in source.items)
        known |= {name: ids for name, ids in found.items() if name not in known}
    parts = collected((item.id.rpartition("/")[2], item.id) for item in source.items)
    return known | {name: ids for name, ids in parts.items() if name not in known and len(ids) == 1}


def collected(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The second ones by the first one."""
    found: dict[str, set[str]] = {}
    for name, one in pairs:
        found.setdefault(name, set()).add(one)
    return found


def meaning(text: str, spelled: dict[str, str]) -> str | None:
    """The name that a line means, of those under their composed forms; None for none."""
    image, *mask = text.split()
    one = image if len(mask) == 1 and "." in image and "." in mask[0] else text  # a name may have spaces, files have endings
    part = last_part(one)
    paths = (text, one, part, *(part.removesuffix(ending) for ending in ENDINGS))
    return next((found for path in paths if (found := meant(path, spelled)) is not None), None)


def last_part(path: str) -> str:
    """The last part of a path, without its extension."""
    return without_extension(composed(path).replace("\\", "/").rpartition("/")[2])
